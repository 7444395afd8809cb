"""Masks that no name gives away, known by their look: few values, beside scans of many."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from yolo_nas_ext.data.scans import reading
from yolo_nas_ext.data.scans.layouts import is_taken, name_of
from yolo_nas_ext.data.scans.matching import Pairing
from yolo_nas_ext.data.scans.volumes import stem_of

FEW = 8  # values of a picture that may be a mask
SAMPLE = 3  # files that are looked at
MOST = 50  # folders that are compared with one another


def few_valued(images: Sequence[Path], base: Path) -> tuple[list[Path], str] | None:
    """Return files that look like the masks of others, and where they are.

    They are in a folder beside one of the same file names, have another's name and more, or share
    a last word that others do not have; they hold few values, and the others many.

    Args:
        images: Files that no name calls a mask.
        base: The folder that paths are relative to.
    """
    for where, pairs in (*_alike(images, base), *_by_word(images, base)):
        tried = sorted(pairs.items())[:SAMPLE]
        if all(reading.values_in(m) <= FEW < reading.values_in(scan) for m, scan in tried):
            return sorted(pairs), where
    return None


def _alike(images: Sequence[Path], base: Path) -> Iterator[tuple[str, dict[Path, Path]]]:
    """Yield files that may be masks, each with what it would be of, and where they are."""
    folders: dict[Path, dict[str, Path]] = {}
    for file in images:
        folders.setdefault(file.parent, {})[stem_of(file)] = file
    if len(folders) <= MOST:
        for folder, files in folders.items():
            for other, others in folders.items():
                if other != folder and len(files) > 1 and set(files) <= set(others):
                    where = f"the folder {folder.relative_to(base)}"
                    yield where, {file: others[stem] for stem, file in files.items()}
    ends: dict[str, dict[Path, Path]] = {}
    for files in folders.values():
        for stem, file in files.items():
            cuts = (m.start() for m in re.finditer(r"[-_. ]", stem))
            if cut := max((c for c in cuts if stem[:c] in files), default=0):
                ends.setdefault(stem[cut:], {})[file] = files[stem[:cut]]
    for end, pairs in ends.items():
        if len(pairs) > 1:
            yield f"names that end with {end}", pairs


def _by_word(images: Sequence[Path], base: Path) -> Iterator[tuple[str, dict[Path, Path]]]:
    """Yield files that share a last word, each with what the rest of its name would be of."""
    names = {file: name_of(file, base) for file in images}
    last: dict[str, list[Path]] = {}
    for file, name in names.items():
        if name.core and name.core[-1].isalpha() and not is_taken(name.core[-1]):
            last.setdefault(name.core[-1], []).append(file)
    for word, files in last.items():
        others = [(file, name) for file, name in names.items() if word not in name.core[-1:]]
        if not others or len(files) == len(images):
            continue
        pairing = Pairing(others)
        pairs = {}
        for file in files:
            name = names[file]
            rest = replace(name, stem="", core=name.core[:-1])
            if of := pairing.of(rest):
                pairs[file] = others[of[0]][0]
        if 2 * len(pairs) > len(files):
            yield f"names that end with {word}", pairs
