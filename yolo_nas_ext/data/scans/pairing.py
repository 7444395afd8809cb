"""Which mask belongs to which scan, and which patient both are of."""

from __future__ import annotations

import glob
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from yolo_nas_ext.data import groups
from yolo_nas_ext.data.scans import dicom, layouts, reading
from yolo_nas_ext.data.scans.datalist import datalist
from yolo_nas_ext.data.scans.layouts import CHANNEL, TAKEN
from yolo_nas_ext.data.scans.paired import PairedScan, PairedScans
from yolo_nas_ext.data.scans.volumes import PICTURES, VOLUMES, stem_of, suffix_of
from yolo_nas_ext.errors import NASError
from yolo_nas_ext.files import json_of, text_of

IMAGES = ("imagesTr", "images", "image", "imgs")
IGNORED = ("imagesTs", "labelsTs")  # the part of a challenge that its organisers evaluate
FEW = 8  # values of a picture that may be a mask
SAMPLE = 3  # files that are looked at
MOST = 50  # folders that are compared with one another


def find(
    source: str,
    masks: str | None = None,
    *,
    group: str | None = None,
    volume: int | None = None,
    fold: int | None = None,
) -> PairedScans:
    """Return the scans of a source with their masks.

    Args:
        source: A folder, a glob, a file, or MONAI's datalist JSON.
        masks: A folder, glob or file of masks; without, they are looked for in the source.
        group: Regular expression that finds the patient in a scan's path: its first group, or all
            of it. Without, DICOM says it, and names do (`data.groups`).
        volume: Channel to take of nnU-Net's one file a channel.
        fold: The fold of a datalist that is val; its first by number without.

    Raises:
        NASError: For a source without scans, a malformed datalist or expression, or a patient on
            both sides of a datalist.
    """
    pattern = groups.compiled(group)
    if source.lower().endswith(".json"):
        return datalist(Path(source), pattern, fold)
    base, files = _files(source, "source")
    base_masks, mask_files = (base, []) if masks is None else _files(masks, "masks")
    taken = set(mask_files)
    files = [f for f in files if f not in taken]
    ignored = [f for f in files if set(f.relative_to(base).parts) & set(IGNORED)]
    files = [f for f in files if f not in set(ignored)]
    flat = [f for f in files if suffix_of(f) in (*VOLUMES, *PICTURES, ".seg.nrrd")]
    series, bad = dicom.find([f for f in files if dicom.may_be(f)])
    if series or any(suffix_of(f) in VOLUMES for f in flat):  # pictures beside volumes show them
        flat = [f for f in flat if suffix_of(f) not in PICTURES]
    images, inside = layouts.sort(flat, base)
    notes = [f"{len(ignored)} files in {' and '.join(IGNORED)} are left out"] if ignored else []
    if masks is None:
        mask_files = inside
        if not inside and not series and (by_look := _few_valued(images, base)):
            mask_files, where = by_look
            images = [f for f in images if f not in set(mask_files)]
            notes.append(f"taken for masks, as they hold few values: {where}")
    if not mask_files and (odd := [f for f in images if layouts.by_name(f)]):
        notes.append(
            f"{len(odd)} files are called as masks are, such as {odd[0].relative_to(base)}, fit no "
            "scans and are taken for pictures; masks= says which files are masks"
        )
    images, channels = _channels(images, volume)
    notes += channels
    scans = [
        *((f, layouts.name_of(f, base)) for f in images),
        *((s, _series_name(s, base)) for s in series),
    ]
    readable = [f for f in mask_files if suffix_of(f) in (*VOLUMES, *PICTURES, ".seg.nrrd")]
    pairs, orphans = layouts.pair(scans, [(f, layouts.name_of(f, base_masks)) for f in readable])
    pairs, several = layouts.one_kind(pairs)
    named = layouts.classes(pairs, [name for _, name in scans])
    labels = {name: index for index, name in enumerate(sorted(set(named.values())), 1)}
    patients = _patients([scan for scan, _ in scans], base, pattern)
    entries = [
        PairedScan(
            scan,
            tuple(file for file, _ in found),
            _name(scan, base),
            patient,
            _first(scan).parent.name,
            labels=tuple(labels[named[file]] for file, _ in found if file in named),
        )
        for (scan, _), found, patient in zip(scans, pairs, patients, strict=True)
    ]
    if not entries and not bad:
        raise NASError(
            f"source={source}: no scans in {len(files)} files; allowed are DICOM series and "
            f"{', '.join((*VOLUMES, *PICTURES))}"
        )
    entries.sort(key=lambda entry: entry.name)
    bad_names = [(str(file.relative_to(base)), reason) for file, reason in bad]
    orphan_names = [str(f.relative_to(base_masks)) for f in orphans]
    names = {label: name for name, label in labels.items()} or _names(base)
    notes += [*filter(None, [several]), *_said(entries, base_masks, masks is None, pattern is None)]
    return PairedScans(entries, bool(mask_files), orphan_names, bad_names, names, tuple(notes))


