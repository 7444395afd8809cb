"""Which mask belongs to which scan, and which patient both are of."""

from __future__ import annotations

import glob
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from yolo_nas_ext.data import groups
from yolo_nas_ext.data.scans import items, structures
from yolo_nas_ext.data.scans.contrasts import chosen
from yolo_nas_ext.data.scans.datalist import datalist
from yolo_nas_ext.data.scans.layouts import CHANNEL, Name, by_name, is_taken, name_of, named
from yolo_nas_ext.data.scans.looks import few_valued
from yolo_nas_ext.data.scans.matching import link, one_kind, one_reader, pair, sort
from yolo_nas_ext.data.scans.paired import PairedScan, PairedScans, Source
from yolo_nas_ext.data.scans.series import Series
from yolo_nas_ext.data.scans.volumes import PICTURES, VOLUMES, stem_of
from yolo_nas_ext.errors import NASError
from yolo_nas_ext.files import json_of, text_of

IMAGES = ("imagesTr", "images", "image", "imgs")
IGNORED = ("imagesTs", "labelsTs")  # the part of a challenge that its organisers evaluate
READ = (*VOLUMES, *PICTURES)
SHOWN = 3  # pairs that are named on the screen
NOTHING = "none"  # masks= where every file is a scan
CALLED = (
    "is called as masks are and fits no scan; masks= names the folder or file of masks, "
    "masks=none takes every file for a scan"
)


def find(
    source: str,
    masks: str | None = None,
    *,
    group: str | None = None,
    volume: int | None = None,
    fold: int | None = None,
    contrasts: Sequence[str] = (),
) -> PairedScans:
    """Return the scans of a source with their masks.

    Args:
        source: A folder, a glob, a file, or MONAI's datalist JSON.
        masks: A folder, glob or file of masks; without, they are looked for in the source, and
            with ``none`` every file is a scan.
        group: Regular expression that finds the patient in a scan's path: its first group, or all
            of it. Without, DICOM says it, and names do (`data.groups`).
        volume: Channel to take of nnU-Net's one file a channel.
        fold: The fold of a datalist that is val; its first by number without.
        contrasts: What becomes the channels of a picture, see `contrasts.chosen`.

    Raises:
        NASError: For a source without scans, a malformed datalist or expression, or a patient on
            both sides of a datalist.
    """
    pattern = groups.compiled(group)
    if source.lower().endswith(".json"):
        return datalist(Path(source), pattern, fold, contrasts)
    base, files = _files(source, "source")
    told = masks is not None
    base_masks, mask_files = (base, []) if masks in (None, NOTHING) else _files(masks, "masks")
    taken = set(mask_files)
    files = [f for f in files if f not in taken]
    ignored = {f for f in files if set(f.relative_to(base).parts) & set(IGNORED)}
    notes = [f"{len(ignored)} files in {' and '.join(IGNORED)} are left out"] if ignored else []
    here = items.find([f for f in files if f not in ignored], base)
    there = items.find(mask_files, base_masks)
    notes += here.notes
    images, inside = (list(here.plain), []) if masks == NOTHING else sort(here.plain, base)
    if told:  # by masks=, which those are not of
        inside = []
    if not told and not inside and not here.masks:
        plain = [f for f in images if isinstance(here.plain[f], Path)]
        if by_look := few_valued(plain, base):
            inside, where = by_look
            images = [f for f in images if f not in set(inside)]
            notes.append(f"taken for masks, as they hold few values: {where}")
    asked = told or Path(source).is_file()  # a file that is named is a scan, whatever its name
    called = [] if asked else [f for f in images if by_name(f)]
    images = [f for f in images if f not in {*called}] if called else images
    if not contrasts:
        images, channels = _channels(images, volume)
        notes += channels
    scans = [(here.plain[f], _named(f, base)) for f in images]
    given = [(here.plain[f], name_of(f, base)) for f in inside]
    given += [(there.plain[f], name_of(f, base_masks)) for f in there.plain]
    one = masks and Path(source).is_file() and Path(masks).is_file()
    pairs, orphans = ([given], []) if one and scans and given else pair(scans, given)
    orphans += link([*here.masks, *there.masks], scans, pairs)
    pairs, readers = one_reader(pairs)
    pairs, several = one_kind(pairs)
    found = structures.find(pairs, [name for _, name in scans])
    patients = _patients([scan for scan, _ in scans], base, pattern)
    entries = [
        PairedScan(
            scan,
            tuple(mask for mask, _ in row),
            _name(scan, base),
            patient,
            _first(scan).parent.name,
            labels=tuple(found.label[mask] for mask, _ in row if mask in found.label),
        )
        for (scan, _), row, patient in zip(scans, pairs, patients, strict=True)
    ]
    left, lacking = "", []
    if contrasts:
        entries, lacking = chosen(entries, [name for _, name in scans], contrasts)
    else:
        entries, left = _contrasts(entries, [name for _, name in scans])
    labelled = bool(given or here.masks or there.masks)
    bad = [(str(f.relative_to(base)), reason) for f, reason in here.bad]
    bad += [(str(f.relative_to(base_masks)), reason) for f, reason in there.bad]
    bad += [*((_name(here.plain[f], base), CALLED) for f in called), *lacking]
    if not entries and not bad:
        raise NASError(
            f"source={source}: no scans in {len(files)} files; allowed are DICOM series and "
            f"{', '.join(READ)}"
        )
    entries.sort(key=lambda entry: entry.name)
    orphan_names = [_name(mask, base_masks if told else base) for mask in orphans]
    notes += [*filter(None, [readers, several, left]), *found.notes]
    notes += _said(entries, base_masks, pattern is None)
    return PairedScans(
        entries,
        labelled,
        orphan_names,
        bad,
        found.names or _names(base),
        tuple(notes),
        bool(found.names),
        found.inside,
    )


