"""Demo data of the guides, drawn into a folder of the user's."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from yolo_nas_ext.data.builtin.cells import ensure_cells
from yolo_nas_ext.data.builtin.phantoms import write_lesions, write_nuclei
from yolo_nas_ext.errors import NASError, did_you_mean


def _cells(folder: Path) -> None:
    made = ensure_cells(folder.parent)
    shutil.copytree(made, folder, ignore=shutil.ignore_patterns("complete.json"))


# What each is: a YOLO data set, scans with masks to convert, pictures with masks to convert.
DEMOS: dict[str, Callable[[Path], None]] = {
    "cells": _cells,
    "lesions": partial(write_lesions, patients=8),
    "nuclei": write_nuclei,
}


def draw(name: str, out: Path) -> None:
    """Draw demo data into a new folder, whole or not at all.

    Args:
        name: ``cells`` (a YOLO data set), ``lesions`` (NIfTI scans below ``images``, masks below
            ``labels``) or ``nuclei`` (PNG pictures below ``images``, instance maps below
            ``masks``).
        out: The folder; it may exist if it is empty.

    Raises:
        NASError: For an unknown name, or a folder that has files or cannot be written.
    """
    if name not in DEMOS:
        raise NASError(
            f"demo={name}: no such demo.{did_you_mean(name, DEMOS)} Allowed: {', '.join(DEMOS)}"
        )
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise NASError(f"out={out}: exists and is not an empty folder; give another one")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as work:
            DEMOS[name](Path(work) / "drawn")
            os.replace(Path(work) / "drawn", out)
    except OSError as error:
        raise NASError(
            f"out={out}: cannot be written ({error.strerror or error}); give a folder that can be "
            "written"
        ) from error
