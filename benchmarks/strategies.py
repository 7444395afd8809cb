"""Strategies on a table of trained networks with a known optimum: rank of the best found.

    python benchmarks/strategies.py [tables=../shared/data/nasbench201] [seeds=50] [jobs=1]
        [only=bayes,optuna:gp] [out=runs/strategies.jsonl]

The table is NAS-Bench-201's 15,625 cells after 12 epochs on three data sets. A search sees the
names of six choices with five options each and the validation accuracy of what it asks for.

1. Median rank by validation accuracy of the best of 25, 50 and 100 evaluations, the test accuracy
   of that of 100, and Wilcoxon's signed-rank test over seeds of `bayes` against each other.
2. The same under a bound on the latency on three devices, the fastest third of the cells allowed.
3. Hypervolume of accuracy against latency after 100 evaluations, relative to the true front's, also
   of Optuna's NSGA-II in its own loop.

Runs are kept in `out` and made once; run again to go on, or to make those of some strategies only.
`optuna:gp` takes minutes a search and has the first ten seeds. The last line is a JSON object;
`pass` is whether `bayes` meets its targets.
"""

from __future__ import annotations

import csv
import math
import re
import time
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import optuna
from lib import SHARED, Figures, Rows, Table, names, parallel, start
from scipy.stats import wilcoxon

from yolo_nas_ext import ChoiceSpace, search
from yolo_nas_ext.study.objectives import hypervolume

DATA = ("cifar10", "cifar100", "imagenet")
DEVICES = ("pixel3", "raspi4", "1080ti_1")
BUDGETS = (25, 50, 100)
SLOW = {"optuna:gp": 10}  # seeds of a strategy that takes minutes
FAST = ("random", "local", "evolution", "reinforce", "nsga2", "optuna:tpe", "bayes")
STRATEGIES = (*FAST, *SLOW)
RIVALS = ("random", "local", "evolution", "optuna:tpe", "optuna:gp")
LIMITED = ("random", "optuna:tpe", "bayes")
FRONTS = ("random", "optuna's NSGA-II", "nsga2", "bayes")
TPE = {"cifar10": 137, "cifar100": 67, "imagenet": 50}  # its rank after 25, which bayes must keep
ALLOWED = 1 / 3  # part of the cells within the bound on latency
KEYS = {
    "tables": SHARED / "nasbench201",
    "seeds": 50,
    "jobs": 1,
    "only": "",
    "out": "runs/strategies.jsonl",
}
Run = dict[str, Any]


def main(given: dict[str, Any]) -> Figures:
    """Make the runs that are missing, print the tables and return the figures."""
    runs = Rows(given["out"])
    have = {_key(run) for run in runs}
    only = names(given["only"]) or {*STRATEGIES, *LIMITED, *FRONTS}
    todo = [t for t in _tasks(given["seeds"]) if _key(t) not in have and t["strategy"] in only]
    print(f"{len(runs)} runs are there, {len(todo)} to do")
    begin = time.monotonic()
    found = parallel(_run, todo, given["jobs"], _start, (given["tables"],))
    for done, run in enumerate(found, 1):
        runs.keep(run)
        if done % 100 == 0:
            left = (time.monotonic() - begin) / done * (len(todo) - done) / 60
            print(f"{done}/{len(todo)}, {left:.0f} min left", flush=True)
    return _report([run for run in runs if run["seed"] < given["seeds"]])


def _tasks(seeds: int) -> Iterator[Run]:
    for seed in range(seeds):
        for data in DATA:
            for strategy in STRATEGIES:
                if seed < SLOW.get(strategy, seeds):
                    yield {"part": "rank", "on": data, "strategy": strategy, "seed": seed}
    for seed in range(seeds):
        for device in DEVICES:
            for strategy in LIMITED:
                yield {"part": "limit", "on": device, "strategy": strategy, "seed": seed}
            for strategy in FRONTS:
                yield {"part": "front", "on": device, "strategy": strategy, "seed": seed}


def _key(run: Run) -> tuple[Any, ...]:
    return run["part"], run["on"], run["strategy"], run["seed"]


# The runs


def _start(folder: str) -> None:
    Cells.folder = Path(folder)


