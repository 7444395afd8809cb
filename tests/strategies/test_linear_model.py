"""What trials say of effects that add up."""

import random

import numpy as np
import pytest

from yolo_nas_ext.strategies.linear_model import LinearModel, contrasts


def drawn(n=120, effects=6, noise=0.05, seed=0):
    draw = np.random.default_rng(seed)
    rows = (draw.random((n, effects)) < 0.5).astype(float)
    truth = draw.normal(size=effects)
    return rows, truth, 3.0 + rows @ truth + noise * draw.normal(size=n)


def test_effects_are_least_squares_where_data_is_plenty():
    rows, _, targets = drawn()
    model = LinearModel(rows, targets, np.zeros(6), [np.eye(6)])
    expected = np.linalg.lstsq(np.c_[rows, np.ones(len(rows))], targets, rcond=None)[0]
    assert model.effects == pytest.approx(expected[:-1], abs=0.02)
    assert model.level == pytest.approx(expected[-1], abs=0.05)
    assert (model.deviations < 0.1).all()
    draws = np.array([model.draw(random.Random(seed)) for seed in range(200)])
    assert draws.mean(axis=0) == pytest.approx(model.effects, abs=0.02)
    assert draws.std(axis=0) == pytest.approx(model.deviations, rel=0.4)


def test_without_trials_effects_are_the_prior_means_up_to_a_factor():
    means = np.array([1.0, -2.0, 0.5])
    model = LinearModel(np.zeros((0, 3)), np.zeros(0), means, [np.eye(3)])
    ratio = model.effects / means
    assert ratio == pytest.approx(np.full(3, ratio[0])) and ratio[0] > 0


def test_the_unit_of_the_prior_means_does_not_matter():
    rows, truth, targets = drawn(n=8)
    one, other = (
        LinearModel(rows, targets, unit * truth, [np.eye(6)]).effects for unit in (1.0, 1e3)
    )
    assert one == pytest.approx(other)


def test_right_guesses_help_where_trials_are_few_and_wrong_ones_are_left():
    errors = {}
    for seed in range(10):
        rows, truth, targets = drawn(n=6, effects=12, seed=seed)
        wrong = np.random.default_rng(seed + 50).normal(size=12)
        for name, means in (("none", 0 * truth), ("right", truth), ("wrong", wrong)):
            found = LinearModel(rows, targets, means, [np.eye(12)]).effects
            errors.setdefault(name, []).append(float(((found - truth) ** 2).mean()))
    mean = {name: np.mean(values) for name, values in errors.items()}
    assert mean["right"] < mean["none"] / 2 and mean["wrong"] < 2 * mean["none"]


def test_effects_that_may_be_larger_are_told_from_few_trials():
    """As where the levels or the image size decide more than all widths together."""
    errors = {"alike": 0.0, "larger": 0.0}
    mask = np.arange(20) == 0
    for seed in range(10):
        draw = np.random.default_rng(seed)
        rows = (draw.random((14, 20)) < 0.5).astype(float)
        rows[:, 0] = np.arange(14) == 5  # tried once
        truth = np.where(mask, 3.0, 0.3) * draw.choice([-1, 1], 20)
        targets = rows @ truth + 0.3 * draw.normal(size=14)
        for name, larger in (("alike", None), ("larger", mask)):
            model = LinearModel(rows, targets, np.zeros(20), [np.eye(20)], larger)
            errors[name] += abs(float(model.effects[0] - truth[0]))
    assert errors["larger"] < 0.7 * errors["alike"]
    rows, _, targets = drawn(effects=3)  # where they are not, it costs next to nothing
    same = LinearModel(rows, targets, np.zeros(3), [np.eye(3)], np.array([True, False, False]))
    alike = LinearModel(rows, targets, np.zeros(3), [np.eye(3)])
    assert same.effects == pytest.approx(alike.effects, abs=0.01)


def test_contrasts_are_orthonormal_and_know_no_level():
    for n in (0, 1, 2, 7):
        found = contrasts(n)
        assert found.shape == (max(n - 1, 0), n)
        assert found @ found.T == pytest.approx(np.eye(max(n - 1, 0)))
        assert found.sum(axis=1) == pytest.approx(np.zeros(len(found)), abs=1e-12)
