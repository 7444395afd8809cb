"""How large objects are for a network, in pixels of its input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

LEAST = 2.0  # pixels; what is smaller is gone after the first convolution with a stride
MANY = 0.1  # part of the objects from which on it is said


def tiny(labels: Sequence[Mapping[str, Any]], imgsz: int) -> str:
    """Return a note where many objects are under two pixels; nothing where they are not.

    Args:
        labels: Ultralytics' label dictionaries: ``shape`` (height, width) and ``bboxes``, their
            last two columns width and height relative to it.
        imgsz: The longer side that a picture is given to a network with, in pixels.
    """
    sides = [
        (np.asarray(label["bboxes"], float)[:, 2:4] * label["shape"][::-1]).min(1)
        * imgsz
        / max(label["shape"])
        for label in labels
        if len(label.get("bboxes", ()))
    ]
    if not sides:
        return ""
    found = np.concatenate(sides)
    part = float(np.mean(found < LEAST))
    if part < MANY:
        return ""
    size = 32 * int(np.ceil(imgsz * LEAST / max(float(np.quantile(found, MANY)), 1e-6) / 32))
    most = 32 * int(np.ceil(max(max(label["shape"]) for label in labels) / 32))
    ways = [f"imgsz={min(size, most)} shows more of them"] * (min(size, most) > imgsz)
    ways += ["tiles (yolo nas-data tile=) show them as they are"] * (most > imgsz)
    return (
        f"{part:.0%} of the objects are under {LEAST:g} pixels at imgsz={imgsz}, which no network "
        f"sees{': ' if ways else ''}{'; '.join(ways)}"
    )
