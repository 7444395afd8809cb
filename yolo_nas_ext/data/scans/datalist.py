"""Scans and masks as MONAI's datalist pairs them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from yolo_nas_ext.data.scans import dicom
from yolo_nas_ext.data.scans.channels import MOST
from yolo_nas_ext.data.scans.paired import PairedScan, PairedScans
from yolo_nas_ext.errors import NASError
from yolo_nas_ext.files import json_of, text_of


def datalist(path: Path, pattern: re.Pattern[str] | None, fold: int | None) -> PairedScans:
    """Return the scans of MONAI's datalist.

    Raises:
        NASError: For what is none, a fold that is not there, or a patient on both sides.
    """
    from monai.data.decathlon_datalist import load_decathlon_datalist

    parts: dict[str, list[dict[str, Any]]] = {}
    try:
        content = json_of(text_of(path))
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
    more = False
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
        val = validation or item.get("fold") == held
        side = ("val" if val else "train") if given else ""
        of = item["image"] if isinstance(item["image"], list) else []
        entries.append(
            PairedScan(
                scan,
                tuple(map(Path, label)),
                name,
                patient or name,
                side=side,
                contrasts=tuple((Path(one), None) for one in of) if 1 < len(of) <= MOST else (),
            )
        )
        more |= len(of) > MOST
    sides = [{e.patient for e in entries if e.side == side} for side in ("train", "val")]
    both = sides[0] & sides[1]
    if both:
        raise NASError(
            f"source={path}: {len(both)} patients are in train and in val, for example the group "
            f"'{min(both)}'; put all scans of a patient into one fold"
        )
    notes = (f"images are lists of more than {MOST} channels: the first is taken",) * more
    labelled = any(e.masks for e in entries)
    return PairedScans(entries, labelled, [], [], _labels_of(content), notes)


def _one(image: Any) -> str:
    """Return the file of an image; of one given as a list of channels the first."""
    return image[0] if isinstance(image, list) else image


def _labels_of(content: Mapping[str, Any]) -> dict[int, str]:
    found = content.get("labels")
    if not isinstance(found, dict):
        return {}
    return {int(k): str(v) for k, v in found.items() if str(k).isdecimal() and int(k) > 0}
