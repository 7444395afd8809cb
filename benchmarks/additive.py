"""One change at a time, then the best sum: is it ahead of other strategies at equal trials?

    python benchmarks/additive.py [tables=../shared/data/nasbench201] [seeds=8] [jobs=1]
        [out=runs/additive.jsonl]

Every strategy starts from the parent's own trial, within a limit on what a candidate may cost.

1. Landscapes drawn at random that are like detectors around a parent: image sizes, levels, widths,
   hidden widths and repeats of 8 stages, with interactions. Costs multiply with the image size, and
   widths with each other. The limit is the parent's cost, and half of it. Measurements have noise
   of 30 % of the spread of random candidates. `additive+scores` has a guess of each single change
   with as much error as truth in it, beyond the trials. Printed is the true fitness of the best by
   measurement, as a part of the way from the parent to the optimum (a long search without noise;
   within half of the cost from the worst start of it), after 5, 10, 20, 40 and 80 trials.
2. NAS-Bench-201's cells on CIFAR-100 within the latency of a parent on a Raspberry Pi 4: rank of
   the best by validation accuracy among the cells within it. The parent is drawn from those in the
   middle by both. There are no scores.

All figures are medians over the seeds; every seed draws another landscape. Runs are kept in `out`.
The last line is a JSON object; `pass` is whether `additive+scores` is the best of all after 20, 40
and 80 trials on both landscapes.
"""

from __future__ import annotations

import csv
import itertools
import random
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from lib import SHARED, Figures, Rows, Table, parallel, start, targets

from yolo_nas_ext.space.choices import ChoiceSpace
from yolo_nas_ext.space.point import Point
from yolo_nas_ext.strategies import make
from yolo_nas_ext.study.trial import Trial

BUDGETS = (5, 10, 20, 40, 80)
TARGETS = (20, 40, 80)
STRATEGIES = ("random", "evolution", "bayes", "additive", "additive+scores")
MINE = "additive+scores"
PARTS = ("detector", "half", "cells")
NOISE = 0.3
DEVICE, DATA = "raspi4", "cifar100-val"
MIDDLE = (0.4, 0.6)  # quantiles of latency and accuracy between which a cell may be the parent
KEYS = {"tables": SHARED / "nasbench201", "seeds": 8, "jobs": 1, "out": "runs/additive.jsonl"}
Run = dict[str, Any]


def main(given: dict[str, Any]) -> Figures:
    """Make the runs that are missing, print the tables and return the figures."""
    runs = Rows(given["out"])
    have = {_key(run) for run in runs}
    wanted = itertools.product(range(given["seeds"]), PARTS, STRATEGIES)
    todo = [
        {"part": part, "strategy": strategy, "seed": seed}
        for seed, part, strategy in wanted
        if not (part == "cells" and strategy == MINE)
    ]
    todo = [task for task in todo if _key(task) not in have]
    for found in parallel(run, todo, given["jobs"], _start, (given["tables"],)):
        runs.keep(found)
    return report([r for r in runs if r["seed"] < given["seeds"]])


def _key(run: Run) -> tuple[Any, ...]:
    return run["part"], run["strategy"], run["seed"]


# The landscapes


class Limit:
    """A bound on a cost."""

    def __init__(self, cost: Callable[[Point], float], bound: float) -> None:
        self.cost, self.bound = cost, bound

    def values(self, subject: Point) -> Mapping[str, tuple[float, float]]:
        """Return what a point costs, and the bound."""
        return {"max_cost": (self.cost(subject), self.bound)}

    def say(self, name: str, value: float) -> str:
        """Return a cost as a person writes it."""
        return f"{value:.3g}"


@dataclass
class Landscape:
    """What a strategy is tried on.

    Attributes:
        space: Within the limit.
        parent: Where it starts.
        fitness: The truth.
        noise: Deviation of a measurement.
        scores: Guesses of single changes.
    """

    space: ChoiceSpace
    parent: Point
    fitness: Callable[[Point], float]
    noise: float = 0.0
    scores: Mapping[Point, float] | None = None


STAGES = 8
SIZES, WIDTHS, DEPTHS = (96, 112, 128, 144, 160), (0.5, 0.75, 1.0, 1.25, 1.5), (1, 2, 3)
LEVELS = ("3-5", "3-4", "2-5")


