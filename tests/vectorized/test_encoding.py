"""Rows of option indices say what the points of the space say."""

import random

import numpy as np
import pytest

from tests.helpers.corners import load
from yolo_nas_ext.vectorized.encoding import Draw
from yolo_nas_ext.vectorized.evaluator import VectorizedSpace


@pytest.mark.parametrize("name", ["damo", "yolo", "tiny", "efficientnet", "corners"])
def test_moves_and_rules_are_the_spaces(name):
    space, rng = load(name), random.Random(4)
    vectorized, draw = VectorizedSpace(space), Draw(4)
    parents = [space.sample(rng) for _ in range(100)]
    networks = np.stack([vectorized.encode(point) for point in parents])
    assert [vectorized.decode(network) for network in networks] == parents
    assert vectorized.allowed(networks).all()
    assert (vectorized.canonical(networks) == networks).all()
    children = vectorized.mutate(networks, draw)
    allowed = vectorized.allowed(children)
    assert allowed.any()
    for child, good in zip(children, allowed, strict=True):
        point = vectorized.decode(child)
        assert space.canonical(point) == point
        assert space.feasible(point) == good
    wild = np.stack(
        [[rng.randrange(len(options)) for options in space.choices.values()] for _ in range(200)]
    )
    for raw, network in zip(wild, vectorized.canonical(wild), strict=True):
        assert vectorized.decode(network) == space.canonical(vectorized.decode(raw))


def test_every_choice_of_every_block_can_mutate():
    space = load("damo")
    vectorized, draw = VectorizedSpace(space), Draw(0)
    start = vectorized.encode(space.sample(random.Random(0)))
    children = vectorized.mutate(np.repeat(start[None], 5000, axis=0), draw)
    moved = {vectorized.names[i] for i in np.flatnonzero((children != start).any(axis=0))}
    assert set(space.active(vectorized.decode(start))) == moved


def test_numbers_below_a_bound_are_uniform_and_fixed():
    numbers = Draw(5).below(np.full(30_000, 3, np.int64))
    assert np.bincount(numbers).tolist() == pytest.approx([10_000] * 3, rel=0.03)
    # as on every machine and version
    expected = [80, 80, 51, 28, 5, 38, 40, 4, 4, 99]
    assert Draw(5).below(np.full(10, 100, np.int64)).tolist() == expected
