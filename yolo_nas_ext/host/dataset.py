"""Reading a data set as the host does, without touching it, with errors that name the place."""

from __future__ import annotations

import contextlib
import glob
import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image
from ultralytics.data import utils as host
from ultralytics.utils import LOGGER, NUM_THREADS, patches
from ultralytics.utils.ops import segments2boxes

from yolo_nas_ext.errors import NASError, did_you_mean
from yolo_nas_ext.resources import resource
from yolo_nas_ext.space.rows import KEYPOINTS

SMALLEST = 10  # pixels; the host refuses smaller images
TOLERANCE = 0.01  # how far a coordinate may lie outside [0, 1], as in the host


@dataclass(frozen=True, slots=True)
class DataSet:
    """A data set with its training part verified.

    Attributes:
        source: As the user gave it.
        yaml: The data YAML, or None for a folder without one.
        task: Task it was read for.
        names: Class names by index.
        nc: Number of classes.
        channels: Channels of its images.
        images: Training images, sorted.
        labels: For each of them the host's label dictionary.
        skipped: A line for each image or label file that was left out.
        data: The host's data dictionary.
        keypoints: Number of keypoints and numbers a point, of the task pose.
    """

    source: str
    yaml: Path | None
    task: str
    names: dict[int, str]
    nc: int
    channels: int
    images: tuple[str, ...]
    labels: tuple[dict[str, Any], ...] = field(repr=False)
    skipped: tuple[str, ...]
    data: dict[str, Any] = field(repr=False)
    keypoints: tuple[int, int] = KEYPOINTS

    @property
    def classes(self) -> tuple[frozenset[int], ...]:
        """Classes in each training image."""
        return tuple(frozenset(int(c) for c in label["cls"].ravel()) for label in self.labels)


def read(data: str | Path, task: str = "detect") -> DataSet:
    """Return a data set with its training images and labels checked.

    Args:
        data: A data YAML, a name in the shipped `datasets/`, a data set of the host, or a folder
            with ``images/train``, ``images/val``, ``labels/train`` and ``labels/val``.
        task: Task to read it for.

    Returns:
        The data set; unreadable images are left out and named in `skipped`. Nothing is written
        beside the images. The val part is only checked for images.

    Raises:
        NASError: For a missing or malformed data set, an empty split, no labels, or a label that is
            not of the data set's classes or not a label: the file and line are named.
    """
    path = _locate(str(data))
    if task == "classify":
        return _classes(str(data), path)
    content = _folder(path) if path.is_dir() else _host_dictionary(path)
    keypoints = _keypoints(path, content) if task == "pose" else None
    names = {int(index): str(name) for index, name in content["names"].items()}
    images = {split: _images(content[split], f"data={data}: {split}") for split in ("train", "val")}
    kept, labels, skipped = _scan(images["train"], len(names), task, keypoints)
    if not kept:
        raise NASError(f"data={data}: train: none of {len(images['train'])} images can be read")
    if not any(len(label["cls"]) for label in labels):
        where = host.img2label_paths([kept[0]])[0]
        raise NASError(
            f"data={data}: train: no labels at all; each image needs a text file such as {where} "
            "with a line 'class x y width height' an object, relative to the image's size"
        )
    return DataSet(
        str(data), None if path.is_dir() else path, task, names, len(names), content["channels"],
        tuple(kept), tuple(labels), tuple(skipped), content, keypoints or KEYPOINTS,
    )  # fmt: skip


def _classes(source: str, folder: Path) -> DataSet:
    """Return a data set for classification: a folder with ``train/<class>`` and ``val/<class>``."""
    part = folder / "train"
    found = sorted(f for f in part.iterdir() if f.is_dir()) if part.is_dir() else []
    names = {index: f.name for index, f in enumerate(found) if not f.name.startswith(".")}
    held = [f for f in (folder / "val", folder / "test") if f.is_dir()]
    if len(names) < 2 or not held:
        raise NASError(
            f"data={source}: for task=classify give a folder with train/<class>/ of two or more "
            "classes and val/<class>/ (or test/<class>/)"
        )
    images = _images([str(part / name) for name in names.values()], f"data={source}: train")
    kept, labels, skipped = [], [], []
    with ThreadPool(NUM_THREADS) as pool:
        shapes = pool.map(_shape, images)
    index = {name: i for i, name in names.items()}
    for image, shape in zip(images, shapes, strict=True):
        if isinstance(shape, str):
            skipped.append(f"skipped image {image}: {shape}")
            continue
        name = Path(image).relative_to(part).parts[0]
        kept.append(image)
        labels.append({"im_file": image, "shape": shape, "cls": np.array([[index[name]]])})
    if not kept:
        raise NASError(f"data={source}: train: none of {len(images)} images can be read")
    content = {
        "path": folder, "train": str(part), "val": str(held[0]), "names": names, "nc": len(names),
        "channels": 3,
    }  # fmt: skip
    return DataSet(
        source, None, "classify", names, len(names), 3, tuple(kept), tuple(labels), tuple(skipped),
        content,
    )  # fmt: skip


