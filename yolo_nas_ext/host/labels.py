"""Pictures and labels of a data set, read as Ultralytics does; errors name file and line."""

from __future__ import annotations

import math
from collections.abc import Sequence
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from ultralytics.data import utils
from ultralytics.data.dataset import SemanticDataset
from ultralytics.utils import NUM_THREADS, patches
from ultralytics.utils.ops import segments2boxes

from yolo_nas_ext.errors import NASError

SMALLEST = 10  # pixels; Ultralytics refuses smaller images
TOLERANCE = 0.01  # how far a coordinate may lie outside [0, 1], as in Ultralytics


def text(path: Path) -> str:
    """Return the text of a file, without a byte-order mark.

    Raises:
        NASError: For a file that cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise NASError(
            f"{path}: not a text file that can be read ({reason}); save it as UTF-8 or remove it"
        ) from error


def scan(
    images: Sequence[str], nc: int, task: str, keypoints: tuple[int, int] | None
) -> tuple[list[str], list[dict[str, Any]], list[str]]:
    """Return the readable images, their labels, and a line for each that is left out.

    Args:
        images: Paths.
        nc: Number of classes.
        task: What the labels are for.
        keypoints: Number of keypoints and numbers a point, of the task pose.

    Returns:
        Images, for each of them Ultralytics' label dictionary, and what was left out.

    Raises:
        NASError: For a line that is not a label, naming file and line.
    """
    kept, labels, skipped = [], [], []
    files = utils.img2label_paths(list(images))
    for image, file, shape in zip(images, files, sizes(images), strict=True):
        if isinstance(shape, str):
            skipped.append(f"skipped image {image}: {shape}")
            continue
        boxes, segments, points = _boxes(Path(file), nc, task, keypoints)
        kept.append(image)
        labels.append(
            {
                "im_file": image,
                "shape": shape,
                "cls": boxes[:, :1],
                "bboxes": boxes[:, 1:],
                "segments": segments,
                "keypoints": points,
                "normalized": True,
                "bbox_format": "xywh",
            }
        )
    return kept, labels, skipped


def scan_masks(
    images: Sequence[str], content: dict[str, Any], where: str
) -> tuple[list[str], list[dict[str, Any]], list[str]]:
    """Return the same as `scan` for pictures of masks, whose values are classes.

    Args:
        images: Paths.
        content: Ultralytics' data dictionary, with ``masks_dir``.
        where: The data set, for errors.

    Raises:
        NASError: For a mapping of values that is none.
    """
    # Ultralytics' own check without its constructor, which writes a cache beside the images.
    check: Any = SemanticDataset.__new__(SemanticDataset)
    check.data, check.im_files, check.prefix = content, list(images), ""
    try:
        check.label_mapping = check._parse_label_mapping(content.get("label_mapping"))
    except (TypeError, ValueError) as error:
        raise NASError(
            f"{where}: key 'label_mapping': {error}; give value: class, as in 7: 0"
        ) from error
    check.label_lut, _ = check._build_label_luts()
    check.get_label_files()
    verify, arguments = check.verify_args()
    kept, labels, skipped = [], [], []
    with ThreadPool(NUM_THREADS) as pool:
        for image, found in zip(images, pool.imap(verify, arguments), strict=True):
            label = check.result_to_label(found)[0]
            if label is None:
                skipped.append(f"skipped image {' '.join(found[-1].split()) or image}")
                continue
            kept.append(image)
            labels.append({**label, "cls": np.zeros((0, 1), np.float32)})
    return kept, labels, skipped


def sizes(images: Sequence[str]) -> list[tuple[int, int] | str]:
    """Return for each image its height and width in pixels, or why it cannot be used."""
    with ThreadPool(NUM_THREADS) as pool:
        return pool.map(_size, images)


def _size(image: str) -> tuple[int, int] | str:
    """Return height and width of an image that can be decoded to its end, or why it cannot.

    Ultralytics only looks at the header and rewrites JPEGs that end early; here nothing is written.
    """
    # Ultralytics' `Image.open` takes a damaged file for a HEIF image and wants to install a plugin.
    heif = image.lower().endswith((".heic", ".heif"))
    try:
        with (Image.open if heif else patches._image_open)(image) as file:
            width, height = utils.exif_size(file)
            file.load()
    except Exception as error:  # a damaged file makes decoders fail in many ways
        return " ".join(str(error).split()) or type(error).__name__
    if min(width, height) < SMALLEST:
        return f"{width} x {height} pixels is too small"
    return height, width


def _boxes(
    file: Path, nc: int, task: str, keypoints: tuple[int, int] | None
) -> tuple[np.ndarray, list[np.ndarray], np.ndarray | None]:
    """Return the labels of a file as rows (class, x, y, width, height), polygons and keypoints.

    Raises:
        NASError: For a line that is not a label, naming file and line.
    """
    rows: list[list[float]] = []
    if file.is_file():
        for number, line in enumerate(text(file).splitlines(), 1):
            if line.strip():
                rows.append(_row(line.split(), f"{file}, line {number}", nc, task, keypoints))
    if keypoints:
        return _points(rows, *keypoints)
    if not rows:
        return np.zeros((0, 5), np.float32), [], None
    if any(len(row) > 5 for row in rows):
        if any(len(row) == 5 for row in rows):
            raise NASError(f"{file}: mixes boxes and polygons; use one kind")
        segments = [np.array(row[1:], np.float32).reshape(-1, 2) for row in rows]
        classes = np.array([[row[0]] for row in rows], np.float32)
        boxes = np.concatenate((classes, segments2boxes(segments)), 1).astype(np.float32)
        return boxes, segments, None
    boxes = np.array(rows, np.float32)
    _, first = np.unique(boxes, axis=0, return_index=True)
    return boxes[np.sort(first)], [], None


def _points(
    rows: list[list[float]], n: int, numbers: int
) -> tuple[np.ndarray, list[np.ndarray], np.ndarray]:
    """Return boxes, no polygons and keypoints (objects, n, 3), visible where they are inside."""
    table = np.array(rows, np.float32).reshape(-1, 5 + n * numbers)
    points = table[:, 5:].reshape(-1, n, numbers)
    if numbers == 2:
        inside = (points >= 0).all(-1, keepdims=True).astype(np.float32)
        points = np.concatenate((points, inside), -1)
    return table[:, :5], [], points


def _row(
    fields: list[str], where: str, nc: int, task: str, keypoints: tuple[int, int] | None
) -> list[float]:
    try:
        row = [float(value) for value in fields]
    except ValueError as error:
        raise NASError(f"{where}: '{' '.join(fields)[:60]}' is not numbers") from error
    if wrong := _wrong_length(len(row), task, keypoints):
        raise NASError(f"{where}: {len(row)} values; {wrong}")
    if not keypoints and len(row) != 5 and (len(row) < 7 or len(row) % 2 == 0):
        raise NASError(
            f"{where}: {len(row)} values; a box has 5 (class x y width height), a polygon a class "
            "and at least 3 points"
        )
    if not math.isfinite(row[0]) or row[0] != int(row[0]) or not 0 <= row[0] < nc:
        raise NASError(
            f"{where}: class {fields[0]} is out of range; the data set has {nc} classes, 0 to "
            f"{nc - 1}"
        )
    if not all(-TOLERANCE <= value <= 1 + TOLERANCE for value in row[1 : 5 if keypoints else None]):
        raise NASError(
            f"{where}: coordinates {' '.join(fields[1:5])} are not relative to the image's size; "
            "they lie between 0 and 1"
        )
    if (len(row) == 5 or keypoints) and min(row[3:5]) < 0:
        raise NASError(f"{where}: a box of width {fields[3]} and height {fields[4]}; not negative")
    return row


def _wrong_length(n: int, task: str, keypoints: tuple[int, int] | None) -> str:
    """Return what the labels of a task look like where a row of n values is none of them."""
    if keypoints and n != 5 + keypoints[0] * keypoints[1]:
        points, numbers = keypoints
        return (
            f"a pose has {5 + points * numbers}: class x y width height and {points} points of "
            f"{numbers} numbers"
        )
    if task in ("segment", "semantic") and n == 5:
        return f"task={task} needs polygons: a class and at least 3 points"
    if task == "obb" and n != 9:
        return "an oriented box has 9: class and 4 corners"
    return ""
