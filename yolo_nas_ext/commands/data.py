"""`yolo nas-data`: keys, and what is said on the screen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from yolo_nas_ext.config.data import CocoSettings, ConvertSettings, DemoSettings
from yolo_nas_ext.config.rules import check
from yolo_nas_ext.config.settings import keys, read
from yolo_nas_ext.console import quoted, say
from yolo_nas_ext.data.builtin import demo
from yolo_nas_ext.data.coco.convert import import_coco
from yolo_nas_ext.data.scans import convert, datalist, linkage, pairing, sides
from yolo_nas_ext.data.scans.fingerprint import Fingerprint, fingerprint
from yolo_nas_ext.data.scans.intensity import windows
from yolo_nas_ext.data.scans.paired import PairedScans
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
    out, list_, monai = (
        Path(v) if v else None for v in (settings.out, settings.linkage, settings.datalist)
    )
    linkage.check(list_)
    linkage.check(monai, "datalist")
    found = pairing.find(
        settings.source,
        pairing.NOTHING if options.by_folder else settings.masks,
        group=settings.group,
        volume=settings.volume,
        fold=settings.fold,
        contrasts=settings.contrasts or (),
    )
    if found.contrasts:  # a datalist's
        _check_channels(settings, options.cut.windows, found.contrasts)
        options = replace(options, contrasts=found.contrasts)
    found = sides.listed(found, {"val": str(settings.val), "test": str(settings.test)})
    for note in found.notes:
        say(f"note: {note}")
    for name in found.orphans:
        say(f"note: the mask {name} has no scan")
    if not found.labelled:
        say("note: no masks were found: pictures are written without labels")
    summary = convert.convert(found, out, options, salt=settings.salt, jobs=settings.jobs)
    if summary.interrupted:
        say(f"interrupted; {len(summary.records)} scans are done: the same command goes on")
        return 3
    if list_:
        linkage.write(list_, summary.linkage)
    if monai and summary.out:
        _write_datalist(monai, found, summary)
    windowed = settings.window not in ("auto", "percentile")
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
    say(f"drawn: {out}\nnext:\n  yolo {key}{quoted(path)}")
    return 0


def _options(settings: ConvertSettings) -> convert.Options:
    task = settings.task
    empty = settings.empty
    if empty is None:
        empty = 1.0 if task == "classify" else 0.1
    one, several, keep = windows(settings.window)
    _check_channels(settings, several)
    finest = settings.axis == "finest"
    how = Cut(
        axis=AXES.index("axial" if finest else settings.axis),
        channels=settings.channels,
        spacing=settings.spacing,
        window=one,
        windows=several,
        keep=keep,
        tile=settings.tile or 0,
        overlap=settings.overlap,
        connectivity=settings.connectivity,
        min_mm2=settings.min_mm2,
        empty=empty,
    )
    return convert.Options(
        task=task,
        cut=how,
        finest=finest,
        names=dict(settings.names or {}),
        values=settings.values_,
        empty_masks=settings.empty_masks,
        class_from=settings.class_from,
        volume=settings.volume,
        contrasts=tuple(settings.contrasts or ()),
        pages=settings.pages,
        val=_share(settings.val),
        test=_share(settings.test),
        folds=settings.folds or 0,
        seed=settings.seed,
    )


def _check_channels(
    settings: ConvertSettings, windows: Any, contrasts: Sequence[str] | None = None
) -> None:
    contrasts = contrasts or settings.contrasts or ()
    ways = {
        f"window={settings.window}": len(windows) > 1,
        f"contrasts={','.join(contrasts)}": bool(contrasts),
        "channels=3": settings.channels == 3,
    }
    given = [way for way, is_given in ways.items() if is_given]
    if len(given) > 1:
        raise NASError(f"{given[0]}: cannot be given with {given[1]}; a picture has three channels")


def _write_datalist(path: Path, found: PairedScans, summary: convert.Summary) -> None:
    """Write the parts, or folds, that scans are in for other tools."""
    patients = {name: key.split("_")[0] for name, key in summary.linkage.items()}
    of = {name: summary.folds.get(p, summary.split[p]) for name, p in patients.items()}
    if left := datalist.write(path, found, _labels(summary), of):
        say(f"note: {left} scans are not in {path}: of DICOM a list names folders of one series")


def _labels(summary: convert.Summary) -> dict[int, str]:
    """Return class names by label; classes that are folders have no label."""
    return {label: name for label, name in summary.names.items() if isinstance(label, int)}


def _share(value: str | float) -> float:
    """Return the part of the patients in a part; none where a list says who is in it."""
    return sides.share(value) or 0.0


def _say(summary: convert.Summary, seen: Fingerprint, options: convert.Options) -> None:
    for name, value in seen.table:
        say(f"{name:<22}{value}")
    for note in summary.notes:
        say(f"note: {note}")
    for warning in seen.warnings:
        say(f"warning: {warning}")
    if summary.skipped:
        total = len(summary.skipped) + len(summary.records)
        say(f"{len(summary.skipped)} of {total} scans were skipped, named above")
    if summary.out is None:
        say("nothing was written; give out= to convert")
        return
    of = list(summary.split.values())
    parts = [f"{of.count(side)} in {side}" for side in sides.SIDES if side in of or side != "test"]
    say(f"patients: {', '.join(parts)}")
    if whole := [side for side in ("val", "test") if side in of and options.cut.empty < 1]:
        have = "has" if len(whole) == 1 else "have"
        say(
            f"{' and '.join(whole)} {have} every slice of its scans; of those without an object "
            f"train has {options.cut.empty:.0%}"
        )
    if summary.folds:
        n = max(summary.folds.values()) + 1
        say(f"folds: data_fold0.yaml to data_fold{n - 1}.yaml, the same pictures, {n} splits")
    data = summary.out if options.task == "classify" else summary.out / "data.yaml"
    if not _searchable(summary, options):
        return
    keys = " ".join(f"{key}={value}" for key, value in seen.suggested.items())
    say(f"next:\n  yolo nas-search data={quoted(data)} task={options.task} {keys}")


def _searchable(summary: convert.Summary, options: convert.Options) -> bool:
    """Say whether a search can use what was written: both sides have pictures, train has labels."""
    labelled = options.by_folder or any(record["objects"] for record in summary.records)
    return labelled and {"train", "val"} <= set(summary.split.values())


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
        boxes=settings.boxes,
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
        **({"without an outline": summary.bare} if summary.bare else {}),
        "without an image": summary.orphans,
        "images skipped": len(summary.skipped),
    }
    for name, count in table.items():
        say(f"{name:<20}{count:>9,}")
    for what, count in summary.repairs.items():
        say(f"repaired: {what}: {count:,}")
    for note in summary.notes:
        say(f"note: {note}")
    for name, count in summary.vanished.items():
        say(
            f"warning: class {name} is gone: none of its {count:,} objects is left"
            + ("; crowds=objects keeps crowds" if summary.crowds else "")
        )
    for name, reason in summary.skipped[:NAMED]:
        say(f"skipped: {name} {reason}")
    if len(summary.skipped) > NAMED:
        say(f"skipped: {len(summary.skipped) - NAMED} more, named in {out / 'conversion.json'}")
    say(f"data={quoted(out / 'data.yaml')}")
    return 3 if summary.skipped or summary.vanished else 0
