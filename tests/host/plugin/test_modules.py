"""The plugin blocks: against timm's own, parsed by Ultralytics, trained, reloaded, exported."""

import random
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from timm.models._efficientnet_blocks import InvertedResidual, SqueezeExcite
from torch import nn
from ultralytics import YOLO
from ultralytics.nn import tasks

from tests.helpers.shapes import draw
from yolo_nas_ext.errors import NASError, TrialError
from yolo_nas_ext.host.models import build
from yolo_nas_ext.host.plugin import modules as plugins
from yolo_nas_ext.host.plugin import register
from yolo_nas_ext.network.emit import to_yaml
from yolo_nas_ext.space.detector import DetectorSpace
from yolo_nas_ext.space.supernet import slots

BEFORE = Path(__file__).parents[2] / "fixtures" / "v0.1" / "mbconv.pt"
TINY = "test_efficientnet"  # timm's own for tests, 0.1 million parameters


def timm_model(*timm, index=(0, 1)):
    """A detector over two features of a timm backbone, as a user would write it."""
    return {
        "nc": 2,
        "backbone": [[-1, 1, "Timm", list(timm)], *([0, 1, "Index", [i]] for i in index)],
        "head": [
            [-1, 1, "nn.Upsample", ["None", 2, "nearest"]],
            [[-1, 1], 1, "Concat", [1]],
            [-1, 1, "C2f", [32]],
            [-1, 1, "Conv", [32, 3, 2]],
            [[-1, 2], 1, "Concat", [1]],
            [-1, 1, "C2f", [32]],
            [[5, 8], 1, "Detect", ["nc"]],
        ],
    }


@pytest.mark.parametrize(("c1", "c2", "k", "s", "e"), [(16, 24, 3, 2, 6), (40, 40, 5, 1, 4)])
def test_the_block_is_timms_inverted_residual(c1, c2, k, s, e):
    mine = plugins.MBConv(c1, c2, 1, k, s, e * c1)
    theirs = InvertedResidual(
        c1,
        c2,
        k,
        s,
        exp_ratio=e,
        act_layer=nn.SiLU,
        se_layer=partial(SqueezeExcite, rd_ratio=0.25 / e),
    )
    for norm in (mine.m[0].expand.bn, mine.m[0].depth.bn, mine.m[0].project.bn):
        norm.running_mean.uniform_(-1, 1)
    state = dict(zip(theirs.state_dict(), mine.state_dict().values(), strict=True))
    theirs.load_state_dict(state)
    for module in (mine, theirs):
        for norm in module.modules():
            if isinstance(norm, nn.BatchNorm2d):
                norm.eps = 1e-3  # as Ultralytics sets it in its models
    x = torch.randn(2, c1, 16, 16)
    with torch.no_grad():
        assert torch.allclose(mine.eval()(x), theirs.eval()(x), atol=1e-5)


def definition(*rows):
    return {
        "nc": 1,
        "backbone": [[-1, 1, "Conv", [16, 3, 2]], *rows],
        "head": [[[1], 1, "Detect", ["nc"]]],
    }


def test_the_parser_knows_channels_repeats_and_scales():
    row = [-1, 4, "MBConv", [30, 5, 2, 64]]
    model = build({**definition(row), "scales": {"n": [0.5, 1.0, 64]}}, task="detect", ch=3, nc=1)
    block = model.model[1]
    assert isinstance(block, plugins.MBConv) and len(block.m) == 2
    assert block.m[0].expand.conv.in_channels == 16 and block.m[1].project.conv.out_channels == 32
    assert int(model.stride[0]) == 4 and not block.m[0].add and block.m[1].add


def test_the_modules_of_ultralytics_are_back_also_after_a_failure():
    names = [name for places in plugins.STAND_INS.values() for name in places]
    before = [getattr(tasks, name) for name in names]
    row = [-1, 1, "MBConv", [32, 3, 1, 64]]
    both = build(definition(row, [-1, 1, "C3x", [32]]), task="detect", ch=3, nc=1)
    assert type(both.model[2]) is before[0]  # beside Ultralytics' own, another stands in
    with pytest.raises(TrialError, match="TypeError"):
        build(definition([-1, 1, "MBConv", [32, 3, 1, "wide"]]), task="detect", ch=3, nc=1)
    assert [getattr(tasks, name) for name in names] == before
    parse = tasks.parse_model
    register.register(tasks)
    assert tasks.parse_model is parse  # a second time does nothing


