"""Scans of one patient that were taken otherwise, chosen as the channels of a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from yolo_nas_ext.data.scans.channels import MOST
from yolo_nas_ext.data.scans.layouts import CHANNEL, Name, is_taken, name_of
from yolo_nas_ext.data.scans.paired import PairedScan
from yolo_nas_ext.errors import NASError


def chosen(
    entries: Sequence[PairedScan], names: Sequence[Name], wanted: Sequence[str]
) -> tuple[list[PairedScan], list[tuple[str, str]]]:
    """Return a scan of several contrasts for each visit, and what has not all of them.

    Args:
        entries: Scans with their masks.
        names: What each is called.
        wanted: Words of the contrasts (``flair``), or their numbers: of nnU-Net's file a channel,
            or of the volumes in a file.

    Raises:
        NASError: For more contrasts than channels.
    """
    if not 2 <= len(wanted) <= MOST or len(set(wanted)) < len(wanted):
        raise NASError(
            f"contrasts={','.join(wanted)}: give 2 or {MOST} different ones, the channels of a "
            "picture"
        )
    together: dict[frozenset[str], list[tuple[PairedScan, Name]]] = {}
    for entry, name in zip(entries, names, strict=True):
        together.setdefault(name.whose, []).append((entry, name))
    found, bad = [], []
    for members in together.values():
        first, missing = _joined(members, wanted)
        if first is None:
            reason = f"has no contrast {missing} of its own; leave it out, or change contrasts="
            bad.append((members[0][0].name, reason))
        else:
            found.append(first)
    return found, bad


def names_of(files: Sequence[Path]) -> tuple[str, ...]:
    """Return what the channels of one image are called, as `chosen` takes it; nothing if unsure.

    Args:
        files: A file a channel, whose names tell it: by nnU-Net's number or by a word for how a
            scan was taken (``flair``).
    """
    numbers = [CHANNEL.search(file.stem.partition(".")[0]) for file in files]
    if all(numbers):
        found = [str(int(number[1])) for number in numbers if number]
    else:
        own = [name_of(file, file.parent).said for file in files]
        words = [{w for w in said if is_taken(w) and sum(w in o for o in own) == 1} for said in own]
        found = [min(one) for one in words if one]
    return tuple(found) if len(set(found)) == len(files) else ()


def _joined(
    members: Sequence[tuple[PairedScan, Name]], wanted: Sequence[str]
) -> tuple[PairedScan | None, str]:
    """Return the scans of one visit as one, or what is missing."""
    alone = members[0]
    numbers = all(map(str.isdecimal, wanted))
    if numbers and len(members) == 1 and not CHANNEL.search(alone[1].stem):
        source = alone[0].source
        return replace(alone[0], contrasts=tuple((source, int(n)) for n in wanted)), ""
    taken = []
    for word in wanted:
        there = [entry for entry, name in members if _is(name, word)]
        if len(there) != 1:
            return None, word
        taken.append(there[0])
    masks = next((e for e in (*taken, *(e for e, _ in members)) if e.masks), taken[0])
    return replace(
        taken[0],
        masks=masks.masks,
        labels=masks.labels,
        contrasts=tuple((entry.source, None) for entry in taken),
    ), ""


def _is(name: Name, word: str) -> bool:
    if word.isdecimal():
        number = CHANNEL.search(name.stem)
        return number is not None and int(number[1]) == int(word)
    return word.lower() in name.said
