"""Scans into a data set of the host: one after the other, resumable, published whole.

Every scan is written into a folder of its own beside `out`, its record last; a conversion that is
interrupted goes on with the scans that have no record. Splitting by patient and moving into place
come at the end.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout
from PIL import Image
from tqdm import tqdm

from yolo_nas_ext.data import dicom, pairing, reading, volumes
from yolo_nas_ext.data.privacy import new_salt, pseudonym
from yolo_nas_ext.data.slices import Cut, Slice, cut, size_of, survey
from yolo_nas_ext.data.splits import hold_out
from yolo_nas_ext.data.volumes import ScanError
from yolo_nas_ext.errors import NASError

TASKS = ("detect", "segment", "classify")
NOTHING = "background"  # class of a slice in which nothing is labelled
GEOMETRY = ("patient", "size", "spacing_mm", "between_mm", "was", "slices")
BAR = "{percentage:3.0f}% of {total:.0f} scans, {elapsed} so far, {remaining} left"
UNLABELLED = {1: "object"}  # a data set needs a name even where nothing is labelled yet


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to convert.

    Attributes:
        task: One of `TASKS`.
        cut: How scans become pictures.
        names: Class names by label; others are called by their number.
        values: What a label is: ``classes``, ``instances``, or ``auto``.
        empty_masks: Whether scans whose mask is empty are kept as healthy rather than reported.
        class_from: For classification, ``mask`` or ``folder``.
        volume: Which volume of a file with several.
        val: Part of the patients in val.
        seed: Of the split and of the choice of empty slices.
    """

    task: str = "detect"
    cut: Cut = field(default_factory=Cut)
    names: dict[int, str] = field(default_factory=dict)
    values: str = "auto"
    empty_masks: bool = False
    class_from: str = "mask"
    volume: int | None = None
    val: float = 0.2
    seed: int = 0


@dataclass(slots=True)
class Summary:
    """What a conversion did.

    Attributes:
        out: The data set, or None where nothing was to be written.
        names: Class names by index.
        records: What was found of every scan, without anything of its patient.
        split: ``train`` or ``val`` for every patient's pseudonym.
        skipped: Name and reason of every scan that was left out; for the screen alone.
        notes: What the user should know.
        linkage: Pseudonym of every scan by its name; for the user alone.
        interrupted: Whether Ctrl-C ended it.
    """

    out: Path | None
    names: dict[int, str] = field(default_factory=dict)
    records: list[dict[str, Any]] = field(default_factory=list)
    split: dict[str, str] = field(default_factory=dict)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    linkage: dict[str, str] = field(default_factory=dict)
    interrupted: bool = False


def convert(
    found: pairing.Found, out: Path | None, options: Options, *, salt: str | None = None,
    say: Callable[[str], None] = print,
) -> Summary:  # fmt: skip
    """Write the scans of a source as a data set, or only look at them.

    Args:
        found: The scans, see `pairing.find`.
        out: Folder to create; may exist if it is empty. Nothing is written without.
        options: See `Options`.
        salt: Secret of the pseudonyms; a new one without.
        say: Prints a line.

    Raises:
        NASError: Where nothing can be converted, or `out` cannot be written.
    """
    summary = Summary(out)
    for name, reason in found.bad:
        _skip(summary, name, reason, say)
    if out is None:
        _scans(found, None, options, salt or new_salt(), summary, say)
        _require(summary, found)
        return summary
    out = summary.out = Path(os.path.abspath(out))
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise NASError(f"out={out}: exists and is not an empty folder; give a new one or remove it")
    work = out.parent / f".{out.name}.partial"
    try:
        work.mkdir(parents=True, exist_ok=True)
        with _locked(work):
            salt = _state(work, options, salt, say)
            _scans(found, work, options, salt, summary, say)
            if not summary.interrupted:
                _require(summary, found, work)
                _publish(found, out, work, options, summary)
    except Timeout as error:
        raise NASError(f"out={out}: another conversion writes there; wait for it") from error
    except OSError as error:
        raise NASError(
            f"out={out}: cannot be written ({error.strerror or error}); give a folder on a writable"
            " disk with room; the same command then goes on"
        ) from error
    return summary


@contextmanager
def _locked(work: Path) -> Iterator[None]:
    """Hold a conversion for this process alone; the lock's file goes with it."""
    file = work.with_name(f"{work.name}.lock")
    with FileLock(file, timeout=0):
        try:
            yield
        finally:
            if os.name != "nt":  # which removes no file that is open
                file.unlink(missing_ok=True)


def _require(summary: Summary, found: pairing.Found, work: Path | None = None) -> None:
    """Refuse to go on with nothing."""
    if not summary.records and not summary.interrupted:
        if work is not None:
            shutil.rmtree(work, ignore_errors=True)
        n = len(summary.skipped)
        raise NASError(
            f"source: none of {n} scans can be converted; each is named above with the reason"
        )