def _keypoints(path: Path, content: dict[str, Any]) -> tuple[int, int]:
    """Return the number of keypoints and of numbers a point that a data YAML says."""
    shape = content.get("kpt_shape")
    if (
        not isinstance(shape, (list, tuple)) or len(shape) != 2 or shape[1] not in (2, 3)
        or not isinstance(shape[0], int) or shape[0] < 1
    ):  # fmt: skip
        raise NASError(
            f"data={path}: key 'kpt_shape' is {shape!r}; task=pose needs the number of keypoints "
            "and 2 or 3 numbers a point, as in kpt_shape: [17, 3]"
        )
    return int(shape[0]), int(shape[1])


def _locate(data: str) -> Path:
    """Return the YAML or folder that a name stands for."""
    path = Path(data)
    if path.is_dir():
        found = [p for p in (path / "data.yaml", path / f"{path.name}.yaml") if p.is_file()]
        # A YAML that only names the classes says nothing about the folders: the layout does.
        laid_out = (path / "images" / "train").is_dir()
        return next((p for p in found if not laid_out or "train" in _mapping(p)), path)
    shipped = {p.stem: p for p in resource("datasets").glob("*.yaml")}
    if path.is_file():
        return path
    if path.name == data and path.stem in shipped:
        return shipped[path.stem]
    with quiet(), contextlib.suppress(Exception):
        found = host.check_file(data if path.suffix else f"{data}.yaml", hard=False)
        if found and Path(found).is_file():
            return Path(found)
    raise NASError(
        f"data={data}: no such file or folder.{did_you_mean(path.stem, shipped)} Give a data YAML, "
        f"a folder with images/train and labels/train, or one of {', '.join(sorted(shipped))}"
    )


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence the host's log and its look-up of fonts, which waits for a network."""
    level, font = LOGGER.level, host.check_font
    LOGGER.setLevel(logging.CRITICAL)
    host.check_font = lambda *args, **kwargs: None
    try:
        yield
    finally:
        LOGGER.setLevel(level)
        host.check_font = font


def _host_dictionary(path: Path) -> dict[str, Any]:
    """Return the host's data dictionary of a YAML, after its download code has run if it has to."""
    content = _mapping(path)
    _check_values(path, content)
    for key in ("train", "val"):
        if not content.get(key) and not (key == "val" and content.get("validation")):
            raise NASError(f"data={path}: key '{key}' is missing: the folder of its images")
    try:
        with quiet():
            data = host.check_det_dataset(str(path))
    except NASError:  # of our own data sets' download code
        raise
    except (Exception, SystemExit) as error:  # download code may do anything
        reason = " ".join(str(error).replace("❌", "").split())
        if isinstance(error, SystemExit):
            reason = f"its download code exits with {reason or 0}"
        raise NASError(f"data={path}: {reason}") from error
    return data


def _check_values(path: Path, content: dict[str, Any]) -> None:
    """Refuse values that the host passes over, or meets with an error of Python's.

    Raises:
        NASError: Naming the key.
    """
    for key in ("train", "val", "validation"):
        value = content.get(key)
        if isinstance(value, list) and not all(isinstance(folder, str) for folder in value):
            raise NASError(f"data={path}: key '{key}': {value}; give a folder or a list of folders")
    _check_names(path, content.get("names"))
    channels = content.get("channels", 3)
    if type(channels) is not int or channels < 1:
        raise NASError(f"data={path}: channels={channels}: give a whole number of 1 or more")


def _check_names(path: Path, names: Any) -> None:
    """Refuse classes that are not numbered from 0 without a gap."""
    if isinstance(names, dict) and {str(key) for key in names} != set(map(str, range(len(names)))):
        raise NASError(
            f"data={path}: key 'names': the classes are {', '.join(map(str, names))[:80]}; number "
            f"the {len(names)} of them from 0 to {len(names) - 1}"
        )


