"""The best sum by integer programmes, against looking at every point."""

import random
from itertools import pairwise

import numpy as np
import pytest

from yolo_nas_ext.space.choices import ChoiceSpace
from yolo_nas_ext.space.constraints import NonDecreasing
from yolo_nas_ext.strategies import make
from yolo_nas_ext.strategies.best_sum import LISTED, BestSum, Sought
from yolo_nas_ext.strategies.changes import Changes
from yolo_nas_ext.strategies.screening import distance
from yolo_nas_ext.study.trial import Trial

WIDTHS = (4, 2, 3, 5, 6)  # the parent's first
NAMES = ("w0", "w1", "w2", "w3")
CHOICES = {"imgsz": (2, 1, 3), **{name: WIDTHS for name in NAMES}}


class Most:
    """A limit on a cost in which widths multiply with each other and with the image size."""

    def __init__(self, bound, multiplied=True):
        self.bound, self.multiplied = bound, multiplied

    def cost(self, point):
        widths = [point[name] for name in NAMES]
        if not self.multiplied:
            return float(sum(widths) + point["imgsz"])
        pairs = pairwise(widths)
        return float(point["imgsz"] ** 2 * sum(a * b for a, b in pairs))

    def values(self, subject):
        return {"max_cost": (self.cost(subject), self.bound)}

    def say(self, name, value):
        return f"{value:g}"


def view(space, structural=("imgsz",)):
    parent = space.point({name: options[0] for name, options in CHOICES.items()})
    return Changes(space, parent, structural)


def plain(changes, seed):
    """Effects of the items alone, none of structural choices that change together."""
    found = np.zeros(changes.size)
    drawn = np.random.default_rng(seed).normal(size=len(changes.items))
    found[: len(changes.items)] = np.where(changes.own, 0.0, drawn)
    return found


def ranked(changes, given, points):
    values = changes.rows(points) @ given
    return sorted(zip(values.tolist(), points, strict=True), key=lambda pair: -pair[0])


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("bound", [9.0, 14.0, 99.0])
def test_where_costs_add_up_it_is_the_best_of_all(seed, bound):
    space = ChoiceSpace(CHOICES).within(Most(bound, multiplied=False))
    changes = view(space, ())
    assert space.size > LISTED
    given = plain(changes, seed)
    point = BestSum(changes).find(Sought(given, set()))
    best = ranked(changes, given, list(space.enumerate()))[0]
    assert changes.rows([point])[0] @ given == pytest.approx(best[0])


@pytest.mark.parametrize("bound", [30.0, 96.0, 192.0])
def test_where_costs_multiply_it_is_among_the_best(bound):
    space = ChoiceSpace(CHOICES).within(Most(bound))
    points, places = list(space.enumerate()), []
    for seed in range(6):
        changes = view(space)
        given = plain(changes, seed)
        point = BestSum(changes).find(Sought(given, set()))
        assert space.feasible(point)
        value = changes.rows([point])[0] @ given
        places.append(sum(other > value + 1e-9 for other, _ in ranked(changes, given, points)))
    assert np.median(places) == 0 and max(places) <= 5


def test_several_that_are_new_and_apart():
    space = ChoiceSpace(CHOICES)
    changes = view(space)
    given, found, seen = plain(changes, 1), [], set()
    for _ in range(5):
        apart = [(point, 2) for point in found]
        found.append(BestSum(changes).find(Sought(given, seen, apart)))
        seen.add(space.identity(found[-1]))
    assert min(distance(a, b) for i, a in enumerate(found) for b in found[:i]) == 2
    best = ranked(changes, given, list(space.enumerate()))[0][1]
    assert found[0] == best


def test_rules_are_conditions():
    space = ChoiceSpace(CHOICES, rules=[NonDecreasing(NAMES)])
    changes = view(space)
    for seed in range(4):
        given = plain(changes, seed)
        best = ranked(changes, given, list(space.enumerate()))[0]
        point = BestSum(changes).find(Sought(given, set()))
        assert changes.rows([point])[0] @ given == pytest.approx(best[0])


def test_nothing_is_found_where_nothing_fits():
    space = ChoiceSpace(CHOICES).within(Most(1.0))
    changes = view(space)
    assert BestSum(changes).find(Sought(plain(changes, 0), set())) is None


def test_the_solver_says_nothing(capfd):
    space = ChoiceSpace(CHOICES).within(Most(96.0))
    changes = view(space)
    for seed in range(3):
        BestSum(changes).find(Sought(plain(changes, seed), set()))
    assert capfd.readouterr().out == ""


def test_it_beats_random_search_over_eight_seeds():
    """An additive table with noise, within the parent's cost, at equal trials."""
    space = ChoiceSpace(CHOICES).within(Most(192.0))
    changes = view(space)

    def found(name, seed):
        given = plain(changes, 100 + seed)
        noise, history = random.Random(seed), []
        for number in range(20):
            (point,) = make(name, space).propose(history, 1, random.Random(f"{seed}/{number}"))
            value = float(changes.rows([point])[0] @ given)
            metrics = {"fitness": value + noise.gauss(0.0, 0.3)}
            history.append(Trial(number, point, state="complete", metrics=metrics))
        best = max(history, key=lambda trial: trial.fitness).point
        return float(changes.rows([best])[0] @ given)

    leads = [found("additive", seed) - found("random", seed) for seed in range(8)]
    assert np.mean(leads) > 0.3 and sum(lead > 0 for lead in leads) >= 6
