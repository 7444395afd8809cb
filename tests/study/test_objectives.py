import itertools
import math
import random

import numpy as np
import pytest

from yolo_nas_ext.errors import NASError
from yolo_nas_ext.study import objectives
from yolo_nas_ext.study.objectives import Goal, front, fronts, hypervolume, sign


def test_costs_are_minimised_and_scores_maximised():
    costs = ("latency_ms", "params_m", "flops_g", "memory_mb", "layers", "val_loss", "seconds")
    assert all(sign(name) == -1 for name in costs)
    assert all(sign(name) == 1 for name in ("fitness", "map50_95", "froc", "params_score"[7:]))


def test_values_and_excess():
    goal = Goal(("fitness", "latency_ms"), {"latency_ms": 4.0, "map50": 0.5})
    assert goal.values({"fitness": 0.7, "latency_ms": 5.0}) == (0.7, -5.0)
    assert goal.excess({"latency_ms": 5.0, "map50": 0.4}) == pytest.approx(0.25 + 0.2)
    assert goal.excess({"latency_ms": 3.0, "map50": 0.9}) == 0
    assert goal.excess({"latency_ms": 3.0}) == math.inf  # not measured is not kept


@pytest.mark.parametrize(
    ("objectives", "limits"),
    [
        ((), {}),
        (("a", "a"), {}),
        (("a",), {"latency_ms": math.nan}),
        (("a",), {"latency_ms": 0.0}),
        (("a",), {"params_m": -1.0}),
    ],
)
def test_bad_goals(objectives, limits):
    with pytest.raises(NASError):
        Goal(objectives, limits)


@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_front_by_brute_force(dimensions):
    rng = random.Random(dimensions)
    points = [tuple(rng.randrange(6) for _ in range(dimensions)) for _ in range(60)]

    def dominated(a):
        return any(b != a and all(y >= x for x, y in zip(a, b, strict=True)) for b in points)

    found = front(points)
    assert {points[i] for i in found} == {p for p in points if not dominated(p)}
    assert len({points[i] for i in found}) == len(found)


@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_fronts_peel_everything_off(dimensions, monkeypatch):
    monkeypatch.setattr(objectives, "BLOCK", 7)
    rng = np.random.default_rng(dimensions)
    points = rng.integers(0, 9, (150, dimensions))
    left = list(range(len(points)))
    for found in fronts(points):
        # What is left and dominated by nothing that is left; of equal points the first.
        best = [
            i
            for i in left
            if not any(
                (points[j] >= points[i]).all() and ((points[j] != points[i]).any() or j < i)
                for j in left
            )
        ]
        assert sorted(found) == best
        assert [tuple(points[i]) for i in found] == sorted(map(tuple, points[best]), reverse=True)
        left = [i for i in left if i not in found]
    assert not left and not list(fronts([]))


@pytest.mark.parametrize(
    ("points", "reference", "volume"),
    [
        ([], (0, 0), 0),
        ([(3, 1), (2, 2), (1, 3)], (0, 0), 6),  # stairs
        ([(3, 1), (2, 2), (1, 3), (1, 1), (2, -1)], (0, 0), 6),  # dominated ones add nothing
        ([(-1, -2)], (-3, -3), 2),
        ([(2, 1, 1), (1, 2, 1), (1, 1, 2)], (0, 0, 0), 4),
        ([(4,), (2,)], (1,), 3),
    ],
)
def test_hypervolume_in_closed_form(points, reference, volume):
    assert hypervolume(points, reference) == pytest.approx(volume)


def test_hypervolume_of_a_grid_by_counting_cells():
    rng = np.random.default_rng(0)
    points = rng.integers(0, 7, (9, 3))
    cells = itertools.product(range(7), repeat=3)
    covered = sum(
        any(all(c < x for c, x in zip(cell, p, strict=True)) for p in points) for cell in cells
    )
    assert hypervolume(points, (0, 0, 0)) == covered
