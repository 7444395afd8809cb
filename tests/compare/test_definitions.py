"""Comparing model definitions: in turns, recorded, resumed, and told in words and on a page."""

import csv
import io
import json
from contextlib import redirect_stdout

import pytest
import torch
import yaml
from ultralytics import YOLO
from ultralytics.utils.torch_utils import get_flops, get_num_params

from tests.helpers.kills import killed_and_resumed
from tests.helpers.shapes import draw
from yolo_nas_ext.cli import main
from yolo_nas_ext.compare import definitions, latency, outputs, runner
from yolo_nas_ext.compare.runner import Contest, Contestant
from yolo_nas_ext.cost.latency.protocol import Measurement, Protocol
from yolo_nas_ext.errors import NASError, TrialError
from yolo_nas_ext.estimators.training import UntouchedTraining
from yolo_nas_ext.host import models
from yolo_nas_ext.host.dataset import joined, read
from yolo_nas_ext.report import comparison_page as page
from yolo_nas_ext.space.choices import ChoiceSpace
from yolo_nas_ext.study import storage
from yolo_nas_ext.study.leaderboard import Entrant, Result, Standings
from yolo_nas_ext.study.study import Study
from yolo_nas_ext.study.trial import Trial

HOSTILE = "<script>alert(1)</script>\"'&|"
KEYS = ["epochs=1", "imgsz=64", "batch=8", "threads=1"]


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    return draw(tmp_path_factory.mktemp("shapes"), train=16, val=6)


class Fake:
    """A training without one: fitness is written into the definition."""

    task, epochs = "detect", 3

    def __init__(self, data):
        self.data = data
        self.asked = []
        self.split = [0], [1]

    def estimate(self, definition, fidelity, report=None, weights=None):
        self.asked.append((definition["of"], fidelity["seed"]))
        for epoch in (1, 2, 3):
            report(epoch, {})
        value = definition["fitness"]
        if isinstance(value, Exception):
            raise value
        if isinstance(value, type):
            raise value()
        if weights:
            weights.write_text("weights")
        return {"fitness": value + fidelity["seed"] / 100, "map50": 0.5}


@pytest.fixture
def make(shapes, tmp_path):
    data = read(shapes)

    def made(fitness, seeds=(0, 1), **schedule):
        training, said = Fake(data), []
        entered = [
            Contestant(Entrant(name, name.startswith("yolo")), {"of": name, "fitness": value})
            for name, value in fitness.items()
        ]
        found = Contest(
            training,
            entered,
            seeds,
            tmp_path,
            schedule={"epochs": 3, **schedule},
            say=said.append,
        )
        return found, training, said

    return made


def test_in_turns_and_recorded_at_once(make):
    found, training, said = make({"a": 0.3, "yolo": 0.2})
    counts = []
    found.run(lambda: counts.append(len(found.standings().results)))
    assert training.asked == [("a", 0), ("yolo", 0), ("a", 1), ("yolo", 1)]
    assert counts == [1, 2, 3, 4]
    assert found.standings().values("a") == {0: 0.3, 1: 0.31}
    assert found.weights("a").read_text() == "weights"
    assert said[0].startswith("training 1/4  a  seed 0  mAP50-95 0.3000") and "left" in said[0]
    assert "left" not in said[-1]


def test_it_goes_on_where_it_was(make):
    first, _, _ = make({"a": 0.3, "b": KeyboardInterrupt})
    with pytest.raises(KeyboardInterrupt):
        first.run()
    second, training, said = make({"a": 0.3, "b": 0.1, "c": 0.2}, seeds=(0, 1, 2))
    second.run()
    # What was recorded is not trained again, also where models and seeds were added.
    assert ("a", 0) not in training.asked and len(training.asked) == 8
    assert said[0] == "1 of 9 trainings are recorded already"
    third, training, _ = make({"a": 0.3, "b": 0.1, "c": 0.2}, seeds=(0, 1, 2))
    third.run()
    assert not training.asked and len(third.standings().results) == 9


def test_what_has_changed_is_trained_again(make, tmp_path):
    make({"a": 0.3})[0].run()
    for more in ({"epochs": 4}, {"host": {"lr0": 0.1}}):
        found, training, _ = make({"a": 0.3}, **more)
        found.run()
        assert len(training.asked) == 2, more
    found, training, _ = make({"a": 0.31})  # the file was edited
    found.run()
    assert len(training.asked) == 2 and found.standings().values("a")[0] == 0.31
    for file in (tmp_path / "trainings").iterdir():
        file.write_text(file.read_text()[:20])  # damaged
    found.run()
    assert len(training.asked) == 4


