import copy
import itertools
import os
import pickle
import random
import subprocess
import sys

import pytest

from yolo_nas_ext.errors import NASError
from yolo_nas_ext.space.choices import ChoiceSpace
from yolo_nas_ext.space.constraints import NonDecreasing, Ratio
from yolo_nas_ext.space.point import Point


class Cap:
    """A limit on the sum of a point's numbers."""

    def __init__(self, bound):
        self.bound = bound

    def values(self, subject):
        return {"max_sum": (sum(subject.values()), self.bound)}

    def say(self, name, value):
        return f"{value:g}"


def numbers(n=3, options=(1, 2, 3, 4), **kwargs):
    return ChoiceSpace({f"c{i}": options for i in range(n)}, **kwargs)


def test_point_is_a_hashable_read_only_mapping():
    a, b = Point({"x": 1, "y": "k"}), Point({"y": "k", "x": 1})
    assert a == b and hash(a) == hash(b) and a == {"x": 1, "y": "k"}
    assert dict(a) == {"x": 1, "y": "k"} and len({a, b}) == 1
    with pytest.raises(TypeError):
        a["x"] = 2


def test_a_point_of_another_process_is_the_same(tmp_path):
    """Texts hash differently in every process, so a hash must not travel."""
    code = (
        "import pickle, sys; from yolo_nas_ext.space.choices import Point; "
        "sys.stdout.buffer.write(pickle.dumps([Point({'x': 'id', 'y': 'k3'})]))"
    )
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        sent = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, check=True, env=environment
        )
        (point,) = pickle.loads(sent.stdout)
        assert {Point({"x": "id", "y": "k3"}): 1}[point] == 1 and copy.deepcopy(point) == point


def test_enumerate_is_the_brute_force_product():
    space = numbers(feasible=lambda p: p["c0"] != p["c1"])
    brute = {c for c in itertools.product((1, 2, 3, 4), repeat=3) if c[0] != c[1]}
    assert {tuple(p.values()) for p in space.enumerate()} == brute
    assert space.size == 64


def test_every_move_stays_feasible_and_neighbours_differ_in_one_choice():
    rules = [NonDecreasing(("c0", "c1", "c2")), Ratio("c3", "c2", 0.5, 1.0)]
    space = numbers(4, rules=rules, mutations=2).within(Cap(11))
    rng = random.Random(0)
    for _ in range(200):
        a, b = space.sample(rng), space.sample(rng)
        child, cross = space.mutate(a, rng), space.crossover(a, b, rng)
        for point in (a, b, child, cross):
            assert space.feasible(point)
        assert child != a
        assert sum(child[n] != a[n] for n in a) <= 2
        for near in space.neighbours(a):
            assert sum(near[n] != a[n] for n in a) == 1 and space.feasible(near)


def test_neighbours_are_all_of_them():
    space = numbers(2)
    point = space.point({"c0": 1, "c1": 2})
    expected = {(v, 2) for v in (2, 3, 4)} | {(1, v) for v in (1, 3, 4)}
    assert {tuple(p.values()) for p in space.neighbours(point)} == expected


def test_samples_cover_a_space_whose_limit_leaves_one_point():
    space = numbers(6, tuple(range(1, 20))).within(Cap(6))  # one in 47 million
    assert set(space.sample(random.Random(3)).values()) == {1}


def test_a_repair_keeps_its_choice_and_finds_a_point_wherever_there_is_one():
    free = numbers(3, (1, 2, 5, 9))
    space, rng = free.within(Cap(11)), random.Random(0)
    assert space.limited and not free.limited
    feasible = set(space.enumerate())
    for point in free.enumerate():
        for name in space.choices:
            found = space.repair(point, name, rng)
            assert (found is None) == (not any(p[name] == point[name] for p in feasible))
            assert found is None or (found in feasible and found[name] == point[name])
            assert found == point or point not in feasible


def test_an_empty_space_names_the_limit_and_the_distance():
    space = numbers(6, tuple(range(2, 9))).within(Cap(6))
    with pytest.raises(NASError, match=r"max_sum=6: the smallest .* has 12, 2\.00 times the limit"):
        space.sample(random.Random(0))


def test_contradictory_rules_are_named():
    choices = {"a": (5, 6), "b": (1, 2)}
    space = ChoiceSpace(choices, rules=[NonDecreasing(("a", "b"))])
    with pytest.raises(NASError, match="rules contradict"):
        space.sample(random.Random(0))


def test_moves_scale_and_step():
    space = ChoiceSpace(
        {"width": (8, 16, 24, 32, 64), "depth": (1, 2, 3, 4, 5)},
        moves={"width": ("scale", (2, 0.5)), "depth": ("step", (-1, 1))},
    )
    point, rng = space.point({"width": 16, "depth": 3}), random.Random(0)
    children = {tuple(space.mutate(point, rng).values()) for _ in range(200)}
    assert children == {(32, 3), (8, 3), (16, 2), (16, 4)}


def test_unseen_finds_the_last_points_and_then_none():
    space, rng, seen = numbers(2), random.Random(0), set()
    found = [space.unseen(lambda: space.sample(rng), seen, rng) for _ in range(16)]
    assert len(set(found)) == 16
    assert space.unseen(lambda: space.sample(rng), seen, rng) is None


def test_encode_is_a_rank_for_numbers_and_one_hot_for_names():
    space = ChoiceSpace({"n": (1, 2, 5), "k": ("a", "b")})
    assert space.encode({"n": 2, "k": "b"}) == [0.5, 0.0, 1.0]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ChoiceSpace({"a": ()}), "choice 'a' has no options"),
        (lambda: ChoiceSpace({"a": (1, 1)}), "lists an option twice"),
        (lambda: ChoiceSpace({"a": 5}), "choice 'a' is 5; give a list"),
        (lambda: ChoiceSpace({"a": [[1]]}), r"choice 'a' is \[\[1\]\]; give a list"),
        (lambda: numbers().point({"c0": 1, "c1": 1}), "choice 'c2' has no value"),
        (
            lambda: numbers().point({"c0": 1, "c1": 1, "c2": 9}),
            r"'c2' is 9; allowed: \[1, 2, 3, 4\]",
        ),
        (lambda: numbers().point({"c0": 1, "c1": 1, "c2": 1, "c9": 1}), "unknown choice 'c9'"),
    ],
)
def test_bad_input_is_one_clear_line(make, message):
    with pytest.raises(NASError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_one_point_space():
    space, rng = ChoiceSpace({"a": (1,)}), random.Random(0)
    point = space.sample(rng)
    assert space.mutate(point, rng) == point and list(space.neighbours(point)) == []
