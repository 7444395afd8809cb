"""The conversion of one scan, here or in a process of its own, and how many at a time."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from yolo_nas_ext.data.scans import headers, pairing
from yolo_nas_ext.data.scans.options import Options
from yolo_nas_ext.data.scans.volumes import ScanError
from yolo_nas_ext.data.scans.workers import DONE, WORTH, Workers, usable_cores
from yolo_nas_ext.data.scans.write_scan import write_scan

MEMORY = 1.5  # what a scan takes while it is converted, times its voxels and those of its masks
ROOM = 0.5  # part of the free memory that scans take which are converted at a time
TORCH = 800_000_000  # bytes that torch takes


@dataclass(frozen=True, slots=True)
class Conversion:
    """A scan to convert, wherever that is done.

    Attributes:
        number: Which scan of the source it is.
        entry: The scan.
        key: Its pseudonym.
        stamp: What changes when its files do.
        work: The folder of the conversion, if there is one.
        options: See `Options`.
        labelled: Whether the source has masks.
        bytes: What it takes in memory.
    """

    number: int
    entry: pairing.PairedScan
    key: str
    stamp: str
    work: Path | None
    options: Options
    labelled: bool
    bytes: int = 0

    def run(self, bar: Any = None) -> dict[str, Any]:
        """Convert it and return its record.

        Raises:
            ScanError: For a scan that cannot be used.
        """
        rng = random.Random(f"{self.options.seed}/{self.entry.name}")
        try:
            return write_scan(
                self.entry,
                self.key,
                self.stamp,
                self.work,
                self.options,
                self.labelled,
                rng,
                bar or _Silent(),
            )
        except ScanError:
            if self.work is not None:
                shutil.rmtree(self.work / "scans" / self.key, ignore_errors=True)
            raise


class _Silent:
    """A bar that shows nothing, of a process that has no screen."""

    def update(self, part: float) -> None:
        return


def room_for(entry: pairing.PairedScan) -> int:
    """Return the bytes that a scan takes while it is converted."""
    sources = [source for source, _ in entry.contrasts] or [entry.source]
    return int(MEMORY * headers.memory((*sources, *entry.masks)))


def jobs_worth(tasks: Sequence[Conversion], options: Options, jobs: int | None) -> int:
    """Return how many processes are worth their start."""
    if jobs is None and sum(task.bytes for task in tasks) < WORTH:
        return 1
    most = jobs or usable_cores()
    if jobs is None and options.cut.spacing:  # resampling takes torch into each of them
        most = min(most, max(1, int(free_room() / TORCH)))
    return max(1, min(most, len(tasks)))


def free_room() -> int:
    """Return the bytes that scans may take that are converted at a time."""
    return int(ROOM * psutil.virtual_memory().available)


def converted(
    tasks: Sequence[Conversion],
    options: Options,
    jobs: int | None,
    bar: Any,
    workers: Workers | None = None,
) -> Iterator[tuple[Conversion, dict[str, Any] | None, str]]:
    """Yield each scan as it is done, with its record, or with the reason why there is none.

    Args:
        tasks: The scans.
        options: See `Options`.
        jobs: How many at a time; without, as many as are worth it and have room in memory.
        bar: Shows the progress within a scan, where one is converted at a time.
        workers: The processes, whose owner ends them; new ones without.
    """
    jobs = jobs_worth(tasks, options, jobs)
    if jobs == 1:
        for task in tasks:
            try:
                yield task, task.run(bar), ""
            except ScanError as error:
                yield task, None, str(error)
        return
    with nullcontext(workers) if workers else Workers() as pool:
        for index, kind, result in pool.run(tasks, jobs, free_room()):
            if kind == DONE:
                yield tasks[index], result, ""
            else:
                yield tasks[index], None, result
