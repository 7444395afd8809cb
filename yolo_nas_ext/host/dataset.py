"""Reading a data set as Ultralytics does, without touching it, with errors that name the place."""

from __future__ import annotations

import contextlib
import glob
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from ultralytics.data import utils
from ultralytics.utils import LOGGER

from yolo_nas_ext.errors import NASError, did_you_mean
from yolo_nas_ext.files import resource
from yolo_nas_ext.host.labels import scan, scan_masks, sizes, text
from yolo_nas_ext.network.rows import KEYPOINTS


@dataclass(frozen=True, slots=True)
class DataSet:
    """A data set with one part of it verified: train, unless another was asked for.

    Attributes:
        source: As the user gave it.
        yaml: The data YAML, or None for a folder without one.
        task: Task it was read for.
        names: Class names by index.
        nc: Number of classes.
        channels: Channels of its images.
        images: Images of the part that was read, sorted.
        labels: For each of them Ultralytics' label dictionary.
        skipped: A line for each image or label file that was left out.
        data: Ultralytics' data dictionary.
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
        """Classes in each image."""
        return tuple(frozenset(int(c) for c in label["cls"].ravel()) for label in self.labels)


def read(data: str | Path, task: str = "detect", part: str = "train") -> DataSet:
    """Return a data set with the images and labels of a part checked.

    Args:
        data: A data YAML, a name in the shipped `datasets/`, a data set of Ultralytics, or a folder
            with ``images/train``, ``images/val``, ``labels/train`` and ``labels/val``.
        task: Task to read it for.
        part: ``train``, or ``val`` or ``test`` for what a search does not look at.

    Returns:
        The data set; unreadable images are left out and named in `skipped`. Nothing is written
        beside the images. The other part is only checked for images.

    Raises:
        NASError: For a missing or malformed data set, an empty split or no labels. Also for a label
            that is none, or not of the data set's classes: the file and line are named.
    """
    path = _locate(str(data))
    if task == "classify":
        return _classes(str(data), path, part)
    content = _folder(path) if path.is_dir() else _host_dictionary(path)
    keypoints = _keypoints(path, content) if task == "pose" else None
    names = {int(index): str(name) for index, name in content["names"].items()}
    if part == "test" and not content.get("test"):
        raise NASError(f"data={data}: has no test part; name its folder in the YAML, or use val")
    parts = dict.fromkeys(("train", "val", part))
    images = {split: _images(content[split], f"data={data}: {split}") for split in parts}
    drawn = task == "semantic" and content.get("masks_dir")
    if drawn:
        kept, labels, skipped = scan_masks(images[part], content, f"data={data}")
    else:
        kept, labels, skipped = scan(images[part], len(names), task, keypoints)
    if not kept:
        raise NASError(
            f"data={data}: {part}: none of {len(images[part])} images can be read; {skipped[0]}"
        )
    if task == "semantic":  # what no polygon covers is a class of its own where there are several
        content = utils.add_polygon_background(dict(content))
        names = {int(index): str(name) for index, name in content["names"].items()}
    if not drawn and not any(len(label["cls"]) for label in labels):
        where = utils.img2label_paths([kept[0]])[0]
        raise NASError(
            f"data={data}: {part}: no labels at all; each image needs a text file such as {where} "
            "with a line 'class x y width height' an object, relative to the image's size"
        )
    return DataSet(
        str(data),
        None if path.is_dir() else path,
        task,
        names,
        len(names),
        content["channels"],
        tuple(kept),
        tuple(labels),
        tuple(skipped),
        content,
        keypoints or KEYPOINTS,
    )


def joined(first: DataSet, second: DataSet) -> DataSet:
    """Return a data set of the images of two parts, in this order."""
    return replace(
        first,
        images=first.images + second.images,
        labels=first.labels + second.labels,
        skipped=first.skipped + second.skipped,
    )


def _classes(source: str, folder: Path, part: str) -> DataSet:
    """Return a data set for classification: a folder with ``train/<class>`` and ``val/<class>``."""
    train = folder / "train"
    found = sorted(f for f in train.iterdir() if f.is_dir()) if train.is_dir() else []
    names = {index: f.name for index, f in enumerate(found) if not f.name.startswith(".")}
    held = [f for f in (folder / "val", folder / "test") if f.is_dir()]
    if len(names) < 2 or not held:
        raise NASError(
            f"data={source}: for task=classify give a folder with train/<class>/ of two or more "
            "classes and val/<class>/ (or test/<class>/)"
        )
    looked_at = train if part == "train" else folder / part if part == "test" else held[0]
    if looked_at not in (train, *held):
        raise NASError(f"data={source}: has no folder test/<class>/; use val")
    there = [str(looked_at / name) for name in names.values()]
    images = _images(there, f"data={source}: {part}")
    kept, labels, skipped = [], [], []
    index = {name: i for i, name in names.items()}
    for image, shape in zip(images, sizes(images), strict=True):
        if isinstance(shape, str):
            skipped.append(f"skipped image {image}: {shape}")
            continue
        name = Path(image).relative_to(looked_at).parts[0]
        kept.append(image)
        labels.append({"im_file": image, "shape": shape, "cls": np.array([[index[name]]])})
    if not kept:
        raise NASError(f"data={source}: {part}: none of {len(images)} images can be read")
    content = {
        "path": folder,
        "train": str(train),
        "val": str(held[0]),
        "names": names,
        "nc": len(names),
        "channels": 3,
    }
    return DataSet(
        source,
        None,
        "classify",
        names,
        len(names),
        3,
        tuple(kept),
        tuple(labels),
        tuple(skipped),
        content,
    )


def _keypoints(path: Path, content: dict[str, Any]) -> tuple[int, int]:
    """Return the number of keypoints and of numbers a point that a data YAML says."""
    shape = content.get("kpt_shape")
    if (
        not isinstance(shape, (list, tuple))
        or len(shape) != 2
        or shape[1] not in (2, 3)
        or not isinstance(shape[0], int)
        or shape[0] < 1
    ):
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
        found: Any = utils.check_file(data if path.suffix else f"{data}.yaml", hard=False)
        if found and Path(found).is_file():
            return Path(found)
    raise NASError(
        f"data={data}: no such file or folder.{did_you_mean(path.stem, shipped)} Give a data YAML, "
        f"a folder with images/train and labels/train, or one of {', '.join(sorted(shipped))}"
    )


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence Ultralytics' log and its look-up of fonts, which waits for the internet."""
    level, font = LOGGER.level, utils.check_font
    LOGGER.setLevel(logging.CRITICAL)
    utils.check_font = lambda *args, **kwargs: None
    try:
        yield
    finally:
        LOGGER.setLevel(level)
        utils.check_font = font


