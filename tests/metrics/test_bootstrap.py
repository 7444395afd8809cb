import numpy as np
import pytest
from scipy import stats

from yolo_nas_ext.metrics.bootstrap import interval
from yolo_nas_ext.metrics.froc import cpm

RNG = np.random.default_rng(0)


def test_intervals_are_of_patients_and_reproducible():
    one = ([0.9], [0.2], 1)
    assert interval({"a": [one], "b": [one]}, cpm, rng=np.random.default_rng(0), draws=50) == (1, 1)
    mixed = {f"p{i}": [([0.9] * (i % 2), [0.5], 1)] for i in range(20)}
    low, high = interval(mixed, cpm, rng=np.random.default_rng(0), draws=200)
    assert 0.2 < low < cpm([s for v in mixed.values() for s in v]) < high < 0.8
    assert (low, high) == interval(mixed, cpm, rng=np.random.default_rng(0), draws=200)


def test_the_interval_of_a_mean_is_the_textbooks():
    """Of many patients with one number each: mean plus and minus 1.96 standard errors."""
    values = np.random.default_rng(1).normal(5, 2, 400)
    parts = {index: [value] for index, value in enumerate(values)}
    found = interval(parts, lambda v: float(np.mean(v)), rng=np.random.default_rng(0))
    error = 1.96 * values.std() / 20
    assert found == pytest.approx((values.mean() - error, values.mean() + error), abs=0.03)


def test_draws_without_a_number_are_left_out():
    parts = {index: [1.0] for index in range(11)} | {"b": [float("nan")]}
    found = interval(parts, lambda v: float(np.mean(v)), rng=np.random.default_rng(0), draws=40)
    assert found == (1.0, 1.0)
    nothing = interval(parts, lambda v: float("nan"), rng=np.random.default_rng(0), draws=3)
    assert np.isnan(nothing).all()


@pytest.mark.parametrize("n", [2, 3, 5, 9])
def test_few_patients_have_students_interval(n):
    values = np.random.default_rng(n).normal(0.5, 0.05, n)
    parts = {index: [value] for index, value in enumerate(values)}
    found = interval(parts, lambda v: float(np.mean(v)), rng=np.random.default_rng(0))
    known = stats.t.interval(0.95, n - 1, values.mean(), values.std(ddof=1) / np.sqrt(n))
    assert found == pytest.approx(np.clip(known, 0, 1))


def test_few_patients_of_whom_one_has_the_number_alone_have_no_interval():
    parts = {"a": [1.0], "b": [float("nan")]}
    found = interval(parts, lambda v: float(np.nanmean(v)) if v[0] == v[0] else np.nan, rng=RNG)
    assert np.isnan(found).all()
