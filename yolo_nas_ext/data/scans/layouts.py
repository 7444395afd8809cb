"""Which files are masks, and of which scans: by folders and names as public data sets have them.

A name is words. Some say that a file is a mask (``labels``, ``seg``, ``GroundTruth``, ``manual1``)
or a picture (``imgs``, ``JPEGImages``), some say how a picture was taken (``flair``, ``t1``). What
is left of a name says which scan it is, and a mask belongs to the scan of which the same is left.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yolo_nas_ext.data.scans.volumes import stem_of, suffix_of

CHANNEL = re.compile(r"_(\d{4})$")  # nnU-Net's: one file a channel

# Words of masks, the surest first: where a scan has masks of several kinds, that decides.
KINDS = (
    ("manual", "manuals", "gt", "gts", "groundtruth", "groundtruths", "ground", "truth", "truths"),
    ("seg", "segs", "segmentation", "segmentations", "segmented", "label", "labels", "labelmap"),
    ("annotation", "annotations", "annot", "annots", "anno", "annos", "delineation"),
    ("mask", "masks", "msk", "msks", "trimap", "trimaps", "roi", "rois", "contour", "contours"),
    ("instance", "instances"),
)
MASK = {word for words in KINDS for word in words}
ALONE = {*KINDS[0][:5], *KINDS[1], *KINDS[2], *KINDS[3][:6]}
SURE = {"seg", "segmentation", "segmentations", "label", "labels", "mask", "masks"}
IMAGE = {
    *("image", "images", "img", "imgs", "im", "imaging", "picture", "pictures", "photo", "photos"),
    *("scan", "scans", "volume", "volumes", "vol", "raw", "orig", "original", "originals"),
    *("input", "inputs", "jpeg", "jpg", "png", "frames", "slices"),
}
TAKEN = {  # how a scan was taken: several of one patient share a mask
    *("t1", "t1c", "t1ce", "t1n", "t1w", "t1gd", "t1post", "t1pre", "t2", "t2w", "t2f", "t2star"),
    *("flair", "dwi", "adc", "swi", "pd", "pdw", "pwi", "dce", "dsc", "hbv", "dir", "stir", "bold"),
    *("cbf", "cbv", "mtt", "tmax", "ct", "cta", "ctp", "ncct", "cect", "pet", "suv", "ctres"),
    *("mr", "mri", "mra", "us", "inphase", "outphase", "inp", "oop", "opp", "water", "fat"),
    *("pre", "post", "art", "arterial", "ven", "venous", "portal", "delayed", "plain"),
}
WHOSE = {
    *("1st", "2nd", "3rd", "ho", "st", "nd", "rd", "cp", "final", "class", "object", "machine"),
    *("id", "ids", "fine", "coarse", "color", "colour", "binary"),
}
LAST = {"object", "instance", "instances", "color", "colour", "coarse"}  # where others are there


@dataclass(frozen=True, slots=True)
class Name:
    """What a file is called, taken apart.

    Attributes:
        folders: Folders that say whose it is, without the words for images and masks.
        stem: The name without its suffix.
        core: The words of the stem that say whose it is.
        kind: Words by which a mask says that it is one, from folders and stem.
        named: Words of folders below the one of masks, which may name a class.
    """

    folders: tuple[str, ...]
    stem: str
    core: tuple[str, ...]
    kind: tuple[str, ...] = ()
    named: tuple[str, ...] = ()


def tokens(text: str) -> list[str]:
    """Return the parts of a name between its separators."""
    return [part for part in re.split(r"[-_.,+ ()\[\]]+", text) if part]


def words(token: str) -> list[str]:
    """Return the words of a part: ``imagesTr`` is ``images`` and ``tr``."""
    return [w.lower() for w in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", token)]


def _is(token: str, vocabulary: set[str]) -> bool:
    """Say whether a part is of such words, whatever number is behind them."""
    plain = re.sub(r"\d+$", "", token.lower())
    if plain in vocabulary:
        return True
    parts = [w for w in words(token) if not w.isdecimal()]
    return any(w in vocabulary for w in parts) and all(w in vocabulary | WHOSE for w in parts)


def _marked(token: str) -> bool:
    return _is(token, MASK) or bool(re.fullmatch(r"\d(st|nd|rd)(ho)?", token.lower()))


def _folder_kind(part: str) -> str:
    """Return ``mask`` or ``image`` of a folder that says so, else nothing."""
    found = {w for token in tokens(part) for w in (token.lower(), *words(token))}
    if found & MASK or any(_is(token, MASK) for token in tokens(part)):
        return "mask"
    return "image" if found & IMAGE or any(_is(t, IMAGE) for t in tokens(part)) else ""


def name_of(file: Path, base: Path) -> Name:
    """Return what a file below a folder is called."""
    *above, _ = file.relative_to(base).parts
    return named(above, stem_of(file))


def named(above: Sequence[str], stem: str) -> Name:
    """Return what something is called in these folders."""
    mask = [i for i, part in enumerate(above) if _folder_kind(part) == "mask"]
    marked = [t for part in above for t in tokens(part) if _marked(t)]
    below = [w for part in above[mask[-1] :] for w in _free(part)] if mask else []
    parts = tokens(CHANNEL.sub("", stem))
    kind = [re.sub(r"\d+$", "", t) or t for t in (*marked, *filter(_marked, parts))]
    return Name(
        tuple(rest for part in above if (rest := "_".join(_free(part)))),
        stem,
        _core(parts),
        tuple(dict.fromkeys(kind)),
        tuple(below),
    )


def _free(part: str) -> list[str]:
    """Return the words of a folder beside those of images and masks."""
    every = [w for token in tokens(part) for w in words(token)]
    kept = [w for w in every if w not in MASK | IMAGE]
    return [] if kept != every and not set(kept) - WHOSE - {"1", "2", "3"} else kept


def _core(parts: Sequence[str]) -> tuple[str, ...]:
    """Return the parts of a stem without words for images and masks, numbers without zeros."""
    kept = [t for t in parts if not _marked(t) and not _is(t, IMAGE) and t.lower() not in WHOSE]
    if not any(t.isdecimal() for t in kept):  # ``label0001``, ``seg12``: the number is whose it is
        ends = [re.search(r"\d+$", t) for t in parts if t not in kept]
        kept += [end[0] for end in ends[:1] if end and not kept]
    return tuple(t.lstrip("0") or "0" if t.isdecimal() else t.lower() for t in kept)


def sort(files: Iterable[Path], base: Path) -> tuple[list[Path], list[Path]]:
    """Return pictures and masks.

    A file is a mask by the nearest folder above it that says what it holds, or by its own name
    where there is a picture that it would be of. A folder's word is not taken where it would leave
    no picture, nor a less usual one (``manual``, ``contours``) where its files fit no pictures.

    Args:
        files: What to sort.
        base: The folder that paths are relative to.
    """
    files = list(files)
    masks = _by_folder(files, base)
    if len(masks) == len(files):
        masks = set()
    others = [f for f in files if f not in masks]
    plain = [f for f in others if not by_name(f)] or others
    pictures = Pairing([(f, name_of(f, base)) for f in plain])
    unsure = {f for f in masks if not _sure(f, base)}
    if unsure and 2 * sum(bool(pictures.of(name_of(f, base))) for f in unsure) < len(unsure):
        masks -= unsure
    marked = [f for f in files if f not in masks and by_name(f)]
    rest = Pairing([(f, name_of(f, base)) for f in files if f not in masks and f not in {*marked}])
    fits = [f for f in marked if suffix_of(f) == ".seg.nrrd" or rest.of(name_of(f, base))]
    if 2 * len(fits) >= len(marked):  # so that a mask without a scan is no scan either
        fits = marked
    masks |= set(fits)
    return [f for f in files if f not in masks], sorted(masks)


def _by_folder(files: Iterable[Path], base: Path) -> set[Path]:
    found = set()
    for file in files:
        kinds = [_folder_kind(part) for part in file.relative_to(base).parts[:-1]]
        if next((kind for kind in reversed(kinds) if kind), "") == "mask":
            found.add(file)
    return found


def _sure(file: Path, base: Path) -> bool:
    above = file.relative_to(base).parts[:-1]
    return any(w in SURE for part in above for t in tokens(part) for w in words(t))


def by_name(file: Path) -> bool:
    """Say whether a file's name says that it is a mask."""
    parts = tokens(stem_of(file))
    return suffix_of(file) == ".seg.nrrd" or any(
        _is(t, ALONE) or bool(re.fullmatch(r"\d(st|nd|rd)(ho)?", t.lower())) for t in parts
    )


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
            for stem in {name.stem, CHANNEL.sub("", name.stem)}:
                self._by["stem"].setdefault(stem, []).append(index)
            self._by["core"].setdefault(name.core, []).append(index)
            for n in range(1, len(name.core)):
                self._by["start"].setdefault(name.core[:n], []).append(index)

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
            return []
        alone = self._by["in"].get(mask.folders, []) if mask.folders else []
        if len(alone) == 1 or (not mask.core and self._one_patient(alone, ())):
            return alone
        return []

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
        return all(rest and all(word in TAKEN for word in rest) for rest in rests)


