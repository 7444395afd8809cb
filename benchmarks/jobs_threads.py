"""Jobs or threads: which way of using the cores ends a search first, and are results equal?

    python benchmarks/jobs_threads.py [trials=8] [repeats=3]

A search on the embedded cells, in turns: one job with one thread, one job with all cores, as many
jobs as cores with one thread each. What it prints are ratios to the first, the median of the
repeats. It needs a quiet machine: every other process takes from the jobs and not from the one.

The fitness of every network that the searches have in common is compared, too: jobs of one thread
compute what one job of one thread does. Other threads round differently. There is no target; the
last line is a JSON object whose `pass` says whether the results of one thread are equal.
"""

from __future__ import annotations

import csv
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from lib import Figures, Table, start, targets

KEYS = {"trials": 8, "repeats": 3}


def main(given: dict[str, Any]) -> Figures:
    """Print what was measured and return the figures."""
    cores = os.cpu_count() or 1
    ways = {"jobs=1 threads=1": (1, 1), f"jobs=1 threads={cores}": (1, cores)}
    ways[f"jobs={cores} threads=1"] = (cores, 1)
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    found: dict[str, dict[str, str]] = {}
    with TemporaryDirectory() as folder:
        for repeat in range(int(given["repeats"])):
            for name, (jobs, threads) in ways.items():
                project = Path(folder) / f"{repeat}-{jobs}-{threads}"
                begin = time.perf_counter()
                found[name] = searched(project, int(given["trials"]), jobs, threads)
                seconds[name].append(time.perf_counter() - begin)
    table = Table("way", "time, of the first")
    one, *_ = (statistics.median(times) for times in seconds.values())
    ratios = {name: round(statistics.median(times) / one, 3) for name, times in seconds.items()}
    for name, ratio in ratios.items():
        table.row(name, f"{ratio:.2f}")
    first, _, last = found.values()
    same = {key for key in first if key in last}
    equal = bool(same) and all(first[key] == last[key] for key in same)
    met = {f"{len(same)} networks that both have tried are equal": equal}
    return {"ratios": ratios, "cores": cores, "common": len(same), "pass": targets(met)}


def searched(project: Path, trials: int, jobs: int, threads: int) -> dict[str, str]:
    """Return the fitness of every network that a search has tried, as it is written."""
    keys = [f"trials={trials}", f"jobs={jobs}", f"threads={threads}", "strategy=random"]
    keys += ["confirm=0", "baseline=none", "data=cells", f"project={project}"]
    command = [sys.executable, "-m", "yolo_nas_ext", "search", *keys]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    with (project / "search" / "trials.csv").open(encoding="utf-8") as file:
        return {row["key"]: row["fitness"] for row in csv.DictReader(file)}


if __name__ == "__main__":
    start(main, KEYS)
