"""Folders that version 0.1.0 wrote, without their weights: `tests/fixtures/v0.1`.

Its comparisons and final comparisons ran on cells of 64 px, which are drawn anew where a test runs:
24 to train on and 8 to measure on, in ``cells`` beside ``runs``.
"""

import csv
import shutil
from pathlib import Path

from yolo_nas_ext.data.builtin.cells import ensure_cells

FIXTURES = Path(__file__).parent.parent / "fixtures" / "v0.1"


def restored(name: str, folder: Path, at: str) -> Path:
    """Copy a folder of the version before to where it was, below `folder`, with its data."""
    ensure_cells(folder / "cells", train=24, val=8, size=64)
    return Path(shutil.copytree(FIXTURES / name, folder / at))


def recorded(name: str) -> list[dict[str, str]]:
    """Return the trainings that a folder of the version before has in its CSV."""
    return rows(FIXTURES / name)


def rows(folder: Path) -> list[dict[str, str]]:
    """Return the trainings in the CSV of a comparison."""
    return list(csv.DictReader((folder / "comparison.csv").read_text("utf-8").splitlines()))
