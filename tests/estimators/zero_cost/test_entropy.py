"""Analytic scores against the published values and against the built model."""

import math
import random

import pytest
import torch
from torch import nn
from ultralytics.nn.tasks import parse_model

from yolo_nas_ext.estimators.zero_cost.entropy import (
    DEEPMAD_WEIGHTS,
    MADNAS_WEIGHTS,
    Stage,
    block_fan_ins,
    deepmad,
    effectiveness,
    entropy,
    madnas,
    stages,
    weights,
)
from yolo_nas_ext.files import resource
from yolo_nas_ext.network.architecture import Architecture, Block, Head, Neck
from yolo_nas_ext.network.emit import emit
from yolo_nas_ext.network.parse import read
from yolo_nas_ext.space.detector import DetectorSpace


@pytest.mark.parametrize(
    ("name", "score", "within"),
    [("l20", 1015.144106300765, 1e-9), ("l35", 2293.56, 0.005)],
)
def test_the_drop_in_configs_have_the_published_scores(name, score, within):
    architecture = read(resource("cfg", "backbones", f"damo-{name}.yaml"))
    assert madnas(architecture) == pytest.approx(score, abs=within, rel=0)


def backbone(architecture):
    """The backbone's rows as Ultralytics builds them."""
    return parse_model({**emit(architecture, 3), "head": []}, ch=3, verbose=False)[0]


def built_score(convolutions, ends):
    """The score over (fan-in, output channels) in order; a stage ends at each index of `ends`."""
    total, so_far, begin = 0.0, 0.0, 0
    for index, end in enumerate(ends):
        for fan_in, _ in convolutions[begin:end]:
            so_far += math.log(math.sqrt(fan_in))
        weight = 16 if index == len(ends) - 1 else 0 if index < 2 else 1
        total += weight * (so_far + math.log(convolutions[end - 1][1]))
        begin = end
    return total


def test_equals_the_built_models_convolutions_in_module_order():
    """DAMO's blocks are chains: every convolution of the backbone is on the main path."""
    space, rng = DetectorSpace.load("damo"), random.Random(7)
    for _ in range(200):
        architecture = space.architecture(space.sample(rng))
        with torch.device("meta"):
            found = [m for m in backbone(architecture).modules() if isinstance(m, nn.Conv2d)]
        convolutions = [
            (m.in_channels // m.groups * math.prod(m.kernel_size), m.out_channels) for m in found
        ]
        halved = [i for i, m in enumerate(found) if m.stride == (2, 2)][1:]
        # A super-block opens with a convolution of stride 1, which belongs to its stage.
        ends = [i - 1 for i in halved] + [len(found)]
        assert madnas(architecture) == pytest.approx(built_score(convolutions, ends), abs=1e-9)


def longest(function):
    """The longest path of convolutions in an autograd graph, and its sum of entropies."""
    known = {}

    def walk(node):
        if node is None:
            return (0, 0.0)
        if node not in known:
            best = max((walk(parent) for parent, _ in node.next_functions), default=(0, 0.0))
            if "ConvolutionBackward" in node.name():
                shape = node._saved_weight.shape
                best = (best[0] + 1, best[1] + 0.5 * math.log(math.prod(shape[1:])))
            known[node] = best
        return known[node]

    return walk(function)


@pytest.mark.parametrize("name", ["tiny", "yolo"])
def test_longest_paths_equal_those_of_the_autograd_graph(name):
    space, rng = DetectorSpace.load(name), random.Random(8)
    for _ in range(10):
        architecture = space.architecture(space.sample(rng))
        count, total = longest(backbone(architecture)(torch.zeros(2, 3, 32, 32)).grad_fn)
        fans = [f for stage in stages(architecture) for f in stage.fan_ins]
        assert (len(fans), entropy(fans)) == (count, pytest.approx(total, abs=1e-9))


def chain(*blocks):
    return Architecture(blocks, Neck((), (), ()), Head(()))


def test_deepmad_of_a_hand_computed_network():
    # stem 3 -> 8 (fan-in 27), then k1kx 8 -> 16 with bottleneck 8: fan-ins 8, 72, and of two
    # repeats more 16, 72
    network = chain(Block("conv", 8, 1, 2, 0, 3), Block("k1kx", 16, 2, 2, 8, 3))
    assert stages(network) == [Stage((27,), 8, ()), Stage((8, 72, 16, 72), 16, (2,))]
    first = 0.5 * math.log(27)
    whole = first + 0.5 * math.log(8 * 72 * 16 * 72)
    expected = math.log(8 * 32**2) * first + 8 * math.log(16 * 16**2) * whole - 10
    assert deepmad(network, 64) == pytest.approx(expected, abs=1e-9)
    geometric = (27 * 8 * 72 * 16 * 72) ** (1 / 5)
    assert effectiveness(network) == pytest.approx(5 / geometric)


def test_uneven_depths_cost_deepmad():
    def network(*depths):
        stem = Block("conv", 64, 1, 2, 0, 3)
        return chain(stem, *(Block("k1kx", 64, d, 2, 64, 3) for d in depths))

    even, uneven = network(2, 2), network(1, 3)
    # std of (1, 3) is 1; the moved repeat changes the sum too, by its share of the first stage
    moved = math.log(64 * 16**2) * 0.5 * math.log(64 * 576)
    assert deepmad(even, 64) - deepmad(uneven, 64) == pytest.approx(10 * (math.e - 1) + moved)


def test_thin_and_deep_is_no_candidate_for_deepmad():
    thin = chain(Block("conv", 8, 1, 2, 0, 3), Block("k1kx", 8, 20, 2, 8, 3))
    assert effectiveness(thin) > 0.3 and deepmad(thin) == -math.inf and madnas(thin) > 0


def test_fewer_stages_keep_the_last_weight():
    assert weights(5, MADNAS_WEIGHTS) == [0, 0, 1, 1, 16]
    assert weights(4, MADNAS_WEIGHTS) == [0, 0, 1, 16]
    assert weights(1, MADNAS_WEIGHTS) == [16]
    assert weights(5, DEEPMAD_WEIGHTS) == [1, 1, 1, 1, 8]


def test_the_image_has_its_channels():
    assert block_fan_ins(Block("conv", 8, 1, 2, 0, 3), 1) == (9,)
    assert block_fan_ins(Block("conv", 8, 1, 2, 0, 3), 3) == (27,)
