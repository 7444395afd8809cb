"""What the benchmarks share: keys, commands, memory, tables, kept rows, and the last line.

A script is run in the repository's folder as `python benchmarks/x.py key=value ...`, which puts
this folder on the path. It names its keys with what they usually are, and ends with `start`: its
`main` prints a table and returns the figures, with whether the targets are met as `pass`.
"""

from __future__ import annotations

import csv
import json
import math
import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple, NoReturn

from yolo_nas_ext.config.arguments import parse_arguments
from yolo_nas_ext.cost.latency.probe import device_name
from yolo_nas_ext.errors import NASError

# Read when Ultralytics is imported: no look-ups and no installs while something is measured.
os.environ |= {"YOLO_OFFLINE": "1", "YOLO_AUTOINSTALL": "false"}

ROOT = Path(__file__).resolve().parent.parent
RESULTS = Path(__file__).parent / "results"
SHARED = Path("../shared/data")  # data sets beside the repository, seen from its folder
Figures = dict[str, Any]
Row = dict[str, Any]
# Runs a command and writes what it took. A process of its own, as a new process inherits the peak
# of memory of the one that starts it.
MEASURE = """
import json, resource, subprocess, sys, time
begin = time.perf_counter()
code = subprocess.run(sys.argv[2:]).returncode
seconds, used = time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
note = [code, seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 2**10]
open(sys.argv[1], "w").write(json.dumps(note))
"""


# Keys and the last line


def start(
    main: Callable[[dict[str, Any]], Figures], keys: Mapping[str, Any], *, others: bool = False
) -> NoReturn:
    """Run a script: its exit code is 0 where its targets are met, 1 on a miss, 2 for wrong keys.

    Args:
        main: Is handed the keys, prints a table and returns figures, of which `pass` is one.
        keys: The script's keys, with what they usually are.
        others: Whether keys that are not named are handed on as well.
    """
    if sys.argv[1:2] in (["help"], ["-h"], ["--help"]):
        print(sys.modules["__main__"].__doc__)
        raise SystemExit(0)
    try:
        given = parse_arguments(sys.argv[1:])
        if not others and (unknown := sorted(given.keys() - keys.keys())):
            allowed = ", ".join(keys) or "none"
            raise NASError(f"{', '.join(unknown)}: no such key; allowed: {allowed}")
        figures = main({**keys, **given})
    except NASError as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from error
    print(json.dumps(_plain(figures)))
    raise SystemExit(0 if figures["pass"] else 1)


def _plain(value: Any) -> Any:
    """Return a value as JSON can say it: numbers that are none, such as nan, become null."""
    if isinstance(value, Mapping):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    if hasattr(value, "tolist"):  # of numpy
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value


def names(value: object) -> list[str]:
    """Return the names of a key that holds several, separated by commas."""
    return [name for name in str(value or "").split(",") if name]


def located(name: str) -> Path:
    """Return a path as it is given, or that of a data set beside the repository."""
    return Path(name) if Path(name).exists() else SHARED / name


def machine() -> Figures:
    """Return what the figures were measured on."""
    return {"cpu": device_name(), "cores": os.cpu_count()}


def targets(met: Mapping[str, bool | None]) -> bool:
    """Print which targets are met, missed or, where None, undecided; return whether all are met."""
    for name, good in met.items():
        print(f"{'open' if good is None else 'met' if good else 'MISSED':<8}{name}")
    return all(met.values())


def reached(value: float, low: float, target: float) -> bool | None:
    """Return whether a value is at least a target, as far as its interval tells.

    Args:
        value: The estimate.
        low: The lower bound of its interval.
        target: What is asked for.

    Returns:
        True where all of the interval is, False where the estimate is not, None between them.
    """
    if not value >= target - 1e-9:  # of equal numbers one may be rounded; nan is a miss
        return False
    return True if low >= target - 1e-9 else None


# Tables and rows


class Table:
    """A Markdown table that is printed line by line, as its figures come.

    Args:
        *columns: Their names, padded to the width that their cells need.
    """

    def __init__(self, *columns: str) -> None:
        self.widths = [len(column) for column in columns]
        self.row(*columns)
        print("|" + "|".join("-" * (width + 2) for width in self.widths) + "|", flush=True)

    def row(self, *cells: object) -> None:
        """Print a line."""
        padded = [str(cell).ljust(width) for cell, width in zip(cells, self.widths, strict=True)]
        print(f"| {' | '.join(padded)} |", flush=True)