def _said(entries: Sequence[PairedScan], base: Path, guessed: bool) -> list[str]:
    """Return what was found: how masks belong to scans, and scans to patients."""
    said = []
    having = [e for e in entries if e.masks]
    if having:
        shown = "; ".join(
            f"{e.name} has {', '.join(_name(mask, base) for mask in e.masks[:2])}"
            + (f" and {len(e.masks) - 2} more" if len(e.masks) > 2 else "")
            for e in having[:SHOWN]
        )
        said.append(f"masks found of {len(having)} scans: {shown}")
        uses = Counter(e.masks for e in having)
        if shared := next((masks for masks, n in uses.items() if n > 1), None):
            first = ", ".join(e.name for e in having if e.masks == shared)
            said.append(
                f"scans that differ in how they were taken share a mask: {first}; source= as a "
                "pattern takes one of them, as in source='folder/**/*_t1*', and contrasts= takes "
                "up to three as channels"
            )
    if guessed:
        said += groups.said([e.name for e in entries], [e.patient for e in entries])
    return said


def _contrasts(
    entries: Sequence[PairedScan], names: Sequence[Name]
) -> tuple[list[PairedScan], str]:
    """Leave out scans without a mask whose patient has one of another contrast, and say it."""
    having = {name.whose for entry, name in zip(entries, names, strict=True) if entry.masks}
    left = [
        entry.name
        for entry, name in zip(entries, names, strict=True)
        if not entry.masks and name.whose in having and name.said != name.whose
    ]
    if not left:
        return list(entries), ""
    return [e for e in entries if e.name not in set(left)], (
        f"{len(left)} scans of other contrasts have no mask of their own and are left out: "
        f"{', '.join(left[:SHOWN])}"
    )


