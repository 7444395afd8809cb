"""Which files are masks, and of which scans: by folders and names as public data sets have them.

A name is words. Some say that a file is a mask (``labels``, ``seg``, ``GroundTruth``, ``manual1``)
or a picture (``imgs``, ``JPEGImages``), some say how a picture was taken (``flair``, ``t1``). What
is left of a name says which scan it is, and a mask belongs to the scan of which the same is left.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from yolo_nas_ext.data.scans.volumes import stem_of, suffix_of

PHASE = re.compile(r"phase\d+|part\d+(phase\d+)?")  # which `series` finds
CHANNEL = re.compile(r"_(\d{4})$")  # nnU-Net's: one file a channel
CHANNELS = 8  # more files of one name are numbered scans
ENTITY = re.compile(r"(?i)(?<![a-z0-9])(ses|run|echo)[-_]?0*(?=\d)")  # BIDS': ``ses-01``
ONE = re.compile(r"(ses|run|echo)\d+")
PART = {  # words for the parts of a split: ``labelsVa``
    *("tr", "ts", "te", "va", "train", "training", "val", "valid", "validation", "test", "testing"),
}

# Words of masks, the surest first: where a scan has masks of several kinds, that decides.
KINDS = (
    ("manual", "manuals", "gt", "gts", "groundtruth", "groundtruths", "ground", "truth", "truths"),
    (
        "seg",
        "segs",
        "dseg",
        "segmentation",
        "segmentations",
        "segmented",
        "label",
        "labels",
        "labelmap",
    ),
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
        bare: The same without the number of a channel.
        core: The words of the stem that say whose it is.
        kind: Words by which a mask says that it is one, from folders and stem.
        named: Words of folders below the one of masks, which may name a class.
        above: The words of all folders, as they are written.
    """

    folders: tuple[str, ...]
    stem: str
    bare: str
    core: tuple[str, ...]
    kind: tuple[str, ...] = ()
    named: tuple[str, ...] = ()
    above: tuple[str, ...] = ()

    @property
    def said(self) -> frozenset[str]:
        """All words of its path, numbers without zeros, but those for images and masks."""
        return frozenset((*self.above, *self.core, *self.named))

    @property
    def whose(self) -> frozenset[str]:
        """The words that may say whose it is: not how it was taken."""
        return frozenset(word for word in self.said if not is_taken(word))


def is_taken(word: str) -> bool:
    """Say whether a word tells how a scan was taken, or which of its phases it is."""
    return word in TAKEN or bool(PHASE.fullmatch(word))


def tokens(text: str) -> list[str]:
    """Return the parts of a name between its separators; ``ses-01`` is one, ``ses1``."""
    text = ENTITY.sub(r"\1", text)
    return [part for part in re.split(r"[-_.,+ ()\[\]]+", text) if part]


def words(token: str) -> list[str]:
    """Return the words of a part: ``imagesTr`` is ``images`` and ``tr``."""
    if ONE.fullmatch(token):
        return [token]
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


def name_of(file: Path, base: Path, channels: bool = True) -> Name:
    """Return what a file below a folder is called; see `named`."""
    *above, _ = file.relative_to(base).parts
    return named(above, stem_of(file), channels)


def named(above: Sequence[str], stem: str, channels: bool = True) -> Name:
    """Return what something is called in these folders.

    Args:
        above: The folders.
        stem: Its name without a suffix.
        channels: Whether four digits at the end number a channel, see `channelled`.
    """
    bare = CHANNEL.sub("", stem) if channels else stem
    mask = [i for i, part in enumerate(above) if _folder_kind(part) == "mask"]
    marked = [t for part in above for t in tokens(part) if _marked(t)]
    below = [w for part in above[mask[-1] :] for w in _free(part)] if mask else []
    parts = tokens(bare)
    kind = [re.sub(r"\d+$", "", t) or t for t in (*marked, *filter(_marked, parts))]
    return Name(
        tuple(rest for part in above if (rest := "_".join(_free(part)))),
        stem,
        bare,
        _core(parts),
        tuple(dict.fromkeys(kind)),
        tuple(below),
        tuple(word for part in above for word in _core(tokens(part))),
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


def by_folder(files: Iterable[Path], base: Path) -> set[Path]:
    """Return the files of which the nearest folder that says what it holds says masks."""
    found = set()
    for file in files:
        kinds = [_folder_kind(part) for part in file.relative_to(base).parts[:-1]]
        if next((kind for kind in reversed(kinds) if kind), "") == "mask":
            found.add(file)
    return found


def channelled(files: Sequence[Path], base: Path, masks: Sequence[Path] = ()) -> bool:
    """Say whether four digits at the end of names are nnU-Net's channels rather than scans.

    Channels of a scan are counted from 0, there are few, and masks have none.

    Args:
        files: Scans, and masks among them.
        base: The folder that their paths are relative to.
        masks: Masks elsewhere.
    """
    inside = by_folder(files, base) | {f for f in files if by_name(f)}
    if any(len(own) > 1 for own in _numbers([*inside, *masks])):
        return False
    scans = _numbers([f for f in files if f not in inside])
    right = sum(own == set(range(min(len(own), CHANNELS))) for own in scans)
    return 2 * right > len(scans)


def _numbers(files: Iterable[Path]) -> list[set[int]]:
    """Return the four digits at the end of names, by the rest of them."""
    found: dict[tuple[Path, str], set[int]] = {}
    for file in files:
        if number := CHANNEL.search(stem := stem_of(file)):
            found.setdefault((file.parent, stem[: number.start()]), set()).add(int(number[1]))
    return [*found.values()]


def sure(file: Path, base: Path) -> bool:
    """Say whether a folder above a file has one of the usual words for masks."""
    above = file.relative_to(base).parts[:-1]
    return any(w in SURE for part in above for t in tokens(part) for w in words(t))


def by_name(file: Path) -> bool:
    """Say whether a file's name says that it is a mask."""
    parts = tokens(stem_of(file))
    return suffix_of(file) == ".seg.nrrd" or any(
        _is(t, ALONE) or bool(re.fullmatch(r"\d(st|nd|rd)(ho)?", t.lower())) for t in parts
    )
