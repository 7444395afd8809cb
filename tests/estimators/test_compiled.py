"""The compiled space says what the space, the costs and the scores say."""

import random

import numpy as np
import pytest

from tests.cost.devices import SIZE, made_up
from yolo_nas_ext.cost.analytic import costs
from yolo_nas_ext.estimators.compiled import CompiledSpace, Draw
from yolo_nas_ext.estimators.entropy import deepmad, madnas
from yolo_nas_ext.estimators.parts import PROBES, Part, Row, row_of
from yolo_nas_ext.space.architecture import Block
from yolo_nas_ext.space.blocks import BLOCKS
from yolo_nas_ext.space.detector import DetectorSpace
from yolo_nas_ext.space.grammar import parse
from yolo_nas_ext.space.layers import lower_rows

# What the shipped spaces do not have: one level only, P6, kernels and attention in the neck, blocks
# whose hidden width is their width, a stage of stride 1 at its level's start of the neck.
CORNERS = {
    "stem": {"width": [8, 16], "kernel": [3, 5, 1]},
    "stages": {
        "p2": {"down": ["adown", "aconv"], "block": ["repc3", "hgblock"], "width": [16, 24],
               "expansion": [0.5, 1], "depth": [1, 3]},
        "p3": {"down": "scdown", "block": ["elan", "ghost"], "width": [24, 48], "down_width": 0.5},
        "p3b": {"stride": 1, "block": ["kxkx", "c3k2_c3k"], "kernel": [5, 7], "width": [32, 64],
                "hidden": [16, 32, 64]},
        "p4": {"block": ["c2fcib", "c2f"], "width": [64, 136], "kernel": [3, 7]},
        "p5": {"block": ["c3"], "width": [64, 144], "expansion": [0.25, 0.7]},
        "p6": {"block": ["c3k2"], "width": [64, 200]},
    },
    "context": ["none", "sppf_add", "sppf+c2psa", "c2psa"],
    "levels": ["3-3", "4-4", "3-4", "2-5:3-4", "3-6", "2-6:2-4"],
    "neck": {"block": ["c2fcib", "c3k2"], "top": ["same", "c3k2_attn", "hgblock"],
             "width": [32, 64], "growth": [1, 1.5, 2], "kernel": [3, 7], "expansion": [0.25, 0.5]},
    "head": {"reg_max": [1, 16], "end2end": [False, True]},
    "rules": {"nondecreasing": ["width"], "hidden": [0.2, 1.5]},
    "mutation": {"moves": 3, "width": {"scale": [2, 0.5]}, "depth": {"step": [-1, 1]}},
}  # fmt: skip


def load(name):
    if name == "corners":
        return DetectorSpace(parse(CORNERS, "corners", "corners"))
    return DetectorSpace.load(name)


@pytest.mark.parametrize("name", ["damo", "yolo", "tiny", "efficientnet", "corners"])
@pytest.mark.parametrize(("nc", "imgsz", "channels"), [(80, 640, 3), (2, 192, 1)])
def test_costs_and_scores_are_the_exact_ones(name, nc, imgsz, channels):
    space, rng = load(name), random.Random(3)
    compiled = CompiledSpace(space, nc=nc, imgsz=imgsz, channels=channels)
    points = [space.sample(rng) for _ in range(60)]
    networks = np.stack([compiled.encode(point) for point in points])
    found = compiled.measure(networks)
    scores = compiled.madnas(found), compiled.deepmad(found)
    for index, point in enumerate(points):
        architecture = space.architecture(point)
        exact = costs(architecture, nc, imgsz, channels=channels)
        mine = tuple(int(getattr(found, n)[index]) for n in ("params", "flops", "layers"))
        assert mine == (exact.params, exact.flops, exact.layers), point
        for score, of in zip(scores, (madnas, deepmad), strict=True):
            assert score[index] == pytest.approx(of(architecture, imgsz, channels), rel=1e-12)


