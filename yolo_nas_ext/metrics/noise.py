"""Noise: which differences between networks a part of the images can tell apart.

Two trainings of one network, measured on the same images, differ by chance alone. The chance is of
two kinds: other seeds give other weights, and other images would have given other figures. The
second is known from the parts of the images, each left out in turn (the jackknife of Tukey 1958).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

# Variance of one training over seeds as a part of that of the images: on four sets short trainings
# from trained weights differ by 0.7 to 1.5 times what the images explain (docs/evidence.md). One
# difference of two seeds knows it with one degree of freedom, so that this counts for three.
SHARE, WEIGHT = 0.1, 3
SURE = 1.96  # standard deviations of a normal distribution that hold 95 %


@dataclass(frozen=True, slots=True)
class Noise:
    """What two trainings of one network say of chance.

    Attributes:
        values: The metric of both.
        seeds: Standard deviation of one training over seeds.
        images: Standard error of the difference of two trainings, of the images they are measured
            on.
        alone: That of one training.
    """

    values: tuple[float, float]
    seeds: float
    images: float
    alone: float

    @property
    def difference(self) -> float:
        """How far the two trainings are apart."""
        return abs(self.values[0] - self.values[1])

    @property
    def spread(self) -> float:
        """Standard deviation of one training on images of its own."""
        return math.hypot(self.alone, self.seeds)

    def least(self, *, share: float = 1.0, trainings: int = 1) -> float:
        """Return below which difference two networks cannot be told apart, at 95 %.

        Args:
            share: Objects that are measured on, of those of the two trainings.
            trainings: Seeds of each network.
        """
        return SURE * math.sqrt(self.images**2 / share + 2 * self.seeds**2 / trainings)


def noise(
    first: float,
    second: float,
    without_first: Sequence[float],
    without_second: Sequence[float],
) -> Noise:
    """Return the noise of two trainings of one network on the same images.

    Args:
        first: The metric of the one.
        second: Of the other.
        without_first: The metric of the one without each part of the images, in turn.
        without_second: Of the other, without the same parts.
    """
    apart = [a - b for a, b in zip(without_first, without_second, strict=True)]
    images = jackknife(apart)
    alone = math.sqrt(fmean(jackknife(w) ** 2 for w in (without_first, without_second)))
    return of_errors((first, second), images, alone)


def of_errors(values: tuple[float, float], images: float, alone: float) -> Noise:
    """Return the noise of two trainings whose errors by the images are known; see `Noise`."""
    first, second = values
    own = max(0.0, (first - second) ** 2 - images**2) / 2
    seeds = math.sqrt((WEIGHT * SHARE * images**2 + own) / (WEIGHT + 1))
    return Noise(values, seeds, images, alone)


def jackknife(without: Sequence[float]) -> float:
    """Return the standard error of a figure from its values without each part; 0 of one part."""
    n = len(without)
    middle = fmean(without)
    return math.sqrt((n - 1) / n * sum((value - middle) ** 2 for value in without))
