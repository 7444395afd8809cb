"""Training in half the digits, on any processor: natively or by rounding."""

from copy import deepcopy

import pytest
import torch
from ultralytics.nn.tasks import ClassificationModel, DetectionModel, SegmentationModel

from tests.helpers.shapes import draw
from yolo_nas_ext.estimators.training import FullTraining, ShortTraining
from yolo_nas_ext.host.dataset import read
from yolo_nas_ext.host.training import bfloat16

KINDS = [
    (DetectionModel, "yolo26n.yaml"),
    (SegmentationModel, "yolo11n-seg.yaml"),
    (ClassificationModel, "yolo11n-cls.yaml"),
]


def tensors(value):
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        return [t for one in value for t in tensors(one)]
    return [value]


@pytest.mark.parametrize(("kind", "name"), KINDS)
def test_in_training_alone(kind, name):
    torch.manual_seed(0)
    model = kind(name, nc=2, verbose=False)
    images = torch.rand(4, 3, 96, 96)
    with torch.no_grad():
        whole = [tensors(deepcopy(model).train()(images)), tensors(deepcopy(model).eval()(images))]
        bfloat16.halve(model)
        copied = deepcopy(model)  # as the moving average is
        for one in (model, copied):
            half = tensors(deepcopy(one).train()(images)), tensors(deepcopy(one).eval()(images))
            assert all(t.dtype == torch.float32 for t in half[0])
            pairs = list(zip(half[0], whole[0], strict=True))
            error = sum(float((a - b).abs().mean()) for a, b in pairs)
            assert 0 < error < 0.1 * sum(float(b.abs().mean()) for _, b in pairs)
            assert all(torch.equal(a, b) for a, b in zip(half[1], whole[1], strict=True))
    bfloat16.restore(model)
    assert type(model) is kind
    bfloat16.restore(model)  # of one that is itself
    assert type(model) is kind


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return read(draw(tmp_path_factory.mktemp("shapes")))


@pytest.mark.parametrize("native", [True, False])
def test_short_trainings_use_it_where_it_is_faster(data, tmp_path, monkeypatch, native):
    monkeypatch.setattr(bfloat16, "native", lambda: native)
    seen = []
    monkeypatch.setattr(bfloat16, "halve", lambda model: seen.append(model))
    options = {"epochs": 1, "imgsz": 64, "batch": 8, "device": "cpu"}
    ShortTraining(data, **options).estimate("yolov8n")
    assert len(seen) == native
    ShortTraining(data, overrides={"amp": False}, **options).estimate("yolov8n")
    FullTraining(data, **options).estimate("yolov8n")
    assert len(seen) == native


def test_weights_are_a_stock_checkpoint(data, tmp_path, monkeypatch):
    monkeypatch.setattr(bfloat16, "native", lambda: True)
    short = ShortTraining(data, epochs=1, imgsz=64, batch=8, device="cpu")
    first = short.estimate("yolov8n", weights=tmp_path / "a.pt")
    assert first == short.estimate("yolov8n")
    assert type(torch.load(tmp_path / "a.pt", weights_only=False)["model"]) is DetectionModel
