"""`yolo nas-data` of scans: what is said on the screen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from yolo_nas_ext.config.data import ConvertSettings
from yolo_nas_ext.console import quoted, say
from yolo_nas_ext.data.scans import convert as conversion
from yolo_nas_ext.data.scans import datalist, linkage, pairing, sides
from yolo_nas_ext.data.scans.fingerprint import Fingerprint, fingerprint
from yolo_nas_ext.data.scans.intensity import windows
from yolo_nas_ext.data.scans.options import AXES, Cut
from yolo_nas_ext.data.scans.paired import PairedScans
from yolo_nas_ext.data.scans.workers import Workers
from yolo_nas_ext.errors import NASError


def convert(settings: ConvertSettings, workers: Workers) -> int:
    """Convert scans and return the exit code; see `data.main`.

    Args:
        settings: The keys of the command.
        workers: Processes for it, which may have started.
    """
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
    summary = conversion.convert(
        found, out, options, salt=settings.salt, jobs=settings.jobs, workers=workers
    )
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
        windows=options.cut.windows or tuple(filter(None, [options.cut.window])),
        task=settings.task,
    )
    _say(summary, seen, options)
    return 3 if summary.skipped else 0


def _options(settings: ConvertSettings) -> conversion.Options:
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
    return conversion.Options(
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


def _write_datalist(path: Path, found: PairedScans, summary: conversion.Summary) -> None:
    """Write the parts, or folds, that scans are in for other tools."""
    patients = {name: key.split("_")[0] for name, key in summary.linkage.items()}
    of = {name: summary.folds.get(p, summary.split[p]) for name, p in patients.items()}
    if left := datalist.write(path, found, _labels(summary), of):
        say(f"note: {left} scans are not in {path}: of DICOM a list names folders of one series")


def _labels(summary: conversion.Summary) -> dict[int, str]:
    """Return class names by label; classes that are folders have no label."""
    return {label: name for label, name in summary.names.items() if isinstance(label, int)}


def _share(value: str | float) -> float:
    """Return the part of the patients in a part; none where a list says who is in it."""
    return sides.share(value) or 0.0


def _say(summary: conversion.Summary, seen: Fingerprint, options: conversion.Options) -> None:
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


def _searchable(summary: conversion.Summary, options: conversion.Options) -> bool:
    """Say whether a search can use what was written: both sides have pictures, train has labels."""
    labelled = options.by_folder or any(record["objects"] for record in summary.records)
    return labelled and {"train", "val"} <= set(summary.split.values())