class Rows(list[Row]):
    """Rows of JSON in a file, each written at once, so that none is made again.

    Args:
        file: Where they stand; a last line that a kill cut off is dropped from it.
    """

    def __init__(self, file: Path | str) -> None:
        self.file = Path(file)
        text = self.file.read_text(encoding="utf-8") if self.file.is_file() else ""
        whole = text[: text.rfind("\n") + 1]
        if whole != text:
            self.file.write_text(whole, encoding="utf-8")
        super().__init__(json.loads(line) for line in whole.splitlines())

    def keep(self, row: Row) -> Row:
        """Add a row and write it."""
        self.append(row)
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with self.file.open("a", encoding="utf-8") as out:
            out.write(json.dumps(row) + "\n")
            out.flush()
            os.fsync(out.fileno())
        return row


def csv_rows(file: Path) -> list[dict[str, str]]:
    """Return the rows of a CSV file; none where it is not there yet."""
    if not file.is_file():
        return []
    with file.open(newline="", encoding="utf-8") as text:
        return list(csv.DictReader(text))


def keep_csv(file: Path, columns: Sequence[str], row: Mapping[str, str]) -> None:
    """Write a row of a CSV file at once, behind the others."""
    new = not file.is_file()
    with file.open("a", newline="", encoding="utf-8") as text:
        writer = csv.DictWriter(text, columns, lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerow(row)


# Processes and memory


def parallel(
    work: Callable[[Any], Row],
    tasks: Sequence[Any],
    jobs: int = 1,
    begin: Callable[..., None] | None = None,
    given: tuple[Any, ...] = (),
) -> Iterator[Row]:
    """Yield what new processes make of tasks, as they end; each process begins with `begin`."""
    if tasks:
        with multiprocessing.get_context("spawn").Pool(jobs, begin, given) as pool:
            yield from pool.imap_unordered(work, tasks)


def alone(work: Callable[..., Any], *given: Any) -> Any:
    """Return what a new process makes of a task, which has that process' memory to itself."""
    pool = multiprocessing.get_context("spawn").Pool(1)
    try:
        return pool.apply(work, given)
    finally:
        pool.close()
        pool.join()  # which lets it print what it has to say


class Spent(NamedTuple):
    """What a command took: its exit code, seconds of the clock and the processor, peak of MiB."""

    code: int
    seconds: float
    cpu_seconds: float
    peak_mib: float


def measured(*command: object, quiet: bool = False, env: Mapping[str, str] | None = None) -> Spent:
    """Run a command in a process of its own and return what it took (Linux, macOS)."""
    with tempfile.TemporaryDirectory() as folder:
        note = Path(folder) / "note.json"
        subprocess.run(
            [sys.executable, "-S", "-c", MEASURE, str(note), *map(str, command)],
            stdout=subprocess.DEVNULL if quiet else None,
            stderr=subprocess.DEVNULL if quiet else None,
            env=env,
            check=True,
        )
        return Spent(*json.loads(note.read_text(encoding="utf-8")))


def yolo(*arguments: str, allowed: Sequence[int] = (0,)) -> str:
    """Run a `yolo` command, Ultralytics' or one that is added to it, and return what it prints."""
    script = Path(sys.executable).with_name("yolo")
    run = subprocess.run([str(script), *arguments], stdout=subprocess.PIPE, text=True, check=False)
    print(run.stdout[-2000:], flush=True)
    if run.returncode not in allowed:
        raise SystemExit(f"yolo {' '.join(arguments)} exits with {run.returncode}")
    return run.stdout


def memory_mib() -> float:
    """Return the resident memory of this process."""
    import psutil

    return psutil.Process().memory_info().rss / 2**20


def growth(memory: Sequence[float]) -> float:
    """Return by what share memory grows from the first fifth of its values to the last."""
    first = memory[: max(1, len(memory) // 5)]
    return mean(memory[-len(memory) // 5 :]) / mean(first) - 1
