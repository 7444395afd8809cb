"""Compound scaling: what a scaled network is, what fits a budget, and the command's family."""

import math
import re
import shlex
from dataclasses import replace

import pytest
import torch
import yaml
from ultralytics import YOLO
from ultralytics.nn.tasks import guess_model_scale

from tests.helpers.shapes import draw
from yolo_nas_ext.cli import main
from yolo_nas_ext.commands import scale
from yolo_nas_ext.cost.counts import costs
from yolo_nas_ext.errors import NASError
from yolo_nas_ext.files import resource
from yolo_nas_ext.host.models import build, definition
from yolo_nas_ext.network import scaling
from yolo_nas_ext.network.emit import emit
from yolo_nas_ext.network.parse import read
from yolo_nas_ext.network.scaling import Coefficients

MODELS = ["yolov8n", "yolo11n", "yolo26n", "damo-l20", "damo-yolo-t"]


def network(name, imgsz=128):
    path = resource("cfg", "backbones", f"{name}.yaml")
    found = read(path) if path.is_file() else read(*definition(name))
    return replace(found, imgsz=imgsz)


def flops(found):
    return costs(found, 3, found.imgsz).flops


@pytest.mark.parametrize("name", MODELS)
def test_scaled_networks_are_built_and_cost_what_we_say(name):
    base = network(name)
    assert scaling.scaled(base, Coefficients(1, 1, 1)) == base
    large = scaling.scaled(base, Coefficients(1.6, 1.3, 1.5))
    assert large.imgsz == 192
    pairs = zip(base.backbone, large.backbone, strict=True)
    assert all(b.width % 8 == 0 and a.width < b.width <= 1.3 * a.width + 8 for a, b in pairs)
    assert max(b.depth / a.depth for a, b in zip(base.backbone, large.backbone, strict=True)) > 1
    model = build(emit(large, 3), task="detect", ch=3, nc=3)
    assert sum(p.numel() for p in model.parameters()) == costs(large, 3, 192).params
    assert read(emit(large, 3)) == large


def test_flops_grow_by_depth_width_squared_and_resolution_squared():
    base = network("damo-l45")  # large: rounding hardly matters
    for by, expected in ((Coefficients(1, 2, 1), 4), (Coefficients(1, 1, 2), 4)):
        assert flops(scaling.scaled(base, by)) / flops(base) == pytest.approx(expected, rel=0.03)
    double = scaling.scaled(base, Coefficients(2, 1, 1))
    assert [b.depth for b in double.backbone[1:]] == [2 * b.depth for b in base.backbone[1:]]
    assert Coefficients(1.2, 1.1, 1.15).power(2) == Coefficients(1.2**2, 1.1**2, 1.15**2)


def test_the_grid_holds_every_network_that_fits_and_no_other():
    base, grid = network("yolo11n"), (1.0, 1.2, 1.4)
    budget = flops(scaling.scaled(base, Coefficients(1.0, 1.2, 1.2)))
    found = scaling.fits(base, budget, flops, grid)
    brute = {scaling.scaled(base, Coefficients(d, w, r)) for d in grid for w in grid for r in grid}
    assert set(found) == {n for n in brute if 0.9 * budget <= flops(n) <= budget} != set()
    for candidate, by in found.items():
        assert scaling.scaled(base, by) == candidate


def test_a_member_is_the_largest_of_its_kind_within_the_budget():
    base, by = network("yolo11n"), Coefficients(1.2, 1.1, 1.15)
    for ratio in (2, 4, 8):
        phi = scaling.steps(ratio, 2)
        assert phi == pytest.approx(math.log2(ratio))
        member = scaling.grown(base, by, phi, ratio * flops(base), flops)
        assert 0.95 * ratio <= flops(member) / flops(base) <= ratio


def run(capsys, *arguments):
    code = main(["scale", *arguments])
    return code, capsys.readouterr()


