"""Scans into a data set of Ultralytics: one after the other, resumable, published whole.

Every scan is written into a folder of its own beside `out`, its record last; a conversion that is
interrupted goes on with the scans that have no record. Splitting by patient and moving into place
come at the end.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from yolo_nas_ext.console import EVERY, Progress
from yolo_nas_ext.console import say as printed
from yolo_nas_ext.data.scans import earlier, pairing, work
from yolo_nas_ext.data.scans.anonymise import new_salt, pseudonym
from yolo_nas_ext.data.scans.conversion import Conversion, converted, room_for
from yolo_nas_ext.data.scans.options import Options, Summary
from yolo_nas_ext.data.scans.publish import class_names, publish
from yolo_nas_ext.data.scans.resolve import resolved
from yolo_nas_ext.data.scans.series import Series
from yolo_nas_ext.data.scans.workers import Workers
from yolo_nas_ext.errors import NASError

RECORDS = 3  # version of what is kept of each scan
SHOWN = 3  # scans that a note names
FEW = "scans that hold few whole values look like masks; leave them out, or give them by masks="


def convert(
    found: pairing.PairedScans,
    out: Path | None,
    options: Options,
    *,
    salt: str | None = None,
    say: Callable[[str], None] = printed,
    jobs: int | None = None,
    workers: Workers | None = None,
) -> Summary:
    """Write the scans of a source as a data set, or only look at them.

    Args:
        found: The scans, see `pairing.find`.
        out: Folder to create; may exist if it is empty, or where it was converted into before:
            then patients stay where they are. Nothing is written without.
        options: See `Options`.
        salt: Secret of the pseudonyms; a new one without.
        say: Prints a line.
        jobs: Scans that are converted at a time; without, as many as there are cores and room in
            memory.
        workers: Processes that convert; they may have started before. New ones without.

    Raises:
        NASError: Where nothing can be converted, or `out` cannot be written.
    """
    summary = Summary(out)
    for name, reason in found.bad:
        _skip(summary, name, reason, say)
    found, options = resolved(found, options, say)
    summary.options = options
    if out is None:
        _scans(found, None, options, salt or new_salt(), summary, say, jobs, workers)
        _require(summary, found)
        return summary
    out = summary.out = Path(os.path.abspath(out))
    before = earlier.find(out, work.beside(out))
    salt = _known_salt(out, before, salt)
    with work.opened(out, "conversion") as place:
        kept, salt = salt is None, _salt(place, options, salt, say)
        if before.split and not before.split.keys() & {_of(e, salt) for e in found.entries}:
            raise NASError(
                f"out={out}: none of its patients is in the source, or salt= is another than "
                "before; give a new folder"
            )
        _scans(found, place, options, salt, summary, say, jobs, workers)
        if not summary.interrupted:
            _require(summary, found, place)
            publish(found, out, place, options, summary, before)
            if kept:
                earlier.keep_salt(out, salt)
    return summary


def _known_salt(out: Path, before: earlier.Earlier, salt: str | None) -> str | None:
    """Return the salt of the user, else of the data set that is converted into again."""
    if before.split and salt is None:
        salt = earlier.salt_of(out)
    if before.split and salt is None:
        raise NASError(
            f"out={out}: exists, and {earlier.salt_file(out).name} beside it, by which patients "
            "are known, is gone; give the salt= of before, or a new folder"
        )
    return salt


def _require(summary: Summary, found: pairing.PairedScans, place: Path | None = None) -> None:
    """Refuse to go on with nothing."""
    if not summary.records and not summary.interrupted:
        if place is not None:
            shutil.rmtree(place, ignore_errors=True)
        n = len(summary.skipped)
        raise NASError(
            f"source: none of {n} scans can be converted; each is named above with the reason"
        )


def _salt(place: Path, options: Options, salt: str | None, say: Callable[[str], None]) -> str:
    # Names alone change no picture: what was converted before they were corrected is kept.
    settings = RECORDS, replace(options, names={})
    return work.salt_of(place, settings, salt, "conversion", say)


def _scans(
    found: pairing.PairedScans,
    place: Path | None,
    options: Options,
    salt: str,
    summary: Summary,
    say: Callable[[str], None],
    jobs: int | None,
    workers: Workers | None,
) -> None:
    """Convert every scan, or take what an earlier run made of it."""
    bar = Progress(len(found.entries), work.BAR, delay=EVERY, stream=sys.stderr)
    say_above = _above(bar, say)
    tasks, records = [], dict[int, dict[str, Any]]()
    try:
        for number, entry in enumerate(found.entries):
            key = _key(entry, salt)
            summary.linkage[entry.name] = key
            stamp = _stamp(entry, salt)
            record = _read_record(place, key, stamp)
            if record is not None:
                records[number] = record
                continue
            size = room_for(entry)
            tasks.append(
                Conversion(number, entry, key, stamp, place, options, found.labelled, size)
            )
        for task, record, reason in converted(tasks, options, jobs, bar, workers):
            if record is None:
                _skip(summary, task.entry.name, reason, say_above)
            else:
                records[task.number] = record
            bar(len(records) + len(summary.skipped) - len(found.bad))
    except KeyboardInterrupt:
        summary.interrupted = True
    finally:
        bar.close()
    summary.records = [{**records[n], "entry": n} for n in sorted(records)]
    summary.names = class_names(found, options, summary.records)
    summary.notes += _aggregated(found, summary.records)


def _above(bar: Any, say: Callable[[str], None]) -> Callable[[str], None]:
    def above(line: str) -> None:
        bar.clear()
        say(line)

    return above


def _skip(summary: Summary, name: str, reason: str, say: Callable[[str], None]) -> None:
    summary.skipped.append((name, reason))
    say(f"skipped: {name} {reason}")


def _aggregated(found: pairing.PairedScans, records: Sequence[dict[str, Any]]) -> list[str]:
    """Return what was repaired or left out, a line a kind with the first scans of it."""
    of: dict[str, list[str]] = {}
    for record in records:
        name = found.entries[record["entry"]].name
        for note in record["notes"]:
            of.setdefault(note, []).append(name)
        if record["few"]:
            of.setdefault(FEW, []).append(name)
    return [f"{note}: {len(names)} scans, {_shown(names)}" for note, names in of.items()]


def _shown(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _of(entry: pairing.PairedScan, salt: str) -> str:
    return f"p{pseudonym(entry.patient, salt)}"


def _key(entry: pairing.PairedScan, salt: str) -> str:
    """Return the pseudonyms of a scan's patient and of the scan."""
    return f"{_of(entry, salt)}_{pseudonym(entry.name, salt, size=3)}"


def _stamp(entry: pairing.PairedScan, salt: str) -> str:
    """Return what changes when a scan's files do."""
    parts = (entry.source, *(source for source, _ in entry.contrasts), *entry.masks)
    files = [f for part in parts for f in (part.files if isinstance(part, Series) else (part,))]
    stats = [(f.name, f.stat().st_size, f.stat().st_mtime_ns) for f in files if f.exists()]
    return pseudonym(repr(stats), salt)


def _read_record(place: Path | None, key: str, stamp: str) -> dict[str, Any] | None:
    """Return what an earlier run found of a scan, unless its files have changed since."""
    record = work.read(place / "scans" / key / "record.json") if place else {}
    if record.get("stamp") != stamp or record.get("key") != key:
        return None
    named = re.compile(rf"{re.escape(key)}_\d{{4,}}(_x\d+_y\d+)?")  # names become files
    lists = [record.get("pictures"), record.get("more")]
    if not all(isinstance(pictures, list) for pictures in lists):
        return None
    names = [p.get("name") if isinstance(p, dict) else 0 for part in lists for p in part or ()]
    return record if all(isinstance(n, str) and named.fullmatch(n) for n in names) else None
