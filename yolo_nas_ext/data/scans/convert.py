"""Scans into a data set of Ultralytics: one after the other, resumable, published whole.

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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from yolo_nas_ext.console import EVERY, Progress
from yolo_nas_ext.data.scans import dicom, masks, pairing
from yolo_nas_ext.data.scans.anonymise import new_salt, pseudonym
from yolo_nas_ext.data.scans.options import NONE, Options, Summary, remapped
from yolo_nas_ext.data.scans.publish import class_names, publish
from yolo_nas_ext.data.scans.volumes import ScanError
from yolo_nas_ext.data.scans.write_scan import write_scan
from yolo_nas_ext.errors import NASError
from yolo_nas_ext.files import write_json

RECORDS = 2  # version of what is kept of each scan
BAR = "{percent:3.0f}% of {total:.0f} scans, {spent} so far, {left} left"


def convert(
    found: pairing.PairedScans,
    out: Path | None,
    options: Options,
    *,
    salt: str | None = None,
    say: Callable[[str], None] = print,
) -> Summary:
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
                publish(found, out, work, options, summary)
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


def _require(summary: Summary, found: pairing.PairedScans, work: Path | None = None) -> None:
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
    asked = hashlib.sha256(repr((RECORDS, options)).encode()).hexdigest()
    if file.is_file():
        state = json.loads(file.read_text("utf-8"))
        if state["options"] == asked and salt in (None, state["salt"]):
            return state["salt"]
        say("note: the settings are not those of the interrupted conversion; beginning anew")
        shutil.rmtree(work / "scans", ignore_errors=True)
    salt = salt or new_salt()
    file.touch(mode=0o600)
    write_json(file, {"options": asked, "salt": salt}, private=True)
    return salt


def _scans(
    found: pairing.PairedScans,
    work: Path | None,
    options: Options,
    salt: str,
    summary: Summary,
    say: Callable[[str], None],
) -> None:
    """Convert every scan, or take what an earlier run made of it."""
    options = summary.options = _resolved(found, options, say)
    bar = Progress(len(found.entries), BAR, delay=EVERY, stream=sys.stderr)
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
                    record = write_scan(entry, key, stamp, work, options, found.labelled, rng, bar)
                except ScanError as error:
                    if work is not None:
                        shutil.rmtree(work / "scans" / key, ignore_errors=True)
                    _skip(summary, entry.name, str(error), say_above)
                    record = None
            if record is not None:
                summary.records.append({**record, "entry": number})
            bar(number + 1)
    except KeyboardInterrupt:
        summary.interrupted = True
    finally:
        bar.close()
    summary.names = class_names(found, options, summary.records)


def _above(bar: Any, say: Callable[[str], None]) -> Callable[[str], None]:
    def above(line: str) -> None:
        bar.clear()
        say(line)

    return above


def _skip(summary: Summary, name: str, reason: str, say: Callable[[str], None]) -> None:
    summary.skipped.append((name, reason))
    say(f"skipped: {name} {reason}")


def _resolved(found: pairing.PairedScans, options: Options, say: Callable[[str], None]) -> Options:
    """Return the options with what labels mean decided: objects or classes, and which are none."""
    files = {mask: None for entry in found.entries for mask in entry.masks}
    meaning = masks.meaning(masks.look(file, options.pages) for file in files)
    if not options.by_folder:
        for note in meaning.notes:
            say(f"note: {note}")
    instances = options.values == "instances"
    if options.values == "auto":
        several = any(len(e.masks) > 1 and not e.labels for e in found.entries)
        instances = several or meaning.instances
    void = {masks.VOID: NONE} if meaning.void and not instances else {}
    return replace(
        options,
        cut=replace(
            options.cut,
            instances=instances,
            polygons=options.task == "segment",
            remap=() if instances else remapped({**void, **options.names}),
        ),
    )


def _key(entry: pairing.PairedScan, salt: str) -> str:
    """Return the pseudonyms of a scan's patient and of the scan."""
    return f"p{pseudonym(entry.patient, salt)}_{pseudonym(entry.name, salt, size=3)}"


def _stamp(entry: pairing.PairedScan, salt: str) -> str:
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
