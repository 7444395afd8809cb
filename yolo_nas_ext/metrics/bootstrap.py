"""Intervals by drawing patients with replacement (Efron 1979)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

T = TypeVar("T")


def interval(
    parts: Mapping[Any, Sequence[T]],
    statistic: Callable[[Sequence[T]], float],
    *,
    rng: np.random.Generator,
    draws: int = 1000,
    level: float = 0.95,
) -> tuple[float, float]:
    """Return the percentile interval of a statistic of what belongs to patients.

    Args:
        parts: What there is of each patient, for example the scans; they stay together.
        statistic: A number of many parts; draws for which it is nan are left out.
        rng: Draws the patients.
        draws: How often.
        level: Part of the draws within the interval.

    Returns:
        The lower and the upper end; nan where there is no draw with a number, and of one patient,
        who says nothing of others.
    """
    patients = list(parts)
    if len(patients) < 2:
        return float("nan"), float("nan")
    found = []
    for _ in range(draws):
        chosen = rng.integers(0, len(patients), len(patients))
        value = statistic([part for i in chosen for part in parts[patients[i]]])
        if not np.isnan(value):
            found.append(value)
    if not found:
        return float("nan"), float("nan")
    low, high = np.quantile(found, ((1 - level) / 2, (1 + level) / 2))
    return float(low), float(high)