def test_the_command_writes_a_family_of_stock_models(tmp_path, capsys):
    out = tmp_path / "family"
    code, printed = run(capsys, "model=yolo11n", "flops=2x,4x", "imgsz=128", "nc=3", f"out={out}")
    assert code == 0 and "DeepMAD's score, without training" in printed.out
    files = {path.stem[-1]: path for path in out.glob("*.yaml")}
    assert set(files) == {"n", "s", "m"}
    members = {letter: read(path) for letter, path in files.items()}
    assert members["n"] == network("yolo11n")
    for letter, ratio in (("s", 2), ("m", 4)):
        path, member = files[letter], members[letter]
        assert 0.95 * ratio <= flops(member) / flops(members["n"]) <= ratio
        assert guess_model_scale(path) == "" and "needs no plugin" in path.read_text()
        assert f"{costs(member, 3).params:,} parameters" in path.read_text()
    assert f"imgsz={members['s'].imgsz}" in printed.out
    code, printed = run(capsys, "model=yolo11n", f"out={out}")
    assert code == 2 and "exists; give a new folder" in printed.err


def test_a_trained_network_gives_its_family_weights(tmp_path, capsys):
    """Members at the image size of the first compute what it does."""
    first = YOLO("yolov8n.yaml", task="detect", verbose=False)
    first.save(tmp_path / "first.pt")
    out = tmp_path / "family"
    assert (
        main(["scale", f"model={tmp_path / 'first.pt'}", "flops=2x", "imgsz=64", f"out={out}"]) == 0
    )
    said = capsys.readouterr().out
    (larger,) = out.glob("*-s.pt")
    assert f"{larger.name}: " in said and f"train model={larger}" in said
    image = torch.rand(1, 3, 64, 64)
    models = [YOLO(path).model.float().eval() for path in (tmp_path / "first.pt", larger)]
    assert sum(p.numel() for p in models[1].parameters()) > 1.3 * sum(
        p.numel() for p in models[0].parameters()
    )
    with torch.no_grad():
        mine, theirs = (model(image)[0] for model in models)
    assert (mine - theirs).abs().max() < 1e-2 * theirs.abs().max()  # in half precision


def test_short_trainings_choose_where_there_are_data(tmp_path, capsys):
    data = draw(tmp_path / "data")
    small = {
        "nc": 2,
        "imgsz": 64,
        "backbone": [
            [-1, 1, "Conv", [8, 3, 2]],
            [-1, 1, "Conv", [8, 3, 2]],
            [-1, 1, "C2f", [8, True]],
            [-1, 1, "Conv", [16, 3, 2]],
            [-1, 1, "C2f", [16, True]],
        ],
        "head": [[[4], 1, "Detect", ["nc"]]],
    }
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(small))
    out = tmp_path / "family"
    code, printed = run(
        capsys,
        f"model={path}",
        "flops=3x",
        f"out={out}",
        f"data={data}",
        "tries=2",
        "epochs=1",
        "batch=4",
        "device=cpu",
    )
    assert code == 0, printed.err
    assert printed.out.count(": mAP50-95 ") == 2 and "by a training of 1 epochs" in printed.out
    assert len(list(out.iterdir())) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "model: is required"),
        (("model=yolo11n", "flops=2y"), r"flops=2y: not allowed; flops takes budgets such as 2x"),
        (("model=yolo11n", "flops=1x"), "a family grows, give 2x or more"),
        (("model=yolo11n", "flops=2x,3x,4x,5x,6x"), "1 to 4 budgets"),
        (("model=yolo11q",), r"model=yolo11q: Ultralytics has no such model"),
        (("model=yolo11n", "imgsz=100"), r"imgsz=100: not allowed"),
        (("model=yolo11n", "depth=2"), r"depth=2: unknown key"),
    ],
)
def test_bad_input_writes_nothing(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code, printed = run(capsys, *arguments)
    assert code == 2 and re.search(message, printed.err)
    assert not list(tmp_path.iterdir())


def test_a_network_that_cannot_be_read_says_why(tmp_path):
    path = resource("cfg", "backbones", "efficientnet-b0.yaml")
    with pytest.raises(NASError, match=r"cannot be read"):
        scale.main({"model": str(path), "out": str(tmp_path / "x")})


def test_what_to_type_next_is_safe_to_type(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    out = "sc;$(touch marker)"
    assert main(["scale", "model=yolov8n", "flops=2x", "imgsz=64", f"out={out}"]) == 0
    words = shlex.split(capsys.readouterr().out.splitlines()[-1])
    assert words[3].startswith(f"model={out}/nas-") and words[4] == "data=my.yaml"