def detector(seed: int, share: float) -> Landscape:
    """Return a landscape around a parent; a candidate may cost a share of it."""
    draw = np.random.default_rng([seed, 7])
    space = ChoiceSpace(
        {"imgsz": SIZES, "levels": LEVELS}
        | {f"width{i}": WIDTHS for i in range(STAGES)}
        | {f"hidden{i}": WIDTHS for i in range(STAGES)}
        | {f"depth{i}": DEPTHS for i in range(STAGES // 2)}
    )
    usual = {"imgsz": 112, "levels": "3-5"}
    usual |= {name: 2 if name.startswith("depth") else 1.0 for name in list(space.choices)[2:]}
    parent = space.point(usual)
    part = draw.dirichlet(np.full(STAGES, 2.0))  # of the parent's cost
    gain = {"width": draw.gamma(1.5, 0.018, STAGES), "hidden": draw.gamma(1.5, 0.009, STAGES)}
    deeper, larger = draw.gamma(1.5, 0.008, STAGES // 2), draw.uniform(0.05, 0.2)
    best = draw.uniform(0.9, 1.6, STAGES)  # widths
    level = dict(zip(LEVELS, (0.0, *draw.normal(0.0, 0.02, 2)), strict=True))
    together = dict(zip(LEVELS, draw.normal(0.0, 0.01, 3), strict=True))  # with the image size
    pairs = draw.normal(0.0, 0.01, (STAGES, STAGES))

    def stages(point: Point) -> range:
        return range(STAGES - 2 * (point["levels"] == "3-4"))

    def cost(point: Point) -> float:
        total, before = 0.05, 1.0
        for i in stages(point):
            width, inner = point[f"width{i}"], point[f"hidden{i}"] * point[f"depth{i // 2}"] / 2
            total += part[i] * width * (before + inner) / 2
            before = width
        return total * (1.35 if point["levels"] == "2-5" else 1.0) * (point["imgsz"] / 112) ** 2

    def fitness(point: Point) -> float:
        step = SIZES.index(point["imgsz"]) - 1
        found = 0.4 + larger * np.log(point["imgsz"] / 112)
        found += level[point["levels"]] + step * together[point["levels"]]
        for i in stages(point):
            width, hidden = point[f"width{i}"], point[f"hidden{i}"]
            balance = (1 - best[i]) ** 2 - (width - best[i]) ** 2
            found += gain["width"][i] * (np.log(width) + balance / 3)
            found += gain["hidden"][i] * np.log(hidden)
        found += sum(deeper[i // 2] * (point[f"depth{i // 2}"] - 2) for i in stages(point)[::2])
        widths = np.array([point[f"width{i}"] - 1 for i in range(STAGES)])
        hidden = np.array([point[f"hidden{i}"] - 1 for i in range(STAGES)])
        return float(found + widths @ pairs @ hidden)

    changes = [
        space.canonical({**parent, name: option})
        for name, options in space.choices.items()
        for option in options
        if option != parent[name]
    ]
    gains = np.array([fitness(point) for point in changes]) - fitness(parent)
    scores = gains + gains.std() * draw.normal(size=len(gains))
    rng = random.Random(seed)
    spread = np.std([fitness(space.sample(rng)) for _ in range(300)])
    return Landscape(
        space.within(Limit(cost, share * cost(parent))),
        parent,
        fitness,
        NOISE * float(spread),
        dict(zip(changes, scores.tolist(), strict=True)),
    )


def optimum(landscape: Landscape, restarts: int = 6, patience: int = 1500) -> tuple[float, float]:
    """Return the lowest and the highest fitness that long searches start from and end at."""
    space, rng = landscape.space, random.Random(0)
    starts, ends = [], []
    for restart in range(restarts):
        point = landscape.parent
        if restart or not space.feasible(point):
            point = space.sample(rng)
        best, stale = landscape.fitness(point), 0
        starts.append(best)
        while stale < patience:
            values = dict(point)
            for name in rng.choices(list(space.choices), k=rng.choice((1, 2, 2, 3, 4))):
                values[name] = rng.choice(space.choices[name])
            other = space.canonical(values)
            found, stale = landscape.fitness(other), stale + 1
            if found > best and space.feasible(other):
                point, best, stale = other, found, 0
        ends.append(best)
    return min(starts), max(ends)


# The table


class Cells:
    """The cells that a search may ask for, read once a process."""

    folder = Path()

    def __init__(self) -> None:
        accuracy = self._read("accuracy_12epochs.csv")
        latency = {row["arch"]: float(row[DEVICE]) for row in self._read("latency_ms.csv")}
        cells = [tuple(re.findall(r"\|?([a-z_0-9]+)~\d", row["cellstr"])) for row in accuracy]
        self.cells = cells
        self.latency = np.array([latency[row["cellstr"]] for row in accuracy])
        self.accuracy = np.array([float(row[DATA]) for row in accuracy])
        self.index = {cell: i for i, cell in enumerate(cells)}
        operations = sorted({operation for cell in cells for operation in cell})
        self.space = ChoiceSpace({f"edge{i}": operations for i in range(6)})

    def landscape(self, seed: int) -> tuple[Landscape, np.ndarray]:
        """Return a parent's landscape, and the accuracies of the cells within its latency."""
        middle = np.ones(len(self.cells), dtype=bool)
        for column in (self.latency, self.accuracy):
            low, high = np.quantile(column, MIDDLE)
            middle &= (column >= low) & (column <= high)
        row = random.Random(seed).choice(np.flatnonzero(middle).tolist())
        bound = float(self.latency[row])
        limit = Limit(lambda point: float(self.latency[self._row(point)]), bound)
        parent = self.space.point(dict(zip(self.space.choices, self.cells[row], strict=True)))
        within = self.space.within(limit)
        found = Landscape(within, parent, lambda point: float(self.accuracy[self._row(point)]))
        return found, self.accuracy[self.latency <= bound]

    def _row(self, point: Point) -> int:
        return self.index[tuple(point.values())]

    def _read(self, name: str) -> list[dict[str, str]]:
        with (self.folder / name).open(newline="") as file:
            return list(csv.DictReader(file))


@cache
def _cells() -> Cells:
    return Cells()


def _start(folder: str) -> None:
    Cells.folder = Path(folder)


# The runs


def run(task: Run) -> Run:
    """Search one landscape."""
    begin = time.process_time()
    if task["part"] == "cells":
        landscape, allowed = _cells().landscape(task["seed"])
        seen = [truth for truth, _ in _trials(landscape, task)]
        found = [int((allowed > max(seen[:n])).sum()) + 1 for n in BUDGETS]
    else:
        landscape = detector(task["seed"], 0.5 if task["part"] == "half" else 1.0)
        low, high = optimum(landscape)
        if task["part"] == "detector":
            low = landscape.fitness(landscape.parent)
        begin = time.process_time()
        trials = list(_trials(landscape, task))
        best = [max(trials[:n], key=lambda trial: trial[1])[0] for n in BUDGETS]
        found = [round((truth - low) / (high - low), 4) for truth in best]
    return {**task, "found": found, "cpu_seconds": round(time.process_time() - begin, 2)}


def _trials(landscape: Landscape, task: Run) -> Iterator[tuple[float, float]]:
    """Yield the true and the measured fitness of every trial."""
    space, parent, scores = landscape.space, landscape.parent, landscape.scores
    options: dict[str, Any] = {}
    if task["strategy"].startswith("additive"):
        options["parent"] = parent
    if task["strategy"] == MINE and scores:
        options["score"] = lambda points: [scores[point] for point in points]
    trials = max(BUDGETS)
    strategy = make(task["strategy"].partition("+")[0], space, trials=trials, **options)
    noise, history = random.Random(f"noise {task['seed']}"), []
    for number in range(trials):
        point = parent
        if number or not space.feasible(parent):
            rng = random.Random(f"{task['seed']}/{number}")
            (point,) = strategy.propose(tuple(history), 1, rng)
        truth = landscape.fitness(point)
        measured = truth + landscape.noise * noise.gauss(0.0, 1.0)
        history.append(Trial(number, point, state="complete", metrics={"fitness": measured}))
        yield truth, measured


def report(runs: list[Run]) -> Figures:
    """Print the medians and return the figures."""
    figures: Figures = {"seeds": len({run["seed"] for run in runs})}
    met: dict[str, bool] = {}
    for part in PARTS:
        print(f"\n{part}\n")
        table = Table(f"{'strategy':<16}", *(f"{n:<6}" for n in BUDGETS), "CPU s a search")
        medians: dict[str, list[float]] = {}
        for strategy in STRATEGIES:
            mine = [r for r in runs if (r["part"], r["strategy"]) == (part, strategy)]
            if mine:
                middle = np.median([r["found"] for r in mine], axis=0)
                medians[strategy] = middle.round(3).tolist()
                seconds = np.median([r["cpu_seconds"] for r in mine])
                table.row(strategy, *(f"{m:g}" for m in medians[strategy]), f"{seconds:.1f}")
        figures[part] = medians
        for n in TARGETS if MINE in medians else ():
            at = BUDGETS.index(n)
            best = max(medians, key=lambda strategy, at=at: medians[strategy][at])
            met[f"{part}: {MINE} is the best after {n} trials"] = best == MINE
    print()
    return {**figures, "pass": targets(met) and bool(met)}


if __name__ == "__main__":
    start(main, KEYS)