def test_a_timm_row_has_timms_channels():
    model = build(timm_model(TINY, False, [2, 3]), task="detect", ch=1, nc=2)
    features = model.model[0]
    assert features.m.feature_info.channels() == list(features.channels)
    assert [int(s) for s in model.stride] == [8, 16]
    joined = model.model[5].cv1.conv.in_channels
    assert joined == sum(features.channels)
    assert next(model.parameters()).shape[1] == 1


@pytest.mark.parametrize(
    ("timm", "index", "message"),
    [
        (("resnet18x",), (0, 1), r"no model 'resnet18x'.*resnet18"),
        ((TINY, False, [2, 3]), (0, 2), r"row 2: Index, \[2\]: the Timm row has 2 features"),
        ((TINY, False, [2, 9]), (0, 1), r"cannot be a backbone with out_indices=\[2, 9\]"),
    ],
)
def test_what_timm_has_not_is_refused(timm, index, message):
    with pytest.raises(TrialError, match=message):
        build(timm_model(*timm, index=index), task="detect", ch=3, nc=2)
    with pytest.raises(NASError, match=message):
        tasks.DetectionModel(timm_model(*timm, index=index), nc=2, verbose=False)


def test_without_a_network_weights_are_random_and_it_is_said(monkeypatch):
    said = []
    monkeypatch.setattr(plugins, "ONLINE", False)
    monkeypatch.setattr(plugins.LOGGER, "warning", said.append)
    assert plugins.Timm(3, TINY, True, [2]).channels
    assert said == [
        f"Timm {TINY}: random weights, as timm's could not be had (this machine is offline)"
    ]


@pytest.mark.parametrize("kind", ["timm", "mbconv"])
def test_trained_reloaded_and_exported(kind, tmp_path):
    import yaml

    data = draw(tmp_path / "data")
    content = timm_model(TINY, False, [2, 3])
    if kind == "mbconv":
        content = definition([-1, 2, "MBConv", [32, 3, 2, 64]])
    path = tmp_path / f"{kind}.yaml"
    path.write_text(yaml.safe_dump(content))
    model = YOLO(path)
    model.train(
        data=str(data),
        epochs=1,
        imgsz=64,
        batch=4,
        plots=False,
        amp=False,
        verbose=False,
        project=str(tmp_path),
        name="train",
        workers=0,
        device="cpu",
    )
    again = YOLO(tmp_path / "train" / "weights" / "best.pt")
    picture = np.zeros((64, 64, 3), np.uint8)
    assert len(again.predict(picture, imgsz=64, verbose=False, device="cpu")) == 1
    with torch.no_grad():
        x = torch.rand(1, 3, 64, 64)
        mine = again.model.float().eval()(x)[0]
        onnx = YOLO(again.export(format="onnx", imgsz=64), task="detect")
    import onnxruntime

    session = onnxruntime.InferenceSession(
        str(onnx.ckpt_path or onnx.model), providers=["CPUExecutionProvider"]
    )
    (theirs,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    assert np.allclose(theirs, mine.numpy(), atol=1e-2)


@pytest.mark.parametrize("name", ["efficientnet", "tiny"])
def test_a_definition_says_whether_it_needs_this_package(name):
    space = DetectorSpace.load(name)
    head = to_yaml(space.architecture(space.sample(random.Random(0))), 2).partition("\nnc:")[0]
    plugin = name == "efficientnet"
    assert ("needs yolo_nas_ext for mbconv" in head) == plugin != ("stock Ultralytics" in head)


def test_a_supernet_refuses_a_plugin_block():
    with pytest.raises(NASError, match=r"p1\.block has mbconv, a block of this package"):
        slots.check(DetectorSpace.load("efficientnet"))


def test_a_checkpoint_of_version_0_1_loads_and_predicts():
    """Its pickle names the blocks by the path that their module had then, `host.plugins`."""
    assert b"yolo_nas_ext.host.plugins" in BEFORE.read_bytes()
    model = YOLO(BEFORE)
    assert type(model.model.model[1]) is plugins.MBConv
    picture = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    (seen,) = model.predict(picture, imgsz=64, conf=0.0, max_det=3, verbose=False)
    assert len(seen.boxes) == 3 and np.isfinite(seen.boxes.data.numpy()).all()


def test_a_checkpoint_of_version_0_1_loads_where_nothing_of_ours_was_imported():
    code = f"from ultralytics import YOLO; print(type(YOLO({str(BEFORE)!r}).model.model[1]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "yolo_nas_ext.host.plugin.modules.MBConv" in done.stdout
