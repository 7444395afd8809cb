"""Structures that masks name: by a file or folder of each, or in the file's own header."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from yolo_nas_ext.data.scans import mask_volumes
from yolo_nas_ext.data.scans.layouts import PART, Name
from yolo_nas_ext.data.scans.options import NONE
from yolo_nas_ext.data.scans.paired import Mask, PairedScans
from yolo_nas_ext.data.scans.volumes import ScanError
from yolo_nas_ext.errors import NASError

OWN = 0  # the label of a file of masks whose values are labels of their own


@dataclass(frozen=True, slots=True)
class Structures:
    """What masks are of.

    Attributes:
        label: The label of each file that is of one structure; `OWN` of one that names several.
        names: Class names by label; none where masks name nothing.
        inside: Whether files name their structures themselves.
        notes: What was found, for the user.
    """

    label: Mapping[Mask, int]
    names: dict[int, str]
    inside: bool = False
    notes: tuple[str, ...] = ()


def find(found: Sequence[list[tuple[Mask, Name]]], scans: Sequence[Name]) -> Structures:
    """Return the structures of masks, known by their names over all scans.

    Args:
        found: For every scan its masks.
        scans: For every scan its name.
    """
    masks = list(dict.fromkeys(mask for row in found for mask, _ in row))
    own: dict[Mask, tuple[str, ...]] = {}
    for mask in masks:
        try:
            own[mask] = mask_volumes.named(mask)
        except ScanError:  # reported with its scan
            own[mask] = ()
    inside = Counter(name for names in own.values() for name in names)
    if inside:
        names = dict(enumerate(sorted(inside), 1))
        label = {mask: OWN for mask in masks}
        return Structures(label, names, True, (_said(names, inside, "in their headers"),))
    by_file = _by_file(found, scans)
    counts = Counter(by_file[mask] for row in found for mask, _ in row if mask in by_file)
    names = dict(enumerate(sorted(counts), 1))
    number = {name: label for label, name in names.items()}
    notes = (_said(names, counts, "by their files' names"),) if names else ()
    return Structures({m: number[name] for m, name in by_file.items()}, names, False, notes)


def _said(names: Mapping[int, str], counts: Mapping[str, int], where: str) -> str:
    shown = ", ".join(f"{label}:{name} ({counts[name]} scans)" for label, name in names.items())
    return f"masks name structures {where}: {shown}"


def _by_file(found: Sequence[list[tuple[Mask, Name]]], scans: Sequence[Name]) -> dict[Mask, str]:
    """Return the structure that each file is of: ``liver.nii.gz``, ``masks/disc/``.

    Files of instances have no names, or such as never come back.
    """
    rows = [
        {mask: _structure(name, scan) for mask, name in row}
        for row, scan in zip(found, scans, strict=True)
        if row
    ]
    if not all(all(row.values()) and len(set(row.values())) == len(row) for row in rows):
        return {}
    counts = Counter(name for row in rows for name in row.values())
    again = sum(n for n in counts.values() if n > 1)
    if all(len(row) == 1 for row in rows):
        known = 1 < len(counts) <= max(2, len(rows) / 2)
    else:
        known = 2 * again >= sum(counts.values()) or (len(rows) == 1 and all(map(_word, counts)))
    return {mask: name for row in rows for mask, name in row.items()} if known else {}


def _structure(name: Name, scan: Name) -> str:
    """Return the words of a mask's name that its scan's does not have, nor those of a split."""
    own = (w for w in (*name.named, *name.core) if not w.isdecimal() and w not in PART)
    words = (w for w in own if w not in scan.said)
    return "_".join(dict.fromkeys(words))


def _word(name: str) -> bool:
    """Say whether a name is words rather than a hash or a number."""
    letters = re.sub(r"[^a-z]", "", name)
    return (
        len(letters) > 2 and not any(map(str.isdigit, name)) and bool(set(letters) - set("abcdef"))
    )


def agreed(found: PairedScans, names: Mapping[int, str]) -> tuple[PairedScans, dict[int, str]]:
    """Return scans whose structures have the labels that ``names=`` gives them, and the names.

    Names that are structures' own number them; names of which none is rename them by number.

    Raises:
        NASError: For names that leave out a structure, or that are of none.
    """
    if not found.structures or not names:
        return found, dict(names)
    own = {_plain(name): label for label, name in found.names.items()}
    given = {label: name for label, name in names.items() if name != NONE}
    matched = {own[_plain(name)]: label for label, name in given.items() if _plain(name) in own}
    listed = ", ".join(f"{label}:{name}" for label, name in found.names.items())
    if not matched:
        if set(names) != set(found.names):
            raise NASError(
                f"names: masks are of the structures {listed}; give each a name by these numbers, "
                "or - to leave it out"
            )
        return found, dict(names)
    unknown = [name for name in given.values() if _plain(name) not in own]
    missing = [name for label, name in found.names.items() if label not in matched]
    if unknown or (missing and len(given) == len(names)):
        what = f"there is no {unknown[0]}" if unknown else f"there is a {missing[0]}, too"
        raise NASError(
            f"names: masks are of the structures {listed}; {what}: name each of them once, in any "
            "order, or end with a number and - to leave out the others"
        )
    spare = max(names, default=0) + 1
    left = {label: spare + i for i, label in enumerate(set(found.names) - set(matched))}
    to = {**matched, **left}
    entries = [
        replace(entry, labels=tuple(to.get(label, label) for label in entry.labels))
        for entry in found.entries
    ]
    whole = {**given, **dict.fromkeys(left.values(), NONE)}
    numbers = {to[label]: name for label, name in found.names.items()}
    return replace(found, entries=entries, names=numbers), whole


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "", name.lower())


def check_one(mask_name: str, values: Sequence[int]) -> None:
    """Refuse a file of one structure that holds several labels.

    Raises:
        ScanError: As above.
    """
    if len(values) > 1:
        shown = ", ".join(map(str, values[:5]))
        raise ScanError(
            "labels",
            f"has the file {mask_name} of one structure with the labels {shown}; "
            "save a file a structure, or one label map",
        )


def first_file(mask: Mask) -> Path:
    """Return the file of a mask, or the first of a series."""
    return mask if isinstance(mask, Path) else mask.files[0]
