"""`yolo nas-predict`: what a model finds in scans, in the scans' own space."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from yolo_nas_ext import __version__
from yolo_nas_ext.commands.predict_bundle import command, write_bundle
from yolo_nas_ext.commands.predict_scan import BACKGROUND, Job, predict_scan
from yolo_nas_ext.config.predict import PredictSettings
from yolo_nas_ext.config.rules import check
from yolo_nas_ext.config.settings import read
from yolo_nas_ext.console import EVERY, Progress, quoted, say
from yolo_nas_ext.data.scans import findings, linkage, pairing, recipe, work
from yolo_nas_ext.data.scans.anonymise import pseudonym
from yolo_nas_ext.data.scans.paired import PairedScan, PairedScans
from yolo_nas_ext.data.scans.recipe import Recipe
from yolo_nas_ext.data.scans.volumes import ScanError
from yolo_nas_ext.errors import NASError
from yolo_nas_ext.files import write_json
from yolo_nas_ext.host.metrics import SURE
from yolo_nas_ext.host.predict import Trained

TASKS = ("detect", "segment", "semantic", "classify")
FOLDERS = {".overlay.png": "overlays"}  # by how files end; all others are masks


def main(given: Mapping[str, Any]) -> int:
    """Predict the scans of ``nas-predict`` and return the exit code.

    Returns:
        0; 3 where scans were left out, each of them named, or when it was interrupted.

    Raises:
        NASError: For bad input, or where no scan can be used.
    """
    settings = read(PredictSettings, given)
    check(settings)
    if settings.bundle:
        job = _job(settings)
        folder = write_bundle(Path(settings.bundle), job)
        say(f"written: {folder}\nnext:\n  {command(folder)}")
        return 0
    out = Path(os.path.abspath(settings.out))
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise NASError(f"out={out}: exists and is not an empty folder; give a new one or remove it")
    list_ = Path(settings.linkage) if settings.linkage else None
    linkage.check(list_)
    job = _job(settings)
    found = _found(settings, job.recipe)
    for name in found.notes:
        say(f"note: {name}")
    for note in _notes(found, settings, job):
        say(f"note: {note}")
    with work.opened(out, "prediction") as place:
        salt = _salt(place, settings, job)
        records, skipped, interrupted = _predicted(found, place, job, salt)
        if interrupted:
            say(f"interrupted; {len(records)} scans are done: the same command goes on")
            return 3
        if not records:
            shutil.rmtree(place)
            raise NASError(
                f"source={settings.source}: none of {len(skipped)} scans can be used; each is "
                "named above with the reason"
            )
        _publish(out, place, records, job, skipped=len(skipped))
    if list_:
        linkage.write(list_, {record["name"]: record["key"] for record in records})
    _say(out, records, skipped)
    return 3 if skipped else 0


def _job(settings: PredictSettings) -> Job:
    """Return the model and how it is to be used.

    Raises:
        NASError: For a model of another task, or one that does not say how scans are read.
    """
    model = Trained(Path(settings.model), settings.device, "model")
    if model.task not in TASKS:
        raise NASError(
            f"model={settings.model}: is of task={model.task}; scans are predicted by models of "
            f"{', '.join(TASKS)}"
        )
    how = _recipe(settings, model)
    own = [name for name in model.names.values() if name != BACKGROUND]
    if own != [name for name in how.names.values() if name != BACKGROUND]:
        raise NASError(
            f"model={settings.model}: knows {', '.join(own)[:80]}, but the data set has "
            f"{', '.join(how.names.values())[:80]}; data= names the one that it was trained on"
        )
    if settings.volume is not None:
        how = replace(how, options=replace(how.options, volume=settings.volume))
    known = model.metrics.get("dice_threshold")
    conf = settings.conf if settings.conf is not None else known or SURE
    return Job(
        model=model,
        recipe=how,
        imgsz=settings.imgsz or model.imgsz,
        conf=conf,
        batch=settings.batch,
        kind=settings.format,
    )


def _found(settings: PredictSettings, how: Recipe) -> PairedScans:
    """Return the scans of the source, with the contrasts that the model takes."""
    return pairing.find(
        settings.source,
        group=settings.group,
        volume=settings.volume,
        contrasts=how.options.contrasts,
    )


def _recipe(settings: PredictSettings, model: Trained) -> Recipe:
    """Return how scans are read: as ``data`` says, else the checkpoint, else its data set."""
    if settings.data:
        if found := recipe.beside(settings.data):
            return found
        raise NASError(
            f"data={settings.data}: has no {recipe.RECORD} that says how scans are read; give the "
            "data.yaml or the folder that yolo nas-data wrote"
        )
    if model.scans:
        return recipe.from_dict(model.scans, f"model={settings.model}")
    if model.data and (found := recipe.beside(model.data)):
        return found
    raise NASError(
        f"model={settings.model}: does not say how the scans of its training were converted; give "
        "the data set with data=, as yolo nas-data wrote it"
    )


def _notes(found: PairedScans, settings: PredictSettings, job: Job) -> Iterator[str]:
    if n := sum(bool(entry.masks) for entry in found.entries):
        yield f"the masks of {n} scans are not looked at; yolo nas-compare measures by masks"
    best = "dice_threshold" in job.model.metrics
    how = "what was best on its held-out scans" if best else "as usual of detectors"
    said = f", {how}" if settings.conf is None else ""
    yield f"what has a score of {job.conf:g} or more counts{said}; conf= sets it"


def _salt(place: Path, settings: PredictSettings, job: Job) -> str:
    what = (_digest(settings.model), job.recipe.to_dict(), job.imgsz, job.conf, job.kind)
    return work.salt_of(place, what, settings.salt, "prediction", say)


def _digest(path: str) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def _predicted(
    found: PairedScans, place: Path, job: Job, salt: str
) -> tuple[list[dict[str, Any]], list[tuple[str, str]], bool]:
    """Return the record of every scan, name and reason of those left out, and whether it ended."""
    skipped = list(found.bad)
    for name, reason in skipped:
        say(f"skipped: {name} {reason}")
    records: list[dict[str, Any]] = []
    bar = Progress(len(found.entries), work.BAR, delay=EVERY, stream=sys.stderr)
    try:
        for number, entry in enumerate(found.entries):
            try:
                record = _one(entry, place, job, salt, bar)
                records.append({**record, "name": entry.name})
                if note := record.get("note"):
                    bar.clear()
                    say(f"note: {entry.name} {note}")
            except ScanError as error:
                skipped.append((entry.name, str(error)))
                bar.clear()
                say(f"skipped: {entry.name} {error}")
            bar(number + 1)
    except KeyboardInterrupt:
        return records, skipped, True
    finally:
        bar.close()
    return records, skipped, False


def _one(entry: PairedScan, place: Path, job: Job, salt: str, bar: Any) -> dict[str, Any]:
    """Return the record of a scan, or what an earlier run made of it."""
    if not entry.patient:
        raise ScanError("patient", "has a path in which group= finds no patient; change group=")
    patient = f"p{pseudonym(entry.patient, salt)}"
    key = f"{patient}_{pseudonym(entry.name, salt, size=3)}"
    folder = place / "scans" / key
    if earlier := _read_record(folder, key, patient):
        return earlier
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        return predict_scan(entry, key, patient, folder, job, bar)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _read_record(folder: Path, key: str, patient: str) -> dict[str, Any] | None:
    """Return what an earlier run made of a scan, where it is whole."""
    record = work.read(folder / "record.json")
    files = record.get("files")  # whose names become files
    named = isinstance(files, list) and all(
        isinstance(name, str) and re.fullmatch(rf"{re.escape(key)}(\.\w+)+", name) for name in files
    )
    ours = record.get("key") == key and record.get("patient") == patient
    return record if named and ours and isinstance(record.get("rows"), list) else None


def _publish(
    out: Path, place: Path, records: Sequence[Mapping[str, Any]], job: Job, *, skipped: int
) -> None:
    """Move everything into place; done again after an interruption, it comes to the same."""
    whole = place / "whole"
    for record in records:
        for name in record["files"]:
            kind = next((f for end, f in FOLDERS.items() if name.endswith(end)), "masks")
            (whole / kind).mkdir(parents=True, exist_ok=True)
            if (made := place / "scans" / record["key"] / name).exists():
                os.replace(made, whole / kind / name)
    whole.mkdir(parents=True, exist_ok=True)
    findings.write(whole / "findings.csv", _table(records))
    content = {
        "version": __version__,
        "model": {"sha256": _digest(str(job.model.path)), "task": job.model.task},
        "conf": job.conf,
        "imgsz": job.imgsz,
        "scans": len(records),
        "skipped": skipped,
        "recipe": job.recipe.to_dict(),
    }
    write_json(whole / "predictions.json", content)
    if out.exists():
        out.rmdir()
    os.rename(whole, out)
    shutil.rmtree(place, ignore_errors=True)


def _table(records: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """Yield the rows of each patient's scans, and then the patient's own."""
    patients: dict[str, list[Mapping[str, Any]]] = {}
    for record in records:
        patients.setdefault(record["patient"], []).extend(record["rows"])
    for patient, rows in patients.items():
        yield from rows
        yield findings.summary(patient, rows)


SHOWN = 10  # scans named on the screen with their pseudonyms


def _say(
    out: Path, records: Sequence[Mapping[str, Any]], skipped: Sequence[tuple[str, str]]
) -> None:
    """Say what was found, and what is where."""
    for record in records[:SHOWN]:
        found = [row for row in record["rows"] if row["row"] == "finding"]
        count = f"{len(found)} finding{'s' * (len(found) != 1)}"
        said = count if record["files"] else record["rows"][0]["class"]
        if volume := sum(float(row["volume_ml"] or 0) for row in found):
            said += f", {volume:.0f} ml" if volume >= 100 else f", {volume:.3g} ml"
        say(f"{record['name']}: {said}, as {record['key']}")
    rows = [row for record in records for row in record["rows"]]
    if any(record["files"] for record in records) and all(r["row"] != "finding" for r in rows):
        say("nothing was found in any scan: a lower conf= counts what has a lower score, too")
    if len(records) > SHOWN:
        say(f"{len(records) - SHOWN} more scans; linkage= writes which scan is which")
    if skipped:
        total = len(records) + len(skipped)
        say(f"{len(skipped)} of {total} scans were skipped, named above")
    say(f"written: {quoted(out)} with findings.csv" + _folders(records))


def _folders(records: Sequence[Mapping[str, Any]]) -> str:
    return ", masks and overlays" if any(record["files"] for record in records) else ""
