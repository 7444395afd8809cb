"""Lesions: what belongs together through the slices of a scan.

An object in a slice is a piece of a lesion. Of masks, a lesion is a connected component of one
class in three dimensions. Of boxes alone, nobody knows what touches: boxes of one class that
overlap in neighbouring slices are taken for one lesion.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from yolo_nas_ext.data.naming import place
from yolo_nas_ext.files import json_of, text_of

FILE = "lesions.json"  # of a data set that `nas-data` made
BY_MASKS = "3-D components of the masks"
BY_BOXES = "boxes of one class that overlap in neighbouring slices"


class Components:
    """Connected components of label maps that come a slice at a time.

    Pixels that touch are together, within a slice and between neighbouring ones: with
    `connectivity` 8 also those that touch at a corner (26 neighbours in all), with 4 at their
    sides alone (6).

    Args:
        connectivity: 4 or 8.

    Attributes:
        sizes: Pixels of every piece.
    """

    def __init__(self, connectivity: int = 8) -> None:
        self._connectivity = connectivity
        self._parents: list[int] = []
        self.sizes: list[int] = []
        self._last: tuple[int, dict[int, np.ndarray]] = (-2, {})

    def add(self, index: int, plane: np.ndarray) -> list[int]:
        """Take a slice and return the number of each of its pieces.

        Args:
            index: Number of the slice; later ones follow in order.
            plane: Labels (h, w); 0 is background.

        Returns:
            Numbers from 0 on, in the order of `data.polygons.objects`.
        """
        before = self._last[1] if self._last[0] == index - 1 else {}
        found: dict[int, np.ndarray] = {}
        new = len(self._parents)
        for value in np.unique(plane[plane != 0]).tolist():
            mask = (plane == value).astype(np.uint8)
            n, parts, stats, _ = cv2.connectedComponentsWithStats(
                mask, connectivity=self._connectivity
            )
            pieces = parts.astype(np.int64) - 1
            first = len(self._parents)
            pieces[pieces >= 0] += first
            self._parents += range(first, first + n - 1)
            self.sizes += stats[1:, cv2.CC_STAT_AREA].tolist()
            if value in before:
                self._join(before[value], pieces)
            found[value] = pieces
        self._last = index, found
        return list(range(new, len(self._parents)))

    def _join(self, before: np.ndarray, pieces: np.ndarray) -> None:
        """Join the pieces of two neighbouring slices that touch."""
        height, width = pieces.shape
        reach = (-1, 0, 1) if self._connectivity == 8 else (0,)
        pairs: set[tuple[int, int]] = set()
        for dy in reach:
            for dx in reach:
                a = before[max(dy, 0) : height + min(dy, 0), max(dx, 0) : width + min(dx, 0)]
                b = pieces[max(-dy, 0) : height + min(-dy, 0), max(-dx, 0) : width + min(-dx, 0)]
                both = (a >= 0) & (b >= 0)
                pairs |= set(zip(a[both].tolist(), b[both].tolist(), strict=True))
        for a, b in pairs:
            self._parents[self._root(a)] = self._root(b)

    def _root(self, piece: int) -> int:
        while self._parents[piece] != piece:
            self._parents[piece] = self._parents[self._parents[piece]]
            piece = self._parents[piece]
        return piece

    def within(self, there: tuple[slice, slice], least: float = 0.0) -> list[int]:
        """Return the piece of each object in a window of the slice that came last.

        Args:
            there: Rows and columns of the window; its border may cut an object into several.
            least: Pixels below which an object of the window is left out.

        Returns:
            Numbers in the order of `data.polygons.objects` of the window.
        """
        found: list[int] = []
        for _, pieces in sorted(self._last[1].items()):
            window = pieces[there]
            n, parts, stats, _ = cv2.connectedComponentsWithStats(
                (window >= 0).astype(np.uint8), connectivity=self._connectivity
            )
            large = [i for i in range(1, n) if stats[i, cv2.CC_STAT_AREA] >= least]
            if large:
                values, first = np.unique(parts, return_index=True)
                at = dict(zip(values.tolist(), first.tolist(), strict=True))
                found += [int(window.ravel()[at[i]]) for i in large]
        return found

    def piece_of(self, value: int, mask: np.ndarray) -> int:
        """Return the piece of the slice that came last in which most of a mask (h, w) lies."""
        inside = self._last[1][value][mask]
        return int(np.bincount(inside[inside >= 0]).argmax())

    def lesions(self) -> tuple[list[int], list[int]]:
        """Return the lesion of every piece, from 0 on, and the number of pixels of each lesion."""
        roots = [self._root(piece) for piece in range(len(self._parents))]
        number = {root: i for i, root in enumerate(dict.fromkeys(roots))}
        sizes = [0] * len(number)
        for root, size in zip(roots, self.sizes, strict=True):
            sizes[number[root]] += size
        return [number[root] for root in roots], sizes


def of_boxes(pictures: Iterable[tuple[int, np.ndarray]]) -> tuple[list[list[int]], int]:
    """Return the lesion of every box of a scan, and how many there are.

    Args:
        pictures: Number of each slice in order, and its boxes: rows (left, top, right, bottom,
            class, ...) in pixels. Boxes of one class that overlap in slices beside one another are
            of one lesion; boxes of one slice are not.
    """
    parents: list[int] = []

    def root(box: int) -> int:
        while parents[box] != box:
            box = parents[box]
        return box

    rows: list[list[int]] = []
    last: tuple[int, np.ndarray, list[int]] = (-2, np.zeros((0, 5)), [])
    for index, table in pictures:
        own = list(range(len(parents), len(parents) + len(table)))
        parents.extend(own)
        if last[0] == index - 1:
            for i, j in zip(*np.nonzero(ious(last[1], table)), strict=True):
                parents[root(last[2][i])] = root(own[j])
        rows.append(own)
        last = index, table, own
    number = {r: i for i, r in enumerate(dict.fromkeys(root(b) for b in range(len(parents))))}
    return [[number[root(box)] for box in own] for own in rows], len(number)


def ious(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the intersections over unions (len(a), len(b)) of boxes; 0 of those of two classes.

    Args:
        a: Rows (left, top, right, bottom, class, ...).
        b: As `a`.
    """
    width = np.minimum(a[:, None, 2], b[None, :, 2]) - np.maximum(a[:, None, 0], b[None, :, 0])
    height = np.minimum(a[:, None, 3], b[None, :, 3]) - np.maximum(a[:, None, 1], b[None, :, 1])
    shared = np.clip(width, 0, None) * np.clip(height, 0, None)
    areas = [(t[:, 2] - t[:, 0]) * (t[:, 3] - t[:, 1]) for t in (a, b)]
    whole = areas[0][:, None] + areas[1][None, :] - shared
    same = (a[:, None, 4] == b[None, :, 4]) & (whole > 0)
    return np.where(same, shared / np.where(whole > 0, whole, 1), 0.0)


