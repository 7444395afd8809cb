"""The score from which something counts: chosen on other patients than those that are measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

# From hardly to nearly sure; a network that has learnt little is ranked by its low scores.
GRID = np.array([0.001, 0.002, 0.005, 0.01, 0.02, *np.arange(1, 20) / 20])
USUAL = 0.25  # Ultralytics shows objects from there

# A number for each of `GRID` from what belongs to several patients.
Curve = Callable[[Sequence[Any]], np.ndarray]


def level(scores: np.ndarray) -> np.ndarray:
    """Return how many of `GRID` each score reaches, as bytes: 0 is below all of them."""
    # In single precision, as a score that is just a threshold is stored.
    return np.digitize(scores, GRID.astype(np.float32)).astype(np.uint8)


def at(threshold: float) -> int:
    """Return the index of the threshold of `GRID` that is nearest."""
    return int(np.abs(GRID - threshold).argmin())


def best(parts: Sequence[Any], curve: Curve) -> int:
    """Return the index in `GRID` of the best threshold; `USUAL` where nothing tells them apart."""
    values = curve(parts)
    if np.isnan(values).all() or np.nanmax(values) == np.nanmin(values):
        return at(USUAL)
    top = np.flatnonzero(values >= np.nanmax(values) - 1e-12)
    return int(top[len(top) // 2])  # amid a plateau, where a little more changes nothing


def crossed(patients: Mapping[str, Sequence[Any]], curve: Curve) -> dict[str, int]:
    """Return for each patient the index of the threshold that is best for all others.

    So no patient has a say in how it is measured. One patient alone takes `USUAL`.

    Args:
        patients: What there is of each.
        curve: What is to be largest.
    """
    result = {}
    for patient in patients:
        others = [part for other, own in patients.items() if other != patient for part in own]
        result[patient] = best(others, curve) if others else at(USUAL)
    return result
