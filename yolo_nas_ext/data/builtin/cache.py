"""The folder in which data sets that are made or fetched are kept, whole or not at all."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from filelock import FileLock

from yolo_nas_ext.errors import NASError

DONE = "conversion.json"  # what a converted data set has, and only a whole one


def cache_folder() -> Path:
    """Return where data sets are kept: ``$YOLO_NAS_CACHE``, else the platform's cache folder."""
    if own := os.environ.get("YOLO_NAS_CACHE"):
        return Path(own).expanduser().resolve()
    if sys.platform == "win32":
        parent = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    else:
        parent = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(parent) / "yolo_nas_ext"


@contextmanager
def writing(root: Path, room: str) -> Iterator[None]:
    """Say in one line that the cache cannot be written.

    Args:
        root: The cache folder.
        room: What it needs, as in ``50 MB free``.

    Raises:
        NASError: For whatever the disk refuses within.
    """
    try:
        yield
    except OSError as error:
        raise NASError(
            f"cache folder {root}: cannot be written ({error.strerror or error}); set "
            f"YOLO_NAS_CACHE to a writable folder with {room}"
        ) from error


def ensure(folder: Path, make: Callable[[Path], None], *, room: str) -> Path:
    """Return the folder of a converted data set, making it first unless it is there.

    Other processes that want the same one wait for it.

    Args:
        folder: The data set, in the cache folder.
        make: Puts it there, given a folder for what it needs on the way.
        room: See `writing`.

    Raises:
        NASError: The cache folder cannot be written.
    """
    root = folder.parent
    with writing(root, room):
        root.mkdir(parents=True, exist_ok=True)
        with FileLock(root / f".{folder.name}.lock"):
            if not (folder / DONE).is_file():
                with TemporaryDirectory(dir=root) as work:
                    make(Path(work))
    return folder


def point(yaml: dict[str, Any], folder: Path) -> None:
    """Replace ``path``, ``train`` and ``val`` of Ultralytics' data dictionary by a data set's."""
    yaml["path"] = folder
    yaml["train"], yaml["val"] = (str(folder / "images" / split) for split in ("train", "val"))