def read(folder: Path) -> dict[str, list[int]]:
    """Return the lesion of every label of each picture, by its stem; nothing of other data sets.

    Args:
        folder: The data set's, where its YAML is.
    """
    return {k: list(v) for scan in _scans(folder).values() for k, v in scan["pictures"].items()}


def voxels(folder: Path) -> dict[str, list[int]]:
    """Return the voxels of every lesion of each scan, where `read` says its lesions."""
    return {key: list(scan["voxels"]) for key, scan in _scans(folder).items()}


def _scans(folder: Path) -> dict[str, Any]:
    try:
        found = json_of(text_of(folder / FILE))["scans"]
        return found if all(set(s) >= {"pictures", "voxels"} for s in found.values()) else {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def by_scan(
    truth: Mapping[str, np.ndarray], known: Mapping[str, Sequence[int]]
) -> tuple[dict[str, list[list[int]]], dict[str, list[str]], str]:
    """Return the lesion of every true box, by scan.

    Args:
        truth: Rows (left, top, right, bottom, class, ...) by the picture's stem.
        known: Of `read`; a scan that it does not know whole is taken for boxes alone.

    Returns:
        For each scan the lesions of the boxes of each of its pictures; the stems of the pictures in
        the order of the slices; and how lesions were made: `BY_MASKS` or `BY_BOXES`.
    """
    stems: dict[str, list[tuple[int, str]]] = {}
    for stem in truth:
        _, scan, index = place(stem)
        stems.setdefault(scan, []).append((index, stem))
    found: dict[str, list[list[int]]] = {}
    order: dict[str, list[str]] = {}
    whole = True
    for scan, parts in stems.items():
        parts.sort()
        order[scan] = [stem for _, stem in parts]
        if all(len(known.get(stem, ())) == len(truth[stem]) for stem in order[scan]):
            found[scan] = [list(known.get(stem, ())) for stem in order[scan]]
        else:
            whole = False
            found[scan], _ = of_boxes((index, truth[stem]) for index, stem in parts)
    return found, order, BY_MASKS if whole and known else BY_BOXES
