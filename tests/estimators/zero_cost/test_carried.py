"""The score of a transfer: nothing is apart from itself, and more is lost by larger changes."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from tests.helpers.shapes import draw
from yolo_nas_ext.errors import NASError
from yolo_nas_ext.estimators.training import FineTuning
from yolo_nas_ext.estimators.zero_cost.carried import Carried
from yolo_nas_ext.host import models
from yolo_nas_ext.host.dataset import read
from yolo_nas_ext.host.training import checkpoint
from yolo_nas_ext.network.emit import emit
from yolo_nas_ext.network.parse import read as read_model
from yolo_nas_ext.space.parent import ParentSpace


@pytest.fixture(scope="module")
def network():
    """YOLOv8n at half of its widths, as the fit of a wide convolution takes a second."""
    definition, scale = models.definition("yolov8n")
    return read_model({**definition, "scales": {scale: [0.33, 0.125, 1024]}}, scale)


@pytest.fixture(scope="module")
def carried(network, tmp_path_factory):
    folder = tmp_path_factory.mktemp("carried")
    model = models.build(emit(network, 3), task="detect", nc=3)
    torch.manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            module.momentum = 1.0
    with torch.no_grad():  # or activations would vanish
        model.train()(torch.rand(4, 3, 64, 64))
    for branch in model.model[-1].cv3:  # sure of something, as a trained one is
        nn.init.normal_(branch[-1].weight, 0, 0.5)
        nn.init.zeros_(branch[-1].bias)
    model.names = {0: "cat", 1: "dog", 2: "hen"}
    checkpoint.save(model, folder / "parent.pt", args={"task": "detect"}, metrics={})
    data = read(draw(folder / "shapes"))
    return Carried(FineTuning(data, imgsz=64, batch=8, threads=1, inherit=folder / "parent.pt"))


def test_what_changes_more_is_further_apart(network, carried):
    space = ParentSpace(network)
    point = dict(space.point_of(network))

    def score(**changes):
        changes = {name.replace("__", "."): value for name, value in changes.items()}
        found = carried.estimate(space.architecture(space.canonical({**point, **changes})))
        assert 0 < found["inherited_percent"] <= 100
        return found["fitness"]

    same, deeper = score(), score(p3__depth=3)
    assert abs(same) < 1e-3 and abs(deeper) < 1e-3  # which computes the same
    some, many = score(p4__hidden=16), score(p4__hidden=16, p5__hidden=32, p3__width=16)
    assert many < min(some, same)
    assert score(levels="3-4") < many


def test_the_same_network_has_the_same_score_and_may_have_an_image_size(network, carried):
    first = carried.estimate(network)
    carried.estimate(replace(network, imgsz=96))
    assert carried.estimate(network) == first


def test_without_a_parent_there_is_nothing_to_compare_with(carried, tmp_path):
    data = read(draw(tmp_path))
    with pytest.raises(NASError, match="give model="):
        Carried(FineTuning(data, imgsz=64, batch=8, threads=1))
