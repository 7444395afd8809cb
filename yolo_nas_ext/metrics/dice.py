"""Dice of segmented scans, by MONAI (`monai.metrics.compute_dice`)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from yolo_nas_ext.data.naming import place
from yolo_nas_ext.errors import TrialError


def dice(found: Mapping[str, np.ndarray], truth: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the Dice of every class in every scan; nan where a scan has nothing of a class.

    Args:
        found: Masks (classes, h, w) by the picture's stem.
        truth: Those of every picture looked at, of the same sizes. Pictures that `nas-data` made of
            one scan are measured as its volume; others are a scan each.

    Returns:
        An array (classes,) by scan.
    """
    import torch
    from monai.metrics.meandice import compute_dice

    slices: dict[str, list[tuple[int, str]]] = {}
    for stem in truth:
        _, scan, index = place(stem)
        slices.setdefault(scan, []).append((index, stem))
    result = {}
    for scan, parts in slices.items():
        stems = [stem for _, stem in sorted(parts)]
        pair = (np.stack([masks[stem] for stem in stems], -1) for masks in (found, truth))
        a, b = (torch.from_numpy(volume.astype(np.float32))[None] for volume in pair)
        result[scan] = compute_dice(a, b, include_background=True)[0].numpy()
    return result


def evaluate(found: Mapping[str, np.ndarray], truth: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Return the mean Dice over classes and scans as ``fitness`` and ``dice``.

    Args:
        found: See `dice`.
        truth: See `dice`.

    Raises:
        TrialError: Where there is no object in any picture.
    """
    values = np.concatenate(list(dice(found, truth).values()))
    if np.isnan(values).all():
        raise TrialError("nan", "the held-out pictures have no objects, so there is no Dice")
    mean = float(np.nanmean(values))
    return {"fitness": mean, "dice": mean}