def _state(work: Path, options: Options, salt: str | None, say: Callable[[str], None]) -> str:
    """Return the salt of an interrupted conversion with the same options, else begin anew."""
    file = work / "state.json"
    asked = hashlib.sha256(repr(options).encode()).hexdigest()
    if file.is_file():
        state = json.loads(file.read_text("utf-8"))
        if state["options"] == asked and salt in (None, state["salt"]):
            return state["salt"]
        say("note: the settings are not those of the interrupted conversion; beginning anew")
        shutil.rmtree(work / "scans", ignore_errors=True)
    salt = salt or new_salt()
    file.touch(mode=0o600)
    _write_json(file, {"options": asked, "salt": salt})
    return salt


def _scans(
    found: pairing.Found, work: Path | None, options: Options, salt: str, summary: Summary,
    say: Callable[[str], None],
) -> None:  # fmt: skip
    """Convert every scan, or take what an earlier run made of it."""
    options = _resolved(found, options)
    watched = sys.stderr.isatty()
    bar = tqdm(
        total=len(found.entries), unit="scan", bar_format=BAR, mininterval=0.5 if watched else 10,
        delay=0.0 if watched else 10.0, leave=False,
    )  # fmt: skip
    say_above = _above(bar, say)
    try:
        for number, entry in enumerate(found.entries):
            key = _key(entry, salt)
            summary.linkage[entry.name] = key
            stamp = _stamp(entry, salt)
            record = _read_record(work, key, stamp)
            if record is None:
                try:
                    rng = random.Random(f"{options.seed}/{number}")
                    record = _one(entry, key, stamp, work, options, found.labelled, rng, bar)
                except ScanError as error:
                    if work is not None:
                        shutil.rmtree(work / "scans" / key, ignore_errors=True)
                    _skip(summary, entry.name, str(error), say_above)
                    record = None
            if record is not None:
                summary.records.append({**record, "entry": number})
            bar.update(number + 1 - bar.n)
    except KeyboardInterrupt:
        summary.interrupted = True
    finally:
        bar.close()
    summary.names = _names(found, options, summary.records)


def _above(bar: Any, say: Callable[[str], None]) -> Callable[[str], None]:
    def above(line: str) -> None:
        bar.clear()
        say(line)

    return above


def _skip(summary: Summary, name: str, reason: str, say: Callable[[str], None]) -> None:
    summary.skipped.append((name, reason))
    say(f"skipped: {name} {reason}")


def _resolved(found: pairing.Found, options: Options) -> Options:
    """Return the options with `values` decided: instances in pictures of 16 bits or colours."""
    instances = options.values == "instances"
    if options.values == "auto":
        instances = any(
            len(e.masks) > 1 or reading.looks_like_instances(m)
            for e in found.entries
            for m in e.masks
        )
    fields = {name: getattr(options.cut, name) for name in options.cut.__slots__}
    fields |= {"instances": instances, "polygons": options.task == "segment"}
    whole = {name: getattr(options, name) for name in options.__slots__}
    return Options(**{**whole, "cut": Cut(**fields)})


def _key(entry: pairing.Entry, salt: str) -> str:
    """Return the pseudonyms of a scan's patient and of the scan."""
    return f"p{pseudonym(entry.patient, salt)}_{pseudonym(entry.name, salt, size=3)}"


def _stamp(entry: pairing.Entry, salt: str) -> str:
    """Return what changes when a scan's files do."""
    files = entry.source.files if isinstance(entry.source, dicom.Series) else (entry.source,)
    stats = [
        (f.name, f.stat().st_size, f.stat().st_mtime_ns)
        for f in (*files, *entry.masks)
        if f.exists()
    ]
    return pseudonym(repr(stats), salt)


def _read_record(work: Path | None, key: str, stamp: str) -> dict[str, Any] | None:
    """Return what an earlier run found of a scan, unless its files have changed since."""
    file = work / "scans" / key / "record.json" if work else None
    record = json.loads(file.read_text("utf-8")) if file and file.is_file() else None
    return record if record and record["stamp"] == stamp else None


def _one(
    entry: pairing.Entry, key: str, stamp: str, work: Path | None, options: Options,
    labelled: bool, rng: random.Random, bar: Any,
) -> dict[str, Any]:  # fmt: skip
    """Convert a scan and return its record."""
    how = options.cut
    by_mask = labelled and not (options.task == "classify" and options.class_from == "folder")
    if by_mask and not entry.masks:
        raise ScanError("mask", "has no mask; add one, or leave it out")
    if not entry.patient:
        raise ScanError("patient", "has a path in which group= finds no patient; change group=")
    scan = dicom.read(entry.source) if isinstance(entry.source, dicom.Series) else reading.read(
        entry.source, options.volume
    )  # fmt: skip
    masks = [reading.labels(mask) for mask in entry.masks] if by_mask else []
    for mask in masks:
        volumes.check_pair(scan, mask, how.axis)
    size, spacing = size_of(scan, how)
    seen = survey(scan, how.axis)
    folder = work / "scans" / key if work else None
    if folder:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    pictures, objects = [], []
    small = 0
    values: Counter[int] = Counter()
    n = scan.planes(how.axis)
    for part in cut(scan, masks, how, seen, rng=rng):
        bar.update(0.999 / n)
        if part is None:
            continue
        name = f"{key}_{part.index:04d}"
        values.update(part.labels)
        small += part.small
        pictures.append({"name": name, "labels": _classes(part, how, options, entry)})
        objects += [[*_size(f.box), f.area, 1 if how.instances else f.value] for f in part.found]
        if folder:
            _write(folder, name, part, options)
    if by_mask and not values and not options.empty_masks:
        raise ScanError("empty", "has an empty mask; empty_masks=true keeps such scans as healthy")
    record = {
        "key": key, "stamp": stamp, "patient": key.split("_")[0], "slices": n,
        "size": [size[1], size[0]],
        "spacing_mm": [round(spacing[1], 4), round(spacing[0], 4)], **_between(scan, how.axis),
        "intensity": [seen.least, *seen.percentiles, seen.most], "pictures": pictures,
        "objects": objects, "small": small, "colour": scan.facts.colour,
        "removed": list(scan.facts.removed), "private": scan.facts.private, "text": scan.facts.text,
    }  # fmt: skip
    if folder:
        _write_json(folder / "record.json", record)
    return record