class Cells:
    """The cells and what is known of them, read once a process."""

    folder = Path()

    def __init__(self) -> None:
        accuracy = self._read("accuracy_12epochs.csv")
        latency = {row["arch"]: row for row in self._read("latency_ms.csv")}
        self.cells = [tuple(re.findall(r"\|?([a-z_0-9]+)~\d", row["cellstr"])) for row in accuracy]
        self.index = {cell: i for i, cell in enumerate(self.cells)}
        self.columns = {
            name: np.array([float(row[name]) for row in accuracy])
            for name in (f"{data}-{part}" for data in DATA for part in ("val", "test"))
        }
        for device in DEVICES:
            found = [float(latency[row["cellstr"]][device]) for row in accuracy]
            self.columns[device] = np.array(found)
        operations = sorted({operation for cell in self.cells for operation in cell})
        self.space = ChoiceSpace({f"edge{i}": operations for i in range(6)})

    def _read(self, name: str) -> list[dict[str, str]]:
        with (self.folder / name).open(newline="") as file:
            return list(csv.DictReader(file))

    def place(self, point: Any) -> int:
        """Return the row of a point."""
        return self.index[tuple(point.values())]


@cache
def _table() -> Cells:
    return Cells()


def _run(task: Run) -> Run:
    parts = {"rank": _rank, "limit": _limit, "front": _front}
    begin = time.process_time()
    result = parts[task["part"]](task)
    return {**task, **result, "cpu_seconds": round(time.process_time() - begin, 2)}


def _rank(task: Run) -> Run:
    table = _table()
    seen, test = (table.columns[f"{task['on']}-{part}"] for part in ("val", "test"))
    study = search(
        table.space,
        lambda p: {"fitness": seen[table.place(p)]},
        strategy=task["strategy"],
        trials=max(BUDGETS),
        seed=task["seed"],
    )
    rows = [table.place(t.point) for t in study.trials]
    return {
        "ranks": [int((seen > seen[rows[:n]].max()).sum()) + 1 for n in BUDGETS],
        "test": float(test[table.place(study.best.point)]),
    }


def _limit(task: Run) -> Run:
    table, n = _table(), 50
    fitness, latency = table.columns["cifar100-val"], table.columns[task["on"]]
    bound = float(np.quantile(latency, ALLOWED))

    def estimate(point: Any) -> dict[str, float]:
        row = table.place(point)
        return {"fitness": fitness[row], "latency_ms": latency[row]}

    study = search(
        table.space,
        estimate,
        strategy=task["strategy"],
        trials=n,
        seed=task["seed"],
        limits={"latency_ms": bound},
    )
    row = table.place(study.best.point)
    allowed = fitness[latency <= bound]
    return {
        "ranks": [int((allowed > fitness[row]).sum()) + 1],
        "feasible": bool(latency[row] <= bound),
    }


def _front(task: Run) -> Run:
    table, n = _table(), max(BUDGETS)
    columns = (table.columns["cifar100-val"], -table.columns[task["on"]])
    low = [float(column.min()) for column in columns]
    everything = np.stack(columns, axis=1)
    if task["strategy"] == "optuna's NSGA-II":
        rows = _optuna_rows(table, everything, n, task["seed"])
    else:

        def estimate(point: Any) -> dict[str, float]:
            values = everything[table.place(point)]
            return {"fitness": values[0], "latency_ms": -values[1]}

        study = search(
            table.space,
            estimate,
            strategy=task["strategy"],
            trials=n,
            seed=task["seed"],
            objectives="fitness,latency_ms",
        )
        rows = [table.place(t.point) for t in study.trials]
    part = hypervolume(everything[rows], low) / hypervolume(everything, low)
    return {"hypervolume": part}


def _optuna_rows(table: Cells, values: np.ndarray, n: int, seed: int) -> list[int]:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    rows = []

    def objective(trial: optuna.Trial) -> tuple[float, float]:
        chosen = [trial.suggest_categorical(c, o) for c, o in table.space.choices.items()]
        rows.append(table.index[tuple(chosen)])
        return tuple(values[rows[-1]])

    # Its best setting for so few: with the default population of 50 only one generation is bred.
    sampler = optuna.samplers.NSGAIISampler(population_size=20, seed=seed)
    study = optuna.create_study(directions=["maximize"] * 2, sampler=sampler)
    study.optimize(objective, n_trials=n)
    return rows


