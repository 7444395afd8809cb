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
    return path if stem == whole else "/".join([*above, stem]).lower()


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
        return [
            source_of(one if one in there else stem, folders=folders)
            for stem, one in zip(stems, first, strict=True)
        ]
    found = []
    for path in paths:
        match = pattern.search(PurePath(path).as_posix())
        found.append(((match[1] if match.groups() else match[0]) or path) if match else path)
    return found


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
