"""The main job as a user runs it: its time, what it leaves, and the best against random candidates.

    python benchmarks/main_job.py                       # as `make search`, on the embedded data
    python benchmarks/main_job.py data=my.yaml trials=20 epochs=20

Runs `yolo nas-search` with the given keys in a new process and in a temporary project. The last
line is a JSON object; `pass` holds the targets for the embedded data on 2 cores: at most 6 minutes,
at least 12 trials, a best fitness above the median of the first candidates, every file there.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from lib import Figures, Table, machine, measured, start

from yolo_nas_ext.space.detector import DetectorSpace
from yolo_nas_ext.study.study import Study

FILES = (
    "args.yaml study.db trials.csv best.yaml best.pt report.html pareto.png progress.png"
).split()
MINUTES, TRIALS = 6, 12


def main(given: dict[str, Any]) -> Figures:
    """Run the search, print what it found and return the figures."""
    with tempfile.TemporaryDirectory() as project:
        keys = (f"{name}={value}" for name, value in given.items())
        command = (sys.executable, "-m", "yolo_nas_ext", "search")
        code, seconds, *_ = measured(*command, f"project={project}", "name=run", *keys)
        folder = Path(project) / "run"
        missing = [name for name in FILES if not (folder / name).is_file()]
        space = DetectorSpace.load(given.get("space", "tiny"))
        trials = Study(space, folder / "study.db").trials
    complete = [t for t in trials if t.state == "complete"]
    drawn = [t.fitness for t in complete if not t.name][: given.get("population", 8)]
    best = max((t.fitness for t in complete if t.point is not None), default=0.0)
    median = statistics.median(drawn) if drawn else 0.0
    figures = {
        "exit_code": code,
        "seconds": round(seconds, 1),
        "trials": len(trials),
        "failed": len(trials) - len(complete),
        "best": round(best, 4),
        "median_of_first_random": round(median, 4),
        "missing_files": missing,
        **machine(),
    }
    good = code == 0 and not missing and len(trials) >= TRIALS and best > median
    table = Table("seconds", "trials", "failed", "best  ", "median of the first random ones")
    table.row(*(figures[n] for n in ("seconds", "trials", "failed", "best")), f"{median:.4f}")
    return {**figures, "pass": good and (bool(given) or seconds <= 60 * MINUTES)}


if __name__ == "__main__":
    start(main, {}, others=True)