@pytest.mark.parametrize("name", ["damo", "yolo", "tiny", "efficientnet", "corners"])
def test_latency_is_the_profiles(name):
    space, rng, profile = load(name), random.Random(4), made_up(layers=150)
    compiled = CompiledSpace(space, nc=5, imgsz=SIZE, profile=profile)
    points = [space.sample(rng) for _ in range(80)]
    found = compiled.measure(np.stack([compiled.encode(point) for point in points]))
    exact = [profile.predict(space.architecture(point), 5, SIZE) for point in points]
    assert found.latency_ms == pytest.approx(exact, rel=1e-9)


@pytest.mark.parametrize("name", ["damo", "yolo", "tiny", "efficientnet", "corners"])
def test_moves_and_rules_are_the_spaces(name):
    space, rng = load(name), random.Random(4)
    compiled, draw = CompiledSpace(space), Draw(4)
    parents = [space.sample(rng) for _ in range(100)]
    networks = np.stack([compiled.encode(point) for point in parents])
    assert [compiled.decode(network) for network in networks] == parents
    assert compiled.allowed(networks).all()
    assert (compiled.canonical(networks) == networks).all()
    children = compiled.mutate(networks, draw)
    allowed = compiled.allowed(children)
    assert allowed.any()
    for child, good in zip(children, allowed, strict=True):
        point = compiled.decode(child)
        assert space.canonical(point) == point
        assert space.feasible(point) == good
    wild = np.stack(
        [[rng.randrange(len(options)) for options in space.choices.values()] for _ in range(200)]
    )
    for raw, network in zip(wild, compiled.canonical(wild), strict=True):
        assert compiled.decode(network) == space.canonical(compiled.decode(raw))


def test_every_choice_of_every_block_can_mutate():
    space = load("damo")
    compiled, draw = CompiledSpace(space), Draw(0)
    start = compiled.encode(space.sample(random.Random(0)))
    children = compiled.mutate(np.repeat(start[None], 5000, axis=0), draw)
    moved = {compiled.names[i] for i in np.flatnonzero((children != start).any(axis=0))}
    assert set(space.active(compiled.decode(start))) == moved


@pytest.mark.parametrize("kind", sorted(BLOCKS.keys() - {"sppf"}))  # has a row a width
def test_a_row_holds_at_widths_it_was_not_made_from(kind):
    kernels = BLOCKS[kind].kernels or (0,)
    for kernel, (width, hidden) in zip(kernels * 3, SIZES, strict=False):
        block = Block(kind, width, 2 if BLOCKS[kind].deep else 1, 1, hidden, kernel)
        row = row_of([block], 32)
        for c_in in (8, 72, 200):
            assert c_in not in PROBES
            chain = [(-1, *r) for r in BLOCKS[kind].rows(block)]
            table = lower_rows(chain, 1, reg_max=1, end2end=False, imgsz=32, channels=c_in)
            assert row.params[0] + row.params[1] * c_in // 8 == table.params
            assert row.ops[0] + row.ops[1] * c_in // 8 == table.flops // 2


SIZES = ((64, 32), (160, 128), (48, 48))


def test_numbers_below_a_bound_are_uniform_and_fixed():
    numbers = Draw(5).below(np.full(30_000, 3, np.int64))
    assert np.bincount(numbers).tolist() == pytest.approx([10_000] * 3, rel=0.03)
    # as on every machine and version
    expected = [80, 80, 51, 28, 5, 38, 40, 4, 4, 99]
    assert Draw(5).below(np.full(10, 100, np.int64)).tolist() == expected


def test_a_table_too_large_for_an_array_works_the_same(monkeypatch):
    def make(at):
        return Row((at[0], 0), (at[1], 0), 0.0, 0, ((1, 0), (1, 0)), 8, 0, False)

    columns = [np.array([3, 1, 3, 2]), np.array([4, 0, 4, 1])]
    dense = Part((5, 6), make)
    monkeypatch.setattr("yolo_nas_ext.estimators.parts.DENSE", 1)
    sparse = Part((5, 6), make)
    for part in (dense, sparse):
        for _ in range(2):
            assert part.ints[part.find(columns)][:, [0, 2]].tolist() == [
                [3, 4], [1, 0], [3, 4], [2, 1],
            ]  # fmt: skip
