"""Dice of segmented scans, as MONAI computes it (`monai.metrics.compute_dice`), by threshold.

Counts of voxels by score give the Dice at every threshold at once; a test holds them to MONAI's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from yolo_nas_ext.data.naming import place
from yolo_nas_ext.errors import TrialError
from yolo_nas_ext.metrics.thresholds import GRID, best, crossed, level


@dataclass(frozen=True, slots=True)
class Counts:
    """Voxels of a scan.

    Attributes:
        both: True ones that are found at each threshold, (classes, thresholds).
        found: All that are found at each.
        true: True ones of each class, (classes,).
    """

    both: np.ndarray
    found: np.ndarray
    true: np.ndarray

    def dice(self) -> np.ndarray:
        """Return the Dice (classes, thresholds); nan of a class that the scan lacks."""
        with np.errstate(invalid="ignore"):
            value = 2 * self.both / (self.found + self.true[:, None])
        return np.where(self.true[:, None] > 0, value, np.nan)


def count(levels: np.ndarray, true: np.ndarray) -> Counts:
    """Return the counts of a volume.

    Args:
        levels: Of `thresholds.level`, (classes, ...).
        true: Whether a voxel is of a class, of the same shape.
    """
    n, bins = len(levels), len(GRID) + 1

    def reached(which: np.ndarray | None) -> np.ndarray:
        rows = [
            np.bincount((levels[c] if which is None else levels[c][which[c]]).ravel(), None, bins)
            for c in range(n)
        ]
        return np.array(rows)[:, :0:-1].cumsum(1)[:, ::-1]

    return Counts(reached(true), reached(None), true.reshape(n, -1).sum(1))


def counts(
    found: Mapping[str, np.ndarray], truth: Mapping[str, np.ndarray]
) -> dict[str, list[Counts]]:
    """Return the counts of every scan, by patient.

    Args:
        found: Scores (classes, h, w) of what covers each pixel, by the picture's stem.
        truth: Masks of every picture looked at, of the same sizes. Pictures that `nas-data` made of
            one scan are measured as its volume; others are a scan each. Of tiles, what two show
            counts twice.
    """
    parts: dict[str, tuple[str, list[Counts]]] = {}
    for stem, masks in truth.items():
        patient, scan, _ = place(stem)
        one = count(level(found[stem]), masks.astype(bool))
        parts.setdefault(scan, (patient, []))[1].append(one)
    result: dict[str, list[Counts]] = {}
    for patient, slices in parts.values():
        whole = (np.sum([getattr(p, name) for p in slices], 0) for name in Counts.__slots__)
        result.setdefault(patient, []).append(Counts(*whole))
    return result


def curve(scans: Sequence[Counts]) -> np.ndarray:
    """Return the mean Dice over classes and scans at each threshold; nan where there is none."""
    values = np.concatenate([scan.dice() for scan in scans])
    there = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return np.where(there, values, 0).sum(0) / there.sum(0)


def evaluate(
    found: Mapping[str, np.ndarray], truth: Mapping[str, np.ndarray], *, cross: bool = False
) -> dict[str, float]:
    """Return the mean Dice over classes and scans as ``fitness`` and ``dice``.

    It is that at the threshold of `thresholds.GRID` where it is largest, ``dice_threshold``: what
    a search holds out of train is where a threshold may be chosen.

    Args:
        found: See `counts`.
        truth: See `counts`.
        cross: Whether each patient is measured at the threshold that is best for all others, as on
            data that nothing may be chosen on; ``dice_threshold`` is still the best of all.

    Raises:
        TrialError: Where there is no object in any picture.
    """
    patients = counts(found, truth)
    scans = [scan for part in patients.values() for scan in part]
    values = curve(scans)
    if np.isnan(values).all():
        raise TrialError("nan", "the held-out pictures have no objects, so there is no Dice")
    threshold = best(scans, curve)
    mean = measured(patients, crossed(patients, curve)) if cross else float(values[threshold])
    return {"fitness": mean, "dice": mean, "dice_threshold": float(GRID[threshold])}


def measured(patients: Mapping[str, Sequence[Counts]], chosen: Mapping[str, int]) -> float:
    """Return the mean Dice with each patient at a threshold of its own; nan without objects."""
    values = np.concatenate(
        [scan.dice()[:, chosen[patient]] for patient, part in patients.items() for scan in part]
    )
    return float("nan") if np.isnan(values).all() else float(np.nanmean(values))
