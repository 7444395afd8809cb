import random
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm

from tests.helpers.tables import SPACE, TABLE, median_ranks
from yolo_nas_ext.space.choices import ChoiceSpace
from yolo_nas_ext.strategies.bayes import START, Bayes, first_points
from yolo_nas_ext.strategies.gaussian_process import log_improvement
from yolo_nas_ext.strategies.history import Past, expected_worths
from yolo_nas_ext.study.objectives import Goal
from yolo_nas_ext.study.trial import Trial


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


def test_every_other_first_point_is_the_priors_favourite():
    space = ChoiceSpace({f"l{i}": tuple(range(9)) for i in range(4)})

    def prior(points):
        return [sum(p.values()) for p in points]

    trials, sums = [], []
    for number in range(4):
        (point,) = Bayes(space, prior=prior).propose(trials, 1, random.Random(number))
        trials.append(Trial(number, point, state="failed"))
        sums.append(sum(point.values()))
    assert min(sums[0], sums[2]) > max(sums[1], sums[3]) and min(sums[0], sums[2]) > 20


@pytest.mark.parametrize(
    ("choices", "trials", "expected"),
    [
        (6, 100, START),
        (26, 12, START),
        (26, 48, 12),
        (26, None, 12),
        (26, 500, 13),
        (60, 48, 12),
    ],
)
def test_how_many_first_points(choices, trials, expected):
    space = ChoiceSpace({f"l{i}": (1, 2, 3) for i in range(choices)} | {"fixed": ("one",)})
    assert first_points(space, trials) == expected
    assert Bayes(space, trials=trials).start == expected


def test_first_points_beyond_the_fewest_try_what_was_not_tried():
    space = ChoiceSpace({f"l{i}": tuple(range(4)) for i in range(12)})
    untried = {}
    for name, first in (("covering", START), ("by chance", 0)):
        trials = []
        for number in range(first + 4):
            random_one = name == "by chance" or number < START
            strategy = Bayes(space, start=0 if random_one else None)
            rng = random.Random(number)
            point = space.sample(rng) if random_one else strategy.propose(trials, 1, rng)[0]
            trials.append(Trial(number, point, state="failed"))
        newest = trials[-4:]
        tried = {(n, v) for t in newest for n, v in t.point.items()}
        untried[name] = 48 - len(tried)
    assert untried["covering"] < untried["by chance"]


class Sum:
    """A limit on the sum of all choices but `level`, whose 1 costs six."""

    def values(self, subject):
        parts = sum(value for name, value in subject.items() if name != "level")
        return {"sum": (float(parts + 6 * subject["level"]), 24.0)}

    def say(self, name, value):
        return f"{value:g}"


def test_a_choice_that_others_must_make_room_for_is_tried():
    """All that is known is as large as the limit allows; the other level would be beyond it."""
    space = ChoiceSpace({"level": (0, 1), **{f"l{i}": (1, 2, 3, 4, 5) for i in range(6)}})
    space, rng = space.within(Sum()), random.Random(0)
    known = [space.canonical({"level": 0, **{f"l{i}": 4 for i in range(6)}})]
    known += [p for p in space.neighbours(known[0]) if sum(p.values()) >= 22]
    trials = [
        Trial(i, p, state="complete", metrics={"fitness": float(sum(p.values()))})
        for i, p in enumerate(known)
    ]
    assert all(p["level"] == 0 for p in known)
    strategy = Bayes(space, features=lambda p: [float(sum(p.values()))], start=4)
    model = strategy.model(Past(space, Goal()).read(trials), [], rng)
    apart = [p for _ in range(8) for p in strategy.apart(model, rng)]
    assert all(space.feasible(p) for p in apart)
    assert sum(p["level"] for p in apart) >= 8


def test_what_pruned_trials_would_have_been_worth():
    def trial(fitness, curve, state="complete"):
        return Trial(0, None, state=state, metrics={"fitness": fitness}, curve=curve)

    complete = [trial(w, {1: w / 10, 3: w / 5}) for w in (1.0, 2.0, 3.0, 4.0, 5.0)]
    pruned = [trial(0, curve, "pruned") for curve in ({1: 0.25}, {1: 0.45, 3: 0.1}, {2: 9.0}, {})]
    found = expected_worths(complete, [1.0, 2.0, 3.0, 4.0, 5.0], pruned)
    # Above two of five at epoch 1; above none at epoch 3; nothing to compare with.
    assert found == pytest.approx([2.6, 1.0, 1.0, 1.0])


def test_pruned_trials_are_learnt_from():
    """Whatever has l7=k5 was pruned at once, and was the worst of all then."""
    good = [
        replace(t, curve={1: t.fitness})
        for t in history(SPACE, 40, lambda p: {"fitness": TABLE[tuple(p.values())]})
        if t.point["l7"] != "k5"
    ]
    behind = [
        Trial(100 + i, t.point, state="pruned", error="pruned: fell behind", curve={1: -1.0})
        for i, t in enumerate(history(SPACE, 40, lambda p: {}, seed=5))
        if t.point["l7"] == "k5"
    ]
    points = Bayes(SPACE).propose([*good, *behind], 8, random.Random(0))
    assert sum(p["l7"] == "k5" for p in points) <= 2


def test_failed_trials_are_avoided():
    def metrics(point):
        return {"fitness": TABLE[tuple(point.values())]}

    good = [t for t in history(SPACE, 40, metrics) if t.point["l7"] != "k5"]
    bad = [
        Trial(100 + i, t.point, state="failed", error="memory: out of memory")
        for i, t in enumerate(history(SPACE, 40, metrics, seed=5))
        if t.point["l7"] == "k5"
    ]
    points = Bayes(SPACE).propose([*good, *bad], 8, random.Random(0))
    assert sum(p["l7"] == "k5" for p in points) <= 2