# The tables


def _report(runs: list[Run]) -> Figures:
    groups: dict[tuple[str, str], dict[str, list[Run]]] = defaultdict(lambda: defaultdict(list))
    for run in sorted(runs, key=lambda run: run["seed"]):
        groups[run["part"], run["on"]][run["strategy"]].append(run)
    figures: Figures = {"seeds": len({run["seed"] for run in runs})}
    missed: list[str] = []
    for (part, on), group in sorted(groups.items(), key=lambda item: item[0], reverse=True):
        print(f"\n{part} on {on}\n")
        write = {"rank": _ranks, "limit": _limits, "front": _fronts}[part]
        figures[f"{part} {on}"] = write(group, on, missed)
    for miss in missed:
        print(f"MISSED  {miss}")
    return {**figures, "pass": bool(runs) and not missed}


def _columns(group: dict[str, list[Run]], name: str) -> dict[str, np.ndarray]:
    """Return a figure of every run, by strategy, the seeds in order."""
    return {strategy: np.array([run[name] for run in runs]) for strategy, runs in group.items()}


def _ranks(group: dict[str, list[Run]], on: str, missed: list[str]) -> Run:
    table = Table(
        f"{'strategy':<12}", "25    ", "50    ", "100   ", "test %", "CPU s", "p at 50, 100"
    )
    figures: Run = {}
    ranks = _columns(group, "ranks")
    for strategy, runs in group.items():
        middle = [float(m) for m in np.median(ranks[strategy], axis=0)]
        tests = []
        for i in (1, 2) if strategy in RIVALS else ():
            paired = min(len(ranks["bayes"]), len(runs))  # the first seeds of both
            p = _p(ranks["bayes"][:paired, i], ranks[strategy][:paired, i])
            tests.append(f"{p:.1e}")
            if middle[i] > 1 and not p < 0.01:
                missed.append(f"{on}: bayes against {strategy} at {BUDGETS[i]}: p = {p:.2g}")
        test, cpu = (median(run[name] for run in runs) for name in ("test", "cpu_seconds"))
        cells = (f"{m:g}" for m in middle)
        table.row(strategy, *cells, f"{test:.2f}", f"{cpu:.2f}", ", ".join(tests))
        figures[strategy] = middle
    for n, found, bound in zip(BUDGETS, figures["bayes"], (TPE[on], 2, 1), strict=True):
        if found > bound:
            missed.append(f"{on}: bayes has median rank {found:g} after {n}, above {bound}")
    return figures


def _limits(group: dict[str, list[Run]], on: str, missed: list[str]) -> Run:
    table = Table(f"{'strategy':<12}", "50    ", "infeasible answers")
    figures: Run = {}
    for strategy, runs in group.items():
        figures[strategy] = float(median(run["ranks"][0] for run in runs))
        broken = sum(not run["feasible"] for run in runs)
        table.row(strategy, f"{figures[strategy]:g}", broken)
        if strategy == "bayes" and broken:
            missed.append(f"{on}: {broken} infeasible answers of bayes")
    for strategy in group.keys() - {"bayes"}:
        if figures["bayes"] >= figures[strategy] > 1:
            missed.append(f"{on}: bayes is not better than {strategy} within the limit")
    return figures


def _fronts(group: dict[str, list[Run]], on: str, missed: list[str]) -> Run:
    table = Table(f"{'strategy':<18}", "hypervolume at 100", "p of bayes being above")
    figures: Run = {}
    volumes = _columns(group, "hypervolume")
    for strategy, mine in volumes.items():
        figures[strategy] = round(float(np.median(mine)), 5)
        p = "" if strategy == "bayes" else f"{_p(-volumes['bayes'], -mine):.1e}"
        table.row(strategy, f"{figures[strategy]:.4f}", p)
    if figures["bayes"] <= figures["optuna's NSGA-II"]:
        missed.append(f"{on}: hypervolume of bayes is not above Optuna's NSGA-II")
    return figures


def _p(mine: np.ndarray, other: np.ndarray) -> float:
    """Return the one-sided p that `mine` is lower, paired by seed."""
    if (mine == other).all():
        return math.nan
    return float(wilcoxon(mine, other, alternative="less", zero_method="zsplit").pvalue)


if __name__ == "__main__":
    start(main, KEYS)
