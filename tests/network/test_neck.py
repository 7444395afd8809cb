"""Both kinds of neck, over every set of levels; the wiring of queen fusion."""

import random
import re
from collections import Counter

import numpy as np
import pytest
import yaml
from torch import nn
from ultralytics.nn.modules import RepConv
from ultralytics.nn.tasks import DetectionModel

from tests.network.test_layers import ran
from tests.space.test_detector import check_one
from yolo_nas_ext.cost.counts import costs
from yolo_nas_ext.cost.latency.fused_layers import deployed
from yolo_nas_ext.errors import NASError
from yolo_nas_ext.network.architecture import Architecture
from yolo_nas_ext.network.emit import emit, to_yaml
from yolo_nas_ext.network.layers import lower
from yolo_nas_ext.network.parse import read
from yolo_nas_ext.network.roles import pieces, total
from yolo_nas_ext.network.rows import Task, rows
from yolo_nas_ext.report.drawing import drawing
from yolo_nas_ext.space.detector import DetectorSpace
from yolo_nas_ext.space.parse import parse
from yolo_nas_ext.space.supernet import slots
from yolo_nas_ext.vectorized.encoding import Draw
from yolo_nas_ext.vectorized.evaluator import VectorizedSpace

LEVELS = ["3-5", "2-5", "3-4", "2-4", "4-5", "2-5:3-5", "2-5:3-4", "2-5:2-3", "4-4"]


def space_of(kinds, task="detect", **changes):
    stages = {f"p{n}": {"block": ["c3k2", "c2f"], "width": [16 * n, 24 * n]} for n in (2, 3, 4, 5)}
    neck = {
        "kind": kinds,
        "block": ["elan", "c2f", "repc3"],
        "top": ["same", "c3k2_attn"],
        "depth": [1, 2],
        "width": [24, 32],
        "growth": [1, 1.5, 2],
        "expansion": [0.25, 0.5, 1],
    }
    content = {
        "stem": {"width": [8, 16]},
        "stages": stages,
        "levels": LEVELS,
        "neck": neck,
        "head": {"reg_max": [1, 16], "end2end": [False, True]},
    }
    return DetectorSpace(parse({**content, **changes}, "necks", "necks"), task)


SPACE = space_of(["pan", "gfpn"])


@pytest.mark.parametrize("levels", LEVELS)
def test_each_set_of_levels_builds_counts_and_reads_back(levels):
    """The conformance of spaces, of a network with queen fusion at each set of levels."""
    rng = random.Random(levels)
    values = {**SPACE.sample(rng), "levels": levels, "neck.kind": "gfpn"}
    point = SPACE.canonical(values)
    check_one(SPACE, point)
    architecture = SPACE.architecture(point)
    assert architecture.neck.kind == ("pan" if levels == "4-4" else "gfpn")
    assert Architecture.from_dict(architecture.to_dict()) == architecture
    table, cost = lower(architecture, 3, 64), costs(architecture, 3, 64)
    assert (table.params, table.flops, table.memory()) == cost[:3]
    model = DetectionModel(emit(architecture, 3), nc=3, verbose=False)
    mine = [
        (y.c_in, y.c_out, y.kernel, y.stride, y.groups, y.h, y.w)
        for y in table.layers
        if y.op == "conv"
    ]
    assert sorted(mine) == sorted(ran(model, 64))


def test_queen_fusion_is_that_of_damo_yolo():
    """Which tensors each place reads, as in Figure 3 of the paper's neck over P3 to P5."""
    point = SPACE.canonical(
        {**SPACE.sample(random.Random(0)), "levels": "3-5", "context": "none", "neck.kind": "gfpn"}
    )
    backbone, head = rows(SPACE.architecture(point), 3)
    first = len(backbone)
    p4, p5 = 6, 8  # rows of the backbone that end these levels; P3's is 4
    wiring = [(row[0], row[2]) for row in head]
    block = wiring[2][1]
    assert wiring == [
        (p4, "Conv"),
        ((p5, -1), "Concat"),
        (-1, block),  # x3
        (-1, "nn.Upsample"),
        (4, "Conv"),
        ((first + 3, p4, -1), "Concat"),
        (-1, block),  # x4
        (-1, "nn.Upsample"),
        ((-1, 4), "Concat"),
        (-1, block),  # x5
        (-1, "Conv"),
        ((-1, first + 6), "Concat"),
        (-1, block),  # x7
        (-1, "Conv"),
        (first + 6, "Conv"),
        ((first + 13, first + 2, -1), "Concat"),
        (-1, wiring[16][1]),
        ((first + 9, first + 12, first + 16), "Detect"),  # x6
    ]