def _mapping(path: Path) -> dict[str, Any]:
    """Return the keys of a YAML."""
    try:
        content = yaml.safe_load(_text(path))
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise NASError(f"data={path}: not a YAML file ({reason})") from error
    if not isinstance(content, dict):
        raise NASError(f"data={path}: holds no keys; give path, train, val and names")
    return content


def _text(path: Path) -> str:
    """Return the text of a file, without a byte-order mark."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise NASError(f"{path}: not a text file that can be read ({reason}); save it as UTF-8 "
                       "or remove it") from error  # fmt: skip


def _folder(folder: Path) -> dict[str, Any]:
    """Return a data dictionary for a folder in YOLO layout that has no YAML."""
    splits = {split: folder / "images" / split for split in ("train", "val")}
    for path in splits.values():
        if not path.is_dir():
            raise NASError(
                f"data={folder}: has no data.yaml and no folder {path.relative_to(folder)}; give a "
                "data YAML, or a folder with images/train, images/val, labels/train and labels/val"
            )
    names = _names(folder)
    return {
        "path": folder.resolve(),
        **{split: str(path.resolve()) for split, path in splits.items()},
        "names": names,
        "nc": len(names),
        "channels": 3,
    }


def _names(folder: Path) -> dict[int, str]:
    """Return the class names of a folder: as listed, or numbered up to the largest label."""
    listed = folder / "classes.txt"
    if listed.is_file():
        lines = [line.strip() for line in _text(listed).splitlines()]
        return dict(enumerate(line for line in lines if line))
    for path in (folder / "data.yaml", folder / f"{folder.name}.yaml"):
        names = _mapping(path).get("names") if path.is_file() else None
        if names and isinstance(names, (list, dict)):
            _check_names(path, names)
            return host.check_class_names(names)
    top = 0
    for file in (folder / "labels").rglob("*.txt"):
        for line in _text(file).splitlines():
            first = line.split()[0] if line.split() else ""
            top = max(top, int(first)) if first.isdecimal() else top
    return {index: f"class_{index}" for index in range(top + 1)}


def _images(source: str | Sequence[str], where: str) -> list[str]:
    """Return the images of a split: of folders, and of text files that list them."""
    found: list[str] = []
    for path in map(Path, [source] if isinstance(source, str) else source):
        if path.is_dir():
            # Without hidden files, as the host: macOS leaves a "._name" beside every image.
            found += glob.glob(str(Path(glob.escape(str(path))) / "**" / "*.*"), recursive=True)
        elif path.is_file():
            lines = _text(path).split("\n")
            found += [
                str(path.parent / line[2:]) if line.startswith("./") else line
                for line in map(str.strip, lines)
                if line
            ]
        else:
            raise NASError(f"{where}: {path} does not exist")
    images = sorted(f for f in found if f.rpartition(".")[-1].lower() in host.IMG_FORMATS)
    if not images:
        raise NASError(
            f"{where}: no images in {source}; allowed are {', '.join(sorted(host.IMG_FORMATS))}"
        )
    return images


def _scan(
    images: Sequence[str], nc: int, task: str, keypoints: tuple[int, int] | None
) -> tuple[list[str], list[dict[str, Any]], list[str]]:
    """Return the readable images, their labels, and a line for each that is left out."""
    kept, labels, skipped = [], [], []
    with ThreadPool(NUM_THREADS) as pool:
        shapes = pool.map(_shape, images)
    files = host.img2label_paths(list(images))
    for image, file, shape in zip(images, files, shapes, strict=True):
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


def _shape(image: str) -> tuple[int, int] | str:
    """Return height and width of an image that can be decoded to its end, or why it cannot.

    The host only looks at the header and rewrites JPEGs that end early; here nothing is written.
    """
    # The host's `Image.open` takes a damaged file for a HEIF image and wants to install a plugin.
    heif = image.lower().endswith((".heic", ".heif"))
    try:
        with (Image.open if heif else patches._image_open)(image) as file:
            width, height = host.exif_size(file)
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
        for number, line in enumerate(_text(file).splitlines(), 1):
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
    if task == "segment" and n == 5:
        return "task=segment needs polygons: a class and at least 3 points"
    if task == "obb" and n != 9:
        return "an oriented box has 9: class and 4 corners"
    return ""
