"""Names that may become files and folders."""

from __future__ import annotations

import re

# How `data.scans.convert` names pictures.
NAME = re.compile(r"^(?P<scan>(?P<patient>p[0-9a-f]+)_[0-9a-f]+)_(?P<slice>\d+)$")


def place(stem: str, otherwise: str = "") -> tuple[str, str, int]:
    """Return patient, scan and slice of a picture; one that `nas-data` did not name is of its own.

    Args:
        stem: Name of the picture without its suffix.
        otherwise: What to call its patient and scan then; the stem without.
    """
    if match := NAME.match(stem):
        return match["patient"], match["scan"], int(match["slice"])
    return otherwise or stem, otherwise or stem, 0
