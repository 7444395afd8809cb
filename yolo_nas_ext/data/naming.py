"""Names that may become files and folders."""

from __future__ import annotations

import re

# How `data.scans.convert` names pictures; a tile has its left and upper corner in its slice.
NAME = re.compile(
    r"^(?P<scan>(?P<patient>p[0-9a-f]+)_[0-9a-f]+)_(?P<slice>\d+)(?:_x(?P<x>\d+)_y(?P<y>\d+))?$"
)


def place(stem: str, otherwise: str = "") -> tuple[str, str, int]:
    """Return patient, scan and slice of a picture; one that `nas-data` did not name is of its own.

    Args:
        stem: Name of the picture without its suffix.
        otherwise: What to call its patient and scan then; the stem without.
    """
    if match := NAME.match(stem):
        return match["patient"], match["scan"], int(match["slice"])
    return otherwise or stem, otherwise or stem, 0


def corner(stem: str) -> tuple[int, int] | None:
    """Return the left and upper corner of a tile in pixels of its slice; None for what is none."""
    match = NAME.match(stem)
    return (int(match["x"]), int(match["y"])) if match and match["x"] else None


def whole(stem: str) -> str:
    """Return the name of the slice that a tile is of; that of any other picture is its own."""
    return stem if corner(stem) is None else stem[: stem.rindex("_x")]
