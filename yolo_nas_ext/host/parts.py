"""The parts of a data set as folders call them, and whether what is in one is in another, too."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from yolo_nas_ext.data import groups as kin
from yolo_nas_ext.errors import NASError

PARTS = {
    "train": ("train", "training", "trn"),
    "val": ("val", "valid", "validation", "validate", "dev"),
    "test": ("test", "testing", "tst", "eval"),
}
IGNORED = ("__MACOSX", "__pycache__", "@eaDir", "lost+found")


def folders(path: Path) -> list[Path]:
    """Return the folders in a folder that people put there, sorted."""
    if not path.is_dir():
        return []
    found = (f for f in path.iterdir() if f.is_dir())
    return sorted(f for f in found if not f.name.startswith(".") and f.name not in IGNORED)


def called(path: Path) -> dict[str, Path]:
    """Return the folders of ``train``, ``val`` and ``test`` in a folder, whatever their case."""
    there = {f.name.lower(): f for f in folders(path)}
    found = {
        part: next((there[name] for name in names if name in there), None)
        for part, names in PARTS.items()
    }
    return {part: folder for part, folder in found.items() if folder is not None}


def named(
    images: Sequence[str], pattern: re.Pattern[str] | None = None, *, classes: bool = False
) -> list[str]:
    """Return for each image the group that its name says; nothing where it says none.

    Args:
        images: Paths.
        pattern: Finds the group in a path below the folder that all images are in.
        classes: Whether folders are classes, which say nothing of a patient.
    """
    if not images:
        return []
    base = os.path.commonpath([os.path.dirname(image) or "." for image in images])
    paths = [Path(os.path.relpath(image, base)).as_posix() for image in images]
    found = kin.groups(paths, pattern, folders=not classes)
    own = paths if pattern else [os.path.splitext(path)[0] for path in paths]
    return [group if group != path else "" for group, path in zip(found, own, strict=True)]


def grouped(
    images: Sequence[str], contents: Sequence[str], group: str | None, *, classes: bool = False
) -> tuple[tuple[str, ...], str]:
    """Return what each image may not be separated from, and what is said of it.

    Args:
        images: Paths.
        contents: A digest of each one's pixels.
        group: Regular expression that finds the group in a path; guessed from names without.
        classes: See `named`.

    Raises:
        NASError: For an expression that is none, or that finds nothing or one group alone.
    """
    by_name = named(images, kin.compiled(group), classes=classes)
    if group and len({name or image for name, image in zip(by_name, images, strict=True)}) < 2:
        raise NASError(
            f"group={group}: finds one group in {len(images)} images; at least 2 are needed to "
            "hold a part out"
        )
    if group and not any(by_name):
        raise NASError(
            f"group={group}: finds nothing in the paths of {len(images)} images such as {images[0]}"
        )
    found = kin.merged([n or i for n, i in zip(by_name, images, strict=True)], contents)
    sizes = Counter(found)
    if len(sizes) == len(found):
        return tuple(found), ""
    if len(sizes) < 2:
        return tuple(images), (
            f"all {len(images)} training images are of one group by their names, so the part that "
            "is held out cannot be of another; group= says what belongs together"
        )
    largest = max(sizes, key=lambda name: sizes[name])
    twins = len(contents) - len(set(contents))
    ways = ["by group="] if group else ["by their names"] if any(by_name) else []
    ways += ["by equal content"] * bool(twins)
    example = Path(images[found.index(largest)]).name
    return tuple(found), (
        f"{len(images)} training images are {len(sizes)} groups {' and '.join(ways)}, the largest "
        f"of {sizes[largest]} with {example}: each is on one side of the part that is held out"
        + ("" if group else "; group= says otherwise")
    )


def real(paths: Sequence[str]) -> list[str]:
    """Return paths without links; the folders of many files are looked at once."""
    split = [os.path.split(path) for path in paths]
    folders = {folder: os.path.realpath(folder) for folder in {folder for folder, _ in split}}
    return [
        os.path.realpath(path) if os.path.islink(path) else f"{folders[folder]}{os.sep}{name}"
        for path, (folder, name) in zip(paths, split, strict=True)
    ]


def same_files(train: Sequence[str], val: Sequence[str]) -> str:
    """Return how many images of val are files of train, in words; nothing where none are."""
    files = set(real(train))
    twice = [image for image, file in zip(val, real(val), strict=True) if file in files]
    if not twice:
        return ""
    return (
        f"BEWARE: {len(twice)} of the {len(val)} images of val are training images, such as "
        f"{Path(twice[0]).name}: what is measured on val says nothing of new images"
    )


def overlap(
    train: Sequence[tuple[str, str, str]], measured: Sequence[tuple[str, str, str]], part: str
) -> str:
    """Return what is wrong with a part that shares images with train; nothing where none are.

    Args:
        train: For each image its path, a digest of its pixels, and the group that its name says.
        measured: The same of the other part.
        part: What the other part is called.
    """
    files = set(real([path for path, _, _ in train]))
    contents = {content for _, content, _ in train if content}
    kinds = {name for _, _, name in train if name}
    same = [file in files for file in real([path for path, _, _ in measured])]
    equal = [content in contents for _, content, _ in measured]
    twice = [a or b for a, b in zip(same, equal, strict=True)]
    total = len(measured)
    if any(twice):
        what = f"{sum(twice)} of the {total} images of {part} are training images"
        how = "the same files" if all(same) else "by file or by content"
        example = next(path for (path, _, _), bad in zip(measured, twice, strict=True) if bad)
        what += f" ({how}, such as {Path(example).name})"
    elif near := [path for path, _, name in measured if name in kinds and name]:
        what = (
            f"{len(near)} of the {total} images of {part} are of groups that train has too, by "
            f"their names, such as {Path(near[0]).name}"
        )
    else:
        return ""
    return f"{what}: what is measured on {part} says too little of new images"
