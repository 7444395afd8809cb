"""Differences between models: numbers against scipy, and what intervals cover when drawn often."""

import math

import numpy as np
import pytest
from scipy import stats

from yolo_nas_ext.metrics.noise import jackknife
from yolo_nas_ext.study.differences import differences

A, B, C = [0.31, 0.34, 0.29, 0.40], [0.30, 0.31, 0.30, 0.33], [0.35, 0.33, 0.36, 0.37]


def test_one_rival_is_compared_by_students_t_with_a_pooled_variance():
    found = differences({"a": A}, B)["a"]
    theirs = stats.ttest_ind(A, B)
    assert found.mean == pytest.approx(np.mean(A) - np.mean(B)) and found.n == 4
    assert found.p == pytest.approx(theirs.pvalue) and (found.of, found.alike) == (1, True)
    assert (found.low, found.high) == pytest.approx(tuple(theirs.confidence_interval()))


def test_several_rivals_are_compared_by_dunnetts_test():
    found = differences({"a": A, "c": C}, B)
    theirs = stats.dunnett(A, C, control=B)
    for i, name in enumerate(("a", "c")):
        assert found[name].p == pytest.approx(theirs.pvalue[i], abs=0.01) and found[name].of == 2
    alone = differences({"a": A}, B)["a"]
    width = found["a"].high - found["a"].low
    assert width > 0 and found["a"].p > alone.p - 0.05


def test_unlike_variances_are_not_pooled():
    wide, narrow = [0.1, 0.9, 0.2, 0.8, 0.15, 0.85], [0.50, 0.51, 0.50, 0.49, 0.50, 0.51]
    found = differences({"a": wide}, narrow)["a"]
    theirs = stats.ttest_ind(wide, narrow, equal_var=False)
    assert not found.alike and found.p == pytest.approx(theirs.pvalue)
    both = differences({"a": wide, "b": narrow[::-1]}, narrow)
    assert both["a"].p == pytest.approx(1 - (1 - theirs.pvalue) ** 2)


def test_few_trainings_say_little():
    once = differences({"a": [0.4]}, [0.3])["a"]
    assert once.mean == pytest.approx(0.1) and once.low == -math.inf and math.isnan(once.p)
    assert math.isnan(differences({"a": []}, [0.3])["a"].mean)
    mixed = differences({"a": [0.4], "b": [0.5, 0.6]}, [0.3, 0.35])
    assert mixed["a"].low == -math.inf and mixed["b"].of == 1 and mixed["b"].p < 1
    same = differences({"a": [0.1, 0.1]}, [0.1, 0.1])["a"]
    assert (same.low, same.high, same.p) == (0, 0, 1)
    sure = differences({"a": [0.2, 0.2]}, [0.1, 0.1])["a"]
    assert sure.low == sure.high == pytest.approx(0.1) and sure.p == 0


def test_an_error_of_the_images_makes_intervals_wider():
    plain = differences({"a": A}, B)["a"]
    both = differences({"a": A}, B, images={"a": (0.03, 20)})["a"]
    assert both.mean == plain.mean and both.images == 0.03
    assert both.low < plain.low and both.high > plain.high and both.p > plain.p
    little = differences({"a": A}, B, images={"a": (1e-9, 20)})["a"]
    assert (little.low, little.high) == pytest.approx((plain.low, plain.high))
    assert little.p == pytest.approx(plain.p)
    assert differences({"a": [0.4]}, [0.3], images={"a": (0.03, 20)})["a"].low == -math.inf


@pytest.mark.parametrize("rivals", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_images_have_a_say_beside_seeds(rivals):
    """Figures are means over 100 images; models and images interact, and so do trainings."""
    rng, held, plain = np.random.default_rng(0), 0, 0
    parts = [np.arange(100) % 20 != part for part in range(20)]
    for _ in range(300):
        easy = rng.normal(0, 0.2, 100)
        of_models = rng.normal(0, 0.15, (rivals + 1, 1, 100))
        drawn = easy + of_models + rng.normal(0, 0.1, (rivals + 1, 3, 100))
        drawn = drawn + rng.normal(0, 0.01, (rivals + 1, 3, 1))
        values = {str(i): list(drawn[i].mean(1)) for i in range(rivals)}
        without = np.stack([drawn[..., kept].mean(2) for kept in parts], 2).mean(1)
        errors = {name: (jackknife(list(without[int(name)] - without[-1])), 20) for name in values}
        control = list(drawn[-1].mean(1))
        for images in (errors, {}):
            found = differences(values, control, images=images)
            best = max(found.values(), key=lambda one: one.mean)
            if images:
                held += best.low <= 0 <= best.high
            else:
                plain += best.low <= 0 <= best.high
    assert held / 300 > 0.93  # of one rival 0.95 is due, and the best of several has no less
    assert plain / 300 < held / 300 - 0.05  # seeds alone say that they are surer than they are


def covered(rivals, seeds, times):
    """Return how often the best of equal rivals is not taken for better or worse."""
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(times):
        drawn = {str(i): rng.normal(0.5, 0.02, seeds) for i in range(rivals)}
        found = differences(drawn, rng.normal(0.5, 0.02, seeds))
        best = max(found.values(), key=lambda one: one.mean)
        held += best.low <= 0 <= best.high
    return held / times


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_the_interval_of_one_rival_covers_what_it_says(seeds):
    # 600 draws: a standard error of 0.009. Welch's t is taken where variances only look unlike.
    assert covered(1, seeds, 600) == pytest.approx(0.95, abs=0.025)


@pytest.mark.slow
def test_the_interval_of_the_best_of_several_covers_what_it_says():
    # The best of three is above the control more often than not: as if it had been named before,
    # its interval would miss nothing in some 90 % only.
    assert covered(3, 3, 600) >= 0.94
