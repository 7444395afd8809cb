"""Pictures and objects of a COCO JSON as Ultralytics wants them, checked against the files."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from pycocotools import mask as rle

from yolo_nas_ext.data import near_copies
from yolo_nas_ext.data.pictures import opened
from yolo_nas_ext.data.polygons import join

LEAST = 64  # pixels a side that a JPEG is decoded with


@dataclass(frozen=True, slots=True)
class Found:
    """An image on disk.

    Attributes:
        size: Width and height in pixels as it is looked at.
        stored: Width and height as they are stored.
        orientation: How it is to be turned, as EXIF says; 1 for not at all.
        format: Its format.
        linkable: Whether a hard link is safe.
        pages: Its pages, of which a training reads the first alone.
        look: What it looks like, as of `data.near_copies`.
    """

    size: tuple[int, int]
    stored: tuple[int, int]
    orientation: int
    format: str
    linkable: bool
    pages: int = 1
    look: bytes = b""

    @property
    def understood(self) -> bool:
        """Whether a training turns it as EXIF says."""
        return self.orientation == 1 or self.format in ("JPEG", "MPO", "PNG")


def inspect(path: Path) -> Found:
    """Return what an image is.

    Raises:
        OSError: The file cannot be decoded to its end.
    """
    try:
        with opened(path) as image:
            kind = str(image.format)
            if kind == "HEIF":  # under another name, which a training goes by
                raise OSError(
                    f"a HEIC picture that is called {path.suffix}: save it as PNG or JPEG"
                )
            stored = size = image.size
            # Ultralytics rewrites a JPEG without an end mark in place: by a link, the original.
            jpeg = kind in ("JPEG", "MPO")
            orientation = int(image.getexif().get(0x0112, 1) or 1)
            if orientation in (5, 6, 7, 8):
                if kind == "TIFF":  # Pillow 13 reads its rows at the width of the turned image
                    raise OSError(
                        f"a TIFF that lies on its side, EXIF {orientation}: save it turned"
                    )
                size = stored[::-1]
            pages = getattr(image, "n_frames", 1) if kind == "TIFF" else 1
            image.draft(  # reads all, computes an eighth
                "L", (max(stored[0] // 8, LEAST), max(stored[1] // 8, LEAST))
            )
            image.load()
            look = near_copies.look(image)
        whole = True
        if jpeg:
            with path.open("rb") as file:
                file.seek(-2, os.SEEK_END)
                whole = file.read() == b"\xff\xd9"
        turned = orientation if orientation in range(1, 9) else 1
        return Found(size, stored, turned, kind, whole, pages, look)
    except Exception as error:  # for damaged files Pillow raises nearly anything
        raise OSError(str(error) or type(error).__name__) from error


def turned(points: np.ndarray, orientation: int, width: int, height: int) -> np.ndarray:
    """Return points (n, 2) of stored pixels where they are looked at, as EXIF turns the image."""
    x, y = points[:, 0], points[:, 1]
    ways = {
        2: (width - x, y),
        3: (width - x, height - y),
        4: (x, height - y),
        5: (y, x),
        6: (height - y, x),
        7: (height - y, width - x),
        8: (y, width - x),
    }
    return np.stack(ways.get(orientation, (x, y)), 1)


def relative(
    row: Mapping[str, Any],
    width: int,
    height: int,
    *,
    task: str,
    min_box_px: float,
    orientation: int = 1,
) -> tuple[float, ...] | None:
    """Return xywh of the clipped box, or a polygon, in [0, 1]; None if degenerate.

    Args:
        row: The annotation.
        width: Of the image that its numbers are of.
        height: See `width`.
        task: ``detect`` or ``segment``.
        min_box_px: Smallest side that an object may have.
        orientation: How that image is turned to be looked at, as EXIF says.
    """
    try:
        x, y, w, h = (float(v) for v in row["bbox"])
    except (TypeError, ValueError, OverflowError):
        return None
    if not all(map(math.isfinite, (x, y, w, h))):
        return None
    x0, y0, x1, y1 = max(x, 0.0), max(y, 0.0), min(x + w, width), min(y + h, height)
    if min(x1 - x0, y1 - y0) <= 0 or min(x1 - x0, y1 - y0) < min_box_px:
        return None
    size = (height, width) if orientation in (5, 6, 7, 8) else (width, height)
    if task == "segment":
        points = _outline(row.get("segmentation"), width, height)
        if points is None:
            return None
        return tuple(float(v) for v in (turned(points, orientation, width, height) / size).ravel())
    corners = turned(np.array([[x0, y0], [x1, y1]]), orientation, width, height) / size
    low, high = corners.min(0), corners.max(0)
    return tuple(float(v) for v in (*((low + high) / 2), *(high - low)))


def rectangle(box: tuple[float, ...]) -> tuple[float, ...]:
    """Return the corners of a box (x, y, width, height) as a polygon of eight numbers."""
    x, y, width, height = box
    left, top, right, bottom = x - width / 2, y - height / 2, x + width / 2, y + height / 2
    return (left, top, right, top, right, bottom, left, bottom)


def _outline(segmentation: Any, width: int, height: int) -> np.ndarray | None:
    """Return COCO polygons or RLE as one polygon (n, 2) in the image; None without area."""
    parts: list[np.ndarray] = []
    try:
        if isinstance(segmentation, dict):
            code: Any = segmentation
            if list(code["size"]) != [height, width]:
                return None
            if isinstance(code["counts"], list):
                code = rle.frPyObjects(code, height, width)
            how = cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE
            with warnings.catch_warnings():  # pycocotools 2.0 speaks numpy 1 to numpy 2
                warnings.simplefilter("ignore", DeprecationWarning)
                mask = rle.decode(code)
            found = cv2.findContours(mask, *how)[0]
            parts = [contour.reshape(-1, 2).astype(float) for contour in found]
        elif isinstance(segmentation, list):
            parts = [np.asarray(polygon, float).reshape(-1, 2) for polygon in segmentation]
    except (KeyError, TypeError, ValueError):
        return None
    parts = [part for part in parts if len(part) >= 3 and np.isfinite(part).all()]
    if not parts:
        return None
    points = np.clip(join(parts), 0.0, (width, height))
    return points if np.ptp(points, 0).all() else None
