"""What two trainings of one network say of chance."""

import math

import numpy as np
import pytest

from yolo_nas_ext.metrics.noise import SHARE, SURE, WEIGHT, jackknife, noise


def test_the_error_of_a_mean_is_the_usual_one():
    values = np.random.default_rng(0).normal(size=30)
    without = [float(np.delete(values, i).mean()) for i in range(30)]
    assert jackknife(without) == pytest.approx(values.std(ddof=1) / math.sqrt(30))


def test_two_trainings_that_are_near_leave_what_is_known_of_others():
    found = noise(0.5, 0.5, [0.4, 0.6], [0.6, 0.4])
    assert found.difference == 0 and found.images > 0 and found.alone > 0
    assert found.seeds == pytest.approx(found.images * math.sqrt(SHARE * WEIGHT / (WEIGHT + 1)))
    assert found.least() == pytest.approx(
        SURE * math.hypot(found.images, math.sqrt(2) * found.seeds)
    )


def test_more_objects_and_more_trainings_tell_more():
    found = noise(0.50, 0.55, [0.5, 0.48, 0.53], [0.57, 0.53, 0.55])
    assert found.least() > found.least(share=2) > found.least(share=2, trainings=3)
    assert found.spread > found.alone


def test_what_it_calls_noise_holds_nineteen_of_twenty_differences():
    """Of equal networks whose figure is a mean over images, with an effect of the seed."""
    rng = np.random.default_rng(1)
    inside = []
    for _ in range(600):
        effect = rng.normal(0, math.sqrt(SHARE * 2 * 0.12**2 / 60), (4, 1))
        images = rng.normal(0, 0.15, 60) + rng.normal(0, 0.12, (4, 60)) + effect
        first, second, third, fourth = images
        parts = [np.arange(60) % 20 != part for part in range(20)]
        without = [[float(one[kept].mean()) for kept in parts] for one in (first, second)]
        found = noise(float(first.mean()), float(second.mean()), *without)
        inside.append(abs(third.mean() - fourth.mean()) < found.least())
    assert 0.91 < np.mean(inside) < 0.98