def test_a_model_under_another_name_is_the_same(make):
    make({"a": 0.3})[0].run()
    found, training, _ = make({"a": 0.3})
    contestant = found.contestants[0]
    found.contestants = (Contestant(Entrant("renamed"), contestant.definition),)
    found.run()
    assert not training.asked and found.standings().values("renamed") == {0: 0.3, 1: 0.31}


def test_a_failed_training_is_recorded_and_the_rest_goes_on(make):
    found, training, said = make({"a": TrialError("nan", "the loss is nan"), "yolo": 0.2})
    found.run()
    assert len(training.asked) == 4 and "failed (nan: the loss is nan)" in said[0]
    assert [r.error for r in found.standings().failed()] == ["nan: the loss is nan"] * 2
    found.run()
    assert len(training.asked) == 4  # it would fail again
    assert "failed" in outputs.table(found.standings())


def test_time_left_is_said_within_a_training_now_and_then(make, monkeypatch):
    monkeypatch.setattr(runner, "EVERY", -1.0)
    found, _, said = make({"a": 0.3}, seeds=(0,))
    found.run()
    assert [line.split("  ")[3] for line in said[:3]] == [f"epoch {n}/3" for n in (1, 2, 3)]


def test_the_data_tell_records_apart(shapes, tmp_path):
    data = read(shapes)
    other = read(draw(tmp_path / "other", train=16, val=6))
    fewer = read(draw(tmp_path / "fewer", train=15, val=6))
    assert runner.fingerprint(data) == runner.fingerprint(other)  # wherever the folder is
    assert runner.fingerprint(data) != runner.fingerprint(fewer)


# The data and the models


def test_all_of_train_is_trained_on_and_val_is_measured(shapes):
    train, val = read(shapes), read(shapes, part="val")
    training = UntouchedTraining(train, val, epochs=1, imgsz=64)
    data = training.data
    assert [data.images[i] for i in training.split[0]] == list(train.images)
    assert [data.images[i] for i in training.split[1]] == list(val.images)
    assert training._part(16, seed=9) == training.split  # the same for every seed
    assert len(joined(train, val).labels) == 22


def test_the_part_test_is_read_where_there_is_one(shapes, tmp_path):
    with pytest.raises(NASError, match="has no test part"):
        read(shapes, part="test")
    path = draw(tmp_path, train=4, val=2)
    content = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump({**content, "test": "images/train"}))
    assert len(read(path, part="test").images) == 4
    path.unlink()
    (tmp_path / "images" / "test").symlink_to(tmp_path / "images" / "val")
    assert len(read(tmp_path, part="test").images) == 2


@pytest.mark.parametrize(
    ("name", "task"), [("yolo11n", "detect"), ("yolov8n", "segment"), ("yolo26n", "pose")]
)
def test_costs_are_the_hosts(name, task):
    theirs = YOLO(f"{name}{models.SUFFIX.get(task, '')}.yaml").model
    definition = models.scaled(*models.definition(name, task))
    state = torch.random.get_rng_state()
    params, flops = models.costs(
        definition, nc=theirs.yaml["nc"], channels=3, imgsz=320, task=task, keypoints=(17, 3)
    )
    assert torch.equal(state, torch.random.get_rng_state())
    assert params == get_num_params(theirs)
    assert flops / 1e9 == pytest.approx(get_flops(theirs, 320)) and flops > 1e9


def test_a_model_that_cannot_be_built_says_why():
    rows = {"backbone": [[-1, 1, "Nonsense", []]], "head": []}
    with pytest.raises(TrialError, match="KeyError"):
        models.costs(rows, nc=1, channels=3, imgsz=64)


def test_what_models_are_called():
    assert definitions.labels(["a.yaml", "x/b.yaml", "yolo11n.yaml"]) == ["a", "b", "yolo11n"]
    assert definitions.labels(["x/best.yaml", "y/best.yaml"]) == ["x/best", "y/best"]
    with pytest.raises(NASError, match="x/best is the name of two"):
        definitions.labels(["1/x/best.yaml", "2/x/best.yaml"])


