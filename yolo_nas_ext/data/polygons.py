"""Masks to boxes and polygons, and polygons to masks as Ultralytics draws them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from yolo_nas_ext.files import OBJECTS

# Outlines run along the edges of pixels, this far inside of them. Ultralytics cuts points to whole
# numbers: each is in the pixel whose edge it is on, also after being written with six decimals.
INSET = 0.02
FINER = 9  # an odd number, so that one of the finer pixels is in the middle
PIECES = 1000  # of an object; the time grows with their square


@dataclass(frozen=True, slots=True)
class MaskObject:
    """An object in a picture.

    Attributes:
        value: Its label.
        box: Left, top, right and bottom edge in pixels; a pixel at column 3 reaches from 3 to 4.
            Whole numbers, but of a picture of another size than its mask.
        polygon: Its outline (n, 2) in pixels, along the edges of pixels; holes and pieces are
            joined by bridges of no width. None where it was not asked for.
        area: Pixels.
    """

    value: int
    box: tuple[float, float, float, float]
    polygon: np.ndarray | None
    area: float


def objects(
    plane: np.ndarray,
    *,
    connectivity: int = 8,
    min_area: float = 0.0,
    instances: bool = False,
    polygons: bool = True,
) -> list[MaskObject]:
    """Return the objects of a label map, in the order of their labels and then of their place.

    Args:
        plane: Labels (h, w), whole numbers; 0 is background.
        connectivity: 4 or 8: whether pixels that touch at a corner belong together.
        min_area: Smaller objects are left out, in pixels.
        instances: Whether a value is one object, in however many pieces, rather than a class.
        polygons: Whether to trace outlines.

    Raises:
        ValueError: For more objects, or pieces of one, than any picture has.
    """
    found = []
    for value in np.unique(plane):
        if value == 0:
            continue
        for box, mask in _pieces(plane == value, connectivity, whole=instances):
            area = int(mask.sum())
            if len(found) > OBJECTS:
                raise ValueError(f"more than {OBJECTS:,} objects in a picture")
            if area >= min_area:
                line = outline(mask) + box[:2] if polygons else None
                found.append(MaskObject(int(value), box, line, area))
    return found


def _pieces(
    mask: np.ndarray, connectivity: int, *, whole: bool
) -> Iterator[tuple[tuple[int, int, int, int], np.ndarray]]:
    """Yield the box of every component and its mask within that box."""
    if whole:
        rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
        box = int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
        yield box, mask[box[1] : box[3], box[0] : box[2]]
        return
    n, parts, stats, _ = cv2.connectedComponentsWithStats(
        mask.astype(np.uint8), connectivity=connectivity
    )
    for part in range(1, n):
        x, y, w, h = (int(v) for v in stats[part, :4])
        yield (x, y, x + w, y + h), parts[y : y + h, x : x + w] == part


def outline(mask: np.ndarray) -> np.ndarray:
    """Return the outline (n, 2) of a mask with at least one pixel, in pixels along their edges.

    Filled by `fill`, which does as Ultralytics, it gives the mask again.
    """
    # At twice the size the border's pixels say which edges of the mask's pixels it runs along.
    double = np.kron(mask, np.ones((2, 2), np.uint8)).astype(np.uint8)
    contours, tree = cv2.findContours(double, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    outer_first = sorted(range(len(contours)), key=lambda i: (tree[0][i][3] >= 0, i))
    parts = [_edges(contours[i].reshape(-1, 2)) for i in outer_first]
    return join(parts)


def _edges(points: np.ndarray) -> np.ndarray:
    """Return points of the doubled grid on the edges of the pixels that they are halves of."""
    odd = points % 2
    return (points + odd) / 2 + np.where(odd, -INSET, INSET)


def join(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Join the outlines (n, 2) of an object in pieces into one, by bridges of no width.

    The nearest piece is next, so that a bridge crosses no hole that is still to be joined.
    """
    if len(parts) > PIECES:
        raise ValueError(f"an object in {len(parts):,} pieces, at most {PIECES} are joined")
    whole, *left = parts
    near = [_nearest(whole, part) for part in left]
    while left:
        k = min(range(len(left)), key=lambda k: near[k][0])
        part, (_, i, j) = left.pop(k), near.pop(k)
        turned = np.concatenate((part[j:], part[: j + 1]))
        whole = np.concatenate((whole[: i + 1], turned, whole[i:]))
        for k, other in enumerate(left):
            gap, at, to = _nearest(turned, other)
            if gap < near[k][0]:
                near[k] = gap, at + i + 1, to
            elif near[k][1] > i:
                near[k] = near[k][0], near[k][1] + len(turned) + 1, near[k][2]
    return whole


def _nearest(a: np.ndarray, b: np.ndarray) -> tuple[float, int, int]:
    """Return the smallest distance between points of two outlines and their indices."""
    from scipy.spatial import KDTree  # which objects in one piece do without

    found: Any = KDTree(b).query(a)
    gaps, at = found
    i = int(np.argmin(gaps))
    return float(gaps[i]), i, int(at[i])


def fill(polygon: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return the mask (h, w) of a polygon (n, 2) in pixels, as Ultralytics draws it."""
    mask = np.zeros(shape, np.uint8)
    cv2.fillPoly(mask, [np.asarray(polygon).astype(np.int32)], (1,))
    return mask.astype(bool)


def covered(polygon: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return the mask (h, w) of the pixels whose middle a polygon (n, 2) in pixels holds.

    `fill` adds every pixel that the outline runs through, half a pixel a side where it does not run
    along edges. Both give the same where it does. What holds no middle is filled.
    """
    start = np.floor(polygon.min(0)).clip(0).astype(int)
    end = np.minimum(np.ceil(polygon.max(0)).astype(int), shape[::-1])
    width, height = np.maximum(end - start, 0)
    fine = fill((polygon - start) * FINER, (height * FINER, width * FINER))
    middles = fine[FINER // 2 :: FINER, FINER // 2 :: FINER]
    if not middles.any():
        return fill(polygon, shape)
    mask = np.zeros(shape, bool)
    mask[start[1] : end[1], start[0] : end[0]] = middles
    return mask
