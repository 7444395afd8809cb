"""Roles and channels of a network's parts against its layer table."""

import random

import pytest

from yolo_nas_ext.host.models import definition
from yolo_nas_ext.network.layers import lower
from yolo_nas_ext.network.parse import read
from yolo_nas_ext.network.roles import pieces, shared, total
from yolo_nas_ext.network.rows import Task
from yolo_nas_ext.space.detector import DetectorSpace


@pytest.mark.parametrize("name", ["tiny", "yolo", "damo", "efficientnet"])
def test_channels_are_those_of_the_layer_table(name):
    space, rng = DetectorSpace.load(name), random.Random(1)
    for _ in range(20):
        architecture = space.architecture(space.sample(rng))
        found = pieces(architecture, Task(3))
        table = [
            (y.c_in, y.c_out, y.groups > 1)
            for y in lower(architecture, 3, 64).layers
            if y.op == "conv"
        ]
        mine = [
            (total(c.inputs), total(c.outputs), c.depthwise) for p in found for c in p.convolutions
        ]
        assert mine == table[: len(mine)]
        assert len(table) - len(mine) == (architecture.head.reg_max > 1)  # the fixed decoding
        roles = [p.role for p in found]
        assert len(set(roles)) == len(roles)


def test_roles_of_yolo11n():
    found = {p.role: p for p in pieces(read(*definition("yolo11n")), Task(80))}
    assert found["context", "c2psa", 1, 0].module == "C2PSA"
    assert found["backbone", 4, "down", 0].row == 5
    assert found["top-down", 3, "block", 0].row == 16
    assert found["bottom-up", 5, "down", 0].row == 20
    first, *_, last = found["top-down", 4, "block", 0].convolutions
    assert first.inputs == (256, 128) and first.outputs == (64, 64)  # from above and beside; halves
    assert last.inputs == (64, 64, 64) and last.outputs == 128
    _, qkv, position, *_ = found["context", "c2psa", 1, 0].convolutions
    assert qkv.outputs == ((32, 32, 64),) * 2 and position.inputs == (64, 64)
    outputs = [found["head", n, "class", "one-to-many"].convolutions[-1] for n in (3, 4, 5)]
    assert [c.outputs for c in outputs] == [80] * 3


@pytest.mark.parametrize(
    ("mine", "theirs", "pairs"),
    [
        (2, 3, [(0, 0), (1, 1)]),
        ((2, 1), (1, 3), [(0, 0), (2, 1)]),
        ((1, 1, 1), (2, 2), [(0, 0), (1, 2)]),  # a third part has no counterpart
        (3, (2, 2), [(0, 0), (1, 1), (2, 2)]),  # one is not made of parts
        (((1, 1), (1, 1)), ((2, 2), (2, 2)), [(0, 0), (1, 2), (2, 4), (3, 6)]),
    ],
)
def test_shared_channels_go_part_by_part(mine, theirs, pairs):
    assert shared(mine, theirs) == pairs