def test_the_cost_of_a_search_is_read_from_its_record(tmp_path):
    space = ChoiceSpace({"a": (1, 2, 3)})
    record = Study(space, tmp_path / "study.db")
    for number, seconds in enumerate((10.0, 20.0, 30.0)):
        point = space.point({"a": number + 1})
        record.add(
            [Trial(number, point, state="complete", metrics={"fitness": 0.1}, seconds=seconds)]
        )
    record.repeat(2, [0.2])
    assert storage.recorded_seconds(tmp_path / "study.db") == 90.0
    assert definitions.searched(tmp_path / "best.yaml") is None  # no run of ours
    (tmp_path / "args.yaml").write_text("seed: 0")
    assert definitions.searched(tmp_path / "best.yaml") == 90.0
    assert definitions.searched(tmp_path / "pareto" / "nas-1.yaml") == 90.0
    (tmp_path / "study.db").write_bytes(b"no database" * 100)
    with pytest.raises(NASError, match="cannot be read"):
        definitions.searched(tmp_path / "best.yaml")


# The command


@pytest.fixture(scope="module")
def run(shapes, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    with redirect_stdout(io.StringIO()) as printed:
        code = main(
            [
                "nas-compare",
                "models=yolov8n.yaml,yolo11n",
                f"data={shapes}",
                "seeds=2",
                "baseline=yolov8n.yaml",
                f"project={folder}",
                "name=c",
                *KEYS,
            ]
        )
    text = printed.getvalue()
    assert code == 0, text
    return folder / "c", text


def test_a_comparison_leaves_everything(run):
    folder, text = run
    rows = list(csv.DictReader(io.StringIO((folder / "comparison.csv").read_text())))
    assert [(r["model"], r["seed"]) for r in rows] == [
        ("yolov8n", "0"),
        ("yolo11n", "0"),
        ("yolov8n", "1"),
        ("yolo11n", "1"),
    ]
    assert rows[0]["baseline"] == "True" and float(rows[1]["params"]) > 2e6
    for name in ("comparison.png", "comparison.html", "args.yaml", "models/yolo11n.yaml"):
        assert (folder / name).stat().st_size > 100, name
    first = (folder / "verdict.md").read_text().splitlines()[2]
    assert (
        first in text and "yolo11n" in first and first in (folder / "comparison.html").read_text()
    )
    assert YOLO(folder / "weights" / "yolo11n.pt").task == "detect"
    assert not list(folder.rglob("*.tmp"))


def test_a_training_of_it_is_the_full_one(run, shapes):
    """The recorded number is that of the estimator, whatever was trained before."""
    record = next(
        found
        for file in (run[0] / "trainings").iterdir()
        if (found := json.loads(file.read_text()))["name"] == "yolo11n" and found["seed"] == 1
    )
    training = UntouchedTraining(
        read(shapes), read(shapes, part="val"), epochs=1, imgsz=64, batch=8, threads=1
    )
    metrics = training.estimate("yolo11n", {"seed": 1})
    assert {n: record["metrics"][n] for n in ("fitness", "loss_box", "val_loss_cls")} == {
        n: pytest.approx(metrics[n], rel=1e-6) for n in ("fitness", "loss_box", "val_loss_cls")
    }


def test_latency_is_measured_of_all_in_turns_and_shown(run):
    folder, text = run
    kept = json.loads((folder / "latency.json").read_text())
    assert len(kept["models"]) == 2 and kept["protocol"]["imgsz"] == 64
    rows = list(csv.DictReader(io.StringIO((folder / "comparison.csv").read_text())))
    assert {float(r["latency_ms"]) for r in rows} == {
        found["median_ms"] for found in kept["models"].values()
    }
    said = (folder / "verdict.md").read_text()
    assert f"- latency: {Protocol(imgsz=64)}; median of 30 runs" in said
    html = (folder / "comparison.html").read_text()
    assert "against measured latency" in html and "ms (IQR" in html and "ms (IQR" in text


class Clocks:
    """Stands in for the measurement: a model's milliseconds are its name's length."""

    def __init__(self, monkeypatch):
        self.asked, self.fail = [], False
        monkeypatch.setattr(latency.models, "build", lambda definition, **_: definition)
        monkeypatch.setattr(latency.latency, "measure_models", self.measure)

    def measure(self, models, protocol, task, sizes):
        self.asked.append(sorted(models))
        if self.fail:
            raise NASError("a: the host cannot export it")
        return {
            name: Measurement(len(name), len(name) - 0.5, len(name) + 0.5, 30, protocol)
            for name in models
        }


def test_latency_is_measured_once(make, monkeypatch, tmp_path):
    clocks, protocol = Clocks(monkeypatch), Protocol(imgsz=64)

    def measured(names, protocol=protocol):
        found = make(dict.fromkeys(names, 0.1))[0]
        how = latency.measure(found, protocol, lambda line: None)
        return how, {c.entrant.name: c.entrant.latency_ms for c in found.contestants}

    how, found = measured(["a", "bb"])
    assert found == {"a": 1, "bb": 2} and how.startswith(f"{protocol}; median")
    assert measured(["bb", "a"])[1] == found and len(clocks.asked) == 1
    assert measured(["a"])[1] == {"a": 1} and len(clocks.asked) == 1
    # With another model, protocol or machine all are measured again, together.
    measured(["a", "bb", "ccc"])
    assert clocks.asked[1:] == [["a", "bb", "ccc"]]
    measured(["a", "bb"], Protocol(imgsz=96))
    monkeypatch.setattr(latency.latency, "device_name_of", lambda _: "another machine")
    measured(["a", "bb"], Protocol(imgsz=96))
    assert len(clocks.asked) == 4
    (tmp_path / "latency.json").write_text("{")  # damaged
    measured(["a", "bb"], Protocol(imgsz=96))
    assert len(clocks.asked) == 5


def test_what_cannot_be_exported_is_compared_without_latency(make, monkeypatch, tmp_path, capsys):
    Clocks(monkeypatch).fail = True
    found = make({"a": 0.3, "yolo": 0.2})[0]
    config = definitions.configured({"models": "a.yaml", "data": "x", "imgsz": 64})
    definitions.run(found, config, "again")
    assert "note: latency was not measured: a: the host cannot" in capsys.readouterr().out
    assert "- latency: not measured" in (tmp_path / "verdict.md").read_text()
    assert len(found.standings().results) == 4 and not (tmp_path / "latency.json").exists()


def test_another_seed_is_added_on_resuming(run, shapes, capsys):
    folder, _ = run
    assert main(["nas-compare", f"resume={folder}", "seeds=2"]) == 0
    assert "4 of 4 trainings are recorded already" in capsys.readouterr().out
    assert main(["nas-compare", f"resume={folder}", "epochs=2"]) == 2
    assert f"epochs=2: the comparison in {folder} has epochs=1" in capsys.readouterr().err


@pytest.mark.slow
def test_killed_and_resumed(shapes, tmp_path):
    """kill -9 in the second training: the first is there, and is not trained again."""
    keys = [
        "models=yolov8n.yaml,yolo11n.yaml",
        f"data={shapes}",
        "seeds=1",
        "imgsz=64",
        "batch=8",
        "threads=1",
        "epochs=2",
        f"project={tmp_path}",
        "name=c",
    ]
    killed_and_resumed("compare", keys, tmp_path / "c", tmp_path / "c" / "trainings", 0.02)


def test_interrupted_it_says_what_there_is(make, capsys, tmp_path):
    found, _, _ = make({"a": 0.3, "b": KeyboardInterrupt})
    given = {"models": "a.yaml", "data": "x", "epochs": 3, "runtime": None}
    config = definitions.configured(given)
    assert definitions.run(found, config, "again")
    assert "No hand-made model was trained; a is best" in capsys.readouterr().out
    assert (tmp_path / "comparison.html").is_file()


def test_results_are_written_once_a_training(make, monkeypatch):
    written = []
    monkeypatch.setattr(outputs, "write", lambda *_: written.append(1))
    config = definitions.configured({"models": "a.yaml", "data": "x", "runtime": None})
    definitions.run(make({"a": 0.3, "b": 0.2})[0], config, "again")
    assert len(written) == 5  # and once before the first
    definitions.run(make({"a": 0.3, "b": 0.2})[0], config, "again")
    assert len(written) == 6


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ("models=a.yaml,b.pt data=x", "holds trained models (.pt) and model definitions"),
        ("models=yolo11n.yaml", "data: is required"),
        ("models=x/a.yaml data={data}", "models=x/a.yaml: no such file"),
        ("models=yolo11m8 data={data}", "models=yolo11m8: the host has no such model"),
        ("models=yolo11n baseline=nothing data={data}", "baseline=nothing: the host has no such"),
        ("models={data} data={data}", "not a model definition; it needs backbone and head"),
        ("models=yolo11n data={data} part=train", "part=train: not allowed; part takes val or"),
        ("models=yolo11n data={data} part=test", "has no test part"),
        ("models=yolo11n data={data} seed=x", "seed=x: not allowed"),
        ("models=yolo11n data={data} epoch=3", "Did you mean 'epochs'"),
        ("models=yolo11n data={data} pretrained=a.pt", "belongs to the training of the found"),
        ("models=yolo11n data={data} optimizer=x", "optimizer=x: no such optimizer"),
        ("models=yolo11n data={data} val_fraction=0.2", "val_fraction=0.2: unknown key"),
        ("models=yolo11n data={data} runtime=x", "runtime=x: not known"),
        ("models=yolo11n data={data} precision=fp16", "precision=fp16: runtime=onnx on cpu does"),
        ("resume=nowhere", "not the folder of a run"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_written(
    shapes, tmp_path, monkeypatch, capsys, keys, message
):
    monkeypatch.chdir(tmp_path)
    assert main(["nas-compare", *keys.format(data=shapes).split()]) == 2
    assert message in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_a_model_that_cannot_be_built(shapes, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rows = {"backbone": [[-1, 1, "Nonsense", []]], "head": [[[-1], 1, "Detect", ["nc"]]]}
    (tmp_path / "a.yaml").write_text(yaml.safe_dump({"nc": 2, **rows}))
    assert main(["nas-compare", "models=a.yaml", f"data={shapes}"]) == 2
    assert "models=a: cannot be built (KeyError" in capsys.readouterr().err


def test_a_model_that_is_meant_for_a_size_is_trained_and_measured_at_it(shapes, tmp_path):
    definition = definitions.read("yolov8n", "detect", "models")
    for name, imgsz in (("big", 96), ("plain", None)):
        more = {"imgsz": imgsz} if imgsz else {}
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump({**definition, **more}))
    files = f"{tmp_path / 'big.yaml'},{tmp_path / 'plain.yaml'}"
    assert (
        main(
            [
                "nas-compare",
                f"models={files}",
                f"data={shapes}",
                "seeds=1",
                *KEYS,
                f"project={tmp_path}",
                "name=c",
            ]
        )
        == 0
    )
    rows = list(csv.DictReader(io.StringIO((tmp_path / "c" / "comparison.csv").read_text())))
    flops = [float(row["flops"]) for row in rows]
    assert flops[0] / flops[1] == pytest.approx((96 / 64) ** 2, rel=1e-3)
    said = (tmp_path / "c" / "verdict.md").read_text()
    assert "- imgsz: 64; big at 96" in said
    assert f"{Protocol().setting}, 64 or 96 px, each model at its own size; median of" in said
    kept = json.loads((tmp_path / "c" / "latency.json").read_text())["models"]
    assert sorted(m["protocol"]["imgsz"] for m in kept.values()) == [64, 96]
    trained = torch.load(tmp_path / "c" / "weights" / "big.pt", weights_only=False)
    assert trained["train_args"]["imgsz"] == 96


# The page


def test_a_hostile_name_is_text(run):
    entrants = [Entrant(HOSTILE), Entrant("yolo", True)]
    results = [
        Result(HOSTILE, 0, 0.3),
        Result("yolo", 0, 0.2),
        Result("yolo", 1, float("nan"), 1, f"error: {HOSTILE}"),
    ]
    found = Standings(entrants, results, metric=HOSTILE)
    html = page.page(found, title=HOSTILE, protocol={HOSTILE: HOSTILE}, command=HOSTILE)
    assert html.count("<script>") == 1 and "alert(1)" in html  # our own, and shown as text
    assert "&lt;script&gt;alert(1)" in html
    text = outputs._markdown(found, "title", {})
    assert "&\\|" in text and "default-src &#x27;none&#x27;" in html


def test_the_page_of_nothing_yet():
    html = page.page(Standings([Entrant("a")], []), title="t", protocol={})
    assert "No training has ended yet" in html and "<svg" not in html