def _host_dictionary(path: Path) -> dict[str, Any]:
    """Return Ultralytics' data dictionary of a YAML, after its download code where it has to."""
    content = _mapping(path)
    _check_values(path, content)
    for key in ("train", "val"):
        if not content.get(key) and not (key == "val" and content.get("validation")):
            raise NASError(f"data={path}: key '{key}' is missing: the folder of its images")
    try:
        with quiet():
            data = utils.check_det_dataset(str(path))
    except NASError:  # of our own data sets' download code
        raise
    except (Exception, SystemExit) as error:  # download code may do anything
        reason = " ".join(str(error).replace("❌", "").split())
        if isinstance(error, SystemExit):
            reason = f"its download code exits with {reason or 0}"
        raise NASError(f"data={path}: {reason}") from error
    return data


def _check_values(path: Path, content: dict[str, Any]) -> None:
    """Refuse values that Ultralytics passes over, or meets with an error of Python's.

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
        content = yaml.safe_load(text(path))
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise NASError(f"data={path}: not a YAML file ({reason})") from error
    if not isinstance(content, dict):
        raise NASError(f"data={path}: holds no keys; give path, train, val and names")
    return content


def _folder(folder: Path) -> dict[str, Any]:
    """Return a data dictionary for a folder in YOLO layout that has no YAML."""
    splits = {split: folder / "images" / split for split in ("train", "val", "test")}
    if not splits["test"].is_dir():
        del splits["test"]
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
        lines = [line.strip() for line in text(listed).splitlines()]
        return dict(enumerate(line for line in lines if line))
    for path in (folder / "data.yaml", folder / f"{folder.name}.yaml"):
        names = _mapping(path).get("names") if path.is_file() else None
        if names and isinstance(names, (list, dict)):
            _check_names(path, names)
            return utils.check_class_names(names)
    top = 0
    for file in (folder / "labels").rglob("*.txt"):
        for line in text(file).splitlines():
            first = line.split()[0] if line.split() else ""
            top = max(top, int(first)) if first.isdecimal() else top
    return {index: f"class_{index}" for index in range(top + 1)}


def _images(source: str | Sequence[str], where: str) -> list[str]:
    """Return the images of a split: of folders, and of text files that list them."""
    found: list[str] = []
    for path in map(Path, [source] if isinstance(source, str) else source):
        if path.is_dir():
            # Without hidden files, as Ultralytics: macOS leaves a "._name" beside every image.
            found += glob.glob(str(Path(glob.escape(str(path))) / "**" / "*.*"), recursive=True)
        elif path.is_file():
            lines = text(path).split("\n")
            found += [
                str(path.parent / line[2:]) if line.startswith("./") else line
                for line in map(str.strip, lines)
                if line
            ]
        else:
            raise NASError(f"{where}: {path} does not exist")
    images = sorted(f for f in found if f.rpartition(".")[-1].lower() in utils.IMG_FORMATS)
    if not images:
        raise NASError(
            f"{where}: no images in {source}; allowed are {', '.join(sorted(utils.IMG_FORMATS))}"
        )
    return images
