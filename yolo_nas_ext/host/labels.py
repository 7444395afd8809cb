"""Pictures and labels of a data set, read as Ultralytics does; what is left out is named."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any

import numpy as np
from ultralytics.data import utils
from ultralytics.data.dataset import SemanticDataset
from ultralytics.utils import NUM_THREADS

from yolo_nas_ext.errors import NASError
from yolo_nas_ext.files import OBJECTS, text_of
from yolo_nas_ext.host import scan_cache, scanning
from yolo_nas_ext.host.pictures import Seen, look, looked_at
from yolo_nas_ext.host.scan_cache import Looked

HEAVY = 20_000_000  # bytes of a label file
SHORTEST = 10  # bytes of a line in it
POLYGONS = ("segment", "semantic", "obb")  # tasks whose labels are not boxes
TOLERANCE = 0.01  # how far a coordinate may lie outside [0, 1], as in Ultralytics


@dataclass(slots=True)
class Scanned:
    """What is in a part of a data set.

    Attributes:
        images: Those that can be used.
        labels: Ultralytics' label dictionary of each.
        contents: A digest of each one's pixels.
        looks: What each one looks like, as of `data.near_copies`.
        skipped: A line for each image that is left out.
        badly: How many of them are left out for their labels.
        notes: What the user should know.
        stamp: Digest of the names, sizes and times of all files; empty of few images.
    """

    images: list[str] = field(default_factory=list)
    labels: list[dict[str, Any]] = field(default_factory=list)
    contents: list[str] = field(default_factory=list)
    looks: list[bytes] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    badly: int = 0
    notes: list[str] = field(default_factory=list)
    stamp: str = ""

    def add(self, image: str, label: dict[str, Any], seen: Seen) -> None:
        """Add an image."""
        self.images.append(image)
        self.labels.append(label)
        self.contents.append(seen.content)
        self.looks.append(seen.look)

    def skip(self, image: str, reason: str) -> None:
        """Leave an image out."""
        self.skipped.append(f"skipped image {image}: {reason}")


def text(path: Path) -> str:
    """Return the text of a file, without a byte-order mark.

    Raises:
        NASError: For a file that cannot be read.
    """
    try:
        return text_of(path)
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise NASError(
            f"{path}: not a text file that can be read ({reason}); save it as UTF-8 or remove it"
        ) from error


def scan(
    images: Sequence[str],
    content: Mapping[str, Any],
    task: str,
    keypoints: tuple[int, int] | None,
    *,
    whole: bool = True,
    folder: Path | None = None,
) -> Scanned:
    """Return the images that Ultralytics would train on, with their labels.

    Args:
        images: Paths.
        content: Ultralytics' data dictionary.
        task: What the labels are for.
        keypoints: Number of keypoints and numbers a point, where the data set says so.
        whole: Whether images are decoded to their end, see `pictures.look`.
        folder: Where what was read is kept for the next time, if anywhere.
    """
    nc, found = len(content["names"]), Scanned()
    read = Reading(content.get("channels", 3), nc, task, keypoints, whole)
    files = utils.img2label_paths(list(images))
    about = (task == "pose", content.get("bg_class_idx") or nc, content.get("kpt_shape"), False)
    part = scanning.Part(
        images, files, read, repr(read), lambda: scan_cache.of_host(images, files, about)
    )
    seen, found.stamp = scanning.looked(part, folder)
    pages = sum(one.seen.pages > 1 for one in seen)
    if pages:
        found.notes.append(
            f"{pages} images have several pages, of which the training reads the first alone; "
            "nas-data pages= makes pictures or channels of them"
        )
    for image, one in zip(images, seen, strict=True):
        if one.label is not None:
            found.add(image, one.label, one.seen)
        else:
            found.skip(image, one.seen.wrong if one.seen.shape is None else one.wrong)
            found.badly += one.seen.shape is not None
    if note := even(found.labels, task):
        found.notes.append(note)
    return found


@dataclass(frozen=True)
class Reading:
    """Reads an image and its label file.

    Attributes:
        channels: Channels that the data set's images have.
        nc: Number of classes.
        task: What the labels are for.
        keypoints: Number of keypoints and numbers a point, where the data set says so.
        whole: Whether images are decoded to their end.
    """

    channels: int
    nc: int
    task: str
    keypoints: tuple[int, int] | None
    whole: bool = True

    def look(self, image: str) -> Seen:
        """Return what an image is."""
        return look(image, self.channels, whole=self.whole)

    def __call__(self, image: str, file: str) -> Looked:
        """Return the same with what its label file says."""
        seen = self.look(image)
        if seen.shape is None:
            return Looked(seen)
        return Looked(seen, *_label(image, file, seen, self.nc, self.task, self.keypoints))

    def with_label(self, image: str, label: dict[str, Any]) -> Looked:
        """Return the same with a label that Ultralytics has kept."""
        seen = self.look(image)
        if seen.shape is None:
            return Looked(seen)
        if len(label["cls"]) and not label["segments"] and self.task in POLYGONS:
            file = utils.img2label_paths([image])[0]
            return Looked(seen, None, f"{file}: {_wrong_length(5, self.task, self.keypoints)}")
        return Looked(seen, {**label, "im_file": image, "shape": seen.shape})


def even(labels: Sequence[dict[str, Any]], task: str) -> str:
    """Take polygons as their boxes where other files hold boxes, as Ultralytics does; say so.

    Its augmentation cannot mix both: a data set has a polygon for every object, or none.
    """
    having = [label for label in labels if len(label["cls"]) and "segments" in label]
    with_polygons = [label for label in having if label["segments"]]
    if task not in ("detect", "pose") or len(with_polygons) in (0, len(having)):
        return ""
    for label in labels:
        label["segments"] = []
    return (
        f"{len(with_polygons)} of {len(having)} label files hold polygons and the others boxes: "
        "polygons are taken as their boxes"
    )


def _label(
    image: str,
    file: str,
    seen: Seen,
    nc: int,
    task: str,
    keypoints: tuple[int, int] | None,
) -> tuple[dict[str, Any] | None, str]:
    """Return Ultralytics' label dictionary of an image, or why its labels are none."""
    if wrong := _too_much(Path(file)):
        return None, f"{file}: {wrong}"
    n, numbers = keypoints or (0, 0)
    check = utils.check_image
    utils.check_image = lambda _: ("", seen.shape)  # which would rewrite a damaged JPEG
    try:
        found = utils.verify_image_label((image, file, "", task == "pose", nc, n, numbers, False))
    finally:
        utils.check_image = check
    if found[0] is None:
        message = " ".join(str(found[-1]).partition("corrupt image/label: ")[2].split())
        return None, _reason(Path(file), nc, task, keypoints) or f"{file}: {message}"
    _, rows, shape, segments, points = found[:5]
    if len(rows) and not segments and task in POLYGONS:
        return None, f"{file}: {_wrong_length(5, task, keypoints)}"
    return {
        "im_file": image,
        "shape": shape,
        "cls": rows[:, :1],
        "bboxes": rows[:, 1:5],
        "segments": segments,
        "keypoints": points,
        "normalized": True,
        "bbox_format": "xywh",
    }, ""