def _patients(scans: Sequence[Source], base: Path, pattern: re.Pattern[str] | None) -> list[str]:
    """Return whose each scan is; of a path that the expression does not find, nobody's.

    DICOM says it, and names do: of an image that is one of several, by how it was taken or cut.
    """
    paths = [_first(scan).relative_to(base) for scan in scans]
    if pattern:
        matches = [pattern.search(path.as_posix()) for path in paths]
        return [(m[1] if m.groups() else m[0]) or "" if m else "" for m in matches]
    plain = [
        (parent / _whose(CHANNEL.sub("", stem_of(path)), parent)).as_posix()
        for path in paths
        for parent in [_person(path.parent)]
    ]
    guessed = groups.groups([f"{path}.x" for path in plain])
    return [
        scan.patient if isinstance(scan, Series) else patient
        for scan, patient in zip(scans, guessed, strict=True)
    ]


def _person(folder: Path) -> Path:
    """Return a folder without those that say when and how something was taken."""
    kept = [p for p in folder.parts if not (groups.is_visit(p) or is_taken(p.lower()))]
    return Path(*kept)


def _whose(stem: str, folder: Path) -> str:
    """Return a stem without how it was taken; nothing where the folder says whose it is."""
    while (cut := re.search(r"[-_. ]+([^-_. ]+)$", stem)) and is_taken(cut[1].lower()):
        stem = stem[: cut.start()]
    return "" if folder.parts and is_taken(stem.lower()) else stem


def _files(source: str, key: str) -> tuple[Path, list[Path]]:
    """Return the folder that paths are relative to, and the files, without hidden ones."""
    path = Path(source)
    if path.is_dir():
        base, found = path, list(path.rglob("*"))
    elif path.is_file():
        base, found = path.parent, [path]
    else:
        found = [Path(f) for f in glob.glob(source, recursive=True)]
        found += [f for folder in found if folder.is_dir() for f in folder.rglob("*")]
        fixed = []
        for part in path.parts[:-1]:
            if glob.has_magic(part):
                break
            fixed.append(part)
        base = Path(*fixed)
        if not found:
            raise NASError(
                f"{key}={source}: no such file or folder, and no file fits it as a pattern"
            )
    files = {
        f
        for f in found
        if f.is_file() and not any(part.startswith(".") for part in f.relative_to(base).parts)
    }
    return base, sorted(files)


def _channels(files: Sequence[Path], volume: int | None) -> tuple[list[Path], list[str]]:
    """Return files without the further channels of nnU-Net's naming, and what is said of it."""
    several: dict[tuple[Path, str], list[Path]] = {}
    for file in files:
        if CHANNEL.search(stem_of(file)):
            several.setdefault((file.parent, CHANNEL.sub("", stem_of(file))), []).append(file)
    wanted = f"{volume or 0:04d}"
    left = {
        file
        for group in several.values()
        if len(group) > 1
        for file in group
        if not stem_of(file).endswith(wanted)
    }
    said = (
        f"scans have several channels, a file each: {wanted} is taken; volume= takes another, "
        "contrasts=0,1 several"
    )
    return [f for f in files if f not in left], [said] * (bool(left) and volume is None)


def _named(path: Path, base: Path) -> Name:
    """Return what a scan is called; folders that say that it is one tell nothing of whose it is."""
    *folders, _ = path.relative_to(base).parts
    return named([f for f in folders if f not in IMAGES], stem_of(path))


def _first(scan: Source) -> Path:
    return scan.files[0] if isinstance(scan, Series) else scan


def _name(scan: Source, base: Path) -> str:
    first = str(_first(scan).relative_to(base))
    if isinstance(scan, Series) and len(scan.files) > 1:
        phase = f"{scan.phase} of " * bool(scan.phase)
        return f"{first} ({phase}a series of {len(scan.files)} files)"
    return first


def _names(base: Path) -> dict[int, str]:
    """Return the class names of a dataset.json as the decathlon and nnU-Net write it."""
    try:
        found = json_of(text_of(base / "dataset.json"))["labels"]
        pairs = [(k, v) if str(k).isdecimal() else (v, k) for k, v in found.items()]
        return {int(value): str(name) for value, name in pairs if int(value) > 0}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
