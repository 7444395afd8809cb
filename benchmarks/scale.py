"""A record of twenty thousand trials: time to resume it, time to propose, and memory.

    python benchmarks/scale.py [trials=20000] [space=tiny] [file=runs/scale.db] [strategies=all]
        [objectives=fitness]

Trials are random points of a detector space with invented fitness, written into a study on disk
once and kept there. Then a new process opens the study as a resumed search within a budget does,
and each strategy of our own proposes six times, with one more trial in the history each time. Its
first proposal looks at the whole history and is part of resuming; a proposal is the median of the
others. Memory is the growth of the resident set of that process from before the study is opened to
the end. Targets: 60 s to resume, 0.5 s a proposal (of `bayes` 0.3 s at up to 500 trials), 500 MiB.
Seconds are of the processor, of which one core is used: what it takes where the machine has nothing
else to do. Those of the clock are stated beside them. The last line is a JSON object; `pass` is
whether all are met.
"""

from __future__ import annotations

import json
import math
import random
import sqlite3
import time
from collections import defaultdict
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from lib import Figures, Table, alone, memory_mib, names, start, targets
from optuna.distributions import distribution_to_json

from yolo_nas_ext.cost.budget import Budget
from yolo_nas_ext.space.detector import DetectorSpace
from yolo_nas_ext.strategies import STRATEGIES, make
from yolo_nas_ext.study.objectives import Goal
from yolo_nas_ext.study.study import Study
from yolo_nas_ext.study.trial import Trial

KEYS = {
    "trials": 20_000,
    "space": "tiny",
    "file": "runs/scale.db",
    "strategies": "all",
    "objectives": "fitness",
}
RESUME, PROPOSE, MEMORY = 60.0, 0.5, 500.0  # seconds, seconds, MiB
FEW, PROPOSE_FEW = 500, 0.3  # up to so many trials, seconds of bayes
REPEATS = 6


def main(given: dict[str, Any]) -> Figures:
    """Fill the study, measure in a new process and return the figures."""
    Path(given["file"]).parent.mkdir(parents=True, exist_ok=True)
    fill(given["space"], Path(given["file"]), given["trials"])
    return alone(measure, given)


def fill(name: str, path: Path, trials: int) -> None:
    """Write a study of so many trials, unless it is there.

    The rows are those that Optuna writes, but in one transaction: one by one takes an hour.
    """
    if path.exists():
        return
    space, budget = DetectorSpace.load(name), Budget()
    rng = random.Random(0)
    temporary = path.with_suffix(".tmp")
    temporary.unlink(missing_ok=True)
    study = Study(space, temporary)
    seen: set[str] = set()
    rows: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
    while (number := len(seen)) < trials:
        point = space.sample(rng)
        architecture = space.architecture(point)
        if architecture.key in seen:
            continue
        seen.add(architecture.key)
        cost = budget.record(architecture)
        fitness = 0.05 * math.log(cost["flops"]) + rng.gauss(0, 0.02)
        metrics = {"fitness": fitness, "flops_g": cost["flops"] / 1e9}
        trial = Trial(number, point, architecture, {"epochs": 6.0}, "complete", metrics, cost)
        frozen = study._coder.freeze(trial)
        ended = str(frozen.datetime_complete)
        rows["trials"].append((number + 1, number, 1, "COMPLETE", ended, ended))
        rows["trial_values"].append((None, number + 1, 0, fitness, "FINITE"))
        for key, given in frozen.params.items():
            kind = frozen.distributions[key]
            code = kind.to_internal_repr(given)
            rows["trial_params"].append((None, number + 1, key, code, distribution_to_json(kind)))
        for key, given in frozen.user_attrs.items():
            rows["trial_user_attributes"].append((None, number + 1, key, json.dumps(given)))
    with closing(sqlite3.connect(temporary)) as database, database:
        for table, values in rows.items():
            marks = ",".join("?" * len(values[0]))
            database.executemany(f"INSERT INTO {table} VALUES ({marks})", values)
    temporary.rename(path)


def measure(given: dict[str, Any]) -> Figures:
    """Open the study, propose, print the table and return the figures."""
    budget = Budget({"max_flops": 1e12})  # all of them are within it, but each has to be asked
    space = DetectorSpace.load(given["space"]).within(budget)
    goal = Goal(tuple(given["objectives"].split(",")))
    space.sample(random.Random(0))
    before = memory_mib()
    begin = _now()
    study = Study(space, Path(given["file"]), goal)
    resume = _now() - begin
    print(f"{len(study.trials)} trials of the space {given['space']}: read in {_say(resume)}\n")

    def features(point: Any) -> list[float]:
        return [math.log(max(c, 1.0)) for c in budget.record(space.architecture(point)).values()]

    # Of the two that are left out one is one of the others, one draws from no record.
    own = [s for s in STRATEGIES if s not in ("auto", "darts")]
    table = Table("strategy ", f"{'a proposal':<32}", f"{'the first':<32}")
    usual: dict[str, np.ndarray] = {}
    first: list[np.ndarray] = []
    for name in own if given["strategies"] == "all" else names(given["strategies"]):
        strategy = make(name, space, goal=goal, trials=given["trials"] + 9, features=features)
        times, history = [], list(study.trials)
        for seed in range(REPEATS):
            begin = _now()
            (point,) = strategy.propose(tuple(history), 1, random.Random(seed))
            times.append(_now() - begin)
            metrics = history[seed].metrics
            history.append(Trial(len(history), point, state="complete", metrics=metrics))
        first.append(times[0])
        usual[name] = np.median(times[1:], axis=0)
        table.row(name, _say(usual[name]), _say(times[0]))
    memory = memory_mib() - before
    resume = resume + max(first, key=lambda seconds: seconds[0])
    print(f"\nresumed in {_say(resume)}, the slowest first proposal included")
    print(f"memory grew by {memory:.0f} MiB")
    bounds = dict.fromkeys(usual, PROPOSE)
    if len(study.trials) <= FEW:
        bounds["bayes"] = PROPOSE_FEW
    quick = all(seconds[0] <= bounds[name] for name, seconds in usual.items())
    met = {
        f"resumed in {RESUME:g} s": bool(resume[0] <= RESUME),
        f"a proposal in {PROPOSE} s": quick,
        f"memory below {MEMORY:g} MiB": memory <= MEMORY,
    }
    figures = {name: seconds.round(3).tolist() for name, seconds in usual.items()}
    result = {"trials": len(study.trials), "resume_s": resume.round(2).tolist()}
    return {**result, "propose_s": figures, "memory_mib": round(memory), "pass": targets(met)}


def _now() -> np.ndarray:
    """Return the seconds of the processor and of the clock."""
    return np.array([time.process_time(), time.perf_counter()])


def _say(seconds: np.ndarray) -> str:
    return f"{seconds[0]:.3f} s ({seconds[1]:.3f} s by the clock)"


if __name__ == "__main__":
    start(main, KEYS)
