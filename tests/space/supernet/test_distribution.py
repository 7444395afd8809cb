import math
import random
from collections import Counter

import pytest

from yolo_nas_ext.space.choices import ChoiceSpace
from yolo_nas_ext.space.detector import DetectorSpace
from yolo_nas_ext.space.supernet.distribution import (
    choices_of,
    draw,
    entropy,
    leaning,
    names_for,
    partner,
)
from yolo_nas_ext.space.supernet.mixture import mix
from yolo_nas_ext.space.supernet.slots import path

TABLE = ChoiceSpace({"a": ("x", "y"), "b": (1, 2, 3)})


@pytest.fixture(scope="module")
def tiny():
    return DetectorSpace.load("tiny")


def test_points_are_drawn_by_their_probabilities():
    rng = random.Random(0)
    drawn = Counter(draw(TABLE, {"a": [0.9, 0.1]}, rng)["a"] for _ in range(2000))
    assert drawn["x"] / 2000 == pytest.approx(0.9, abs=0.03)
    picky = ChoiceSpace(TABLE.choices, feasible=lambda point: point["a"] == "y")
    assert draw(picky, {"a": [1.0, 0.0]}, rng)["a"] == "y"


def test_entropy_is_relative_to_the_uniform_one():
    found = entropy({"a": [0.5, 0.5], "b": [1.0, 0.0, 0.0], "c": [1.0]})
    assert found == {"a": pytest.approx(1.0), "b": pytest.approx(0.0)}
    half = entropy({"a": [0.9, 0.1]})["a"]
    assert half == pytest.approx(-(0.9 * math.log2(0.9) + 0.1 * math.log2(0.1)))


def test_leaning_is_the_share_of_the_smallest(tiny):
    sizes = {"p3.width": [1 / 3] * 3, "p3.depth": [0.5, 0.5], "p3.block": [1, 0, 0, 0]}
    assert leaning(tiny, sizes) == pytest.approx(1.0)
    assert leaning(tiny, {**sizes, "p3.depth": [1.0, 0.0]}) == pytest.approx(1.5)


def test_partners_can_be_mixed_slot_by_slot(tiny):
    rng = random.Random(3)
    damo = DetectorSpace.load("damo", fix={"head.reg_max": 16})
    for space in (tiny, damo):
        for _ in range(40):
            one = space.sample(rng)
            other = partner(space, one, space.sample(rng))
            assert space.feasible(other) and other["levels"] == one["levels"]
            first, second = (space.architecture(point) for point in (one, other))
            slots = mix((first, second)).slots
            assert set(slots) == {*path(first).slots, *path(second).slots}
            assert all(pair.blocks[0] or "context" in slot for slot, pair in slots.items())


def test_every_choice_is_one_of_a_slots(tiny):
    rng = random.Random(1)
    for space in (tiny, DetectorSpace.load("damo", fix={"head.reg_max": 16})):
        for _ in range(20):
            point = space.sample(rng)
            slots, of = path(space.architecture(point)).slots, choices_of(space, point)
            found = {name for slot in slots for name in names_for(slot, of)}
            wanted = set(space.active(point)) - {"levels", "context"}
            assert found >= {n for n in wanted if not n.startswith("stem.")}


def test_the_choices_that_decide_about_the_head(tiny):
    point = tiny.sample(random.Random(1))
    of = choices_of(tiny, point)
    assert names_for("head.width", of) == ["neck.width", "neck.growth"]
    kinds = {n for n in tiny.active(point) if n.endswith(".block")}
    assert kinds <= set(names_for("head", of)) and "p3.depth" not in names_for("head", of)
    classifier = DetectorSpace.load("tiny", "classify")
    point = classifier.canonical({**point, "levels": "3-4"})
    assert names_for("head.width", choices_of(classifier, point)) == ["p4.width"]
