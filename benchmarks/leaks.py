"""Whether memory, open files, threads and processes grow over the candidates of a search.

    python benchmarks/leaks.py [candidates=200] [threads=2]

Random networks of the space `yolo` are trained one after another in this process for one epoch on
48 embedded cell images at 64 px, weights written to disk as in a search. After a warm-up of 20 the
resident memory of each further candidate's end is noted. The last line is a JSON object; `pass` is
that the median of the last 20 is at most 5 % above that of the first 20, with no more files,
threads or processes than then.
"""

from __future__ import annotations

import os
import random
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import psutil
from lib import Figures, Table, start

KEYS = {"candidates": 200, "threads": os.cpu_count() or 1}
WARM, PART, MOST = 20, 20, 1.05
COUNTED = ("memory_mb", "files", "threads", "processes")


def main(given: dict[str, Any]) -> Figures:
    """Print the table and return the figures."""
    candidates, threads = int(given["candidates"]), int(given["threads"])
    os.environ["OMP_NUM_THREADS"] = str(threads)  # which torch reads when it is imported
    from yolo_nas_ext.data.builtin.cells import ensure_cells
    from yolo_nas_ext.errors import TrialError
    from yolo_nas_ext.estimators.training import ShortTraining
    from yolo_nas_ext.host.dataset import read
    from yolo_nas_ext.space.detector import DetectorSpace

    process, space = psutil.Process(), DetectorSpace.load("yolo")
    notes: list[dict[str, float]] = []
    table = Table("candidates", *COUNTED)
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        cells = ensure_cells(Path(folder), train=64, val=16, size=64)
        data = read(cells / "data.yaml")
        short = ShortTraining(data, epochs=1, imgsz=64, batch=8, threads=threads)
        for number in range(WARM + candidates):
            network = space.architecture(space.sample(random.Random(number)))
            try:
                short.estimate(network, weights=Path(folder) / "weights.pt")
            except TrialError:
                failed += 1
            notes.append(
                {
                    "memory_mb": process.memory_info().rss / 1e6,
                    "files": process.num_fds() if hasattr(process, "num_fds") else 0,
                    "threads": process.num_threads(),
                    "processes": len(process.children(recursive=True)),
                }
            )
            if number % 20 == 19:
                table.row(number + 1, *(f"{notes[-1][name]:.0f}" for name in COUNTED))
    first, last = notes[WARM : WARM + PART], notes[-PART:]
    figures = {
        name: [round(median(note[name] for note in part), 1) for part in (first, last)]
        for name in COUNTED
    }
    good = all(
        after <= before * (MOST if name == "memory_mb" else 1)
        for name, (before, after) in figures.items()
    )
    return {"candidates": candidates, "failed": failed, **figures, "pass": good}


if __name__ == "__main__":
    start(main, KEYS)
