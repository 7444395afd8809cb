"""The layer table against the built model: each convolution, in order, with its shapes."""

import random

import pytest
import torch
from torch import nn
from ultralytics.nn.tasks import DetectionModel

from yolo_nas_ext.cost.counts import costs
from yolo_nas_ext.network.emit import emit
from yolo_nas_ext.network.layers import Layer, Table, lower
from yolo_nas_ext.space.detector import DetectorSpace


def ran(model, imgsz):
    """Record every convolution that a forward pass runs."""
    seen = []

    def hook(module, inputs, output):
        x = inputs[0]
        seen.append(
            (
                x.shape[1],
                output.shape[1],
                module.kernel_size[0],
                module.stride[0],
                module.groups,
                *output.shape[2:],
            )
        )

    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(hook)
    with torch.no_grad():
        model.eval()(torch.zeros(1, 3, imgsz, imgsz))
    return seen


@pytest.mark.parametrize("name", ["tiny", "yolo", "damo", "efficientnet"])
def test_convolutions_equal_those_that_run(name):
    space, rng = DetectorSpace.load(name), random.Random(4)
    for _ in range(10):
        architecture = space.architecture(space.sample(rng))
        mine = [
            (y.c_in, y.c_out, y.kernel, y.stride, y.groups, y.h, y.w)
            for y in lower(architecture, 3, 64).layers
            if y.op == "conv"
        ]
        host = ran(DetectionModel(emit(architecture, 3), nc=3, verbose=False), 64)
        assert sorted(mine) == sorted(host)


@pytest.mark.parametrize("name", ["tiny", "yolo", "damo", "efficientnet"])
def test_memoised_sums_equal_the_table(name):
    space, rng = DetectorSpace.load(name), random.Random(6)
    for _ in range(20):
        architecture = space.architecture(space.sample(rng))
        table, cost = lower(architecture, 5, 96), costs(architecture, 5, 96)
        assert (table.params, table.flops, table.memory()) == cost[:3]


def layer(reads, writes, size):
    return Layer("add", 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, reads, writes, size)


def test_memory_of_a_hand_computed_graph():
    # image (10 wide: c_in 1 x 1 x 1 here counts 1) -> a(10) -> b(20) -> c = a + b (10) -> d(5)
    layers = (layer((0,), 1, 10), layer((1,), 2, 20), layer((1, 2), 3, 10), layer((3,), 4, 5))
    assert Table(layers, (), 0).memory(1) == 10 + 20 + 10


def test_flops_scale_with_the_area_without_attention():
    space = DetectorSpace.load("tiny")
    architecture = space.architecture(space.sample(random.Random(0)))
    assert costs(architecture, 3, 128).flops == 4 * costs(architecture, 3, 64).flops
