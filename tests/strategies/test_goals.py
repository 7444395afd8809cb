"""Several objectives and limits, which every strategy takes."""

import random

import pytest

from yolo_nas_ext import ChoiceSpace, search
from yolo_nas_ext.errors import NASError
from yolo_nas_ext.strategies import STRATEGIES, make
from yolo_nas_ext.study.objectives import Goal, hypervolume
from yolo_nas_ext.study.trial import Trial

SPACE = ChoiceSpace({f"l{i}": (0, 1, 2, 3) for i in range(5)})
NAMES = [*STRATEGIES, "optuna:tpe", "optuna:nsgaii"]


def evaluate(point):
    """Larger is better and slower; the first choice is worth more than it costs."""
    size = sum(point.values())
    return {"fitness": 1 - 1 / (1 + size + point["l0"]), "latency_ms": 1.0 + size}


@pytest.mark.parametrize("name", NAMES)
def test_the_answer_keeps_the_limits(name):
    study = search(SPACE, evaluate, strategy=name, trials=30, limits={"latency_ms": 6.0})
    assert study.best.metrics["latency_ms"] <= 6
    assert all(t.metrics["latency_ms"] <= 6 for t in study.front)


def test_no_answer_where_no_trial_keeps_the_limits():
    study = search(SPACE, evaluate, strategy="random", trials=3, limits={"latency_ms": 0.5})
    assert study.front == []
    with pytest.raises(NASError, match="keeps the limits"):
        _ = study.best


@pytest.mark.parametrize("name", NAMES)
def test_two_objectives_give_a_front(name):
    study = search(
        SPACE, evaluate, strategy=name, trials=30, objectives="fitness,latency_ms", seed=1
    )
    found = [(t.metrics["fitness"], t.metrics["latency_ms"]) for t in study.front]
    assert found == sorted(found) and len(found) > 2
    for trial in study.trials:
        values = trial.metrics["fitness"], trial.metrics["latency_ms"]
        assert any(f >= values[0] and lat <= values[1] for f, lat in found)


@pytest.mark.parametrize(("name", "trials"), [("nsga2", 150), ("bayes", 30)])
def test_fronts_are_above_those_of_random_search(name, trials):
    def volume(strategy, seed):
        study = search(
            SPACE,
            evaluate,
            strategy=strategy,
            trials=trials,
            objectives="fitness,latency_ms",
            seed=seed,
        )
        points = [(t.metrics["fitness"], -t.metrics["latency_ms"]) for t in study.trials]
        return hypervolume(points, (0, -17))

    assert sum(volume(name, s) > volume("random", s) for s in range(5)) >= 4


@pytest.mark.parametrize("name", NAMES)
def test_a_history_of_other_objectives(name):
    """Trials without one of the objectives are no parents, and are not proposed again."""
    rng = random.Random(0)
    points = list(dict.fromkeys(SPACE.sample(rng) for _ in range(30)))
    history = [
        Trial(i, p, state="complete", metrics=evaluate(p) if i % 2 else {"fitness": 1.0})
        for i, p in enumerate(points)
    ]
    goal = Goal(("fitness", "latency_ms"))
    found = make(name, SPACE, goal=goal).propose(history, 3, random.Random(1))
    assert len({*points, *found}) == len(points) + 3


def test_auto_says_what_it_chose():
    small = ChoiceSpace({"a": (1, 2, 3)})
    several = Goal(("fitness", "latency_ms"))
    cases = [
        (small, Goal(), 10, "random", "all 3 points"),
        (SPACE, Goal(), 3, "bayes", "too few"),
        (SPACE, Goal(), 50, "bayes", "model"),
        (SPACE, several, 50, "bayes", "weights"),
    ]
    big = ChoiceSpace({f"l{i}": tuple(range(9)) for i in range(9)})
    cases += [(big, Goal(), 5000, "evolution", "5000"), (big, several, 5000, "nsga2", "front")]
    for space, goal, trials, name, reason in cases:
        auto = make("auto", space, goal=goal, trials=trials)
        assert (auto.name, reason in auto.reason) == (name, True)
