"""Scans and masks as MONAI's datalist pairs them."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from yolo_nas_ext.data.scans import series, structures
from yolo_nas_ext.data.scans.channels import MOST
from yolo_nas_ext.data.scans.contrasts import names_of
from yolo_nas_ext.data.scans.layouts import Name, name_of
from yolo_nas_ext.data.scans.paired import PairedScan, PairedScans
from yolo_nas_ext.data.scans.structures import first_file
from yolo_nas_ext.errors import NASError
from yolo_nas_ext.files import json_of, text_of, write_json

SIDES = ("train", "val", "test")
TEST = ("test", "testing")  # what lists of scans that are measured last are called
UNNAMED = (
    "the names of the channels' files do not say which is which in every scan: nas-predict will "
    "take datalists alone"
)


def datalist(
    path: Path, pattern: re.Pattern[str] | None, fold: int | None, wanted: Sequence[str] = ()
) -> PairedScans:
    """Return the scans of MONAI's datalist.

    Args:
        path: Its file.
        pattern: Finds the patient in a scan's path.
        fold: The fold that is val; the first by number without.
        wanted: What becomes the channels of a picture, see `contrasts.chosen`; of images that are
            lists, all where their files' names do not say which is which.

    Raises:
        NASError: For what is none, a fold that is not there, or a patient on both sides.
    """
    content, items = _read(path)
    folds = sorted({item["fold"] for item, _ in items if isinstance(item.get("fold"), int)})
    if fold is not None and fold not in folds:
        raise NASError(f"fold={fold}: the datalist has the folds {folds}")
    held = fold if fold is not None else folds[0] if folds else None
    given = bool(folds) or any(key != "training" for _, key in items)
    base = path.parent.resolve()
    entries, called, bad = [], set(), []
    for item, key in items:
        files = [Path(one) for one in _files(item["image"])]
        name, channels = str(_below(files[0], base)), files if 1 < len(files) <= MOST else []
        names = names_of(files) if channels or wanted else ()
        if wanted and len(files) > 1 and set(wanted) <= set(names):
            channels = [files[names.index(word)] for word in wanted]
        elif wanted and len(channels) != len(wanted):
            bad.append((name, f"is no image of the channels {', '.join(wanted)}"))
            continue
        elif channels:
            called.add(names)
        val = key == "validation" or (held is not None and item.get("fold") == held)
        side = "test" if key in TEST else "val" if val else "train"
        entries.append(
            PairedScan(
                channels[0] if channels else _scan(files[0]),
                tuple(map(Path, _files(item.get("label") or []))),
                name,
                _patient(item, files[0], pattern) or name,
                side=side if given else "",
                contrasts=tuple((one, None) for one in channels),
            )
        )
    _check_sides(path, entries)
    entries, found = _structures(entries, base)
    notes = list(found.notes)
    if not wanted and any(len(_files(item["image"])) > MOST for item, _ in items):
        notes.append(f"images are lists of more than {MOST} channels: the first is taken")
    known = called.pop() if len(called) == 1 else ()
    if called or (not known and any(e.contrasts for e in entries) and not wanted):
        notes.append(UNNAMED)
        known = tuple(f"channel {i}" for i in range(max(len(e.contrasts) for e in entries)))
    return PairedScans(
        entries,
        any(e.masks for e in entries),
        [],
        bad,
        found.names or _labels_of(content),
        tuple(notes),
        bool(found.names),
        found.inside,
        known or tuple(wanted),
    )


def _scan(file: Path) -> Path | series.Series:
    """Return a file, or of a folder the DICOM series that is in it."""
    found = series.find(list(file.rglob("*")))[0] if file.is_dir() else []
    return found[0] if len(found) == 1 else file


def _patient(item: Mapping[str, Any], file: Path, pattern: re.Pattern[str] | None) -> str:
    """Return whose a scan is, as an expression finds it or the list says; nothing without."""
    if match := pattern.search(file.as_posix()) if pattern else None:
        return match[1] if match.groups() else match[0]
    return next((str(item[k]) for k in ("group", "patient", "subject") if k in item), "")


def _below(file: Path, base: Path) -> Path:
    """Return a path relative to the list's folder; of a file elsewhere its name."""
    where = file.resolve()
    return where.relative_to(base) if where.is_relative_to(base) else Path(file.name)


