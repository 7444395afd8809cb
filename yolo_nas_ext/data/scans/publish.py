"""Converted scans into a data set: class names, a side for every patient, everything in place."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from yolo_nas_ext.data import lesions
from yolo_nas_ext.data.scans import pairing
from yolo_nas_ext.data.scans.options import NONE, Options, Summary
from yolo_nas_ext.data.scans.recipe import Recipe
from yolo_nas_ext.data.splits import hold_out
from yolo_nas_ext.errors import NASError
from yolo_nas_ext.files import write_json

NOTHING = "background"  # class of a slice in which nothing is labelled
GEOMETRY = ("patient", "size", "spacing_mm", "between_mm", "was", "slices")
UNLABELLED = {1: "object"}  # a data set needs a name even where nothing is labelled yet


def class_names(
    found: pairing.PairedScans, options: Options, records: Sequence[dict[str, Any]]
) -> dict[int, str]:
    """Return class names by label, in the order of their indices.

    Args:
        found: The scans; their source may name the classes.
        options: See `Options`; their names come first.
        records: What was found in the scans.

    Raises:
        NASError: For names that leave out a label that occurs.
    """
    names = {**found.names, **options.names}
    gone = {label for label, _ in options.cut.remap}
    names = {label: name for label, name in names.items() if label not in gone}
    if options.by_folder:
        labels = sorted({label for r in records for p in r["pictures"] for label in p["labels"]})
        return {label: str(label) for label in labels}
    present = {label for r in records for p in r["pictures"] for label in p["labels"]}
    if not found.labelled:
        return dict(UNLABELLED)
    if options.task == "classify":
        names = {0: NOTHING, **names}
    else:
        present |= set(names)
    given = {label for label, name in options.names.items() if name != NONE}
    if given and present - set(names):
        raise NASError(
            f"names: no name for the labels {sorted(present - set(names))}; give each as in "
            "names=1:tumour,2:cyst"
        )
    if options.cut.instances:  # of one class
        return {**UNLABELLED, **names}
    return {label: names.get(label, f"label_{label}") for label in sorted(present)}


def assign(
    patients: Sequence[str],
    classes: Sequence[set[Any]],
    fixed: Sequence[bool | None],
    *,
    val: float,
    seed: int,
) -> dict[str, str]:
    """Return ``train`` or ``val`` for every patient.

    Args:
        patients: The patient of every scan.
        classes: The classes of every scan.
        fixed: For every scan whether it is in val, or None where that is free.
        val: Part of the patients in val.
        seed: Of the choice among equals.

    Returns:
        A side for every patient, classes stratified where that is possible; a patient has one side,
        whatever is asked for. A single patient is in train.
    """
    said = {p: v for p, v in zip(patients, fixed, strict=True) if v is not None}
    if said:
        return {p: "val" if said.get(p) else "train" for p in dict.fromkeys(patients)}
    of: dict[str, set[Any]] = {}
    for patient, found in zip(patients, classes, strict=True):
        of.setdefault(patient, set()).update(found)
    everyone = list(of)
    index = {
        c: i for i, c in enumerate(sorted({c for found in of.values() for c in found}, key=str))
    }
    if len(everyone) < 2:
        return dict.fromkeys(everyone, "train")
    _, held = hold_out([{index[c] for c in of[p]} for p in everyone], fraction=val, seed=seed)
    return {p: "val" if i in set(held) else "train" for i, p in enumerate(everyone)}


def publish(
    found: pairing.PairedScans, out: Path, work: Path, options: Options, summary: Summary
) -> None:
    """Move everything into place; done again after an interruption, it comes to the same.

    Args:
        found: The scans.
        out: The data set.
        work: The folder of the conversion, which goes.
        options: See `Options`.
        summary: Its records and names are read, its split is set.
    """
    records = summary.records
    classes = [{label for p in r["pictures"] for label in p["labels"]} for r in records]
    fixed = [found.entries[r["entry"]].val for r in records]
    summary.split = assign(
        [r["patient"] for r in records], classes, fixed, val=options.val, seed=options.seed
    )
    for record in records:  # of patients that are measured every slice is wanted
        if summary.split[record["patient"]] != "train":
            record["pictures"] = sorted(record["pictures"] + record["more"], key=_name)
    whole = work / "whole"
    index = {label: i for i, label in enumerate(summary.names)}
    for record in records:
        split = summary.split[record["patient"]]
        for picture in record["pictures"]:
            _place(
                work / "scans" / record["key"],
                whole,
                split,
                picture,
                options.task,
                summary.names,
                index,
            )
    for split in ("train", "val"):
        for kind in ("images", "labels") if options.task != "classify" else ():
            (whole / kind / split).mkdir(parents=True, exist_ok=True)
    channels = 3 if options.cut.channels == 3 or any(r["colour"] for r in records) else 1
    names = dict(enumerate(summary.names.values()))
    if options.task != "classify":
        data = {"train": "images/train", "val": "images/val", "channels": channels, "names": names}
        text = yaml.safe_dump(data, sort_keys=False, allow_unicode=True)
        (whole / "data.yaml").write_text(text, "utf-8", newline="\n")
    if options.task != "classify" and found.labelled:
        write_json(whole / lesions.FILE, _lesions(records))
    write_json(whole / "conversion.json", describe(summary, options, found.labelled))
    if out.exists():
        out.rmdir()
    os.rename(whole, out)
    shutil.rmtree(work, ignore_errors=True)


def _name(picture: dict[str, Any]) -> str:
    return picture["name"]


def _place(
    source: Path,
    whole: Path,
    split: str,
    picture: dict[str, Any],
    task: str,
    names: dict[Any, str],
    index: dict[Any, int],
) -> None:
    """Move a picture into its split and write its labels by class index."""
    name = picture["name"]
    if task == "classify":
        image = whole / split / names[picture["labels"][0]] / f"{name}.png"
    else:
        image = whole / "images" / split / f"{name}.png"
        labels = whole / "labels" / split / f"{name}.txt"
        labels.parent.mkdir(parents=True, exist_ok=True)
        text = (source / f"{name}.txt").read_text("utf-8")
        lines = [line.partition(" ") for line in text.splitlines()]
        labels.write_text(
            "".join(f"{index[int(v)]} {rest}\n" for v, _, rest in lines), "utf-8", newline="\n"
        )
    image.parent.mkdir(parents=True, exist_ok=True)
    if (source / f"{name}.png").exists():
        os.replace(source / f"{name}.png", image)


def _lesions(records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the lesion of every label of each picture, and the voxels of each, by scan."""
    return {
        "lesions": lesions.BY_MASKS,
        "scans": {
            r["key"]: {
                "pictures": {p["name"]: p["lesions"] for p in r["pictures"]},
                "voxels": r["lesions"],
            }
            for r in records
        },
    }


