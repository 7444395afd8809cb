"""The parts of a data set as folders call them, and whether what is in one is in another, too."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from yolo_nas_ext.data import groups as kin
from yolo_nas_ext.data import near_copies
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
    images: Sequence[str],
    contents: Sequence[str],
    group: str | None,
    *,
    looks: Sequence[bytes] = (),
    classes: bool = False,
) -> tuple[tuple[str, ...], str]:
    """Return what each image may not be separated from, and what is said of it.

    Args:
        images: Paths.
        contents: A digest of each one's pixels.
        group: Regular expression that finds the group in a path; guessed from names without.
        looks: What each one looks like, as of `data.near_copies`: where neither its name nor
            `group` says what it belongs to, a picture that was saved again is of its first.
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
    again = near_copies.firsts(
        [b"" if group or name else look for name, look in zip(by_name, looks, strict=True)]
        if looks
        else [b""] * len(images)
    )
    found = kin.merged(
        [n or i for n, i in zip(by_name, images, strict=True)], contents, [images[i] for i in again]
    )
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
    copied = {contents[one] for one, first in enumerate(again) if contents[one] != contents[first]}
    if copied:
        ways.append(f"by how they look ({len(copied)} are others saved again)")
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
    links = {(folder, name) for folder in folders for name in _links(folder)}
    return [
        os.path.realpath(path) if at in links else f"{folders[at[0]]}{os.sep}{at[1]}"
        for path, at in zip(paths, split, strict=True)
    ]


def _links(folder: str) -> list[str]:
    """Return the names of the links in a folder; none where it cannot be read."""
    try:
        return [entry.name for entry in os.scandir(folder or ".") if entry.is_symlink()]
    except OSError:
        return []


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


@dataclass(frozen=True, slots=True)
class Side:
    """The images of a part, to be told from those of another.

    Attributes:
        images: Paths.
        contents: For each a digest of its pixels; none where they were not looked at.
        kin: For each the group that its name says; empty where it says none.
        looks: For each what it looks like, as of `data.near_copies`.
    """

    images: Sequence[str]
    contents: Sequence[str] = ()
    kin: Sequence[str] = ()
    looks: Sequence[bytes] = ()

    def unnamed(self) -> list[bytes]:
        """Return what images look like of which no name says what they belong to."""
        if not self.looks:
            return [b""] * len(self.images)
        return [b"" if n else s for n, s in zip(self.kin, self.looks, strict=True)]


def overlap(train: Side, measured: Side, part: str) -> str:
    """Return what is wrong with a part that shares images with train; nothing where none are.

    Args:
        train: The images of train.
        measured: Those of the other part.
        part: What the other part is called.
    """
    files = set(real(train.images))
    contents, kinds = {*train.contents} - {""}, {*train.kin} - {""}
    same = [file in files for file in real(measured.images)]
    equal = [content in contents for content in measured.contents] or [False] * len(same)
    twice = [a or b for a, b in zip(same, equal, strict=True)]
    total = len(measured.images)
    firsts = near_copies.firsts([*train.unnamed(), *measured.unnamed()])[len(train.images) :]
    if any(twice):
        what = f"{sum(twice)} of the {total} images of {part} are training images"
        how = "the same files" if all(same) else "by file or by content"
        example = next(path for path, bad in zip(measured.images, twice, strict=True) if bad)
        what += f" ({how}, such as {Path(example).name})"
    elif again := [i for i, first in enumerate(firsts) if first < len(train.images)]:
        one = measured.images[again[0]]
        what = (
            f"{len(again)} of the {total} images of {part} look like training images that were "
            f"saved again, such as {Path(one).name} like "
            f"{Path(train.images[firsts[again[0]]]).name}"
        )
    elif near := [
        p for p, name in zip(measured.images, measured.kin, strict=False) if name in kinds
    ]:
        what = (
            f"{len(near)} of the {total} images of {part} are of groups that train has too, by "
            f"their names, such as {Path(near[0]).name}"
        )
    else:
        return ""
    return f"{what}: what is measured on {part} says too little of new images"