def test_a_re_parameterised_neck_is_plain_convolutions_when_fused():
    point = {
        **SPACE.sample(random.Random(3)),
        "neck.kind": "gfpn",
        "neck.block": "elan",
        "levels": "2-5",
        "head.end2end": False,
        "head.reg_max": 16,
    }
    architecture = SPACE.architecture(SPACE.canonical(point))
    model = DetectionModel(emit(architecture, 3), nc=3, verbose=False).eval()
    assert any(isinstance(m, RepConv) for m in model.modules())
    model.fuse(verbose=False)
    theirs = Counter(
        (m.out_channels, m.in_channels // m.groups, m.kernel_size[0])
        for name, m in model.named_modules()
        if isinstance(m, nn.Conv2d) and "dfl" not in name
    )
    mine = Counter(
        (op.c_out, op.c_in // op.groups, op.kernel)
        for op in deployed(architecture, 3, 64)
        if op.kind == "conv"
    )
    assert mine == theirs


def test_costs_and_moves_of_the_vectorized_space_are_the_exact_ones():
    rng, vectorized = random.Random(1), VectorizedSpace(SPACE, nc=3, imgsz=128)
    points = [SPACE.sample(rng) for _ in range(150)]
    networks = np.stack([vectorized.encode(point) for point in points])
    assert (vectorized.canonical(networks) == networks).all()
    found = vectorized.evaluate(networks)
    for index, point in enumerate(points):
        exact = costs(SPACE.architecture(point), 3, 128)
        assert (found.params[index], found.flops[index]) == (exact.params, exact.flops), point
    for child in vectorized.mutate(networks, Draw(1)):
        point = vectorized.decode(child)
        assert SPACE.canonical(point) == point


def test_both_kinds_share_roles():
    """Weights go from one neck to the other: what they have in common has the same role."""
    values = {**SPACE.sample(random.Random(2)), "levels": "3-5"}
    pan, gfpn = (
        {p.role: p for p in pieces(SPACE.architecture(SPACE.canonical(point)), Task(3))}
        for point in ({**values, "neck.kind": kind} for kind in ("pan", "gfpn"))
    )
    extra = {role[:3] for role in gfpn.keys() - pan.keys()}
    assert (
        extra
        == {
            ("top-down", 5, "cross"),
            ("top-down", 5, "block"),
            ("top-down", 4, "cross"),
            ("bottom-up", 5, "cross"),
        }
        and not pan.keys() - gfpn.keys()
    )
    role = ("top-down", 4, "block", 0)
    first, more = (p[role].convolutions[0].inputs for p in (pan, gfpn))
    assert total(more[1]) == total(first[1])  # the backbone's level is the second of both


def test_reading_refuses_another_wiring():
    point = SPACE.canonical(
        {**SPACE.sample(random.Random(0)), "levels": "3-5", "neck.kind": "gfpn"}
    )
    text = yaml.safe_load(to_yaml(SPACE.architecture(point), 3))
    assert read(text).neck.kind == "gfpn"
    for row, value in ((0, [2, 1, "Conv", [64, 3, 2]]), (5, [[-1, 4], 1, "Concat", [1]])):
        other = {**text, "head": [*text["head"][:row], value, *text["head"][row + 1 :]]}
        with pytest.raises(NASError, match=r"wired|neighbouring"):
            read(other)
    wider = text["head"][0]
    wider[3] = [wider[3][0] + 8, 3, 2]
    with pytest.raises(NASError, match="wired"):
        read(text)


def test_a_space_without_the_choice_says_so():
    gfpn = SPACE.architecture(
        SPACE.canonical({**SPACE.sample(random.Random(0)), "levels": "3-5", "neck.kind": "gfpn"})
    )
    with pytest.raises(NASError, match=r"neck\.kind would be 'gfpn'; options: \['pan'\]"):
        space_of("pan").point_of(gfpn)
    assert "neck.kind" not in space_of("pan").choices
    assert space_of("gfpn").point_of(gfpn)["neck.kind"] == "gfpn"


def test_a_supernet_refuses_queen_fusion():
    head = {"reg_max": 16, "end2end": False}
    with pytest.raises(NASError, match=r"fix it with fix=neck\.kind:pan"):
        slots.check(space_of(["pan", "gfpn"], head=head))
    slots.check(space_of("pan", head=head))


@pytest.mark.parametrize("task", ["segment", "semantic", "obb", "pose", "classify"])
def test_queen_fusion_under_other_heads(task):
    from yolo_nas_ext.host.models import build

    space = space_of("gfpn", task)
    architecture = space.architecture(space.sample(random.Random(4)))
    more = {"data_kpt_shape": (17, 3)} if task == "pose" else {}
    model = build(emit(architecture, 3, task), task=task, ch=3, nc=3, **more)
    assert costs(architecture, 3, 64, task=task).params == sum(
        p.numel() for p in model.parameters()
    )


def test_the_drawing_shows_each_place_and_what_it_reads():
    values = {**SPACE.sample(random.Random(0)), "levels": "2-5"}
    pan, gfpn = (
        drawing(SPACE.architecture(SPACE.canonical({**values, "neck.kind": kind})), kind)
        for kind in ("pan", "gfpn")
    )
    assert gfpn.count('class="box neck"') - pan.count('class="box neck"') == 1
    crossing = [len(re.findall(r'd="M[^"]*L', text)) for text in (pan, gfpn)]
    assert crossing == [0, 5]  # three on the way down, two on the way up