def _said(entries: Sequence[PairedScan], base: Path, found: bool, guessed: bool) -> list[str]:
    """Return what was found: how masks belong to scans, and scans to patients."""
    said = []
    having = [e for e in entries if e.masks]
    if found and having:
        shown = ", ".join(str(mask.relative_to(base)) for mask in having[0].masks[:2])
        said.append(f"masks found of {len(having)} scans: {having[0].name} has {shown}")
        uses = Counter(e.masks for e in having)
        if shared := next((masks for masks, n in uses.items() if n > 1), None):
            first = ", ".join(e.name for e in having if e.masks == shared)
            said.append(
                f"scans that differ in how they were taken share a mask: {first}; source= as a "
                "pattern takes one of them, as in source='folder/**/*_t1*'"
            )
    files = [e for e in entries if isinstance(e.source, Path)]
    if guessed and (n := len({e.patient for e in files})) < len(files):
        said.append(
            f"by their names {len(files)} files are of {n} patients, the first of "
            f"{files[0].patient}; group= finds the patient otherwise"
        )
    return said


def _patients(
    scans: Sequence[Path | dicom.Series], base: Path, pattern: re.Pattern[str] | None
) -> list[str]:
    """Return whose each scan is; of a path that the expression does not find, nobody's.

    DICOM says it, and names do: of an image that is one of several, by how it was taken or cut.
    """
    paths = [_first(scan).relative_to(base) for scan in scans]
    if pattern:
        matches = [pattern.search(path.as_posix()) for path in paths]
        return [(m[1] if m.groups() else m[0]) or "" if m else "" for m in matches]
    plain = [
        (path.parent / _whose(CHANNEL.sub("", stem_of(path)), path.parent)).as_posix()
        for path in paths
    ]
    guessed = groups.groups([f"{path}.x" for path in plain])
    return [
        scan.patient if isinstance(scan, dicom.Series) else patient
        for scan, patient in zip(scans, guessed, strict=True)
    ]


def _whose(stem: str, folder: Path) -> str:
    """Return a stem without how it was taken; nothing where the folder says whose it is."""
    while (cut := re.search(r"[-_. ]+([^-_. ]+)$", stem)) and cut[1].lower() in TAKEN:
        stem = stem[: cut.start()]
    return "" if folder.parts and stem.lower() in TAKEN else stem


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


def _few_valued(images: Sequence[Path], base: Path) -> tuple[list[Path], str] | None:
    """Return files that look like the masks of others, and where they are.

    They are in a folder beside one of the same file names, or have another's name and more; they
    hold few values, and the others many.
    """
    for where, pairs in _alike(images, base):
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
    said = f"scans have several channels, a file each: {wanted} is taken; volume= takes another"
    return [f for f in files if f not in left], [said] * (bool(left) and volume is None)


def _series_name(series: dicom.Series, base: Path) -> layouts.Name:
    *folders, _ = series.files[0].relative_to(base).parts
    kept = [f for f in folders if f not in IMAGES]
    return layouts.named(kept[:-1], kept[-1] if kept else base.resolve().name)


def _first(scan: Path | dicom.Series) -> Path:
    return scan.files[0] if isinstance(scan, dicom.Series) else scan


def _name(scan: Path | dicom.Series, base: Path) -> str:
    first = str(_first(scan).relative_to(base))
    if isinstance(scan, dicom.Series) and len(scan.files) > 1:
        return f"{first} (a series of {len(scan.files)} files)"
    return first


def _names(base: Path) -> dict[int, str]:
    """Return the class names of a dataset.json as the decathlon and nnU-Net write it."""
    try:
        found = json_of(text_of(base / "dataset.json"))["labels"]
        pairs = [(k, v) if str(k).isdecimal() else (v, k) for k, v in found.items()]
        return {int(value): str(name) for value, name in pairs if int(value) > 0}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
