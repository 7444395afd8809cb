"""`screen=`: what it says, and that what is proposed is better for it and spread out."""

import random

import pytest

from yolo_nas_ext.errors import NASError
from yolo_nas_ext.estimators.zero_cost.entropy import madnas
from yolo_nas_ext.pipeline.screening import parse, weighted_ranks
from yolo_nas_ext.space.choices import ChoiceSpace
from yolo_nas_ext.space.detector import DetectorSpace
from yolo_nas_ext.strategies import make
from yolo_nas_ext.strategies.screening import Screened, distance
from yolo_nas_ext.study.trial import Trial


def test_what_it_says():
    assert parse("madnas:2000") == ({"madnas": 1.0}, 2000)
    assert parse("madnas*2+deepmad:50") == ({"madnas": 2.0, "deepmad": 1.0}, 50)
    assert parse("zico*0.5:3") == ({"zico": 0.5}, 3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("madnas", "for example resolved"),
        ("madnas:0", "for example resolved"),
        (":7", "for example"),
        ("madnass:7", "Did you mean 'madnas'"),
        ("madnas**2:7", "no such score"),
    ],
)
def test_what_it_cannot_say(text, message):
    with pytest.raises(NASError, match=message):
        parse(text)


def test_weighted_ranks_by_hand():
    columns = {"a": [1.0, 5.0, 3.0], "b": [2.0, 1.0, 2.0]}
    found = weighted_ranks(columns, {"a": 2.0, "b": 1.0})
    assert found == pytest.approx([2 / 3 + 1, 2 + 1 / 2, 4 / 3 + 1])


def screened(space, draws, name="random"):
    def rank(points):
        return [madnas(space.architecture(p)) for p in points]

    return Screened(make(name, space.preferring(rank, draws)), space)


@pytest.mark.parametrize("name", ["random", "evolution"])
def test_proposals_are_the_best_of_many_and_spread_out(name):
    space = DetectorSpace.load("tiny")
    points = screened(space, 100, name).propose([], 4, random.Random(0))
    assert len(points) == 4
    assert min(distance(a, b) for a in points for b in points if a is not b) > 1
    rng = random.Random(1)
    plain = sorted(madnas(space.architecture(space.sample(rng))) for _ in range(40))
    assert min(madnas(space.architecture(p)) for p in points) > plain[30]
    assert points == screened(space, 100, name).propose([], 4, random.Random(0))


def test_a_space_that_is_nearly_exhausted_still_gives_all_its_points():
    space = ChoiceSpace({"a": (0, 1, 2), "b": (0, 1)})
    preferring = space.preferring(lambda points: [p["a"] for p in points], 5)
    strategy = Screened(make("random", preferring), space)
    history = []
    while points := strategy.propose(history, 4, random.Random(len(history))):
        history += [
            Trial(len(history) + i, p, state="complete", metrics={"fitness": 0.0})
            for i, p in enumerate(points)
        ]
    assert len({t.point for t in history}) == 6
