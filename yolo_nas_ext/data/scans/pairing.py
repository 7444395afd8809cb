"""Which mask belongs to which scan, and which patient both are of."""

from __future__ import annotations

import glob
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yolo_nas_ext.data.scans import dicom
from yolo_nas_ext.data.scans.volumes import PICTURES, VOLUMES, stem_of, suffix_of
from yolo_nas_ext.errors import NASError

IMAGES = ("imagesTr", "images", "image", "imgs")
MASKS = ("labelsTr", "labels", "label", "masks", "mask", "segmentations", "seg")
IGNORED = ("imagesTs", "labelsTs")  # the part of a challenge that its organisers evaluate
MARK = re.compile(r"[-_. ](seg|mask|masks|label|labels|segmentation|gt)$", re.IGNORECASE)
CHANNEL = re.compile(r"_(\d{4})$")  # nnU-Net's: one file a channel


@dataclass(frozen=True, slots=True)
class PairedScan:
    """A scan with its masks.

    Attributes:
        source: A file, or the series of a DICOM scan.
        masks: Its masks: a label map, or one file per instance.
        name: What to call it on the screen: a path relative to the source; secret beyond that.
        patient: Whose it is; secret.
        folder: The folder it lies in, which may name its class.
        val: Whether it belongs to val, where the source says so.
    """

    source: Path | dicom.Series
    masks: tuple[Path, ...]
    name: str
    patient: str
    folder: str = ""
    val: bool | None = None


@dataclass(frozen=True, slots=True)
class PairedScans:
    """What a source holds.

    Attributes:
        entries: Scans, in the order of their names.
        labelled: Whether it has masks at all.
        orphans: Names of masks without a scan.
        bad: Names of files that cannot be read, each with the reason.
        names: Class names by label, where the source gives them.
    """

    entries: list[PairedScan]
    labelled: bool
    orphans: list[str]
    bad: list[tuple[str, str]]
    names: dict[int, str]


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
            of it. Without, DICOM says it, and other files are a patient each.
        volume: Channel to take of nnU-Net's one file a channel.
        fold: The fold of a datalist that is val; its first by number without.

    Raises:
        NASError: For a source without scans, a malformed datalist or expression, or a patient on
            both sides of a datalist.
    """
    pattern = _compiled(group)
    if source.lower().endswith(".json"):
        return _datalist(Path(source), pattern, fold)
    base, files = _files(source, "source")
    base_masks, mask_files = (base, []) if masks is None else _files(masks, "masks")
    taken = set(mask_files)
    files = [
        f for f in files if f not in taken and not set(f.relative_to(base).parts) & set(IGNORED)
    ]
    flat = [f for f in files if suffix_of(f) in (*VOLUMES, *PICTURES, ".seg.nrrd")]
    series, bad = dicom.find([f for f in files if dicom.may_be(f)])
    if series or any(suffix_of(f) in VOLUMES for f in flat):  # pictures beside volumes show them
        flat = [f for f in flat if suffix_of(f) not in PICTURES]
    images, inside = _sort(flat, base)
    if masks is None:
        mask_files = inside
    images = _channels(images, volume)
    pairs, orphans = _pair(
        [*((f, _key(f, base)) for f in images), *((s, _series_key(s, base)) for s in series)],
        [(f, _key(f, base_masks)) for f in mask_files],
    )
    entries = [
        PairedScan(
            scan,
            tuple(found),
            _name(scan, base),
            _patient(scan, base, pattern),
            _first(scan).parent.name,
        )
        for scan, found in pairs
    ]
    if not entries and not bad:
        raise NASError(
            f"source={source}: no scans in {len(files)} files; allowed are DICOM series and "
            f"{', '.join((*VOLUMES, *PICTURES))}"
        )
    entries.sort(key=lambda entry: entry.name)
    names = [(str(file.relative_to(base)), reason) for file, reason in bad]
    orphan_names = [str(f.relative_to(base_masks)) for f in orphans]
    return PairedScans(entries, bool(mask_files), orphan_names, names, _names(base))


def _compiled(group: str | None) -> re.Pattern[str] | None:
    try:
        return re.compile(group) if group else None
    except re.error as error:
        raise NASError(
            f"group={group}: not a regular expression ({error}); as in group='(case\\d+)_'"
        ) from error


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


def _sort(files: Iterable[Path], base: Path) -> tuple[list[Path], list[Path]]:
    """Return images and masks: by the folders they are in, or by a mark in the mask's name."""
    files = list(files)
    masks = {f for f in files if _within(f, base, MASKS)}
    stems = {(f.parent, stem_of(f)) for f in files}
    for file in files:
        mark = MARK.search(stem_of(file))
        if suffix_of(file) == ".seg.nrrd" or (
            mark and (file.parent, stem_of(file)[: mark.start()]) in stems
        ):
            masks.add(file)
    return [f for f in files if f not in masks], sorted(masks)


