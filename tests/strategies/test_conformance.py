"""What every strategy keeps, whatever it is."""

import random

import pytest

from yolo_nas_ext.errors import NASError
from yolo_nas_ext.space.choices import ChoiceSpace
from yolo_nas_ext.space.detector import DetectorSpace
from yolo_nas_ext.strategies import STRATEGIES, make
from yolo_nas_ext.study import Trial

pytestmark = pytest.mark.parametrize("name", [*STRATEGIES, "optuna:tpe", "optuna:nsgaii"])
TABLE = ChoiceSpace(
    {f"l{i}": ("id", "k3", "k5") for i in range(3)}, feasible=lambda p: p["l0"] != "k5"
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
    return float(sum(("id", "k3", "k5").index(v) for v in point.values()))


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
    foreign.append(trial(30, None, 0.9))  # a reference network outside the space
    points = make(name, space).propose(foreign, 5, random.Random(1))
    assert len({space.identity(p) for p in [*points, *(t.point for t in foreign[:30])]}) == 35


def test_one_point_and_empty_spaces(name):
    one = ChoiceSpace({"a": (1,)})
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
