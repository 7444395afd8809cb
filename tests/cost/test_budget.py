import math
import random

import pytest

from yolo_nas_ext.console import short
from yolo_nas_ext.cost.budget import Budget
from yolo_nas_ext.errors import NASError
from yolo_nas_ext.space.detector import DetectorSpace


@pytest.mark.parametrize("name", ["tiny", "yolo", "damo"])
def test_within_a_budget_everything_fits(name):
    space, rng = DetectorSpace.load(name), random.Random(0)
    median = sorted(
        Budget(nc=3, imgsz=128).costs(space.architecture(space.sample(rng))).flops
        for _ in range(50)
    )[25]
    budget = Budget({"max_flops": median, "max_params": 3e6}, nc=3, imgsz=128)
    within = space.within(budget)
    point = within.sample(rng)
    for _ in range(50):
        point = within.mutate(point, rng)
        cost = budget.costs(space.architecture(point))
        assert cost.flops <= median and cost.params <= 3e6
        assert within.feasible(point)
    assert space.feasible(point)  # the space itself is unchanged


def test_an_impossible_budget_says_which_limit_and_by_how_much():
    space = DetectorSpace.load("tiny").within(
        Budget({"max_params": 1000, "max_flops": 1e12}, 3, 64)
    )
    with pytest.raises(NASError, match=r"max_params=1\.00K.*smallest network found has .*K param"):
        space.sample(random.Random(0))


@pytest.mark.parametrize(
    ("value", "text", "up"),
    [
        (2590425, "2.59M", "2.60M"),
        (999, "999", "999"),
        (1e12, "1.00T", "1.00T"),
        (61_301, "61.3K", "61.4K"),
    ],
)
def test_short(value, text, up):
    assert short(value) == text and short(value, up=True) == up


@pytest.mark.parametrize("limits", [{"max_flop": 1e9}, {"max_flops": 0}, {"max_params": math.nan}])
def test_a_budget_that_is_none_is_refused(limits):
    with pytest.raises(NASError, match=min(limits)):
        Budget(limits)
