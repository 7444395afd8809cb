"""Energy of a network by the processor's own counters: RAPL, as Linux shows it.

A counter is of a whole processor: what the machine does besides is in the number, and so is what
the processor draws at rest. Memory and the board are outside. Source: Linux' documentation of the
power capping framework, Documentation/power/powercap/powercap.rst.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from yolo_nas_ext.console import quoted
from yolo_nas_ext.errors import NASError

RAPL = "rapl"  # value of the key energy
POWERCAP = Path("/sys/class/powercap")
SECONDS = 1.0  # of a turn: counters move every millisecond or so, and what is in between is lost
TURNS = 3
FEWEST = 5  # images of a turn
INSTEAD = (
    f"give a command that prints joules, {quoted('energy=cmd:./joules {onnx}')}, or leave energy "
    "out"
)
METRIC = "energy_mj"  # millijoules of one image
PROCESSING = "whole processor, at rest included; of one image"


@dataclass(frozen=True, slots=True)
class Zone:
    """A counter of one processor.

    Attributes:
        file: Where its microjoules stand.
        wraps: The microjoules after which it begins anew; 0 where it does not say.
    """

    file: Path
    wraps: int


def zones(powercap: Path | None = None) -> list[Zone]:
    """Return the counters of this machine's processors.

    Args:
        powercap: The folder of the power capping framework.

    Raises:
        NASError: Where there is none, or none that this user may read.
    """
    folder = powercap or POWERCAP
    found = []
    for zone in sorted(folder.glob("intel-rapl:*")):  # AMD's processors are called so, too
        # Their parts, as in intel-rapl:0:1, are in them; a platform, psys, has them in it.
        if zone.name.count(":") == 1 and _text(zone / "name").startswith("package"):
            file = zone / "energy_uj"
            _read(file)
            found.append(Zone(file, int(_text(zone / "max_energy_range_uj") or 0)))
    if not found:
        raise NASError(
            f"energy={RAPL}: this machine has no counter of energy ({folder}/intel-rapl:*); "
            f"{INSTEAD}"
        )
    return found


def millijoules(
    runs: Mapping[str, Callable[[], object]],
    counters: list[Zone],
    *,
    images: int = 1,
    seconds: float | None = None,
) -> dict[str, float]:
    """Return what one image takes of callables that take turns, the median of their turns.

    Args:
        runs: What runs a network once, by name.
        counters: See `zones`.
        images: Of a run.
        seconds: Of a turn, at the least; `SECONDS` without.

    Raises:
        NASError: For counters that do not move.
    """
    least = SECONDS if seconds is None else seconds
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(TURNS):
        for name, run in runs.items():
            run()
            taken[name].append(_turn(run, counters, least) / images)
    return {name: median(each) for name, each in taken.items()}


def _turn(run: Callable[[], object], counters: list[Zone], seconds: float) -> float:
    """Return the millijoules of a run, by many of them."""
    before = [_read(zone.file) for zone in counters]
    begin, done = time.perf_counter(), 0
    while done < FEWEST or time.perf_counter() - begin < seconds:
        run()
        done += 1
    spent = 0
    for zone, start in zip(counters, before, strict=True):
        moved = _read(zone.file) - start
        spent += moved if moved >= 0 else moved + zone.wraps
    if spent <= 0:
        raise NASError(
            f"energy={RAPL}: the counter {counters[0].file} did not move in {seconds:g} s, as in "
            f"some virtual machines; {INSTEAD}"
        )
    return spent / 1000 / done


def _read(file: Path) -> int:
    """Return the microjoules of a counter.

    Raises:
        NASError: For one that this user may not read, or that says something else.
    """
    try:
        return int(file.read_text("utf-8"))
    except PermissionError as error:
        raise NASError(
            f"energy={RAPL}: {file} can be read by root alone; allow it (sudo chmod a+r "
            f"{quoted(str(file))}), or {INSTEAD}"
        ) from error
    except (OSError, ValueError) as error:
        raise NASError(f"energy={RAPL}: {file} cannot be read ({error}); {INSTEAD}") from error


def _text(file: Path) -> str:
    try:
        return file.read_text("utf-8").strip()
    except OSError:
        return ""