def pair(
    scans: Sequence[tuple[Any, Name]], masks: Sequence[tuple[Path, Name]]
) -> tuple[list[list[tuple[Path, Name]]], list[Path]]:
    """Return for every scan its masks, and the masks of no scan."""
    pairing = Pairing(scans)
    found: list[list[tuple[Path, Name]]] = [[] for _ in scans]
    orphans = []
    for mask in masks:
        of = pairing.of(mask[1])
        for index in of:
            found[index].append(mask)
        if not of:
            orphans.append(mask[0])
    return found, orphans


def one_kind(
    found: Sequence[list[tuple[Path, Name]]],
) -> tuple[list[list[tuple[Path, Name]]], str]:
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


def classes(found: Sequence[list[tuple[Path, Name]]], scans: Sequence[Name]) -> dict[Path, str]:
    """Return the class that each file of a scan's masks names: ``liver.nii.gz``, ``masks/disc/``.

    Only where a scan has several masks, each named otherwise, and other scans have the same names.

    Args:
        found: For every scan its masks.
        scans: For every scan its name.
    """
    rows = [
        {file: _class(name, scan) for file, name in masks}
        for masks, scan in zip(found, scans, strict=True)
        if masks
    ]
    counts = Counter(name for row in rows for name in row.values())
    if len(rows) < 2 or all(len(row) == 1 for row in rows) or min(counts.values()) < 2:
        return {}
    if not all(all(row.values()) and len(set(row.values())) == len(row) for row in rows):
        return {}
    common = set.intersection(*map(set, counts))
    return {
        file: "_".join(w for w in name if w not in common)
        for row in rows
        for file, name in row.items()
    }


def _class(name: Name, scan: Name) -> tuple[str, ...]:
    """Return the words of a mask's name that its scan's does not have."""
    n = len(scan.core)
    rest = name.core[n:] if name.core[:n] == scan.core else name.core
    whose = {w for folder in scan.folders for w in folder.split("_")}
    found = (w for w in (*name.named, *rest) if not w.isdecimal() and w not in whose)
    return tuple(dict.fromkeys(found))
