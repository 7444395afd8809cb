"""Pictures and objects of a COCO JSON as Ultralytics wants them, checked against the files."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image
from pycocotools import mask as rle

from yolo_nas_ext.data.polygons import join


def inspect(path: Path) -> tuple[int, int, bool]:
    """Return width and height in pixels as Ultralytics sees them, and whether a hard link is safe.

    Raises:
        OSError: The file cannot be decoded to its end.
    """
    try:
        with Image.open(path) as image:
            width, height = image.size
            # Ultralytics rewrites a JPEG without an end mark in place: by a link, the original.
            jpeg = image.format in ("JPEG", "MPO")
            if image.getexif().get(0x0112, 1) in (5, 6, 7, 8):
                width, height = height, width
            image.draft(
                "L", (max(width // 8, 1), max(height // 8, 1))
            )  # reads all, computes an eighth
            image.load()
        if not jpeg:
            return width, height, True
        with path.open("rb") as file:
            file.seek(-2, os.SEEK_END)
            return width, height, file.read() == b"\xff\xd9"
    except Exception as error:  # for damaged files Pillow raises nearly anything
        raise OSError(str(error) or type(error).__name__) from error


def relative(
    row: Mapping[str, Any], width: int, height: int, *, task: str, min_box_px: float
) -> tuple[float, ...] | None:
    """Return xywh of the clipped box, or a polygon, in [0, 1]; None if degenerate."""
    try:
        x, y, w, h = (float(v) for v in row["bbox"])
    except (TypeError, ValueError, OverflowError):
        return None
    if not all(map(math.isfinite, (x, y, w, h))):
        return None
    x0, y0, x1, y1 = max(x, 0.0), max(y, 0.0), min(x + w, width), min(y + h, height)
    if min(x1 - x0, y1 - y0) <= 0 or min(x1 - x0, y1 - y0) < min_box_px:
        return None
    if task == "segment":
        return _outline(row.get("segmentation"), width, height)
    return (x0 + x1) / 2 / width, (y0 + y1) / 2 / height, (x1 - x0) / width, (y1 - y0) / height


def _outline(segmentation: Any, width: int, height: int) -> tuple[float, ...] | None:
    """Return COCO polygons or RLE as one polygon (x, y, x, y, ...) in [0, 1]; None without area."""
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
    points = np.clip(join(parts) / (width, height), 0.0, 1.0)
    return tuple(float(v) for v in points.reshape(-1)) if np.ptp(points, 0).all() else None
