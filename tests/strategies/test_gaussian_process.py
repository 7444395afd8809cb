import itertools
import random

import numpy as np
import pytest
from scipy.optimize import check_grad
from scipy.stats import spearmanr

from yolo_nas_ext.strategies.gaussian_process import Code, Process, normalised

CHOICES = {
    "a": ("x", "y", "z"),
    "b": ("x", "y", "z"),
    "n": (8, 16, 32, 64),
    "m": (1,),
    "f": (False, True),
}
POINTS = [dict(zip(CHOICES, v, strict=True)) for v in itertools.product(*CHOICES.values())]
CODE = Code(CHOICES)


def value(point):
    return 2.0 * (point["a"] == "x") - (point["b"] == "x") + np.log2(point["n"]) + point["f"] / 2


def distances(places):
    columns = CODE.code(places)
    return ((columns[:, None] - columns[None]) ** 2).sum(axis=2)


def test_distances_of_nominal_and_ordered_choices():
    base = {"a": "x", "b": "x", "n": 8, "m": 1, "f": False}
    others = [base, {**base, "a": "z"}, {**base, "n": 16}, {**base, "n": 64}, {**base, "f": True}]
    assert distances(CODE.places(others))[0] == pytest.approx([0, 1, 2 / 3, 2, 1])


def test_choices_with_the_same_options_are_counted():
    counts = CODE.counts(CODE.places([{**POINTS[0], "a": "x", "b": "z"}]))
    assert counts.tolist() == [[1, 0, 1]]


def test_the_gradient_is_that_of_the_loss():
    rng = np.random.default_rng(0)
    places = CODE.places([POINTS[i] for i in rng.choice(len(POINTS), 12, replace=False)])
    features, targets = CODE.counts(places), rng.normal(size=12)
    process = Process(places, features, targets, CODE)
    columns = CODE.code(places)
    parts = [columns[:, CODE.owners == i] for i in range(len(CODE))]
    choices = np.stack([((c[:, None] - c[None]) ** 2).sum(axis=2).ravel() for c in parts])
    others = np.stack([np.subtract.outer(f, f).ravel() ** 2 for f in features.T])
    loss = [lambda t, i=i: process.loss(t, choices, others, targets)[i] for i in (0, 1)]
    theta = process.prior + 0.3 * rng.normal(size=len(process.prior))
    assert check_grad(*loss, theta) < 1e-4


def test_it_interpolates_and_orders_what_it_has_not_seen():
    rng = random.Random(0)
    train = rng.sample(POINTS, 30)
    places = CODE.places(train)
    targets = normalised(np.array([value(p) for p in train]))
    process = Process(places, CODE.counts(places), targets, CODE)
    mean, deviation = process.predict(places, CODE.counts(places))
    assert np.abs(mean - targets).max() < 0.5
    rest = CODE.places([p for p in POINTS if p not in train])
    far, unsure = process.predict(rest, CODE.counts(rest))
    truth = [value(p) for p in POINTS if p not in train]
    assert spearmanr(far, truth).statistic > 0.9
    assert unsure.mean() > deviation.mean()


def test_a_believed_point_is_predicted_as_such_and_is_surer():
    places = CODE.places(POINTS[:6])
    process = Process(places, CODE.counts(places), np.arange(6.0) - 2.5, CODE)
    new = CODE.places(POINTS[-1:])
    mean, deviation = process.predict(new, CODE.counts(new))
    believed = process.with_point(new[0], CODE.counts(new)[0], float(mean[0]))
    after, surer = believed.predict(new, CODE.counts(new))
    assert after[0] == pytest.approx(mean[0]) and surer[0] < deviation[0]


def test_normalised_keeps_the_order_and_tames_outliers():
    values = np.array([0.1, 60.0, 61.0, 62.0, 63.0, 64.0, 65.0])
    scores = normalised(values)
    assert list(np.argsort(scores)) == list(range(7)) and scores.min() > -3
    assert normalised(np.array([2.0, 2.0])).tolist() == [0, 0]
    assert normalised(np.array([])).size == 0
