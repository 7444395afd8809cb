"""Which mask belongs to which scan, by what both are called."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from yolo_nas_ext.data.scans.layouts import (
    KINDS,
    LAST,
    MASK,
    WHOSE,
    Name,
    by_folder,
    by_name,
    is_taken,
    name_of,
    sure,
    tokens,
    words,
)
from yolo_nas_ext.data.scans.paired import Mask, Source
from yolo_nas_ext.data.scans.series import Series
from yolo_nas_ext.data.scans.volumes import VOLUMES, suffix_of


def sort(files: Iterable[Path], base: Path, channels: bool = True) -> tuple[list[Path], list[Path]]:
    """Return pictures and masks, by what they and their folders are called.

    A file is a mask by the nearest folder above it that says what it holds, or by its own name
    where there is a picture that it would be of. A folder's word is not taken where it would leave
    no picture, nor a less usual one (``manual``, ``contours``) where its files fit no pictures.

    Args:
        files: What to sort.
        base: The folder that paths are relative to.
        channels: See `layouts.channelled`.
    """
    files = list(files)
    masks = by_folder(files, base)
    if len(masks) == len(files):
        masks = set()
    others = [f for f in files if f not in masks]
    plain = [f for f in others if not by_name(f)] or others
    pictures = Pairing([(f, name_of(f, base, channels)) for f in plain])
    unsure = {f for f in masks if not sure(f, base)}
    if unsure and 2 * sum(bool(pictures.of(name_of(f, base, channels))) for f in unsure) < len(
        unsure
    ):
        masks -= unsure
    marked = [f for f in files if f not in masks and by_name(f)]
    rest = Pairing(
        [(f, name_of(f, base, channels)) for f in files if f not in masks and f not in {*marked}]
    )
    fits = [f for f in marked if suffix_of(f) == ".seg.nrrd" or rest.of(name_of(f, base, channels))]
    if 2 * len(fits) >= len(marked):  # so that a mask without a scan is no scan either
        fits = marked
    masks |= set(fits)
    return [f for f in files if f not in masks], sorted(masks)


class Pairing:
    """Scans that masks are looked up in.

    Args:
        scans: Each with its name.
    """

    def __init__(self, scans: Sequence[tuple[Any, Name]]) -> None:
        self.names = [name for _, name in scans]
        self._by: dict[str, dict[Any, list[int]]] = {"stem": {}, "core": {}, "start": {}, "in": {}}
        for index, name in enumerate(self.names):
            self._by["in"].setdefault(name.folders, []).append(index)
            for stem in {name.stem, name.bare}:
                self._by["stem"].setdefault(stem, []).append(index)
            self._by["core"].setdefault(name.core, []).append(index)
            for n in range(1, len(name.core)):
                self._by["start"].setdefault(name.core[:n], []).append(index)
        every = frozenset.intersection(*(name.whose for name in self.names)) if scans else ()
        self._alone = len({name.whose for name in self.names}) == 1  # one patient's scans
        self._own = [name.whose.difference(() if self._alone else every) for name in self.names]
        self._holding: dict[str, list[int]] = {}
        for index, own in enumerate(self._own):
            for word in own:
                self._holding.setdefault(word, []).append(index)

    def of(self, mask: Name) -> list[int]:
        """Return the scans that a mask is of: one, or all ways in which a patient was taken."""
        ways = (
            self._stem(mask.stem),
            self._by["core"].get(mask.core, []) if mask.core else [],
            self._longest(mask.core),
            self._by["start"].get(mask.core, []) if mask.core else [],
        )
        for candidates in filter(None, ways):
            here = [i for i in candidates if self.names[i].folders == mask.folders]
            if len(here) == 1 or (not here and len(candidates) == 1):
                return here or candidates
            if here and self._one_patient(here, mask.core):
                return here
            return self._shared(mask)
        alone = self._by["in"].get(mask.folders, []) if mask.folders else []
        if len(alone) == 1 or (not mask.core and self._one_patient(alone, ())):
            return alone
        return self._shared(mask)

    def _shared(self, mask: Name) -> list[int]:
        """Return the scans all of whose own words a mask's path has, those with the most.

        Words that every scan has tell nothing. Where several are left, a contrast that the mask
        names decides; else they have to be one patient's.
        """
        if self._alone:
            numbers = {word for word in mask.core if any(map(str.isdigit, word))}
            own = {word for word in self._own[0] if any(map(str.isdigit, word))}
            return list(range(len(self.names))) if not own or numbers <= self._own[0] else []
        counts = Counter(i for word in mask.said for i in self._holding.get(word, ()))
        fits = [i for i, n in counts.items() if n == len(self._own[i])]
        most = max((len(self._own[i]) for i in fits), default=0)
        fits = sorted(i for i in fits if len(self._own[i]) == most)
        taken = [len(self.names[i].said & mask.said) for i in fits]
        fits = [i for i, n in zip(fits, taken, strict=True) if n == max(taken)]
        return fits if len({self._own[i] for i in fits}) == 1 else []

    def _stem(self, stem: str) -> list[int]:
        """Return the scans with the longest stem that begins a mask's."""
        while stem:
            if stem in self._by["stem"]:
                return self._by["stem"][stem]
            stem = stem[: max(*(stem.rfind(mark) for mark in "-_. "), 0)]
        return []

    def _longest(self, core: tuple[str, ...]) -> list[int]:
        """Return the scans whose words begin a mask's, the most words first."""
        starts = (core[:n] for n in range(len(core) - 1, 0, -1))
        return next((self._by["core"][start] for start in starts if start in self._by["core"]), [])

    def _one_patient(self, scans: Sequence[int], core: tuple[str, ...]) -> bool:
        """Say whether scans differ by nothing but how they were taken."""
        rests = [self.names[i].core[len(core) :] for i in scans]
        return all(rest and all(map(is_taken, rest)) for rest in rests)


