"""A scan into pictures and labels in a folder of its own."""

from __future__ import annotations

import math
import random
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

from PIL import Image

from yolo_nas_ext.data.lesions import Components
from yolo_nas_ext.data.polygons import MaskObject
from yolo_nas_ext.data.scans import (
    channels,
    mask_volumes,
    pairing,
    reading,
    structures,
    tiles,
    volumes,
)
from yolo_nas_ext.data.scans.options import Cut, Options
from yolo_nas_ext.data.scans.series import Series
from yolo_nas_ext.data.scans.slices import Slice, cut, size_of, survey
from yolo_nas_ext.data.scans.volumes import ScanError
from yolo_nas_ext.files import write_json

# Parts of the work on a large scan, for the time that is left.
READ, SURVEYED, WRITTEN = 0.3, 0.2, 0.499
LOST = "voxels that are NaN or infinite take the lowest or highest value"


def write_scan(
    entry: pairing.PairedScan,
    key: str,
    stamp: str,
    work: Path | None,
    options: Options,
    labelled: bool,
    rng: random.Random,
    bar: Any,
) -> dict[str, Any]:
    """Convert a scan and return its record.

    Args:
        entry: The scan and its masks.
        key: Its pseudonym, which its folder and its pictures are called by.
        stamp: What changes when its files do.
        work: The folder of the conversion; without one nothing is written.
        options: See `Options`.
        labelled: Whether the source has masks.
        rng: Decides which slices without objects are kept.
        bar: Shows the progress; it is moved by less than 1 in all.

    Raises:
        ScanError: For a scan that cannot be used.
    """
    how = options.cut
    by_mask = labelled and not options.by_folder
    if by_mask and not entry.masks:
        raise ScanError("mask", "has no mask; add one, or leave it out")
    if not entry.patient:
        raise ScanError("patient", "has a path in which group= finds no patient; change group=")
    scan = load(entry, options)
    first = channels.base(scan)
    notes = [*scan.facts.notes]
    masks: list[volumes.Scan] = []
    for index, file in enumerate(entry.masks if by_mask else ()):
        mask, said = mask_volumes.read(
            file, first, how.axis, pages=options.pages, labels=options.structures
        )
        if any(entry.labels[index : index + 1]):
            structures.check_one(structures.first_file(file).name, mask_volumes.values(mask))
        masks.append(mask)
        notes += said
    labels = entry.labels
    if len(masks) > 1 and labels:  # of structures that overlap the smaller lies on top
        order = sorted(range(len(masks)), key=lambda i: -mask_volumes.size(masks[i]))
        masks, labels = [masks[i] for i in order], tuple(labels[i] for i in order)
    size, spacing = size_of(scan, how)
    bar.update(READ)
    seen = survey(scan, how.axis)
    notes += [LOST] * bool(seen.lost)
    bar.update(SURVEYED)
    folder = work / "scans" / key if work else None
    if folder:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    pictures, more, objects = [], [], []
    small, pictured = 0, 2
    values: Counter[int] = Counter()
    n = scan.planes(how.axis)
    each = n * len(tiles.corners(size, how.tile, how.overlap))
    together = None if how.instances or options.task == "classify" else Components(how.connectivity)
    # Which patients are in train and never measured is known before for those that are said to be.
    every = folder is not None and (options.folds > 0 or entry.side != "train")
    parts = cut(scan, masks, how, seen, rng=rng, classes=labels, every=every, together=together)
    for part in parts:
        bar.update(WRITTEN / each)
        if part is None:
            continue
        name = tiles.name(key, part.index, part.corner, how.tile)
        values.update(part.labels)
        pictured = part.pixels.ndim
        small += part.small
        picture = {"name": name, "labels": _classes(part, how, options, entry)}
        picture["lesions"] = part.pieces if together else [f.value for f in part.found]
        (pictures if part.kept else more).append(picture)
        objects += [[*_sizes(f), 1 if how.instances else f.value] for f in part.found]
        if folder:
            _write(folder, name, part, options)
    if by_mask and not values and not options.empty_masks:
        raise ScanError("empty", "has an empty mask; empty_masks=true keeps such scans as healthy")
    share = size[0] * size[1] / math.prod(scan.plane(how.axis, 0).shape[:2])
    voxels = _lesions(pictures, together, share)
    record = {
        "key": key,
        "stamp": stamp,
        "patient": key.split("_")[0],
        "slices": n,
        "size": [size[1], size[0]],
        "picture": [min(n, how.tile or n) for n in size[::-1]],
        "spacing_mm": [round(spacing[1], 4), round(spacing[0], 4)],
        **_between(scan, how.axis),
        "intensity": [seen.least, *seen.percentiles, seen.most],
        "pictures": pictures,
        "more": more,
        "lesions": voxels,
        "objects": objects,
        "small": small,
        "colour": scan.facts.colour,
        "channels": 3 if pictured > 2 else 1,
        "removed": list(scan.facts.removed),
        "private": scan.facts.private,
        "text": scan.facts.text,
        "few": seen.few and isinstance(first, volumes.Volume),
        "notes": list(dict.fromkeys(notes)),
    }
    if folder:
        write_json(folder / "record.json", record)
    return record


