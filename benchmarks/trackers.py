"""What a tracker costs beside a trial, as a share of the trial's time.

    python benchmarks/trackers.py [trials=50] [seconds=60]

A study of drawn numbers is told to each tracker that is installed and needs no account: MLflow with
its file store, and TensorBoard. What counts is the time of all calls of a search, the results at
its end included, over the trials' own. `seconds` is what a trial takes: a minute is short for a
training on a CPU. The last line is a JSON object; `pass` is whether every share is below 1 %.
"""

from __future__ import annotations

import os
import random
import tempfile
import time
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from lib import Figures, Table, machine, start, targets

from yolo_nas_ext import ChoiceSpace, Study, Trial, trackers
from yolo_nas_ext.config.search import SearchSettings
from yolo_nas_ext.pipeline.tracking import Tracking

KEYS = {"trials": 50, "seconds": 60}
OFFLINE = ("mlflow", "tensorboard")
MOST = 0.01


def main(given: dict[str, Any]) -> Figures:
    """Print the table and return the figures."""
    trials, seconds = int(given["trials"]), float(given["seconds"])
    table = Table(f"{'tracker':<12}", "ms a trial", "of a trial")
    found: dict[str, float] = {}
    for name in OFFLINE:
        if not trackers.installed(name):
            print(f"{name} is not installed: left out")
            continue
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            os.environ["MLFLOW_TRACKING_URI"] = (Path(folder) / "mlruns").as_uri()
            os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"
            found[name] = told(name, Path(folder), trials) / trials
        table.row(name, f"{1e3 * found[name]:.1f}", f"{found[name] / seconds:.3%}")
    met = {f"{name}: below {MOST:.0%}": each / seconds < MOST for name, each in found.items()}
    met["one is installed"] = bool(found)
    rounded = {name: round(each, 5) for name, each in found.items()}
    return {"seconds_a_trial": rounded, "trial": seconds, **machine(), "pass": targets(met)}


def told(name: str, folder: Path, trials: int) -> float:
    """Return the seconds that a tracker takes for a search of so many trials.

    Args:
        name: A key of `trackers.TRACKERS`.
        folder: Where it writes.
        trials: Each has twenty metrics, ten choices and a curve of a hundred epochs.
    """
    space = ChoiceSpace({f"c{i}": tuple(range(8)) for i in range(10)})
    study, rng = Study(space), random.Random(0)
    (folder / "report.html").write_text("x" * 500_000, encoding="utf-8")
    job: Any = SimpleNamespace(
        study=study, folder=folder, config=SearchSettings(), finals=None, interrupted=False
    )
    watch = Tracking([(name, trackers.make(name))])
    spent = 0.0

    def timed(tell: Any, *what: Any) -> None:
        nonlocal spent
        begin = time.perf_counter()
        tell(job, *what)
        spent += time.perf_counter() - begin

    timed(watch.start)
    for number in range(trials):
        metrics = {f"m{i}": rng.random() for i in range(19)} | {"fitness": rng.random()}
        curve = {epoch: rng.random() for epoch in range(1, 101)}
        point = space.sample(rng)
        study.add([Trial(number, point, state="complete", metrics=metrics, curve=curve)])
        timed(watch.trial, study.trials[-1])
    job.best = study.best
    timed(watch.end)
    return spent


if __name__ == "__main__":
    start(main, KEYS)
