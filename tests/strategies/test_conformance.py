"""What every strategy keeps, whatever it is."""

import random
from dataclasses import replace

import pytest

from yolo_nas_ext.errors import NASError
from yolo_nas_ext.space.choices import ChoiceSpace
from yolo_nas_ext.space.detector import DetectorSpace
from yolo_nas_ext.strategies import STRATEGIES, make
from yolo_nas_ext.study.trial import Trial

NAMES = [
    *STRATEGIES,
    "optuna:tpe",
    "optuna:nsgaii",
    "optuna:cmaes",
    pytest.param("optuna:gp", marks=pytest.mark.slow),
]
pytestmark = pytest.mark.parametrize("name", NAMES)
TABLE = ChoiceSpace(
    {"l0": ("id", "k3", "k5"), "l1": ("id", "k3", "k5"), "width": (8, 16, 24)},
    feasible=lambda p: p["l0"] != "k5",
)


def trial(number, point, fitness=None):
    if fitness is None:
        return Trial(number, point, state="failed", error="nan: test")
    return Trial(number, point, state="complete", metrics={"fitness": fitness})


def walk(name, space, n, seed=0, batch=1, fitness=lambda p: float(hash(tuple(p.values())) % 97)):
    history = []
    strategy = make(name, space)
    while len(history) < n:
        points = strategy.propose(tuple(history), batch, random.Random(f"{seed}/{len(history)}"))
        if not points:
            break
        for point in points:
            # every fifth trial fails
            value = None if len(history) % 5 == 4 else fitness(point)
            history.append(trial(len(history), point, value))
    return [t.point for t in history]


def rank(point):
    return float(sum(TABLE.choices[name].index(value) for name, value in point.items()))


def test_proposals_are_feasible_and_never_repeat_until_exhausted(name):
    points = walk(name, TABLE, 100, fitness=rank)
    assert len(points) == len(set(points)) == 18  # 2 x 3 x 3 feasible ones, then none
    assert all(TABLE.feasible(p) for p in points)


def test_same_history_and_seed_same_proposals(name):
    assert walk(name, TABLE, 12, fitness=rank) == walk(name, TABLE, 12, fitness=rank)
    assert walk(name, TABLE, 12, fitness=rank) != walk(name, TABLE, 12, seed=1, fitness=rank)


def test_batches_hold_no_repeats(name):
    points = walk(name, TABLE, 18, batch=4, fitness=rank)
    assert len(points) == len(set(points)) == 18


def test_a_history_that_it_did_not_produce(name):
    space = DetectorSpace.load("tiny")
    rng = random.Random(0)
    foreign = [trial(i, space.sample(rng), rng.random()) for i in range(30)]
    foreign.append(trial(30, None, 0.9))  # a baseline outside the space
    points = make(name, space).propose(foreign, 5, random.Random(1))
    assert len({space.identity(p) for p in [*points, *(t.point for t in foreign[:30])]}) == 35


def test_what_it_keeps_of_a_history_changes_nothing(name):
    """One strategy that is shown a history as it grows proposes what a new one would."""
    rng, history = random.Random(2), []
    kept = make(name, TABLE)
    points = list(dict.fromkeys(TABLE.sample(rng) for _ in range(99)))
    running = {3: 6, 4: 9, 8: 9}  # trials that run until the history is so long
    shown = []
    for n in range(0, 13, 3):
        for i in range(len(history), n):
            history.append(trial(i, points[i], rng.random() if i % 5 else None))
        shown.append(
            [
                replace(t, state="running") if running.get(i, 0) >= n else t
                for i, t in enumerate(history)
            ]
        )
    shown += [shown[1], shown[3], [trial(0, points[-1], 1.0)], shown[-1]]  # other histories
    for seed, seen in enumerate(shown):
        fresh = make(name, TABLE).propose(seen, 2, random.Random(seed))
        assert kept.propose(seen, 2, random.Random(seed)) == fresh


def test_one_point_and_empty_spaces(name):
    one = ChoiceSpace({"a": (1,)})
    if name == "optuna:cmaes":
        with pytest.raises(NASError, match="no choice of numbers"):
            make(name, one)
        return
    assert make(name, one).propose([], 3, random.Random(0)) == [one.point({"a": 1})]
    empty = ChoiceSpace({"a": (1, 2)}, feasible=lambda p: False)
    with pytest.raises(NASError, match="rules contradict"):
        make(name, empty).propose([], 1, random.Random(0))


def test_history_is_left_alone(name):
    rng = random.Random(0)
    history = [trial(i, TABLE.sample(rng), float(i)) for i in range(8)]
    before = list(history)
    make(name, TABLE).propose(history, 2, rng)
    assert history == before
