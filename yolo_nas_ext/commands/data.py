"""`yolo nas-data`: keys, and what is said on the screen."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from yolo_nas_ext.config.data import CocoSettings, ConvertSettings, DemoSettings
from yolo_nas_ext.config.rules import check
from yolo_nas_ext.config.settings import keys, read
from yolo_nas_ext.console import clean, quoted
from yolo_nas_ext.data.builtin import demo
from yolo_nas_ext.data.coco.convert import import_coco
from yolo_nas_ext.data.scans import convert, pairing
from yolo_nas_ext.data.scans.fingerprint import Fingerprint, fingerprint
from yolo_nas_ext.data.scans.intensity import window
from yolo_nas_ext.data.scans.slices import Cut
from yolo_nas_ext.data.scans.volumes import AXES
from yolo_nas_ext.errors import NASError


def main(given: Mapping[str, Any]) -> int:
    """Run `yolo nas-data` and return its exit code.

    Args:
        given: Keys and raw values of the command.

    Returns:
        0; 3 when scans or images were left out, each of them named, or when it was interrupted.

    Raises:
        NASError: For bad input, or where nothing can be converted.
    """
    if "demo" in given:
        return _demo(given)
    if "images" in given:
        return coco_main(given)
    settings = read(ConvertSettings, given, refused=_COCO_ALONE)
    check(settings)
    options = _options(settings)
    out, linkage = (Path(v) if v else None for v in (settings.out, settings.linkage))
    found = pairing.find(
        settings.source,
        settings.masks,
        group=settings.group,
        volume=settings.volume,
        fold=settings.fold,
    )
    for note in found.notes:
        print(clean(f"note: {note}"))
    for name in found.orphans:
        print(clean(f"note: the mask {name} has no scan"))
    if not found.labelled:
        print("note: no masks were found: pictures are written without labels")
    summary = convert.convert(found, out, options, salt=settings.salt)
    if summary.interrupted:
        print(f"interrupted; {len(summary.records)} scans are done: the same command goes on")
        return 3
    if linkage:
        _link(linkage, summary.linkage)
    windowed = settings.window != "percentile"
    seen = fingerprint(
        summary.records,
        summary.names,
        imgsz=settings.imgsz,
        windowed=windowed,
        task=settings.task,
    )
    _say(summary, seen, options)
    return 3 if summary.skipped else 0


def _demo(given: Mapping[str, Any]) -> int:
    """Draw the demo data of the guides."""
    settings = read(DemoSettings, given)
    check(settings)
    out = Path(settings.out)
    demo.draw(settings.demo, out)
    cells = settings.demo == "cells"
    key, path = ("nas-search data=", out / "data.yaml") if cells else ("nas-data source=", out)
    print(f"drawn: {clean(str(out))}\nnext:\n  yolo {key}{quoted(path)}")
    return 0


def _options(settings: ConvertSettings) -> convert.Options:
    task = settings.task
    empty = settings.empty
    if empty is None:
        empty = 1.0 if task == "classify" else 0.1
    how = Cut(
        axis=AXES.index(settings.axis),
        channels=settings.channels,
        spacing=settings.spacing,
        window=window(settings.window),
        connectivity=settings.connectivity,
        min_mm2=settings.min_mm2,
        empty=empty,
    )
    return convert.Options(
        task=task,
        cut=how,
        names=dict(settings.names or {}),
        values=settings.values_,
        empty_masks=settings.empty_masks,
        class_from=settings.class_from,
        volume=settings.volume,
        pages=settings.pages,
        val=settings.val,
        seed=settings.seed,
    )


def _link(path: Path, linkage: Mapping[str, str]) -> None:
    """Write which pseudonym stands for which scan, readable by its owner alone."""
    try:
        path.touch(mode=0o600)
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([("scan", "pseudonym"), *linkage.items()])
    except OSError as error:
        raise NASError(f"linkage={path}: cannot be written ({error.strerror})") from error


def _say(summary: convert.Summary, seen: Fingerprint, options: convert.Options) -> None:
    for name, value in seen.table:
        print(clean(f"{name:<22}{value}"))
    for warning in seen.warnings:
        print(clean(f"warning: {warning}"))
    if summary.skipped:
        total = len(summary.skipped) + len(summary.records)
        print(f"{len(summary.skipped)} of {total} scans were skipped, named above")
    if summary.out is None:
        print("nothing was written; give out= to convert")
        return
    sides = list(summary.split.values())
    print(f"{sides.count('train')} patients in train, {sides.count('val')} in val")
    if options.cut.empty < 1 and "val" in sides:
        print(
            f"val has every slice of its scans; of those without an object train has "
            f"{options.cut.empty:.0%}"
        )
    data = summary.out if options.task == "classify" else summary.out / "data.yaml"
    if not _searchable(summary, options):
        return
    keys = " ".join(f"{key}={value}" for key, value in seen.suggested.items())
    print(f"next:\n  yolo nas-search data={quoted(data)} task={options.task} {keys}")


def _searchable(summary: convert.Summary, options: convert.Options) -> bool:
    """Say whether a search can use what was written: both sides have pictures, train has labels."""
    labelled = options.by_folder or any(record["objects"] for record in summary.records)
    return labelled and set(summary.split.values()) == {"train", "val"}


NAMED = 20  # skipped images named on the screen; the rest are in conversion.json
_COCO_ALONE = {
    name: "is of a COCO JSON; give images= with it, the folder of its pictures"
    for name in keys(CocoSettings)
    if name not in keys(ConvertSettings)
}


def coco_main(given: Mapping[str, Any]) -> int:
    """Run ``yolo nas-data`` on a COCO JSON: convert it and print a table.

    Args:
        given: Keys and raw values of the command.

    Returns:
        0, or 3 when images were skipped or a class is gone; each is named, images beyond the first
        20 in conversion.json.

    Raises:
        NASError: A key is unknown, missing or of the wrong type, or `import_coco` refuses it.
    """
    settings = read(CocoSettings, given)
    check(settings)
    out = Path(settings.out)
    summary = import_coco(
        Path(settings.source),
        Path(settings.images),
        out,
        val_fraction=settings.val,
        seed=settings.seed,
        task=settings.task,
        min_box_px=settings.min_box_px,
        max_images=settings.subset,
        classes=settings.classes,
        all_classes=settings.all_classes,
        crowds=settings.crowds,
        split=settings.split,
    )
    table = {
        "train images": summary.train,
        "val images": summary.val,
        **({"test images": summary.test} if summary.test else {}),
        "without objects": summary.empty,
        "classes": len(summary.names),
        "objects": summary.boxes,
        "crowds left out": summary.crowds,
        "degenerate left out": summary.degenerate,
        "without an image": summary.orphans,
        "images skipped": len(summary.skipped),
    }
    for name, count in table.items():
        print(clean(f"{name:<20}{count:>9,}"))
    for what, count in summary.repairs.items():
        print(f"repaired: {what}: {count:,}")
    for note in summary.notes:
        print(clean(f"note: {note}"))
    for name, count in summary.vanished.items():
        print(
            f"warning: class {clean(name)} is gone: none of its {count:,} objects is left"
            + ("; crowds=objects keeps crowds" if summary.crowds else "")
        )
    for name, reason in summary.skipped[:NAMED]:
        print(clean(f"skipped: {name} {reason}"))
    if len(summary.skipped) > NAMED:
        print(f"skipped: {len(summary.skipped) - NAMED} more, named in {out / 'conversion.json'}")
    print(f"data={quoted(out / 'data.yaml')}")
    return 3 if summary.skipped or summary.vanished else 0
