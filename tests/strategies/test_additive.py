"""The best sum of single changes: against every sum, under limits, and corrected by trials."""

import itertools
import random
from dataclasses import replace

import pytest

from yolo_nas_ext.errors import NASError
from yolo_nas_ext.host import models
from yolo_nas_ext.network.parse import read
from yolo_nas_ext.space.choices import ChoiceSpace
from yolo_nas_ext.space.parent import ParentSpace
from yolo_nas_ext.strategies.additive import RADIUS, Additive
from yolo_nas_ext.strategies.screening import distance
from yolo_nas_ext.study.trial import Trial

CHOICES = {"size": (2, 1, 3), "a": (2, 0, 1, 3), "b": (2, 0, 1, 3), "c": ("x", "y", "z")}
GIVES = {
    ("size", 1): -0.3,
    ("size", 3): 0.25,
    ("a", 0): -0.4,
    ("a", 1): -0.1,
    ("a", 3): 0.1,
    ("b", 0): -0.02,
    ("b", 1): -0.01,
    ("b", 3): 0.01,
    ("c", "y"): 0.05,
    ("c", "z"): -0.2,
}
COSTS = {"x": 1.0, "y": 2.5, "z": 0.5}


class Most:
    """A limit on a cost that sizes multiply."""

    def __init__(self, bound):
        self.bound = bound

    def values(self, subject):
        cost = subject["size"] * (subject["a"] + 2 * subject["b"] + COSTS[subject["c"]])
        return {"max_cost": (cost, self.bound)}

    def say(self, name, value):
        return f"{value:g}"


def space(bound=14.0):
    return ChoiceSpace(CHOICES).within(Most(bound))


def parent(of):
    return of.point({name: options[0] for name, options in CHOICES.items()})


def worth(point):
    return sum(GIVES.get(item, 0.0) for item in point.items())


def best(of):
    """The feasible points from the best to the worst, by looking at all."""
    points = (
        of.point(dict(zip(CHOICES, v, strict=True))) for v in itertools.product(*CHOICES.values())
    )
    return sorted((p for p in points if of.feasible(p)), key=lambda p: -worth(p))


def tried(points, value=worth, names=("parent",)):
    return [
        Trial(
            i,
            p,
            None,
            state="complete",
            name=names[i] if i < len(names) else "",
            metrics={"fitness": value(p)},
        )
        for i, p in enumerate(points)
    ]


@pytest.mark.parametrize("bound", [6.0, 10.0, 14.0, 100.0])
def test_with_true_scores_the_first_proposal_is_the_best_of_all(bound):
    of = space(bound)
    strategy = Additive(
        of, parent=parent(of), structural=("size",), score=lambda points: [worth(p) for p in points]
    )
    history = tried([parent(of)])
    (first,) = strategy.propose(history, 1, random.Random(0))
    assert of.feasible(first)
    expected = next(p for p in best(of) if p != parent(of))
    assert worth(first) == pytest.approx(worth(expected))


def test_wrong_scores_are_corrected_by_trials():
    of = space()
    strategy = Additive(
        of, parent=parent(of), structural=("size",), score=lambda ps: [-worth(p) for p in ps]
    )
    points = [parent(of)]
    for number in range(14):
        points += strategy.propose(tried(points), 1, random.Random(number))
    assert max(map(worth, points)) >= worth(best(of)[2])


def test_a_network_between_the_options_is_learned_from():
    own = replace(read(*models.definition("yolo11n", "detect")), imgsz=64)
    of = ParentSpace(own, sizes=(64, 96, 32))
    cut = replace(own, imgsz=96, backbone=tuple(narrower(b) for b in own.backbone))
    with pytest.raises(NASError, match="not in space"):
        of.point_of(cut)
    rows = (
        ("parent", of.origin, own, 0.2),
        ("small", None, replace(own, imgsz=32), 0.1),
        ("cut", None, cut, 0.5),
    )
    history = [
        Trial(i, point, network, state="complete", name=name, metrics={"fitness": fitness})
        for i, (name, point, network, fitness) in enumerate(rows)
    ]
    (first,) = Additive(of, parent=of.origin).propose(history, 1, random.Random(0))
    assert first["imgsz"] == 96


def narrower(block):
    return replace(block, width=block.width - 8) if block.width > 64 else block


def test_the_same_history_and_seed_give_the_same_proposals():
    of = space()
    given = [Additive(of, parent=parent(of), structural=("size",)) for _ in range(2)]
    history = tried([parent(of), *best(of)[5:9]])
    one, two = (s.propose(history, 3, random.Random(4)) for s in given)
    assert one == two and len(set(one)) == 3
    assert not set(one) & {t.point for t in history}


def test_proposals_are_a_few_changes_from_what_was_tried():
    """As many changes at once leave little of a parent's weights."""
    of = ChoiceSpace({f"c{i}": (2, 0, 1, 3) for i in range(20)})
    start = of.point(dict.fromkeys(of.choices, 2))
    strategy = Additive(of, parent=start, score=lambda points: [0.0 for _ in points])
    history = []
    for number in range(12):
        if history:
            (point,) = strategy.propose(history, 1, random.Random(number))
            assert min(distance(point, trial.point) for trial in history) <= RADIUS
        else:
            point = start
        changed = {name for name in point if point[name] != 2}
        fitness = 0.1 * len(changed & {"c0", "c1", "c2"}) - 0.01 * len(changed)
        name = "" if history else "parent"
        trial = Trial(number, point, state="complete", name=name, metrics={"fitness": fitness})
        history.append(trial)


def test_a_space_is_exhausted():
    of = space(5.0)
    points = [p for p in best(of) if p != parent(of)]
    strategy = Additive(of, parent=parent(of), structural=("size",))
    history = tried(best(of)[:-2])
    left = strategy.propose(history, 10, random.Random(0))
    assert len(left) == len(points) - len(history) + (parent(of) in best(of)[:-2])


def test_the_table_has_a_row_for_each_change():
    of = space(100.0)
    strategy = Additive(
        of, parent=parent(of), structural=("size",), score=lambda points: [worth(p) for p in points]
    )
    rows = {(row.choice, row.option): row for row in strategy.table()}
    assert rows.keys() == GIVES.keys()
    for key, row in rows.items():
        assert row.score == pytest.approx(GIVES[key]) and row.gain is None
    assert rows["a", 3].cost == pytest.approx(2.0)  # one more, twice as large
    learned = strategy.table(tried([parent(of), *best(of)[:20]]))
    gains = {(row.choice, row.option): row.gain for row in learned}
    assert gains["size", 3] > gains["size", 1] and gains["a", 3] > gains["a", 0]