def _too_much(file: Path) -> str:
    """Return what is too large of a label file; nothing where it is of a usual size or not there.

    Ultralytics would read it at once, several times in memory.
    """
    size = file.stat().st_size if file.is_file() else 0
    if size > HEAVY:
        return f"it has {size:,} bytes, at most {HEAVY:,} are read"
    if size > OBJECTS * SHORTEST:
        with file.open("rb") as lines:
            n = sum(1 for line in lines if line.strip())
        if n > OBJECTS:
            return f"it has {n:,} objects, at most {OBJECTS:,} are read"
    return ""


def scan_masks(images: Sequence[str], content: dict[str, Any], where: str) -> Scanned:
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
    result = Scanned()
    seen = looked_at(images, content.get("channels", 3))
    with ThreadPool(NUM_THREADS) as pool:
        found = list(pool.imap(verify, arguments))
    for image, one, at in zip(images, found, seen, strict=True):
        label = check.result_to_label(one)[0]
        if label is None or at.shape is None:
            result.skip(image, " ".join(one[-1].split()) if label is None else at.wrong)
        else:
            result.add(image, {**label, "cls": np.zeros((0, 1), np.float32)}, at)
    return result


def _reason(file: Path, nc: int, task: str, keypoints: tuple[int, int] | None) -> str:
    """Return what is wrong with a label file, with its line, where it is known."""
    try:
        lines = [(n, line) for n, line in enumerate(text(file).splitlines(), 1) if line.strip()]
        for number, line in lines:
            _row(line.split(), f"{file}, line {number}", nc, task, keypoints)
        lengths = {len(line.split()) == 5 for _, line in lines}
        if len(lengths) > 1 and task != "pose":
            return f"{file}: mixes boxes and polygons; use one kind"
    except NASError as error:
        return str(error)
    return ""


def _row(
    fields: list[str], where: str, nc: int, task: str, keypoints: tuple[int, int] | None
) -> None:
    """Refuse a line that is no label.

    Raises:
        NASError: Naming the file and the line.
    """
    try:
        row = [float(value) for value in fields]
    except ValueError as error:
        raise NASError(f"{where}: '{' '.join(fields)[:60]}' is not numbers") from error
    keypoints = keypoints if task == "pose" else None
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
    if keypoints:
        n, numbers = keypoints
        points = [row[5 + i * numbers + axis] for i in range(n) for axis in (0, 1)]
        if not all(-TOLERANCE <= value <= 1 + TOLERANCE for value in points):
            raise NASError(
                f"{where}: a point of its {n} is not relative to the image's size; both numbers "
                "lie between 0 and 1, and are 0 where a point is not known"
            )
    if (len(row) == 5 or keypoints) and min(row[3:5]) < 0:
        raise NASError(f"{where}: a box of width {fields[3]} and height {fields[4]}; not negative")


def _wrong_length(n: int, task: str, keypoints: tuple[int, int] | None) -> str:
    """Return what the labels of a task look like where a row of n values is none of them."""
    if keypoints and task == "pose" and n != 5 + keypoints[0] * keypoints[1]:
        points, numbers = keypoints
        return (
            f"a pose has {5 + points * numbers}: class x y width height and {points} points of "
            f"{numbers} numbers"
        )
    if task in ("segment", "semantic") and n == 5:
        return f"task={task} needs polygons: a class and at least 3 points"
    if task == "obb" and n == 5:
        return "task=obb needs oriented boxes: class and 4 corners"
    return ""
