"""Converted scans into a data set: class names, a side for every patient, everything in place."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from yolo_nas_ext.data import lesions
from yolo_nas_ext.data.scans import earlier, pairing, sides
from yolo_nas_ext.data.scans.earlier import Earlier
from yolo_nas_ext.data.scans.options import NONE, Options, Summary
from yolo_nas_ext.data.scans.recipe import Recipe
from yolo_nas_ext.errors import NASError
from yolo_nas_ext.files import is_class_name, is_folder_name, said, write_json

NOTHING = "background"  # class of a slice in which nothing is labelled
GEOMETRY = ("patient", "size", "spacing_mm", "between_mm", "was", "slices")
MORE = "more"  # folder of slices of patients in train that folds measure, and none trains on
UNLABELLED = {1: "object"}  # a data set needs a name even where nothing is labelled yet


def class_names(
    found: pairing.PairedScans, options: Options, records: Sequence[dict[str, Any]]
) -> dict[int, str]:
    """Return class names by label, in the order of their indices.

    Args:
        found: The scans; their source may name the classes.
        options: See `Options`; their names come first.
        records: What was found in the scans.
    """
    names = _names(found, options)
    able = is_folder_name if options.task == "classify" else is_class_name
    for label, name in names.items():
        if name != NONE and not able(name):
            raise NASError(
                f"source: the class of label {label} is called {said(name)}, which can be no "
                f"folder; give another name by names={label}:<name>"
            )
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
    if options.cut.instances:  # of one class
        return {**UNLABELLED, **names}
    return {label: names.get(label, f"label_{label}") for label in sorted(present)}


def _names(found: pairing.PairedScans, options: Options) -> dict[int, str]:
    names = {**found.names, **options.names}
    gone = {label for label, _ in options.cut.remap}
    return {label: name for label, name in names.items() if label not in gone}


def check_names(found: pairing.PairedScans, options: Options, present: set[int]) -> None:
    """Refuse names that leave out a label.

    Args:
        found: The scans.
        options: See `Options`.
        present: Labels that masks hold.

    Raises:
        NASError: As above.
    """
    left = present - set(_names(found, options)) - {label for label, _ in options.cut.remap} - {0}
    if left:
        raise NASError(
            f"names: no name for the labels {sorted(left)}; give each as in names=1:tumour,2:cyst, "
            f"or leave one out as in {min(left)}:{NONE}"
        )


def divide(found: pairing.PairedScans, options: Options, summary: Summary, before: Earlier) -> None:
    """Set the part, and the fold, of every patient; those of before keep theirs.

    Args:
        found: The scans.
        options: See `Options`.
        summary: Its records are read; split, folds and notes are set.
        before: What an earlier conversion left.

    Raises:
        NASError: For fewer patients than folds.
    """
    entries = [found.entries[r["entry"]] for r in summary.records]
    who = {entry.patient: r["patient"] for entry, r in zip(entries, summary.records, strict=True)}
    classes = [{c for p in r["pictures"] for c in p["labels"]} for r in summary.records]
    patients, said = [e.patient for e in entries], [e.side for e in entries]
    shares = {"test": options.test, "val": 0.0 if options.folds else options.val}
    # What the hash is of is the patient, not the pseudonym, which is new with every salt.
    kept = {p: before.split[key] for p, key in who.items() if key in before.split}
    if options.folds:  # whose first is val
        kept = {p: side for p, side in kept.items() if side == "test"}
    split = sides.assign(patients, classes, said, shares=shares, kept=kept, seed=options.seed)
    if options.folds:
        free = [i for i, patient in enumerate(patients) if split[patient] != "test"]
        of = sides.folds(
            [patients[i] for i in free],
            [classes[i] for i in free],
            options.folds,
            kept={p: before.folds[key] for p, key in who.items() if key in before.folds},
            seed=options.seed,
        )
        split |= {p: "val" if fold == 0 else "train" for p, fold in of.items()}
        summary.folds = {who[p]: fold for p, fold in of.items()}
    summary.split = {who[p]: side for p, side in split.items()}
    if before.split:
        stays = sum(summary.split.get(key) == side for key, side in before.split.items())
        new, gone = set(summary.split) - set(before.split), set(before.split) - set(summary.split)
        summary.notes.append(
            f"converted before: {stays} patients stay in their part, {len(new)} are new, "
            f"{len(gone)} are no longer there"
        )


def publish(
    found: pairing.PairedScans,
    out: Path,
    work: Path,
    options: Options,
    summary: Summary,
    before: Earlier,
) -> None:
    """Move everything into place; done again after an interruption, it comes to the same.

    Args:
        found: The scans.
        out: The data set.
        work: The folder of the conversion, which goes.
        options: See `Options`.
        summary: Its records and names are read, its split is set.
        before: What an earlier conversion into the same folder left.
    """
    records = summary.records
    divide(found, options, summary, before)
    for record in records:  # of patients that are measured every slice is wanted
        if summary.split[record["patient"]] != "train":
            record["pictures"] = sorted(record["pictures"] + record["more"], key=_name)
    whole = work / "whole"
    index = {label: i for i, label in enumerate(summary.names)}
    for record in records:
        split = summary.split[record["patient"]]
        placed = [(split, picture) for picture in record["pictures"]]
        if split == "train" and record["patient"] in summary.folds:
            placed += [(MORE, picture) for picture in record["more"]]
        source = work / "scans" / record["key"]
        for side, picture in placed:
            _place(source, whole, side, picture, options.task, summary.names, index)
    parts = [side for side in sides.SIDES if side != "test" or side in summary.split.values()]
    for split in parts:
        for kind in ("images", "labels") if options.task != "classify" else ():
            (whole / kind / split).mkdir(parents=True, exist_ok=True)
    channels = max(r["channels"] for r in records)
    names = dict(enumerate(summary.names.values()))
    if options.task != "classify":
        common = {"channels": channels, "names": names}
        where = {side: f"images/{side}" for side in parts}
        _yaml(whole / "data.yaml", {**where, **common})
        for fold in range(options.folds):
            _fold(whole, fold, summary, {**where, **common})
        if found.labelled:
            write_json(whole / lesions.FILE, _lesions(records))
    write_json(whole / "conversion.json", describe(summary, options, found.labelled))
    earlier.replace(out, whole, work)
    shutil.rmtree(work, ignore_errors=True)


def _name(picture: dict[str, Any]) -> str:
    return picture["name"]


def _yaml(path: Path, content: dict[str, Any]) -> None:
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    path.write_text(text, "utf-8", newline="\n")


def _fold(whole: Path, fold: int, summary: Summary, content: dict[str, Any]) -> None:
    """Write the data YAML of a fold, and the lists of its pictures, which stay where they are.

    Every slice of a patient is in val, and those that are kept for training in train.
    """
    lists: dict[str, list[str]] = {"train": [], "val": []}
    for record in summary.records:
        patient = record["patient"]
        if patient not in summary.folds:
            continue
        more = {p["name"] for p in record["more"]}
        own = {p["name"] for p in record["pictures"]}
        val = summary.folds[patient] == fold
        for name in own | more if val else own - more:
            where = summary.split[patient] if name in own else MORE
            lists["val" if val else "train"].append(f"./images/{where}/{name}.png\n")
    for side, lines in lists.items():
        name = f"fold{fold}_{side}.txt"
        (whole / name).write_text("".join(sorted(lines)), "utf-8", newline="\n")
        content = {**content, side: name}
    _yaml(whole / f"data_fold{fold}.yaml", content)


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
    # Text paths: this is done for every slice, by one process while the others have no more to do.
    name = picture["name"]
    if task == "classify":
        folder = f"{whole}/{split}/{names[picture['labels'][0]]}"
    else:
        folder = f"{whole}/images/{split}"
        _made(f"{whole}/labels/{split}")
        with open(f"{source}/{name}.txt", encoding="utf-8") as file:
            lines = [line.partition(" ") for line in file]
        with open(
            f"{whole}/labels/{split}/{name}.txt", "w", encoding="utf-8", newline="\n"
        ) as file:
            file.writelines(f"{index[int(v)]} {rest}" for v, _, rest in lines)
    _made(folder)
    with contextlib.suppress(FileNotFoundError):  # moved before an interruption
        os.replace(f"{source}/{name}.png", f"{folder}/{name}.png")


def _made(folder: str) -> None:
    if not os.path.isdir(folder):
        os.makedirs(folder)


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
            "test": options.test,
            "folds": options.folds,
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
        **({"folds": summary.folds} if summary.folds else {}),
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
