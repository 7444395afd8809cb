"""The vectorized space says what the space, the costs and the scores say."""

import random

import numpy as np
import pytest

from tests.helpers.corners import load
from tests.helpers.devices import SIZE, made_up
from yolo_nas_ext.cost.counts import costs
from yolo_nas_ext.estimators.zero_cost.entropy import deepmad, madnas
from yolo_nas_ext.network.architecture import Block
from yolo_nas_ext.network.blocks import BLOCKS
from yolo_nas_ext.network.layers import lower_rows
from yolo_nas_ext.vectorized.evaluator import VectorizedSpace
from yolo_nas_ext.vectorized.latency_tables import FIT_CHANNELS
from yolo_nas_ext.vectorized.rows import Row, row_of
from yolo_nas_ext.vectorized.tables import PartTable


@pytest.mark.parametrize("name", ["damo", "yolo", "tiny", "efficientnet", "corners"])
@pytest.mark.parametrize(("nc", "imgsz", "channels"), [(80, 640, 3), (2, 192, 1)])
def test_costs_and_scores_are_the_exact_ones(name, nc, imgsz, channels):
    space, rng = load(name), random.Random(3)
    vectorized = VectorizedSpace(space, nc=nc, imgsz=imgsz, channels=channels)
    points = [space.sample(rng) for _ in range(60)]
    networks = np.stack([vectorized.encode(point) for point in points])
    found = vectorized.evaluate(networks)
    scores = vectorized.madnas(found), vectorized.deepmad(found)
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
    vectorized = VectorizedSpace(space, nc=5, imgsz=SIZE, profile=profile)
    points = [space.sample(rng) for _ in range(80)]
    found = vectorized.evaluate(np.stack([vectorized.encode(point) for point in points]))
    exact = [profile.predict(space.architecture(point), 5, SIZE) for point in points]
    assert found.latency_ms == pytest.approx(exact, rel=1e-9)


@pytest.mark.parametrize("kind", sorted(BLOCKS.keys() - {"sppf"}))  # has a row a width
def test_a_row_holds_at_widths_it_was_not_made_from(kind):
    kernels = BLOCKS[kind].kernels or (0,)
    for kernel, (width, hidden) in zip(kernels * 3, SIZES, strict=False):
        block = Block(kind, width, 2 if BLOCKS[kind].deep else 1, 1, hidden, kernel)
        row = row_of([block], 32)
        for c_in in (8, 72, 200):
            assert c_in not in FIT_CHANNELS
            chain = [(-1, *r) for r in BLOCKS[kind].rows(block)]
            table = lower_rows(chain, 1, reg_max=1, end2end=False, imgsz=32, channels=c_in)
            assert row.params[0] + row.params[1] * c_in // 8 == table.params
            assert row.ops[0] + row.ops[1] * c_in // 8 == table.flops // 2


SIZES = ((64, 32), (160, 128), (48, 48))


def test_a_table_too_large_for_an_array_works_the_same(monkeypatch):
    def make(at):
        return Row((at[0], 0), (at[1], 0), 0.0, 0, ((1, 0), (1, 0)), 8, 0, False)

    columns = [np.array([3, 1, 3, 2]), np.array([4, 0, 4, 1])]
    dense = PartTable((5, 6), make)
    monkeypatch.setattr("yolo_nas_ext.vectorized.tables.DENSE", 1)
    sparse = PartTable((5, 6), make)
    for part in (dense, sparse):
        for _ in range(2):
            assert part.ints[part.find(columns)][:, [0, 2]].tolist() == [
                [3, 4],
                [1, 0],
                [3, 4],
                [2, 1],
            ]
