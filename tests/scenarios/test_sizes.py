"""The image size as a choice: its cost, its trainings, what a run says of it, what refuses it."""

import csv
import io
import random
import re

import pytest
import yaml

from tests.helpers.shapes import draw
from tests.network.test_neck import space_of
from yolo_nas_ext.cli import main
from yolo_nas_ext.config.search import configure
from yolo_nas_ext.cost.budget import Budget
from yolo_nas_ext.cost.counts import costs
from yolo_nas_ext.errors import NASError
from yolo_nas_ext.host.models import build
from yolo_nas_ext.network.architecture import Architecture
from yolo_nas_ext.network.emit import emit, to_yaml
from yolo_nas_ext.network.parse import read
from yolo_nas_ext.pipeline import plan
from yolo_nas_ext.space.supernet import slots
from yolo_nas_ext.vectorized.evaluator import VectorizedSpace

HEAD = {"reg_max": 16, "end2end": False}
SPACE = space_of("pan", imgsz=[64, 96, 128], head=HEAD)


def test_a_network_of_another_size_is_another_candidate_with_costs_of_its_own():
    values = SPACE.sample(random.Random(0))
    small, large = (SPACE.architecture(SPACE.canonical({**values, "imgsz": n})) for n in (64, 128))
    assert small.key != large.key and small.imgsz == 64
    budget = Budget({"max_flops": 1e9}, nc=3, imgsz=640)
    assert budget.costs(small).flops == costs(small, 3, 64).flops
    assert budget.costs(large).flops == 4 * budget.costs(small).flops
    assert budget.values(large)["max_flops"][0] == costs(large, 3, 128).flops
    assert "imgsz" in SPACE.active(SPACE.point_of(small))


def test_the_definition_names_the_size_and_reads_back():
    architecture = SPACE.architecture(SPACE.sample(random.Random(1)))
    text = to_yaml(architecture, 3)
    assert f"train, predict and export with imgsz={architecture.imgsz}" in text
    definition = yaml.safe_load(text)
    assert read(definition) == architecture == SPACE.architecture(SPACE.point_of(architecture))
    assert Architecture.from_dict(architecture.to_dict()) == architecture
    model = build(emit(architecture, 3), task="detect", ch=3, nc=3)  # Ultralytics has no use for it
    assert sum(p.numel() for p in model.parameters()) == costs(architecture, 3).params


@pytest.mark.parametrize("size", [100, 0, "big", 16])
def test_what_is_no_size_is_refused(size):
    with pytest.raises(NASError, match=r"imgsz has the option .* a multiple of 32 pixels"):
        space_of("pan", imgsz=[64, size])


def test_supernets_and_compiled_spaces_have_one_size():
    with pytest.raises(NASError, match=r"images of one size; fix it with fix=imgsz:64"):
        slots.check(SPACE)
    with pytest.raises(NASError, match=r"one size: fix=imgsz:64"):
        VectorizedSpace(SPACE)
    one = space_of("pan", imgsz=96, head=HEAD)
    slots.check(one)
    point = one.sample(random.Random(0))
    compiled = VectorizedSpace(one, nc=3, imgsz=96)
    found = compiled.evaluate(compiled.encode(point)[None])
    assert found.flops[0] == Budget(nc=3).costs(one.architecture(point)).flops


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sizes")
    stages = {f"p{n}": {"block": "c2f", "width": 8 * n} for n in (2, 3, 4)}
    neck = {"block": "c2f", "width": 16, "growth": 1}
    space = {
        "imgsz": [32, 64],
        "stem": {"width": 8},
        "stages": stages,
        "levels": "3-4",
        "neck": neck,
        "head": HEAD,
    }
    (folder / "sizes.yaml").write_text(yaml.safe_dump(space))
    return draw(folder / "data"), folder / "sizes.yaml"


def settings(files, **more):
    data, space = files
    return configure({"data": str(data), "space": str(space), "baseline": "none", **more}, {}, {})


def test_what_cannot_compare_sizes_says_so(files):
    for estimator in ("madnas", "supernet", "naswot"):
        with pytest.raises(NASError, match="cannot compare image sizes; fix it with fix=imgsz:32"):
            plan.make(settings(files, estimator=estimator))
    with pytest.raises(NASError, match="so it cannot grow"):
        plan.make(settings(files, fidelity="asha:imgsz"))
    one = plan.make(settings(files, estimator="naswot", fix="imgsz:64"))
    assert one.config.imgsz == one.budget.imgsz == one.estimator.fidelity["imgsz"] == 64


def test_the_key_makes_it_a_choice_of_any_space(files):
    given = {"space": "tiny", "imgsz": 96, "max_flops": "400M"}
    plain = plan.make(settings(files, **given))
    chosen = plan.make(settings(files, **given, sizes="128,64,96,64"))
    assert "imgsz" not in plain.space.choices
    assert chosen.space.choices == {**plain.space.choices, "imgsz": (64, 96, 128)}
    of_a_file = plan.make(settings(files, sizes=[64, 128]))
    for space in (chosen.space, of_a_file.space):
        drawn = [space.architecture(space.sample(random.Random(seed))) for seed in range(20)]
        assert {network.imgsz for network in drawn} == set(space.choices["imgsz"])
    assert chosen.config.imgsz == 96
    for bad in ("64,100", "big", "16"):
        with pytest.raises(NASError, match=f"sizes={bad}: not allowed; sizes takes multiples of"):
            settings(files, sizes=bad)


def test_a_search_trains_each_network_at_its_own_size(files, tmp_path, capsys):
    data, space = files
    arguments = [f"data={data}", f"space={space}", f"project={tmp_path}", "name=sizes", "trials=2"]
    arguments += ["epochs=1", "batch=4", "baseline=none", "confirm=0", "sizes=64,32"]
    assert main(["search", *arguments]) == 0
    folder = tmp_path / "sizes"
    assert "sizes=32,64" in (folder / "report.html").read_text()  # the command to search again
    rows = {
        row["choice.imgsz"]: row
        for row in csv.DictReader(io.StringIO((folder / "trials.csv").read_text()))
    }
    assert set(rows) == {"32", "64"}
    assert {row["imgsz"] for row in rows.values()} == {"32", "64"}  # at which they were trained
    assert int(rows["64"]["flops"]) == 4 * int(rows["32"]["flops"])
    printed = capsys.readouterr().out
    size = read(folder / "best.yaml").imgsz
    assert f"imgsz={size} epochs=100" in printed
    assert re.search(r"network +px +parameters", printed)
    assert f"GFLOPs at {size} px" in (folder / "best.yaml").read_text()