def _between(scan: volumes.Scan, axis: int) -> dict[str, Any]:
    """Return the distance of slices and the file's orientation, which only volumes have."""
    if not isinstance(scan, volumes.Volume):
        return {}
    return {"between_mm": round(scan.spacing[axis], 4), "was": scan.was}


def _size(box: tuple[int, int, int, int]) -> tuple[int, int]:
    return box[2] - box[0], box[3] - box[1]


def _classes(part: Slice, how: Cut, options: Options, entry: pairing.Entry) -> Any:
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


def _names(
    found: pairing.Found, options: Options, records: Sequence[dict[str, Any]]
) -> dict[int, str]:
    """Return class names by label, in the order of their indices."""
    names = {**found.names, **options.names}
    if options.task == "classify" and options.class_from == "folder":
        labels = sorted({label for r in records for p in r["pictures"] for label in p["labels"]})
        return {label: str(label) for label in labels}
    present = {label for r in records for p in r["pictures"] for label in p["labels"]}
    if not found.labelled:
        return dict(UNLABELLED)
    if options.task == "classify":
        names = {0: NOTHING, **names}
    else:
        present |= set(names)
    if options.names and present - set(names):
        raise NASError(
            f"names: no name for the labels {sorted(present - set(names))}; give each as in "
            "names=1:tumour,2:cyst"
        )
    if options.cut.instances:  # of one class
        return {**UNLABELLED, **names}
    return {label: names.get(label, f"label_{label}") for label in sorted(present)}


def assign(
    patients: Sequence[str], classes: Sequence[set[Any]], fixed: Sequence[bool | None], *,
    val: float, seed: int,
) -> dict[str, str]:  # fmt: skip
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


def _publish(
    found: pairing.Found, out: Path, work: Path, options: Options, summary: Summary
) -> None:
    """Move everything into place; done again after an interruption, it comes to the same."""
    records = summary.records
    classes = [{label for p in r["pictures"] for label in p["labels"]} for r in records]
    fixed = [found.entries[r["entry"]].val for r in records]
    summary.split = assign(
        [r["patient"] for r in records], classes, fixed, val=options.val, seed=options.seed
    )
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
    _write_json(whole / "conversion.json", describe(summary, options, found.labelled))
    if out.exists():
        out.rmdir()
    os.rename(whole, out)
    shutil.rmtree(work, ignore_errors=True)


def _place(
    source: Path, whole: Path, split: str, picture: dict[str, Any], task: str,
    names: dict[Any, str], index: dict[Any, int],
) -> None:  # fmt: skip
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


def describe(summary: Summary, options: Options, labelled: bool) -> dict[str, Any]:
    """Return what conversion.json holds: nothing that tells who the patients are."""
    records = summary.records
    how = {k: v for k, v in asdict(options.cut).items() if k not in ("polygons", "axis")}
    counts = Counter(o[3] for r in records for o in r["objects"])
    return {
        "options": {
            "task": options.task, "across": options.cut.axis, **how, "val": options.val,
            "seed": options.seed,
        },
        "labelled": labelled,
        "classes": {name: counts.get(label, 0) for label, name in summary.names.items()},
        "counts": {
            "scans": len(records), "patients": len(summary.split), "skipped": len(summary.skipped),
            "pictures": sum(len(r["pictures"]) for r in records),
            "without objects": sum(not p["labels"] for r in records for p in r["pictures"]),
            "objects": sum(len(r["objects"]) for r in records),
            "too small": sum(r["small"] for r in records),
        },
        "split": summary.split,
        "scans": {
            r["key"]: {
                **{k: r[k] for k in GEOMETRY if k in r},
                "pictures": len(r["pictures"]), "objects": len(r["objects"]),
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
    }  # fmt: skip


def _write_json(path: Path, content: Any) -> None:
    """Write a file whole or not at all."""
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(
        json.dumps(content, indent=1, ensure_ascii=False) + "\n", "utf-8", newline="\n"
    )
    if path.name == "state.json":
        temporary.chmod(0o600)
    os.replace(temporary, path)