def _lesions(
    pictures: list[dict[str, Any]], together: Components | None, share: float
) -> list[int]:
    """Number the lesions of a scan in its pictures; return the voxels of each, where known.

    Args:
        pictures: The records of its pictures, with the pieces in them.
        together: Joins the pieces; None where each is a lesion.
        share: Pixels of a picture for one of the slice that it is made of.
    """
    of, sizes = together.lesions() if together else ([], [])
    numbers: dict[int, int] = {}
    for picture in pictures:
        own = [of[piece] if together else piece for piece in picture["lesions"]]
        picture["lesions"] = [numbers.setdefault(lesion, len(numbers)) for lesion in own]
    return [max(1, round(sizes[lesion] * share)) for lesion in numbers] if together else []


def load(entry: pairing.PairedScan, options: Options) -> volumes.Scan:
    """Return a scan as it is converted, and as a model is to see it later; contrasts as channels.

    Raises:
        ScanError: For one that cannot be read.
    """
    if entry.contrasts:
        parts = [_read(source, volume, options) for source, volume in entry.contrasts]
        return channels.joined(parts, options.cut.axis)
    return _read(entry.source, options.volume, options)


def _read(source: pairing.Source, volume: int | None, options: Options) -> volumes.Scan:
    if isinstance(source, Series):
        from yolo_nas_ext.data.scans import dicom  # loads pydicom

        return dicom.read(source, volume)
    return reading.read(source, volume, options.pages)


def _between(scan: volumes.Scan, axis: int) -> dict[str, Any]:
    """Return the distance of slices and the file's orientation, which only volumes have."""
    found = channels.between(scan, axis)
    return {"between_mm": round(found[0], 4), "was": found[1]} if found else {}


def _sizes(found: MaskObject) -> tuple[float, float, float]:
    """Return width, height and area of an object in pixels."""
    left, top, right, bottom = found.box
    return round(right - left, 3), round(bottom - top, 3), round(found.area, 3)


def _classes(part: Slice, how: Cut, options: Options, entry: pairing.PairedScan) -> Any:
    """Return the labels in a picture; for classification, what its one class is called by."""
    if options.task != "classify":
        return sorted({1 if how.instances else found.value for found in part.found})
    if options.class_from == "folder":
        return [entry.folder]
    areas = {found.value: part.labels.get(found.value, 0) for found in part.found}
    return [max(sorted(areas), key=lambda value: areas[value])] if areas else [0]


def _write(folder: Path, name: str, part: Slice, options: Options) -> None:
    """Write a picture without any metadata, and its labels by value."""
    Image.fromarray(part.pixels).save(folder / f"{name}.png", compress_level=4)
    if options.task == "classify":
        return
    height, width = part.pixels.shape[:2]
    lines = []
    for found in part.found:
        value = 1 if options.cut.instances else found.value
        if found.polygon is None:
            x0, y0, x1, y1 = found.box
            numbers = [
                (x0 + x1) / 2 / width,
                (y0 + y1) / 2 / height,
                (x1 - x0) / width,
                (y1 - y0) / height,
            ]
        else:
            numbers = (found.polygon / (width, height)).ravel()
        lines.append(" ".join((str(value), *(f"{v:.6f}" for v in numbers))) + "\n")
    (folder / f"{name}.txt").write_text("".join(lines), "utf-8", newline="\n")
