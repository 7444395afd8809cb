"""The main job as a user runs it: its time, what it leaves, and the best against random candidates.

    python benchmarks/main_job.py                       # as `make search`, on the embedded data
    python benchmarks/main_job.py data=my.yaml trials=20 epochs=20

Runs `yolo nas-search` with the given keys in a new process and in a temporary project. The last
line is a JSON object; `pass` holds the targets for the embedded data on 2 cores: at most 6 minutes,
at least 12 trials, a best fitness above the median of the first candidates, every file there.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from yolo_nas_ext.config.arguments import parse_arguments
from yolo_nas_ext.space.detector import DetectorSpace
from yolo_nas_ext.study.study import Study

FILES = (
    "args.yaml study.db trials.csv best.yaml best.pt report.html pareto.png progress.png"
).split()
MINUTES, TRIALS = 6, 12


def main(arguments: list[str]) -> int:
    """Run the search, print its table and figures, and return the exit code."""
    with tempfile.TemporaryDirectory() as project:
        begin = time.perf_counter()
        code = subprocess.run(
            [sys.executable, "-m", "yolo_nas_ext", "search", f"project={project}",
             "name=run", *arguments],
            env={**os.environ, "YOLO_OFFLINE": "1", "YOLO_AUTOINSTALL": "false"}, check=False,
        ).returncode  # fmt: skip
        seconds = time.perf_counter() - begin
        folder = Path(project) / "run"
        missing = [name for name in FILES if not (folder / name).is_file()]
        settings = parse_arguments(arguments)
        space = DetectorSpace.load(settings.get("space", "tiny"))
        trials = Study(space, folder / "study.db").trials
    complete = [t for t in trials if t.state == "complete"]
    drawn = [t.fitness for t in complete if not t.name][: settings.get("population", 8)]
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
        "cpu": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
    }
    good = code == 0 and not missing and len(trials) >= TRIALS and best > median
    figures["pass"] = good and (bool(settings) or seconds <= 60 * MINUTES)
    print(json.dumps(figures))
    return 0 if figures["pass"] else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
