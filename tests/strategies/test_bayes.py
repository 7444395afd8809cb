import random

import numpy as np
import pytest
from scipy.stats import norm

from tests.strategies.tables import SPACE, TABLE, median_ranks
from yolo_nas_ext.objectives import Goal
from yolo_nas_ext.space.choices import ChoiceSpace
from yolo_nas_ext.strategies.bayes import Bayes, log_improvement
from yolo_nas_ext.study import Trial


def test_beats_random_search_and_evolution_on_a_table_with_a_known_optimum():
    ranks = {s: median_ranks(s, trials=40, seeds=5) for s in ("random", "evolution", "bayes")}
    assert ranks["bayes"] < ranks["evolution"] / 3 and ranks["bayes"] < ranks["random"] / 10


def test_log_improvement_in_closed_form_and_far_below():
    z = np.array([-4.9, -1.0, 0.0, 2.0])
    assert np.exp(log_improvement(z)) == pytest.approx(norm.pdf(z) + z * norm.cdf(z), rel=1e-6)
    far = log_improvement(np.array([-5.001, -4.999, -40.0, -1e4, -1e6]))
    assert np.isfinite(far).all()
    assert far[0] == pytest.approx(far[1], abs=0.02)
    assert far[2] == pytest.approx(-0.5 * 1600 - 0.5 * np.log(2 * np.pi) - 2 * np.log(40), abs=0.01)


def history(space, n, metrics, seed=0):
    rng = random.Random(seed)
    points = [space.sample(rng) for _ in range(n)]
    return [Trial(i, p, state="complete", metrics=metrics(p)) for i, p in enumerate(points)]


def test_limits_turn_it_away_from_the_infeasible_best():
    """Fitness and latency rise together; only the lower half keeps the limit."""
    space = ChoiceSpace({f"l{i}": (1, 2, 3, 4, 5, 6) for i in range(4)})

    def metrics(point):
        return {"fitness": float(sum(point.values())), "latency_ms": float(sum(point.values()))}

    trials = history(space, 20, metrics)
    goal = Goal(limits={"latency_ms": 12.0})
    points = Bayes(space, goal=goal).propose(trials, 6, random.Random(0))
    free = Bayes(space).propose(trials, 6, random.Random(0))
    assert max(sum(p.values()) for p in points) <= 13 < min(sum(p.values()) for p in free)


def test_features_are_learnt_from():
    """Fitness is the parity-like feature, which no sum over choices describes."""
    space = ChoiceSpace({f"l{i}": tuple("abcd") for i in range(5)})
    secret = {p: random.Random(str(p)).random() for p in space.enumerate()}
    trials = history(space, 25, lambda p: {"fitness": secret[p]})
    (point,) = Bayes(space, features=lambda p: [secret[p]]).propose(trials, 1, random.Random(1))
    assert secret[point] > 0.95


def test_failed_trials_are_avoided():
    def metrics(point):
        return {"fitness": TABLE[tuple(point.values())]}

    good = [t for t in history(SPACE, 40, metrics) if t.point["l7"] != "k5"]
    bad = [
        Trial(100 + i, t.point, state="failed", error="memory: out of memory")
        for i, t in enumerate(history(SPACE, 40, metrics, seed=5)) if t.point["l7"] == "k5"
    ]  # fmt: skip
    points = Bayes(SPACE).propose([*good, *bad], 8, random.Random(0))
    assert sum(p["l7"] == "k5" for p in points) <= 2