def _structures(
    entries: Sequence[PairedScan], base: Path
) -> tuple[list[PairedScan], structures.Structures]:
    """Return scans whose masks have the labels of the structures that their names say."""

    def called(file: Path) -> Name:
        return name_of(_below(file, base), Path())

    rows = [[(mask, called(first_file(mask))) for mask in entry.masks] for entry in entries]
    found = structures.find(rows, [called(Path(entry.name)) for entry in entries])
    if not found.inside and all(len(entry.masks) < 2 for entry in entries):  # label maps
        return [*entries], structures.Structures({}, {})
    of = [tuple(found.label[mask] for mask in e.masks if mask in found.label) for e in entries]
    return [replace(e, labels=labels) for e, labels in zip(entries, of, strict=True)], found


def _read(path: Path) -> tuple[dict[str, Any], list[tuple[dict[str, Any], str]]]:
    """Return a datalist, and its items with the list that each is in.

    Raises:
        NASError: For what is none.
    """
    from monai.data.decathlon_datalist import load_decathlon_datalist

    try:
        content = json_of(text_of(path))
        items = [
            (item, key)
            for key in ("training", "validation", *TEST)
            if key in content
            for item in load_decathlon_datalist(str(path), data_list_key=key)
            if key not in TEST or "label" in item  # others are to be predicted, not measured
        ]
        for item, _ in items:
            Path(_files(item["image"])[0])
            for one in (*_files(item["image"]), *_files(item.get("label") or [])):
                Path(one)  # which has to be a text
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        reason = " ".join(str(error).split())[:200]
        raise NASError(
            f"source={path}: not a datalist ({reason or type(error).__name__}); expected "
            '{"training": [{"image": "...", "label": "..."}]} or a COCO JSON with images='
        ) from error
    if not items:
        raise NASError(f"source={path}: lists no scans under 'training'")
    return content, items


def _check_sides(path: Path, entries: Sequence[PairedScan]) -> None:
    """Refuse a patient on two sides.

    Raises:
        NASError: As above.
    """
    sides = {side: {e.patient for e in entries if e.side == side} for side in SIDES}
    for one, other in itertools.combinations(SIDES, 2):
        if both := sides[one] & sides[other]:
            raise NASError(
                f"source={path}: {len(both)} patients are in {one} and in {other}, for example the "
                f"group '{min(both)}'; put all scans of a patient into one fold"
            )


def _files(image: Any) -> list[str]:
    """Return the files of an image, one a channel, or of a label, one a structure."""
    return image if isinstance(image, list) else [image]


def write(
    path: Path, found: PairedScans, names: Mapping[int, str], sides: Mapping[str, Any]
) -> int:
    """Write scans with their masks and sides as a datalist of MONAI; it names the patients.

    Args:
        path: A new file.
        found: The scans.
        names: Class names by label.
        sides: Of scans by name: a side, or the number of a fold.

    Returns:
        How many scans have masks that no such list can name.

    Raises:
        NASError: For a file that cannot be written.
    """
    lists: dict[str, list[dict[str, Any]]] = {"training": []}
    left = 0
    for entry in found.entries:
        if (side := sides.get(entry.name)) is None:
            continue
        of = [source for source, _ in entry.contrasts] or [entry.source]
        images = [_named(source) for source in of]
        masks = [mask for mask in entry.masks if isinstance(mask, Path)]
        if not all(images) or len(masks) < len(entry.masks):
            left += 1
            continue
        item: dict[str, Any] = {"image": images if len(images) > 1 else images[0]}
        if masks:
            named = [str(mask.resolve()) for mask in masks]
            item["label"] = named if len(named) > 1 else named[0]
        item["group"] = entry.patient
        if isinstance(side, int):
            item["fold"] = side
        key = {"val": "validation", "test": "test"}.get(str(side), "training")
        lists.setdefault(key, []).append(item)
    labels = {"0": "background", **{str(k): v for k, v in names.items()}}
    try:
        write_json(path, {"labels": labels, **lists}, private=True)
    except OSError as error:
        raise NASError(f"datalist={path}: cannot be written ({error.strerror})") from error
    return left


def _named(source: Path | series.Series) -> str:
    """Return the path of a scan; of a series its folder, where nothing else is in it."""
    if isinstance(source, Path):
        return str(source.resolve())
    folder = source.files[0].parent
    alone = set(source.files) == {file for file in folder.rglob("*") if file.is_file()}
    return str(folder.resolve()) if alone else ""


def _labels_of(content: Mapping[str, Any]) -> dict[int, str]:
    found = content.get("labels")
    if not isinstance(found, dict):
        return {}
    return {int(k): str(v) for k, v in found.items() if str(k).isdecimal() and int(k) > 0}
