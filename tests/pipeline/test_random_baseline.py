"""The random baseline: a sentence on what chance finds, with an interval that has a closed form."""

import numpy as np
import pytest

from yolo_nas_ext import ChoiceSpace, search
from yolo_nas_ext.pipeline.random_baseline import difference, interval
from yolo_nas_ext.study.study import Study

SPACE = ChoiceSpace({f"l{i}": (0, 1, 2) for i in range(6)})


def worth(point):
    return {"fitness": sum(point.values()) / 12}


def test_the_interval_of_two_values_in_closed_form():
    """The best of one draw of two values is either, as often."""
    assert interval(1.0, np.array([0.25, 0.75]), 1) == pytest.approx((0.25, 0.75))
    low, high = interval(1.0, np.array([0.25, 0.75]), 20)  # a miss of both has odds of 1e-6
    assert low == high == pytest.approx(0.25)


def test_a_strategy_that_is_better_is_said_to_be_and_chance_is_not():
    better = search(SPACE, worth, strategy="bayes", trials=20, seed=1)
    chance = search(SPACE, worth, strategy="random", trials=20, seed=2)
    text = difference(better, chance, "random")
    assert "may be chance" not in text and "random search" in text
    assert "may be chance" in difference(chance, chance, "random")


def test_nothing_to_compare():
    empty = Study(SPACE)
    assert "no complete trial" in difference(empty, empty, "random")
