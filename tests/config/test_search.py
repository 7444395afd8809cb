from inspect import signature

import pytest
import yaml

from yolo_nas_ext import search
from yolo_nas_ext.config.arguments import parse_arguments
from yolo_nas_ext.config.search import KEYS, SearchSettings, configure
from yolo_nas_ext.config.settings import groups, help_text, repeating
from yolo_nas_ext.errors import NASError
from yolo_nas_ext.files import resource

HOST = {"lr0": 0.01, "mosaic": 1.0}
REFUSED = {"val": "a search sets this itself"}


def test_the_file_of_defaults_is_made_from_the_class():
    text = resource("cfg", "nas.yaml").read_text(encoding="utf-8")
    assert text == help_text(SearchSettings), "its first lines say how to write it anew"
    usual = {name: KEYS[name].value(raw) for name, raw in yaml.safe_load(text).items()}
    assert usual == SearchSettings().values and set(usual) == set(KEYS)
    for line in text.splitlines():
        if line and not line.lstrip().startswith("#"):
            explained = line.partition("# ")[2]
            assert explained.startswith(
                ("(str)", "(int)", "(float)", "(bool)", "(list)", "(number)")
            ), line


def test_the_ten_keys_that_most_searches_need_come_first():
    first = next(iter(groups(SearchSettings).values()))
    assert [key.name for key in first] == [
        "data",
        "model",
        "space",
        "epochs",
        "imgsz",
        "trials",
        "max_flops",
        "max_latency",
        "latency",
        "finalists",
    ]


def test_the_function_of_the_package_takes_keys_of_the_command():
    own = {"estimator", "space", "features", "settings"}  # which may be objects of Python's
    assert set(signature(search).parameters) - own <= set(KEYS)


@pytest.mark.parametrize(
    ("arguments", "name", "value"),
    [
        (["max_params=3M"], "max_params", 3e6),
        (["max_flops=8.5g"], "max_flops", 8.5e9),
        (["max_flops=8e9"], "max_flops", 8e9),
        (["trials", "=", "7"], "trials", 7),
        (["--epochs=7,"], "epochs", 7),
        (["budget_hours=None"], "budget_hours", None),
        (["baseline=yolov8n, yolo11n"], "baseline", ("yolov8n", "yolo11n")),
        (["baseline=none"], "baseline", ()),
        (["device=0"], "device", "0"),
        (["data=C:\\scans\\my data.yaml"], "data", "C:\\scans\\my data.yaml"),
        (["name=2024"], "name", "2024"),
        (["name=001"], "name", "001"),
        (["name=1e3"], "name", "1e3"),
        (["name=on"], "name", "on"),
        (["name=1_000"], "name", "1_000"),
        (["name=0x10"], "name", "0x10"),
        (["name=2026-1-2"], "name", "2026-1-2"),
        (["data=no"], "data", "no"),
        (["data='a b'"], "data", "a b"),
        (["group=[0-9]+"], "group", "[0-9]+"),
        (["group=[ab]"], "group", "[ab]"),
        (["seed=010"], "seed", 10),
        (["data=/a/b#c/d.yaml"], "data", "/a/b#c/d.yaml"),
    ],
)
def test_values_are_read(arguments, name, value):
    config = configure(parse_arguments(arguments), HOST, REFUSED)
    assert getattr(config, name) == value and name in config.given


def test_host_keys_pass_through():
    config = configure(parse_arguments(["lr0=1e-3", "mosaic=0.5"]), HOST, REFUSED)
    assert config.host == {"lr0": 0.001, "mosaic": 0.5}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trails=3"], r"trails=3: unknown key\. Did you mean 'trials'\?"),
        (["trials=many"], "trials=many: not allowed; trials takes a whole number of 0 or more"),
        (["trials=2.5"], "trials takes a whole number"),
        (["trials=-1"], "trials takes a whole number of 0 or more"),
        (["trials=true"], "trials takes a whole number"),
        (["trials=1:30"], "trials=1:30: not allowed; trials takes a whole number"),
        (["imgsz=100"], "imgsz takes a multiple of 32"),
        (["max_params=3Q"], "max_params takes a number, with K, M, G or T"),
        (["max_params=-3"], "max_params takes a number"),
        (["val_fraction=1.5"], "val_fraction takes a number above 0 and at most 0.9"),
        (["budget_hours=.nan"], "budget_hours takes a number"),
        (["name=../x"], "name takes the name of a folder"),
        (["name=" + "x" * 300], "name takes the name of a folder, up to 100"),
        (["max_layers=1.5"], "max_layers takes a whole number of 1 or more"),
        (["trials="], "trials=: nothing stands behind it; give a value, or leave trials out"),
        (["max_latency="], "max_latency=: nothing stands behind it"),
        (["budget_hours=", "trials=3"], "budget_hours=trials=3: not allowed"),
        (["max_flops= "], "max_flops=: nothing stands behind it"),
        (["val=x"], "val=x: a search sets this itself"),
        (["trials"], "'trials': expected key=value"),
        (["trials=3", "trials=4"], "trials: given twice"),
        (["data=[1, 2]"], "data takes a text"),
        (["data={"], "cannot be read|not allowed"),
    ],
)
def test_bad_values_are_one_clear_line(arguments, message):
    with pytest.raises(NASError, match=message) as caught:
        configure(parse_arguments(arguments), HOST, REFUSED)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "rule"),
    [
        ({}, ("sandwich", 1.0)),
        ({"sampling": "fair"}, ("fair", 0.0)),
        ({"distill": 0.5}, ("spos", 0.5)),
        ({"task": "segment"}, ("spos", 0.0)),
        ({"strategy": "darts"}, ("spos", 0.0)),
    ],
)
def test_a_supernet_trains_several_networks_a_step(given, rule):
    config = configure({"estimator": "supernet", **given}, {}, {})
    assert (config.sampling, config.distill) == rule


WEIGHTS = {"space": "parent", "baseline": (), "finalists": 1, "seeds": 1, "final_epochs": 30}


@pytest.mark.parametrize(
    ("given", "changed"),
    [
        ({}, {}),
        ({"space": "yolo", "baseline": "yolov8n"}, {"space": "yolo", "baseline": ("yolov8n",)}),
        ({"finalists": 0, "seeds": 3}, {"finalists": 0, "seeds": 3}),
        ({"trials": 0}, {"finalists": 0}),
        ({"trials": 0, "finalists": 1}, {}),
        ({"storage": "sqlite:///a.db"}, {"finalists": 0}),
        ({"estimator": "full"}, {"epochs": 100, "batch": 16}),
    ],
)
@pytest.mark.parametrize("name", ["model", "pretrained"])
def test_defaults_of_a_search_from_trained_weights(name, given, changed):
    config = configure({name: "a.pt", **given}, {}, {})
    assert {key: getattr(config, key) for key in {**WEIGHTS, **changed}} == {**WEIGHTS, **changed}
    assert config.model == "a.pt" and config.parent_key == name
    assert "model=a.pt" in repeating(config) and "pretrained" not in repeating(config)


@pytest.mark.parametrize(
    ("given", "limited"),
    [
        ({}, False),
        ({"max_params": "3M"}, True),
        ({"max_flops": None}, True),
        ({"resume": "a"}, True),
    ],
)
def test_whether_anything_was_said_of_the_cost(given, limited):
    assert configure(given, {}, {}).limited == limited
