"""A slice in overlapping tiles, for pictures that are large against their objects, and back."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from yolo_nas_ext.data.lesions import ious

Frame: TypeAlias = tuple[int, int, int, int]  # left, top, right and bottom of a tile in its slice
SAME = 0.5  # part of the smaller of two boxes, of what two tiles show, from which they are one


def corners(shape: tuple[int, int], tile: int, overlap: float) -> list[tuple[int, int]]:
    """Return the left and upper corner of every tile, row after row.

    Tiles lie evenly and cover everything; neighbours overlap by at least the part asked for. A
    picture that is no larger than a tile is one.

    Args:
        shape: Height and width of the picture.
        tile: Side of a tile in pixels; 0 for none.
        overlap: Part of a tile that its neighbour shows, too.
    """
    if not tile:
        return [(0, 0)]
    return [
        (x, y) for y in _starts(shape[0], tile, overlap) for x in _starts(shape[1], tile, overlap)
    ]


def _starts(size: int, tile: int, overlap: float) -> list[int]:
    if size <= tile:
        return [0]
    n = 1 + math.ceil((size - tile) / max(1, int(tile * (1 - overlap))))
    return [round(i * (size - tile) / (n - 1)) for i in range(n)]


def name(scan: str, index: int, corner: tuple[int, int], tile: int) -> str:
    """Return what the picture of a slice, or of a tile of it, is called; see `data.naming`."""
    whole = f"{scan}_{index:04d}"
    return f"{whole}_x{corner[0]}_y{corner[1]}" if tile else whole


def join(
    tables: Sequence[np.ndarray], frames: Sequence[Frame]
) -> tuple[np.ndarray, list[list[tuple[int, int]]]]:
    """Return the objects of a slice from those of its tiles.

    Of two tiles that overlap, boxes of one class are of one object where most of the smaller lies
    in the other, as far as both tiles show them. Its box holds both, and its score is the higher.

    Args:
        tables: For each tile its objects: rows (left, top, right, bottom, class, score) in pixels
            of the tile.
        frames: Where each tile is.

    Returns:
        Rows in pixels of the slice, the surest first, and for each of them tile and row of what it
        is made of.
    """
    moved = [
        np.add(np.reshape(table, (-1, 6)), (*frame[:2], *frame[:2], 0, 0))
        for table, frame in zip(tables, frames, strict=True)
    ]
    of = {(t, r): (t, r) for t, table in enumerate(moved) for r in range(len(table))}

    def root(one: tuple[int, int]) -> tuple[int, int]:
        while of[one] != one:
            one = of[one]
        return one

    for a, b in itertools.combinations(range(len(frames)), 2):
        for row, other in _same(moved[a], moved[b], frames[a], frames[b]):
            of[root((b, other))] = root((a, row))
    groups: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for one in of:
        groups.setdefault(root(one), []).append(one)
    rows = [_around(np.stack([moved[t][r] for t, r in own])) for own in groups.values()]
    members = [*groups.values()]
    order = sorted(range(len(rows)), key=lambda i: -rows[i][5])
    table = np.array([rows[i] for i in order], float).reshape(-1, 6)
    return table, [members[i] for i in order]


def _around(rows: np.ndarray) -> np.ndarray:
    """Return the row around several of one object."""
    return np.concatenate(
        (rows[:, :2].min(0), rows[:, 2:4].max(0), rows[0, 4:5], [rows[:, 5].max()])
    )


def _same(a: np.ndarray, b: np.ndarray, first: Frame, second: Frame) -> list[tuple[int, int]]:
    """Return which rows of two tiles are of one object, each at most once, most alike first."""
    x0, y0 = max(first[0], second[0]), max(first[1], second[1])
    x1, y1 = min(first[2], second[2]), min(first[3], second[3])
    if x0 >= x1 or y0 >= y1:
        return []
    shown = []
    for rows in (a, b):
        rows = rows.copy()
        rows[:, [0, 2]] = rows[:, [0, 2]].clip(x0, x1)
        rows[:, [1, 3]] = rows[:, [1, 3]].clip(y0, y1)
        shown.append(rows)
    alike = ious(*shown)
    areas = [(rows[:, 2] - rows[:, 0]) * (rows[:, 3] - rows[:, 1]) for rows in shown]
    both = alike / (1 + alike) * (areas[0][:, None] + areas[1][None, :])  # of the union's parts
    less = np.minimum(areas[0][:, None], areas[1][None, :])
    inside = np.where(less > 0, both / np.where(less > 0, less, 1), 0)
    found: list[tuple[int, int]] = []
    taken: tuple[set[int], set[int]] = set(), set()
    rows_at, columns_at = np.nonzero(inside >= SAME)
    for i in np.argsort(-alike[rows_at, columns_at], kind="stable"):
        pair = int(rows_at[i]), int(columns_at[i])
        if pair[0] not in taken[0] and pair[1] not in taken[1]:
            taken[0].add(pair[0])
            taken[1].add(pair[1])
            found.append(pair)
    return found
