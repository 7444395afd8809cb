"""A data set that needs no internet: `data.builtin.smears`' cells, drawn once into the cache."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import shutil
import time
from pathlib import Path
from typing import Any

import cv2

from yolo_nas_ext.data.builtin.cache import cache_folder, point, writing
from yolo_nas_ext.data.builtin.smears import NAMES, VERSION, draw
from yolo_nas_ext.errors import NASError

MARKER = "complete.json"
STALE_SECONDS = 3600.0


def _complete(folder: Path, settings: dict[str, int]) -> bool:
    """Tell whether a folder holds the whole set: its marker agrees and no file has gone since."""
    try:
        marker = json.loads((folder / MARKER).read_text("utf-8"))
        if {key: marker.get(key) for key in settings} != settings:
            return False
        return (folder / "data.yaml").is_file() and all(
            len(list((folder / kind / split).glob(f"*{suffix}"))) == settings[split]
            for split in ("train", "val")
            for kind, suffix in (("images", ".png"), ("labels", ".txt"))
        )
    except (OSError, ValueError, AttributeError):
        return False


def _write(folder: Path, settings: dict[str, int]) -> None:
    """Draw the whole set into `folder` and, last of all, its marker."""
    size, digest = settings["size"], hashlib.sha256()
    for part, split in enumerate(("train", "val")):
        images, labels = folder / "images" / split, folder / "labels" / split
        images.mkdir(parents=True)
        labels.mkdir(parents=True)
        for i in range(settings[split]):
            image, boxes = draw(size=size, seed=(VERSION, settings["seed"], part, i))
            rows = "".join(
                f"{name} {(x0 + x1) / 2 / size:.6f} {(y0 + y1) / 2 / size:.6f}"
                f" {(x1 - x0) / size:.6f} {(y1 - y0) / size:.6f}\n"
                for name, x0, y0, x1, y1 in boxes
            )
            # imencode, because imwrite cannot write below a folder with an accent on Windows
            png = cv2.imencode(".png", image[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 3])[1]
            (images / f"{split}_{i:04d}.png").write_bytes(png.tobytes())
            (labels / f"{split}_{i:04d}.txt").write_text(rows, "utf-8", newline="\n")
            digest.update(image.tobytes() + rows.encode())
    names = "".join(f"  {i}: {name}\n" for i, name in enumerate(NAMES))
    text = f"train: images/train\nval: images/val\nnames:\n{names}"
    (folder / "data.yaml").write_text(text, "utf-8", newline="\n")
    marker = {**settings, "sha256": digest.hexdigest()}
    (folder / MARKER).write_text(json.dumps(marker, indent=1) + "\n", "utf-8", newline="\n")


def _sweep(root: Path) -> None:
    """Remove what a killed process left behind, long enough ago not to be at work."""
    for folder in root.glob(".cells-*"):
        try:
            old = time.time() - folder.stat().st_mtime > STALE_SECONDS
        except OSError:
            continue  # another process was quicker
        if old:
            shutil.rmtree(folder, ignore_errors=True)


def ensure_cells(
    root: Path | None = None, *, train: int = 240, val: int = 60, size: int = 160, seed: int = 0
) -> Path:
    """Return the folder of the cell images, drawing them first unless they are there.

    The set is drawn beside its place and renamed, so that neither a kill nor a second process at
    the same work leaves half of one.

    Args:
        root: Folder to keep it in; by default `cache_folder()`.
        train: Number of training images.
        val: Number of validation images.
        size: Side of the square images in pixels, from 32.
        seed: The same seed gives the same pixels and labels.

    Returns:
        ``root/cells-...`` with images/{train,val}, labels/{train,val}, data.yaml and complete.json,
        whose ``sha256`` covers all pixels and labels.

    Raises:
        NASError: A number is out of its range, or the folder cannot be written.
    """
    settings = {"version": VERSION, "train": train, "val": val, "size": size, "seed": seed}
    for key, low, high in (
        ("train", 1, 10**5),
        ("val", 1, 10**5),
        ("size", 32, 4096),
        ("seed", 0, 2**63),
    ):
        value: Any = settings[key]
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise NASError(
                f"cells: {key}={value!r} is not an integer from {low} to {high}; change {key}"
            )
    root = cache_folder() if root is None else Path(root)
    folder = root / f"cells-v{VERSION}-{train}-{val}-{size}px-s{seed}"
    if _complete(folder, settings):
        return folder
    work = root / f".{folder.name}-{os.getpid()}-{secrets.token_hex(4)}"
    try:
        with writing(root, "50 MB free"):
            work.mkdir(parents=True)
            _sweep(root)
            _write(work, settings)
            _install(work, folder, settings)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return folder


def _install(work: Path, folder: Path, settings: dict[str, int]) -> None:
    """Rename `work` to `folder`; a complete set that another process put there first stays."""
    for attempt in range(5):
        if folder.exists() and not _complete(folder, settings):
            aside = folder.with_name(f"{work.name}-old{attempt}")
            with contextlib.suppress(FileNotFoundError):  # another process moved it first
                os.replace(folder, aside)
            shutil.rmtree(aside, ignore_errors=True)
        try:
            os.rename(work, folder)
            return
        except OSError:
            if _complete(folder, settings):
                return
            if not folder.exists():
                raise
    raise OSError(f"{folder.name} keeps being replaced by another process")


def cells(yaml: dict[str, Any]) -> None:
    """Point Ultralytics' data dictionary at the drawn images; called by ``datasets/cells.yaml``.

    Args:
        yaml: Ultralytics' dictionary of the YAML; ``path``, ``train`` and ``val`` are replaced.

    Raises:
        NASError: The cache folder cannot be written.
    """
    point(yaml, ensure_cells())
