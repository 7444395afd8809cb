"""A Gaussian process over choices: how good a point may be, and how sure that is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.linalg import cho_solve, solve_triangular
from scipy.optimize import minimize
from scipy.special import erfcx, ndtr, ndtri

FITTED = 150  # points that the hyperparameters are fitted to; prediction uses all
STEPS = 20  # of the optimiser, enough for a proposal
JITTER = 1e-6


class Code:
    """Points as columns of numbers in which a squared distance is a distance between choices.

    A nominal choice is one-hot, so that two options are 1 apart; a numeric one is a thermometer, so
    that its options are as far apart as their ranks, 2 from the first to the last. Where choices
    share their options, say the operations of several layers, how often each option is chosen (or
    the sum of the ranks) is a feature: networks whose layers are swapped are alike in it.

    Args:
        choices: Options of every choice by its name.
    """

    def __init__(self, choices: Mapping[str, Sequence[Any]]) -> None:
        self.choices = {name: tuple(o) for name, o in choices.items() if len(o) > 1}
        self._places: dict[str, dict[Any, int]] = {}
        columns, owners = [], []
        for owner, (name, options) in enumerate(self.choices.items()):
            self._places[name] = {option: i for i, option in enumerate(options)}
            k = len(options)
            if numeric(options):
                ranks = np.argsort(np.argsort(np.array(options, dtype=float)))
                block = (ranks[:, None] > np.arange(k - 1)) * np.sqrt(2.0 / (k - 1))
            else:
                block = np.eye(k) * np.sqrt(0.5)
            columns.append(block)
            owners += [owner] * block.shape[1]
        self.columns = columns
        self.owners = np.array(owners, dtype=int)  # of every column, the choice it codes
        self.groups = self._groups()

    def __len__(self) -> int:
        return len(self.choices)

    def places(self, points: Sequence[Mapping[str, Any]]) -> np.ndarray:
        """Return the places of the chosen options, of shape (points, choices)."""
        named = list(self._places.items())
        rows = [[places[point[name]] for name, places in named] for point in points]
        return np.array(rows, dtype=int).reshape(len(rows), len(named))

    def code(self, places: np.ndarray) -> np.ndarray:
        """Return the columns of points given by their places."""
        if not self.columns:
            return np.zeros((len(places), 0))
        return np.hstack([block[places[:, i]] for i, block in enumerate(self.columns)])

    def counts(self, places: np.ndarray) -> np.ndarray:
        """Return the features of choices that share their options, of shape (points, features)."""
        found = []
        for members, options, ordered in self.groups:
            part = places[:, members]
            if ordered:
                found.append(part.sum(axis=1) / (len(options) - 1))
            else:
                found += [(part == place).sum(axis=1) for place in range(len(options))]
        return np.stack(found, axis=1).astype(float) if found else np.zeros((len(places), 0))

    def _groups(self) -> list[tuple[list[int], tuple[Any, ...], bool]]:
        shared: dict[tuple[Any, ...], list[int]] = {}
        for i, options in enumerate(self.choices.values()):
            shared.setdefault(options, []).append(i)
        return [
            (places, options, numeric(options))
            for options, places in shared.items()
            if len(places) > 1
        ]


def numeric(options: Sequence[Any]) -> bool:
    """Return whether the options of a choice are more than two numbers, which have an order."""
    return len(options) > 2 and all(
        isinstance(o, (int, float)) and not isinstance(o, bool) for o in options
    )


def normalised(values: np.ndarray) -> np.ndarray:
    """Return values with mean 0 and deviation 1 in which bad outliers do not drown the good.

    The mean of the normal scores of the ranks and of the values in units of their quartiles, with
    the lower tail made logarithmic: candidates that learnt nothing say little about the best ones.
    """
    if len(values) < 2 or np.ptp(values) == 0:
        return np.zeros(len(values))
    from scipy.stats import rankdata  # which takes half a second to load

    ranks = ndtri((rankdata(values) - 0.5) / len(values))
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    scores = 1.35 * (values - middle) / ((high - low) or float(np.ptp(values)))
    scores = np.where(scores < -2, -2 - np.log1p(np.maximum(-scores - 2, 0)), scores)
    mixed = (ranks + (scores - scores.mean()) / (scores.std() or 1.0)) / 2
    return (mixed - mixed.mean()) / (mixed.std() or 1.0)


def log_improvement(z: np.ndarray) -> np.ndarray:
    """Return ln(pdf(z) + z cdf(z)), far below 0 too (Ament et al. 2023, arXiv:2310.20708)."""
    z = np.asarray(z, dtype=float)
    density = -0.5 * z**2 - 0.5 * np.log(2 * np.pi)
    near = np.maximum(z, -5.0)
    plain = np.log(np.exp(-0.5 * near**2) / np.sqrt(2 * np.pi) + near * ndtr(near))
    far = np.minimum(z, -5.0)
    ratio = np.sqrt(np.pi / 2) * erfcx(-far / np.sqrt(2))  # cdf / pdf
    tail = density + np.where(
        far > -1e3, np.log1p(np.maximum(far * ratio, -1 + 1e-16)), -2 * np.log(-far)
    )
    return np.where(z > -5, plain, tail)


class Process:
    """A Gaussian process with a kernel over choices and one over features.

    The kernel over choices is exp(-sum of w_i d_i) with a learnt weight a choice (an exponentiated
    Hamming kernel with automatic relevance, as in Oh et al. 2019, COMBO); the kernel over features
    is Gaussian with a learnt scale a feature. Their variances, the scales and the noise maximise
    the marginal likelihood times log-normal priors.

    Args:
        places: Places of the options, of shape (n, choices).
        features: Features of the points, of shape (n, m); m may be 0.
        targets: What was measured, of shape (n,); see `normalised`.
        code: Of the space.
        fitted: Indices of the points that the hyperparameters are fitted to.
    """

    def __init__(
        self,
        places: np.ndarray,
        features: np.ndarray,
        targets: np.ndarray,
        code: Code,
        fitted: np.ndarray | None = None,
    ) -> None:
        self.code = code
        self.targets = targets
        self._columns = code.code(places)
        self._features = features
        m, p = len(code), features.shape[1]
        self._m = m
        self.prior = np.log(
            np.r_[
                0.5,
                0.5 if p else 1e-9,
                0.01,
                np.full(m, 1.5 / max(m, 1)),
                np.full(p, 0.5 / max(p, 1)),
            ]
        )
        self._spread = np.r_[1.0, 1.0, 1.5, np.ones(m + p)]
        keep = np.arange(len(targets)) if fitted is None else fitted
        self.theta = self._fit(places[keep], features[keep], targets[keep])
        self._decompose()

    def with_point(self, places: np.ndarray, features: np.ndarray, target: float) -> Process:
        """Return this process as if a point had been measured, hyperparameters unchanged."""
        other = object.__new__(Process)
        other.__dict__ |= self.__dict__
        other._columns = np.vstack([self._columns, self.code.code(places[None])])
        other._features = np.vstack([self._features, features[None]])
        other.targets = np.append(self.targets, target)
        other._decompose()
        return other

    def predict(self, places: np.ndarray, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return means and standard deviations, of shape (n,), of what would be measured.

        The noise is part of the deviation: what neither kernel explains is a property of a new
        point too, and its luck counts where the best of all measurements is sought.
        """
        first, second = self._kernels(self.code.code(places), features)
        cross = first + second
        mean = cross @ self._alpha
        explained = solve_triangular(self._factor, cross.T, lower=True, check_finite=False)
        variance = np.exp(self.theta[:3]).sum() - (explained**2).sum(axis=0)
        return mean, np.sqrt(np.maximum(variance, 1e-10))

    def _kernels(self, columns: np.ndarray, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return both kernels between other points and those that were measured."""
        weights = np.sqrt(np.exp(self.theta[3 : 3 + self._m]))[self.code.owners]
        scales = np.sqrt(np.exp(self.theta[3 + self._m :]))
        first = _squared(columns * weights, self._columns * weights)
        second = _squared(features * scales, self._features * scales)
        return np.exp(self.theta[0] - first), np.exp(self.theta[1] - second)

    def _decompose(self) -> None:
        first, second = self._kernels(self._columns, self._features)
        covariance = first + second
        covariance[np.diag_indices_from(covariance)] += np.exp(self.theta[2]) + JITTER
        self._factor = np.linalg.cholesky(covariance)
        self._alpha = cho_solve((self._factor, True), self.targets, check_finite=False)

    def _fit(self, places: np.ndarray, features: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Return the hyperparameters: logs of two variances, the noise, weights and scales."""
        n = len(targets)
        if n < 2:
            return self.prior
        columns = self.code.code(places)
        choices = np.zeros((self._m, n, n))
        for i in range(self._m):
            part = columns[:, self.code.owners == i]
            choices[i] = _squared(part, part)
        others = (features.T[:, :, None] - features.T[:, None, :]) ** 2
        low, high = self.prior - 4 * self._spread, self.prior + 4 * self._spread
        result = minimize(
            self.loss,
            self.prior,
            args=(choices.reshape(-1, n * n), others.reshape(-1, n * n), targets),
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": STEPS},
            bounds=list(zip(low, high, strict=True)),
        )
        return result.x

    def loss(
        self, theta: np.ndarray, choices: np.ndarray, others: np.ndarray, targets: np.ndarray
    ) -> tuple[float, np.ndarray]:
        """Return the negative log of posterior density and its gradient by the hyperparameters."""
        n, m = len(targets), self._m
        weights, scales = np.exp(theta[3 : 3 + m]), np.exp(theta[3 + m :])
        noise = np.exp(theta[2])
        first = np.exp(theta[0] - weights @ choices)
        second = np.exp(theta[1] - scales @ others)
        covariance = (first + second).reshape(n, n)
        covariance[np.diag_indices(n)] += noise + JITTER
        factor = np.linalg.cholesky(covariance)
        inverse = cho_solve((factor, True), np.eye(n), check_finite=False)
        alpha = inverse @ targets
        slope = 0.5 * (inverse - np.outer(alpha, alpha))
        first *= slope.ravel()
        second *= slope.ravel()
        away = (theta - self.prior) / self._spread
        loss = 0.5 * (targets @ alpha) + np.log(np.diag(factor)).sum() + 0.5 * (away**2).sum()
        gradient = np.r_[
            first.sum(),
            second.sum(),
            np.trace(slope) * noise,
            -weights * (choices @ first),
            -scales * (others @ second),
        ]
        return float(loss), gradient + away / self._spread


def _squared(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return squared distances between rows, of shape (len(a), len(b))."""
    found = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2 * a @ b.T
    return np.maximum(found, 0.0)
