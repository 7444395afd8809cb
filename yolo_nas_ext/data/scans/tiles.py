"""A slice in overlapping tiles, for pictures that are large against their objects."""

from __future__ import annotations

import math


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
