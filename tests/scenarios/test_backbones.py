"""The drop-in models: each is built by Ultralytics and costs what its header says."""

import random
import re
import sys
from dataclasses import replace

import pytest

from tests.helpers.shapes import draw
from yolo_nas_ext.cost.counts import costs
from yolo_nas_ext.errors import NASError
from yolo_nas_ext.files import resource
from yolo_nas_ext.host import models
from yolo_nas_ext.network.blocks import BLOCKS
from yolo_nas_ext.network.emit import blocks_of, emit
from yolo_nas_ext.network.parse import read
from yolo_nas_ext.space.detector import DetectorSpace

FILES = sorted(resource("cfg", "backbones").glob("*.yaml"))
NAMES = [path.stem for path in FILES]
# Published parameters in millions and GFLOPs at 640 px (Xu et al. 2022, table 6).
PUBLISHED = {"t": (8.5, 18.1), "s": (16.3, 37.8), "m": (28.2, 61.8), "l": (42.1, 97.3)}

# What our own searches ended in: the winner of a search of benchmarks/proof.py.
FOUND = {
    "found-brain-small": "brain/small-0",
    "found-brain": "brain/found-0",
    "found-cells": "cells/found-2",
}


def text_of(name):
    return resource("cfg", "backbones", f"{name}.yaml").read_text(encoding="utf-8")


@pytest.fixture
def benchmark(root, monkeypatch):
    monkeypatch.syspath_prepend(str(root / "benchmarks"))
    monkeypatch.delitem(sys.modules, "backbones", raising=False)
    import backbones  # pyright: ignore[reportMissingImports]

    return backbones


def test_all_are_there():
    damo = {f"damo-{n}" for n in ("l20", "l25", "l35", "l45", *(f"yolo-{s}" for s in "tsml"))}
    others = {f"efficientnet-b{n}" for n in range(5)} | {"timm-mobilenetv4"} | set(FOUND)
    assert damo | others == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_the_header_says_what_ultralytics_counts(name, benchmark):
    path = resource("cfg", "backbones", f"{name}.yaml")
    assert benchmark.header(path) == benchmark.counts(path)
    text = path.read_text(encoding="utf-8")
    head = text[: text.index("\nnc:")]
    assert re.search(r"# .*(arXiv:\d{4}\.\d{5}|yolo nas-search data=)", head)  # the source
    assert re.search(r"# latency \d+ ms, [\d.]+ times yolo11n's .*: onnx on cpu, .*640 px", head)
    assert ("NEEDS THIS PACKAGE" in head) == ("Timm" in text) != ("needs no plugin" in head)


@pytest.mark.parametrize("size", PUBLISHED)
def test_damo_yolos_are_backbone_and_queen_fusion(size):
    model = read(resource("cfg", "backbones", f"damo-yolo-{size}.yaml"))
    layers = {"t": "l20", "s": "l25", "m": "l35", "l": "l45"}[size]
    searched = read(resource("cfg", "backbones", f"damo-{layers}.yaml")).backbone
    assert model.backbone[:-1] == searched and model.backbone[-1].kind == "sppf"
    assert model.neck.kind == "gfpn"
    assert not any(BLOCKS[block.kind].plugin for block in blocks_of(model))
    params, gflops = PUBLISHED[size]
    assert f"Published: {params} M parameters, {gflops} GFLOPs" in text_of(f"damo-yolo-{size}")


def test_ultralytics_does_not_take_a_name_for_another_model():
    from ultralytics.nn.tasks import guess_model_scale

    for path in FILES:
        assert guess_model_scale(path) == ""
        assert not any(word in path.stem for word in ("yolo_nas", "sam_", "rtdetr", "-world"))


def test_what_reads_several_features_of_one_row_is_no_point_of_a_space():
    with pytest.raises(NASError, match=r"row 1 \(Index\) does not follow"):
        read(resource("cfg", "backbones", "efficientnet-b0.yaml"))


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", NAMES)
def test_each_trains_an_epoch_and_is_exported(name, benchmark, tmp_path):
    path = resource("cfg", "backbones", f"{name}.yaml")
    found = benchmark.trained_and_exported(path, draw(tmp_path / "data"), tmp_path)
    assert found["difference"] <= benchmark.TOLERANCE
    built = models.build(models.definition(str(path))[0], task="detect", ch=3, nc=2)
    assert found["parameters"] == sum(p.numel() for p in built.parameters())


@pytest.mark.parametrize("name", FOUND)
def test_found_ones_are_those_of_the_proof(name, root):
    winner = root / "benchmarks" / "results" / "winners" / f"{FOUND[name]}.yaml"
    shipped, won = (read(path) for path in (resource("cfg", "backbones", f"{name}.yaml"), winner))
    assert replace(shipped, imgsz=won.imgsz) == won  # for any image size


@pytest.mark.slow
@pytest.mark.realdata
def test_a_transformer_beside_blocks_of_ones_own_is_built_and_counted(shared_inputs):
    """Its channels come last and its windows are of the image's size."""
    path = shared_inputs / "swin_space.yaml"
    space = DetectorSpace.load(path, fix={"backbone": "timm/swin_tiny_patch4_window7_224"})
    network = space.architecture(space.sample(random.Random(0)))
    params, flops = models.costs(emit(network, 2), nc=2, channels=3, imgsz=96)
    ours = costs(network, 2, 96)
    assert params == ours.params and flops == pytest.approx(ours.flops, rel=0.01)
