"""Folders of classes, as data sets for classification have them."""

from __future__ import annotations

import glob
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ultralytics.data import utils

from yolo_nas_ext.data.splits import hold_out
from yolo_nas_ext.errors import NASError
from yolo_nas_ext.host.labels import Scanned
from yolo_nas_ext.host.parts import called, folders, grouped
from yolo_nas_ext.host.pictures import looked_at

HELD = 0.2  # part of the images that becomes val where the folder has none


@dataclass(frozen=True, slots=True)
class Classes:
    """A part of a folder of classes.

    Attributes:
        names: Class names by index.
        folders: The folders of train and val.
        scanned: The images of the part, with their class.
    """

    names: dict[int, str]
    folders: dict[str, Path]
    scanned: Scanned


def read(source: str, folder: Path, part: str, group: str | None) -> Classes:
    """Return the images of a part and their classes.

    Args:
        source: As the user gave it.
        folder: A folder with ``train/<class>`` and ``val/<class>`` (or ``valid``, ``validation``,
            whatever their case), or one of classes alone: then a part of every class is val.
        part: ``train``, ``val`` or ``test``.
        group: See `host.dataset.read`.

    Raises:
        NASError: For fewer than two classes, a part that is not there, or no image that can be
            read.
    """
    found = called(folder)
    train = found.get("train", folder)
    held = found.get("val") or found.get("test")
    names = {index: f.name for index, f in enumerate(folders(train))}
    if len(names) < 2:
        raise NASError(
            f"data={source}: for task=classify give a folder with train/<class>/ of two or more "
            "classes and val/<class>/ (or test/<class>/), or with <class>/ alone"
        )
    if part == "test" and "test" not in found:
        raise NASError(f"data={source}: has no folder test/<class>/; use val")
    looked_in = train if part == "train" else found["test"] if part == "test" else held or train
    scanned = _scanned(looked_in, names)
    if held is None:
        scanned = _side(scanned, part, group)
        scanned.notes.append(
            f"{folder} has no val: {HELD:.0%} of the images of every class are taken for it, the "
            "same in every command here; stock Ultralytics takes others"
        )
    if not scanned.images:
        total = len(scanned.skipped)
        why = f"none of {total} images can be read" if total else f"no images in {looked_in}"
        raise NASError(f"data={source}: {part}: {why}")
    _check_present(source, names, scanned, part)
    return Classes(names, {"train": train, "val": held or train}, scanned)


def _check_present(source: str, names: dict[int, str], scanned: Scanned, part: str) -> None:
    """Refuse images of one class alone to train on, and say of which classes there is none."""
    there = {int(label["cls"][0, 0]) for label in scanned.labels}
    if part == "train" and len(there) < 2:
        raise NASError(
            f"data={source}: train: all {len(scanned.images)} images are of class "
            f"{names[min(there)]}; give images of two or more classes"
        )
    if without := [name for index, name in names.items() if index not in there]:
        scanned.notes.append(
            f"{part} has no image of {len(without)} of its {len(names)} classes: "
            f"{', '.join(without)[:120]}"
        )


def _scanned(folder: Path, names: dict[int, str]) -> Scanned:
    """Return the images of the classes in a folder."""
    result = Scanned()
    files = [
        (index, file)
        for index, name in names.items()
        for file in sorted(
            glob.glob(str(Path(glob.escape(str(folder / name))) / "**" / "*.*"), recursive=True)
        )
        if file.rpartition(".")[-1].lower() in utils.IMG_FORMATS
    ]
    seen = looked_at([file for _, file in files])
    for (index, file), one in sorted(zip(files, seen, strict=True), key=lambda pair: pair[0][1]):
        if one.shape is None:
            result.skip(file, one.wrong)
        else:
            label = {"im_file": file, "shape": one.shape, "cls": np.array([[index]])}
            result.add(file, label, one)
    if unknown := [f.name for f in folders(folder) if f.name not in names.values()]:
        result.notes.append(
            f"classes that train does not have are left out of {folder.name}: {', '.join(unknown)}"
        )
    return result


def _side(whole: Scanned, part: str, group: str | None) -> Scanned:
    """Return one side of what has no split, groups of images kept together."""
    together, _ = grouped(whole.images, whole.contents, group, looks=whole.looks, classes=True)
    present = [[int(label["cls"][0, 0])] for label in whole.labels]
    sides = hold_out(present, fraction=HELD, groups=together)
    chosen = sides[0] if part == "train" else sides[1]
    return Scanned(
        [whole.images[i] for i in chosen],
        [whole.labels[i] for i in chosen],
        [whole.contents[i] for i in chosen],
        [whole.looks[i] for i in chosen],
        whole.skipped if part == "train" else [],
        0,
        list(whole.notes),
    )
