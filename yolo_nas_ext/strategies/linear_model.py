"""A Bayesian linear model: what trials say of effects that add up, and of prior guesses of them."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np

# Hyperparameters; all combinations are weighed by their likelihood.
TRUSTS = (0.0, 0.35, 0.65, 0.85, 0.97)  # correlation of the prior means with the truth
SHARES = (0.0, 0.5, 0.85)  # part of the second component in the rest
RATIOS = (1.0, 30.0)  # variance of the larger effects, in that of the others
SIZES = np.geomspace(0.02, 1.5, 9)  # deviation of an effect, in that of the targets
NOISES = np.array([0.003, 0.03, 0.1, 0.3, 0.6, 1.0])  # variance of the noise, in the targets'


class Part(NamedTuple):
    """A trust and a share, and what follows from them whatever size and noise are.

    Attributes:
        trust: Correlation of the prior means with the truth.
        covariance: Of effects of size 1 around the prior means, of shape (effects, effects).
        values: Eigenvalues of the covariance of the targets' contrasts, of shape (n - 1,).
        vectors: Its eigenvectors.
        targets: The contrasts along these.
        prior: Their prior means along these, of effects of size 1.
    """

    trust: float
    covariance: np.ndarray
    values: np.ndarray
    vectors: np.ndarray
    targets: np.ndarray
    prior: np.ndarray

    def solved(self) -> np.ndarray:
        """Return the solution of the contrasts, of shape (sizes, noises, n - 1)."""
        size = SIZES[:, None, None]
        return (self.targets - size * self.prior) / self.variances()

    def variances(self) -> np.ndarray:
        """Return the variances of the contrasts, of shape (sizes, noises, n - 1)."""
        return SIZES[:, None, None] ** 2 * self.values + NOISES[:, None]

    def logs(self) -> np.ndarray:
        """Return the log likelihoods, of shape (sizes, noises)."""
        away = self.targets - SIZES[:, None, None] * self.prior
        return -0.5 * (away * self.solved() + np.log(self.variances())).sum(axis=-1)


class LinearModel:
    """Effects after some trials.

    A target is a level, plus the effects that the trial has, plus noise. An effect is normal around
    its prior mean times a factor. The factor, the deviations and the noise are not chosen: the
    posteriors for a grid of them are averaged by their likelihood. The level is free, which is why
    only contrasts of the targets count.

    Args:
        rows: Which effects each trial has, of shape (n, effects).
        targets: What was measured, of shape (n,); n may be 0.
        means: Prior means of the effects up to a factor, of shape (effects,); zeros for no guess.
        components: One or two covariances of the effects, of shape (effects, effects).
        larger: Which effects may be larger than the others, of shape (effects,); none unless given.
    """

    def __init__(
        self,
        rows: np.ndarray,
        targets: np.ndarray,
        means: np.ndarray,
        components: Sequence[np.ndarray],
        larger: np.ndarray | None = None,
    ) -> None:
        scale = float(np.sqrt((means**2).mean())) if len(means) else 0.0
        self.means = means / scale if scale else means
        self.unit = (float(targets.std()) if len(targets) else 0.0) or 1.0
        self._targets, self._rows = targets, rows
        self._contrasts = contrasts(len(targets))
        self._seen = self._contrasts @ rows
        measured = self._contrasts @ targets / self.unit
        trusts = TRUSTS if scale else (0.0,)
        shares = SHARES if len(components) > 1 else (0.0,)
        ratios = RATIOS if larger is not None and larger.any() else (1.0,)
        self.parts = [
            self._part(trust, share, scaled, measured)
            for ratio in ratios
            for scaled in [[_scaled(c, larger, ratio) for c in components]]
            for trust, share in itertools.product(trusts, shares)
        ]
        logs = np.array([part.logs() for part in self.parts])
        likelihoods = np.exp(logs - logs.max())
        self.weights = likelihoods / likelihoods.sum()  # of shape (parts, sizes, noises)

    def _part(
        self, trust: float, share: float, components: Sequence[np.ndarray], measured: np.ndarray
    ) -> Part:
        covariance = (1 - trust**2) * (1 - share) * components[0]
        if share:
            covariance = covariance + (1 - trust**2) * share * components[1]
        values, vectors = np.linalg.eigh(self._seen @ covariance @ self._seen.T)
        prior = trust * (self._seen @ self.means)
        values = np.maximum(values, 0.0)
        return Part(trust, covariance, values, vectors, vectors.T @ measured, vectors.T @ prior)

    @cached_property
    def effects(self) -> np.ndarray:
        """The posterior means of the effects, in the unit of the targets, of shape (effects,)."""
        found = np.zeros(len(self.means))
        for part, weights in zip(self.parts, self.weights, strict=True):
            along = np.einsum("sn,snm->m", weights * SIZES[:, None] ** 2, part.solved())
            found += (weights.sum(axis=1) @ SIZES) * part.trust * self.means
            found += part.covariance @ (self._seen.T @ (part.vectors @ along))
        return self.unit * found

    @cached_property
    def deviations(self) -> np.ndarray:
        """The posterior deviations of the effects, in the unit of the targets."""
        mean, second = self.effects / self.unit, np.zeros(len(self.means))
        for part, weights in zip(self.parts, self.weights, strict=True):
            gain = part.covariance @ self._seen.T @ part.vectors
            prior, own = np.diag(part.covariance), part.trust * self.means
            solved, explained = part.solved(), 1.0 / part.variances()
            for (i, j), weight in np.ndenumerate(weights):
                if weight > 1e-6:
                    size = SIZES[i]
                    around = size * own + size**2 * (gain @ solved[i, j]) - mean
                    left = size**2 * prior - size**4 * (gain**2 @ explained[i, j])
                    second += weight * (np.maximum(left, 0.0) + around**2)
        return self.unit * np.sqrt(second)

    @property
    def level(self) -> float:
        """The mean of what the effects leave of the targets."""
        return float((self._targets - self._rows @ self.effects).mean())

    def draw(self, rng: random.Random) -> np.ndarray:
        """Return effects drawn from the posterior, in the unit of the targets.

        By Matheron's rule: a draw from the prior, corrected by what it leaves of the targets.
        """
        generator = np.random.default_rng(rng.getrandbits(64))
        chosen = int(generator.choice(self.weights.size, p=self.weights.ravel()))
        i, j, k = np.unravel_index(chosen, self.weights.shape)
        part, size = self.parts[i], SIZES[j]
        normal = generator.normal(size=len(self.means))
        drawn = size * (part.trust * self.means + _root(part.covariance) @ normal)
        noise = np.sqrt(NOISES[k]) * generator.normal(size=len(self._seen))
        away = part.targets - part.vectors.T @ (self._seen @ drawn + noise)
        along = size**2 * away / (size**2 * part.values + NOISES[k])
        return self.unit * (drawn + part.covariance @ (self._seen.T @ (part.vectors @ along)))


def contrasts(n: int) -> np.ndarray:
    """Return n - 1 orthonormal rows that are orthogonal to a constant (Helmert's)."""
    found = np.tril(np.ones((max(n, 1), n)), -1)[1:]
    found[np.arange(len(found)), np.arange(1, len(found) + 1)] = -np.arange(1, len(found) + 1)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def _scaled(covariance: np.ndarray, larger: np.ndarray | None, ratio: float) -> np.ndarray:
    """Return a covariance in which some effects have a variance that is so many times theirs."""
    if larger is None or ratio == 1:
        return covariance
    factors = np.where(larger, math.sqrt(ratio), 1.0)
    return covariance * factors * factors[:, None]


def _root(matrix: np.ndarray) -> np.ndarray:
    """Return a square root of a positive semidefinite matrix."""
    values, vectors = np.linalg.eigh(matrix)
    return vectors * np.sqrt(np.maximum(values, 0.0))
