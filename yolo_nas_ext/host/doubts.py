"""What a data set holds that its maker has hardly meant: said, and taken as it stands."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ultralytics.data import utils

LISTS = ("classes.txt", "labels.txt", "obj.names.txt")  # of tools that put them beside labels
NAMED = 3  # classes that a note names


def of_names(names: Any) -> list[str]:
    """Return what is odd about the class names of a data YAML, a line each.

    Args:
        names: As YAML reads them: a list, or a mapping from numbers.
    """
    pairs = list(names.items() if isinstance(names, Mapping) else enumerate(names or ()))
    other = [
        f"{index}: {name}" for index, name in pairs if not isinstance(name, (str, int, float))
    ] + [f"{index}: {name}" for index, name in pairs if isinstance(name, bool)]
    said = []
    if other:
        said.append(
            f"names: YAML reads {', '.join(other[:NAMED])[:120]} as no text; names such as no, "
            "yes, on, off and null stand in quotes"
        )
    if blank := [str(index) for index, name in pairs if not str(name).strip()]:
        said.append(f"names: class {', '.join(blank[:NAMED])} has no name")
    same: dict[str, list[str]] = defaultdict(list)
    for index, name in pairs:
        same[str(name).strip()].append(str(index))
    for name, indices in same.items():
        if name and len(indices) > 1:
            said.append(
                f"names: classes {', '.join(indices[:NAMED])} are all called {name}: they are "
                f"{len(indices)} classes that look like one"
            )
    return said


def of_labels(
    images: Sequence[str], others: Sequence[str], source: str | Sequence[str], part: str
) -> list[str]:
    """Return how many images have no label file, and how many label files have no image.

    Args:
        images: Those of the part.
        others: Those of the other parts, which may be in the same folders.
        source: Folders of the part, or text files that list its images.
        part: ``train``, ``val`` or ``test``.
    """
    files = utils.img2label_paths(list(images))
    held = {folder: _entries(folder) for folder in {os.path.dirname(file) for file in files}}
    there = {entry.path for entries in held.values() for entry in entries}
    # A folder tells of all its files at once, which counts where there are many.
    without = [file for file in files if file not in there and not os.path.isfile(file)]
    said = []
    if without and len(without) < len(files):
        said.append(
            f"{len(without)} of {len(files)} images of {part} have no label file, such as "
            f"{without[0]}: they are taken for background"
        )
    folders = [source] if isinstance(source, str) else source
    if all(map(os.path.isdir, folders)):  # a list may leave images out on purpose
        known = {*files, *utils.img2label_paths(list(others))}
        over = [
            entry.path
            for folder in sorted(held)
            for entry in sorted(held[folder], key=lambda entry: entry.name)
            if entry.name.lower().endswith(".txt") and not entry.name.startswith(".")
            if entry.name.lower() not in LISTS and entry.path not in known
        ]
        if over:
            said.append(
                f"{len(over)} label files of {part} have no image that is read, such as "
                f"{over[0]}; images end with {', '.join(sorted(utils.IMG_FORMATS))}"
            )
    return said


def _entries(folder: str) -> list[os.DirEntry[str]]:
    """Return what a folder holds; nothing where there is none."""
    try:
        return list(os.scandir(folder))
    except OSError:
        return []


def of_list(source: str | Sequence[str]) -> str:
    """Return how the lines of a list of images are meant; nothing where no list is given."""
    for path in map(Path, [source] if isinstance(source, str) else source):
        if path.is_file():
            lines = (line.strip() for line in path.read_text("utf-8-sig", "replace").splitlines())
            first = next(filter(None, lines), "")
            return (
                f"; the first line of {path.name} is {first[:80]!r}, and a line is the path of an "
                "image, from the list's own folder where it begins with ./"
            )
    return ""


def of_others(image: str, label: str) -> str:
    """Return which files of other formats may hold an image's labels; nothing where none does.

    Args:
        image: Its path.
        label: Where its labels would be.
    """
    places = {Path(image).parent, Path(label).parent, Path(label).parent.parent}
    stem = Path(image).stem
    found = sorted(
        path
        for place in places
        if place.is_dir()
        for path in place.iterdir()
        if path.stem == stem and str(path) != image and path.is_file()
    )
    return f"; {found[0]} is there, which is of another format or place" if found else ""
