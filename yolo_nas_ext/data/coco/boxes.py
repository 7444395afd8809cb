"""Boxes of a COCO JSON that are corners in place of sizes, or that reach beyond their image."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

NEAR = 2.0  # pixels between a box and the bounds of its outline that are the same
BEYOND = 1.0  # pixels over the border that rounding explains
MOST = 0.9  # part of the boxes with outlines that say what all are


def settled(
    images: Sequence[Mapping[str, Any]],
    rows: Sequence[dict[str, Any]],
    around: Mapping[int, Sequence[float]],
    did: Counter[str],
) -> None:
    """Turn boxes that are corners (x1 y1 x2 y2) into sizes, and count those that are cut.

    Outlines say which of both they are. Without outlines it is clear where every box is whole as
    corners, and most would reach beyond their image as sizes.

    Args:
        images: Rows with ``id``, and ``width`` and ``height`` in pixels or None.
        rows: Annotations with ``bbox``, four numbers or None; changed in place.
        around: The box around the outline of an annotation, by its id, where it has one.
        did: Counts what was done.
    """
    sizes: dict[int, tuple[float, float]] = {
        row["id"]: (row["width"], row["height"])
        for row in images
        if row.get("width") and row.get("height")
    }
    boxed = [row for row in rows if row["bbox"] is not None and row["image_id"] in sizes]
    beyond = [row for row in boxed if _beyond(row["bbox"], sizes[row["image_id"]])]
    votes = Counter(
        vote for row in boxed if (vote := _vote(row["bbox"], around.get(row["id"]))) is not None
    )
    if votes:
        corners = votes["corners"] >= MOST * votes.total()
    else:
        corners = len(beyond) > max(1, len(boxed) / 2) and all(
            _whole(row["bbox"], sizes[row["image_id"]]) for row in boxed
        )
    if not corners:
        did["boxes that reach beyond their image, cut"] += len(beyond)
        return
    turned = [row for row in rows if row["bbox"] is not None]
    for row in turned:
        row["bbox"] = _sizes(row["bbox"])
    did["boxes that are corners (x1 y1 x2 y2), turned into sizes"] += len(turned)


def _sizes(box: Sequence[float]) -> list[float]:
    """Return corners as left, top, width and height."""
    return [box[0], box[1], box[2] - box[0], box[3] - box[1]]


def _beyond(box: Sequence[float], size: Sequence[float]) -> bool:
    """Say whether a box of sizes leaves its image to the right or at the bottom."""
    return box[0] + box[2] > size[0] + BEYOND or box[1] + box[3] > size[1] + BEYOND


def _whole(box: Sequence[float], size: Sequence[float]) -> bool:
    """Say whether corners are in order and in their image."""
    return box[0] < box[2] <= size[0] + BEYOND and box[1] < box[3] <= size[1] + BEYOND


def _vote(box: Sequence[float], around: Sequence[float] | None) -> str | None:
    """Return what a box is by its outline; None without one, or where it fits both or neither."""
    if around is None:
        return None
    near = [
        all(abs(a - b) <= NEAR for a, b in zip(way, around, strict=True))
        for way in (box, _sizes(box))
    ]
    return None if near[0] == near[1] else "sizes" if near[0] else "corners"
