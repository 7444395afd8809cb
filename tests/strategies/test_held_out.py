"""The model that proposes is asked for points that it has not seen."""

import random

import pytest

from yolo_nas_ext import ChoiceSpace
from yolo_nas_ext.strategies.held_out import held_out_tau
from yolo_nas_ext.study.trial import Trial

SPACE = ChoiceSpace({f"c{i}": (0, 1, 2, 3) for i in range(6)})


def trials(worth, n: int = 50) -> list[Trial]:
    rng = random.Random(0)
    points = [SPACE.sample(rng) for _ in range(n)]
    return [
        Trial(i, point, None, state="complete", metrics={"fitness": worth(point, rng)})
        for i, point in enumerate(points)
    ]


def test_effects_that_add_up_are_foretold() -> None:
    found = held_out_tau(SPACE, trials(lambda p, _: sum((i + 1) * p[f"c{i}"] for i in range(6))))
    assert found is not None and found > 0.8


def test_noise_is_not() -> None:
    found = held_out_tau(SPACE, trials(lambda _, rng: rng.random(), 80))
    assert found is not None and abs(found) < 0.3


@pytest.mark.parametrize("n", [0, 19])
def test_few_trials_say_nothing(n: int) -> None:
    assert held_out_tau(SPACE, trials(lambda p, _: p["c0"], n)) is None


def test_trials_that_are_all_alike_say_nothing() -> None:
    assert held_out_tau(SPACE, trials(lambda *_: 0.5)) is None