def _within(file: Path, base: Path, names: Sequence[str]) -> bool:
    return bool(set(file.relative_to(base).parts[:-1]) & set(names))


def _channels(files: Sequence[Path], volume: int | None) -> list[Path]:
    """Return files without the further channels of nnU-Net's naming."""
    counts: dict[tuple[Path, str], int] = {}
    for file in files:
        if CHANNEL.search(stem_of(file)):
            key = file.parent, CHANNEL.sub("", stem_of(file))
            counts[key] = counts.get(key, 0) + 1
    kept = []
    for file in files:
        match = CHANNEL.search(stem_of(file))
        several = match and counts[file.parent, CHANNEL.sub("", stem_of(file))] > 1
        if not several or match is None or int(match[1]) == (volume or 0):
            kept.append(file)
    return kept


Key = tuple[tuple[str, ...], str]


def _key(file: Path, base: Path) -> Key:
    """Return the folders of a file, except the ones that say image or mask, and its stem."""
    folders = file.relative_to(base).parts[:-1]
    return tuple(f for f in folders if f not in (*IMAGES, *MASKS)), stem_of(file)


def _series_key(series: dicom.Series, base: Path) -> Key:
    *folders, _ = series.files[0].relative_to(base).parts
    kept = [f for f in folders if f not in IMAGES]
    return tuple(kept[:-1]), kept[-1] if kept else base.resolve().name


def _pair(
    scans: Sequence[tuple[Any, Key]], masks: Sequence[tuple[Path, Key]]
) -> tuple[list[tuple[Any, list[Path]]], list[Path]]:
    """Return every scan with its masks, and the masks of no scan.

    A mask belongs to the scan of the same stem, else to that whose stem begins its own up to a
    separator, else to the only scan of its folder.
    """
    by_folder: dict[tuple[str, ...], list[int]] = {}
    by_stem: dict[str, list[int]] = {}
    for index, (_, (folders, stem)) in enumerate(scans):
        by_folder.setdefault(folders, []).append(index)
        for name in {stem, CHANNEL.sub("", stem)}:
            by_stem.setdefault(name, []).append(index)
    found: list[list[Path]] = [[] for _ in scans]
    orphans = []
    for file, (folders, stem) in masks:
        candidates = _of_stem(stem, by_stem)
        here = [i for i in candidates if scans[i][1][0] == folders]
        alone = by_folder.get(folders, []) if folders else []
        if len(here) == 1 or (not here and len(candidates) == 1):
            found[(here or candidates)[0]].append(file)
        elif not candidates and len(alone) == 1:
            found[alone[0]].append(file)
        else:
            orphans.append(file)
    return [(scan, f) for (scan, _), f in zip(scans, found, strict=True)], orphans


def _of_stem(stem: str, by_stem: Mapping[str, list[int]]) -> list[int]:
    """Return the scans with the longest stem that begins a mask's."""
    while stem:
        if stem in by_stem:
            return by_stem[stem]
        cut = max(stem.rfind(mark) for mark in "-_. ")
        stem = stem[: max(cut, 0)]
    return []


def _first(scan: Path | dicom.Series) -> Path:
    return scan.files[0] if isinstance(scan, dicom.Series) else scan