def pair(
    scans: Sequence[tuple[Any, Name]], masks: Sequence[tuple[Mask, Name]]
) -> tuple[list[list[tuple[Mask, Name]]], list[Mask]]:
    """Return for every scan its masks, and the masks of no scan."""
    pairing = Pairing(scans)
    found: list[list[tuple[Mask, Name]]] = [[] for _ in scans]
    orphans = []
    for mask in masks:
        of = pairing.of(mask[1])
        for index in of:
            found[index].append(mask)
        if not of:
            orphans.append(mask[0])
    return found, orphans


def link(
    masks: Iterable[Series],
    scans: Sequence[tuple[Source, Name]],
    found: list[list[tuple[Mask, Name]]],
) -> list[Mask]:
    """Add masks of DICOM to the scans that they say they are of; return those of no scan.

    A scan that has such masks needs no others.

    Args:
        masks: Of the kinds ``seg`` and ``rtstruct``.
        scans: Each with its name.
        found: For every scan its masks, which is changed.
    """
    orphans: list[Mask] = []
    linked: dict[int, list[tuple[Mask, Name]]] = {}
    series = [(i, s) for i, (s, _) in enumerate(scans) if isinstance(s, Series)]
    for mask in masks:
        ways = (
            [i for i, s in series if s.instances & mask.instances],
            [i for i, s in series if s.uid.partition("/")[0] in mask.refers],
            [i for i, s in series if s.frame and s.frame == mask.frame],
        )
        of = next((way for way in ways if len(way) == 1), [])
        for index in of:
            linked.setdefault(index, []).append((mask, scans[index][1]))
        if not of:
            orphans.append(mask)
    for index, row in linked.items():
        found[index] = row
    return orphans


def one_reader(
    found: Sequence[list[tuple[Mask, Name]]],
) -> tuple[list[list[tuple[Mask, Name]]], str]:
    """Leave scans whose masks are called ``mask1`` and ``mask2``, alike everywhere, the first.

    So readers are numbered; where masks are pictures, they may be objects.
    """
    rows = [row for row in found if row]
    whom = [tuple(sorted(filter(None, (_reader(mask, name) for mask, name in r)))) for r in rows]
    if len(rows) < 2 or len(set(whom)) > 1 or len(whom[0]) < 2 or len(whom[0]) < len(rows[0]):
        return list(found), ""
    first, *others = whom[0]
    kept = [[(mask, name) for mask, name in row if _reader(mask, name) == first] for row in found]
    return kept, (
        f"scans have masks of several readers: taken is {first}, left out {', '.join(others)}; "
        "masks= chooses others"
    )


def _reader(mask: Mask, name: Name) -> str:
    if isinstance(mask, Series) or suffix_of(mask) not in VOLUMES:
        return ""
    marked = [t.lower() for t in tokens(name.stem) if t[-1].isdigit() and not t.isdecimal()]
    return next((t for t in reversed(marked) if t.rstrip("0123456789") in MASK), "")


def one_kind(
    found: Sequence[list[tuple[Mask, Name]]],
) -> tuple[list[list[tuple[Mask, Name]]], str]:
    """Leave scans masks of one kind each, the surest, and say what was left out.

    Several readers, or classes beside instances, are kinds; several files of one kind are objects.
    """
    kinds = Counter(kind for masks in found for kind in {_kind(name) for _, name in masks})
    if not any(len({_kind(name) for _, name in masks}) > 1 for masks in found):
        return list(found), ""
    kept, out = [], Counter[str]()
    for masks in found:
        order = sorted({_kind(name) for _, name in masks}, key=lambda k: (_rank(k), -kinds[k], k))
        kept.append([m for m in masks if _kind(m[1]) == order[0]])
        out.update(" ".join(kind) for kind in order[1:])
    left = ", ".join(f"{kind} ({n})" for kind, n in sorted(out.items()))
    taken = ", ".join(sorted({" ".join(_kind(m[1])) for masks in kept for m in masks}))
    return kept, (
        f"scans have masks of several kinds: taken are those of {taken}, left out of {left}; "
        "masks= chooses others"
    )


def _kind(name: Name) -> tuple[str, ...]:
    parts = [(t, words(t)) for t in tokens(name.stem)]
    whose = [t for t, found in parts if t.lower() in WHOSE or set(found) & LAST]
    return tuple(sorted({*name.kind, *whose})) or ("masks",)


def _rank(kind: tuple[str, ...]) -> tuple[int, bool]:
    ranks = [i for token in kind for w in words(token) for i, k in enumerate(KINDS) if w in k]
    last = any(w in LAST for token in kind for w in words(token))
    return (len(KINDS) if last else min(ranks, default=0)), "2nd" in "".join(kind).lower()
