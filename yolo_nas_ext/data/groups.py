"""What pictures may not be separated from, guessed from their names: patients, videos, copies."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import PurePath

from yolo_nas_ext.data.naming import place
from yolo_nas_ext.errors import NASError

# The end of a name that only says which copy or which part of something a picture is.
COPY = re.compile(
    r"""(?:
      \.rf\.[0-9a-z]{8,}                                      # Roboflow's versions of a source
    | [-_. ]+(?:aug|augmented|copy|dup|duplicate)[-_. ]*\d*
    | [-_. ]+(?:[hv]?flip|flip(?:lr|ud|h|v)|mirror(?:ed)?|rot(?:ate|ated|ation)?)[-_. ]*\d*
    | __\d+(?:\.\d+)?__\d+___\d+                              # tiles of DOTA's splitting
    | [-_ .]+x\d+[-_ .]*y\d+ | [-_ .]+r(?:ow)?\d+[-_ .]*c(?:ol)?\d+
    | (?:[-_. ]+|(?<=\d))(?:slice|slc|frame|frm|tile|patch|crop)[-_. ]*\d+(?:[-_x. ]\d+)*
    | [-_. ]+[zt]\d+ | [-_. ]+sl\d+
    )$""",
    re.IGNORECASE | re.VERBOSE,
)
# The end of a name that says when something was taken.
VISIT = re.compile(
    r"""[-_. ]+(?:
      (?:ses|session|visit|timepoint|time|tp|scan|exam|v|t|m|week|month|day|year|fu|follow-?up)
      [-_ ]?\d+[a-z]?
    | baseline | follow-?up | bl | fu | pre-?op | post-?op | pre | post | prior | current | initial
    | (?:19|20)\d\d[-_]?(?:0[1-9]|1[0-2])[-_]?(?:[0-2]\d|3[01])
    )$""",
    re.IGNORECASE | re.VERBOSE,
)
NUMBERED = re.compile(
    r"(?: ?\(\d+\)| - [Cc]opy)$"
)  # a file manager's copy, where the first is there
ORIGINAL = re.compile(r"_(?:jpe?g|png|bmp|tiff?|webp)$", re.IGNORECASE)  # left by Roboflow
# Somebody and a number. A lone letter has to be followed by more, else `p1`, `p2` are pictures.
PERSON = re.compile(
    r"""(?:^|(?<=[-_. /]))(?:
      tcga[-_.][a-z0-9]{2}[-_.][a-z0-9]{4}
    | (?:patient|pat|pt|pid|subject|subj|sub|person|participant|case|mrn|animal|donor|mouse)
      [-_. ]?(?:id)?[-_. ]?[a-z]{0,4}\d+[a-z]?
    | brats[-_.]?[a-z]*[-_.]\d+(?=[-_.]\d{3}(?:$|[-_./]))     # the last number is a visit
    | [ps]\d+(?=[-_. ]\d|[-_. ][a-z]+\d)
    )(?=$|[-_. /(])""",
    re.IGNORECASE | re.VERBOSE,
)
FOLDER = re.compile(r"p\d+", re.IGNORECASE)
SPLITS = {"images", "train", "training", "val", "valid", "validation", "test", "testing", "dev"}


def source_of(path: str, *, folders: bool = True) -> str:
    """Return the name of what a picture is a part or a copy of; its own where nothing says so.

    Args:
        path: The picture's path without its suffix.
        folders: Whether a folder may name the patient; the folders of classes do not.
    """
    *above, whole = PurePath(path).parts
    if (person := place(whole)[0]) != whole:  # which `nas-data` named
        return person
    above = [part for part in above if part.lower() not in SPLITS]
    for depth, part in enumerate(above if folders else ()):
        if match := PERSON.search(part) or FOLDER.fullmatch(part):
            return "/".join([*above[:depth], part[: match.end()]]).lower()
    if match := PERSON.search(whole):
        return "/".join([*above, whole[: match.end()]]).lower()
    stem = whole
    while (shorter := COPY.sub("", stem)) != stem and shorter.strip("-_. "):
        stem = ORIGINAL.sub("", shorter) if ".rf." in stem.lower() else shorter
    # Only where a number is left that may be somebody's: `img_20200101` is not of the patient img.
    while (shorter := VISIT.sub("", stem)) != stem and re.search(r"\d", shorter):
        stem = shorter
    return path if stem == whole else "/".join([*above, stem]).lower()


def _plain(path: str) -> str:
    """Return a path as `source_of` gives those that it shortened."""
    *above, whole = PurePath(path).parts
    return "/".join([*(part for part in above if part.lower() not in SPLITS), whole]).lower()


def groups(
    paths: Sequence[str], pattern: re.Pattern[str] | None = None, *, folders: bool = True
) -> list[str]:
    """Return for each picture the name of its group.

    Args:
        paths: The pictures.
        pattern: Finds the group in a path: its first group, or all of it. A path in which it finds
            nothing is a group of its own. Without, names are guessed from.
        folders: See `source_of`.
    """
    if pattern is None:
        stems = [str(PurePath(path).with_suffix("")) for path in paths]
        there = set(stems)
        first = [NUMBERED.sub("", stem) for stem in stems]
        found = [
            source_of(one if one in there else stem, folders=folders)
            for stem, one in zip(stems, first, strict=True)
        ]
        # The first visit is often called by the patient alone, as copies are beside their original.
        cut = {name for name, stem in zip(found, stems, strict=True) if name != stem}
        return [
            plain if name == stem and (plain := _plain(stem)) in cut else name
            for name, stem in zip(found, stems, strict=True)
        ]
    names = []
    for path in paths:
        match = pattern.search(PurePath(path).as_posix())
        names.append(((match[1] if match.groups() else match[0]) or path) if match else path)
    return names


def compiled(group: str | None) -> re.Pattern[str] | None:
    """Return the expression of ``group=``; None where nothing was given.

    Raises:
        NASError: For what is no regular expression.
    """
    try:
        return re.compile(group) if group else None
    except re.error as error:
        raise NASError(
            f"group={group}: not a regular expression ({error}); as in group='(case\\d+)_'"
        ) from error


def merged(*sides: Iterable[str]) -> list[str]:
    """Return one group an item from several answers: items that any of them joins are one.

    Args:
        sides: For each way to tell, the name of each item's group, in the order of the items.
    """
    columns = [list(side) for side in sides]
    parent: dict[tuple[int, str], tuple[int, str]] = {}

    def root(node: tuple[int, str]) -> tuple[int, str]:
        while parent.setdefault(node, node) != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    rows = list(zip(*columns, strict=True))
    for row in rows:
        first, *others = [root((way, name)) for way, name in enumerate(row)]
        for other in others:
            parent[root(other)] = root(first)
    return [root((0, row[0]))[1] for row in rows]


def said(names: Sequence[str], groups: Sequence[str]) -> list[str]:
    """Return what the user should know of patients that were guessed.

    Args:
        names: What scans are called: paths.
        groups: For each the patient that it was taken to be of.

    Returns:
        How many patients there are, and where that is unsure two files and the ``group=`` to type.
    """
    n, found = len(set(groups)), []
    if n < len(groups):
        found.append(
            f"by names or DICOM {len(groups)} scans are of {n} patients; group= finds the patient "
            "otherwise"
        )
    places = {PurePath(name).parts[0] for name in names}
    if n == 1 and len(places) > 1 and len(names) > 1:
        found.append(
            f"unsure: {names[0]} and {names[-1]} count as one patient, as all do; if they are not, "
            "group= finds the patient in the path, as in group='^([^/]+)'"
        )
    for begin in (_of_stem, _of_folder):
        together: dict[str, dict[str, str]] = {}
        for name, group in zip(names, groups, strict=True):
            if start := begin(name):
                together.setdefault(start, {}).setdefault(group, name)
        split = [start for start, those in together.items() if len(those) > 1]
        if split and len(together) > 1:
            first, second, *_ = together[split[0]].values()
            pattern = re.sub(r"\d+", r"\\d+", re.escape(split[0])).replace("\\-", "-")
            found.append(
                f"unsure: {first} and {second} count as two patients; if they are one, "
                f"group='({pattern})'"
            )
            break
    return found


def _of_stem(name: str) -> str:
    """Return the letters and the number that a file's name begins with, where more follows."""
    match = re.match(r"([A-Za-z]*[-_]?\d+)[-_. ].*[A-Za-z0-9]", PurePath(name).name.split(".")[0])
    return match[1] if match else ""


def _of_folder(name: str) -> str:
    """Return the first folder of a path that has a number."""
    return next((part for part in PurePath(name).parts[:-1] if re.search(r"\d", part)), "")


def is_visit(word: str) -> bool:
    """Say whether a folder's name tells when something was taken rather than of whom."""
    return bool(VISIT.fullmatch(f"_{word}"))