def _name(scan: Path | dicom.Series, base: Path) -> str:
    first = str(_first(scan).relative_to(base))
    if isinstance(scan, dicom.Series) and len(scan.files) > 1:
        return f"{first} (a series of {len(scan.files)} files)"
    return first


def _patient(scan: Path | dicom.Series, base: Path, pattern: re.Pattern[str] | None) -> str:
    """Return whose scan it is; of a path that the expression does not find, nobody's."""
    if pattern:
        match = pattern.search(_first(scan).relative_to(base).as_posix())
        return (match[1] if match.groups() else match[0]) or "" if match else ""
    if isinstance(scan, dicom.Series):
        return scan.patient
    relative = scan.relative_to(base)
    return (relative.parent / CHANNEL.sub("", stem_of(scan))).as_posix()


def _names(base: Path) -> dict[int, str]:
    """Return the class names of a dataset.json as the decathlon and nnU-Net write it."""
    try:
        found = json.loads((base / "dataset.json").read_text("utf-8"))["labels"]
        pairs = [(k, v) if str(k).isdecimal() else (v, k) for k, v in found.items()]
        return {int(value): str(name) for value, name in pairs if int(value) > 0}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _datalist(path: Path, pattern: re.Pattern[str] | None, fold: int | None) -> PairedScans:
    """Return the scans of MONAI's datalist."""
    from monai.data.decathlon_datalist import load_decathlon_datalist

    parts: dict[str, list[dict[str, Any]]] = {}
    try:
        content = json.loads(path.read_text("utf-8"))
        for key in ("training", "validation"):
            if key in content:
                parts[key] = load_decathlon_datalist(str(path), data_list_key=key)
        items = [(item, key == "validation") for key in parts for item in parts[key]]
        first = [Path(_one(item["image"])) for item, _ in items]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        reason = " ".join(str(error).split())[:200]
        raise NASError(
            f"source={path}: not a datalist ({reason or type(error).__name__}); expected "
            '{"training": [{"image": "...", "label": "..."}]} or a COCO JSON with images='
        ) from error
    if not items:
        raise NASError(f"source={path}: lists no scans under 'training'")
    folds = sorted({item["fold"] for item, _ in items if isinstance(item.get("fold"), int)})
    if fold is not None and fold not in folds:
        raise NASError(f"fold={fold}: the datalist has the folds {folds}")
    held = fold if fold is not None else folds[0] if folds else None
    given = bool(folds) or "validation" in parts
    base = path.parent.resolve()
    entries = []
    for (item, validation), file in zip(items, first, strict=True):
        scan: Path | dicom.Series = file
        if file.is_dir() and len(series := dicom.find(list(file.rglob("*")))[0]) == 1:
            scan = series[0]
        label = item.get("label")
        label = [label] if isinstance(label, str) else label if isinstance(label, list) else []
        patient = next((str(item[k]) for k in ("group", "patient", "subject") if k in item), None)
        where = file.resolve()
        name = str(where.relative_to(base)) if where.is_relative_to(base) else file.name
        match = pattern.search(file.as_posix()) if pattern else None
        if match:
            patient = match[1] if match.groups() else match[0]
        val = (validation or item.get("fold") == held) if given else None
        entries.append(PairedScan(scan, tuple(map(Path, label)), name, patient or name, "", val))
    both = {e.patient for e in entries if e.val} & {e.patient for e in entries if e.val is False}
    if both:
        raise NASError(
            f"source={path}: {len(both)} patients are in train and in val, for example the group "
            f"'{min(both)}'; put all scans of a patient into one fold"
        )
    return PairedScans(entries, any(e.masks for e in entries), [], [], _labels_of(content))


def _one(image: Any) -> str:
    """Return the file of an image; of one given as a list of channels the first."""
    return image[0] if isinstance(image, list) else image


def _labels_of(content: Mapping[str, Any]) -> dict[int, str]:
    found = content.get("labels")
    if not isinstance(found, dict):
        return {}
    return {int(k): str(v) for k, v in found.items() if str(k).isdecimal() and int(k) > 0}