def describe(summary: Summary, options: Options, labelled: bool) -> dict[str, Any]:
    """Return what conversion.json holds: nothing that tells who the patients are."""
    records = summary.records
    how = {k: v for k, v in asdict(options.cut).items() if k not in ("polygons", "axis")}
    counts = Counter(o[3] for r in records for o in r["objects"])
    return {
        "options": {
            "task": options.task,
            "across": options.cut.axis,
            **how,
            "val": options.val,
            "seed": options.seed,
        },
        "recipe": Recipe(options=summary.options, names=summary.names).to_dict(),
        "labelled": labelled,
        "classes": {name: counts.get(label, 0) for label, name in summary.names.items()},
        "counts": {
            "scans": len(records),
            "patients": len(summary.split),
            "skipped": len(summary.skipped),
            "pictures": sum(len(r["pictures"]) for r in records),
            "without objects": sum(not p["labels"] for r in records for p in r["pictures"]),
            "objects": sum(len(r["objects"]) for r in records),
            "too small": sum(r["small"] for r in records),
        },
        "split": summary.split,
        "scans": {
            r["key"]: {
                **{k: r[k] for k in GEOMETRY if k in r},
                "pictures": len(r["pictures"]),
                "objects": len(r["objects"]),
            }
            for r in records
        },
        "deidentification": {
            "method": "voxels and geometry are kept, all else is left out; covers the basic "
            "profile of DICOM PS3.15 annex E",
            "removed": sorted({name for r in records for name in r["removed"]}),
            "private elements removed": sum(r["private"] for r in records),
            "scans that may show text": [r["key"] for r in records if r["text"]],
        },
    }
