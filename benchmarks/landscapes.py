"""Strategies on landscapes that are drawn at random, of five kinds: what `bayes` was developed on.

    python benchmarks/landscapes.py [seeds=10] [jobs=1] [strategies=bayes,local,optuna:tpe]
        [kinds=all] [out=runs/landscapes.jsonl]

Every seed draws another landscape of each kind, small enough for its optimum to be known, with 15 %
of its spread as noise that stays the same for a point. Printed is the median rank of the best after
25, 50 and 100 evaluations, and the mean of ln(rank) in brackets. The last line is a JSON object;
`pass` is whether `bayes` has the lowest mean after 50 and 100 over all kinds.
"""

from __future__ import annotations

import itertools
import math
import time
from collections import defaultdict
from typing import Any

import numpy as np
from lib import Figures, Rows, Table, names, parallel, start

from yolo_nas_ext import ChoiceSpace, search

BUDGETS = (25, 50, 100)
NOISE = 0.15  # of the spread of a landscape
Draw = np.random.Generator


def additive(draw: Draw) -> tuple[ChoiceSpace, Any]:
    """Eight layers that share three operations; every pair of layers interacts a little."""
    space = ChoiceSpace({f"l{i}": ("id", "k3", "k5") for i in range(8)})
    main = draw.normal(size=(8, 3))
    pairs = 0.7 * draw.normal(size=(8, 8, 3, 3))

    def value(rows: np.ndarray) -> np.ndarray:
        found = sum(main[i, rows[:, i]] for i in range(8))
        return found + sum(
            pairs[i, j, rows[:, i], rows[:, j]] for i, j in itertools.combinations(range(8), 2)
        )

    return space, value


def rugged(draw: Draw) -> tuple[ChoiceSpace, Any]:
    """Kauffman's NK landscape: each of nine choices counts by itself and one other."""
    space = ChoiceSpace({f"c{i}": tuple("abc") for i in range(9)})
    others = [draw.choice([j for j in range(9) if j != i], 1, replace=False) for i in range(9)]
    tables = draw.random((9, 3, 3))

    def value(rows: np.ndarray) -> np.ndarray:
        return sum(tables[i, rows[:, i], rows[:, a]] for i, (a,) in enumerate(others))

    return space, value


def network(draw: Draw) -> tuple[ChoiceSpace, Any]:
    """A chain of seven layers whose operations gain with diminishing returns, one being harmful."""
    space = ChoiceSpace({f"op{i}": ("skip", "pool", "conv1", "conv3") for i in range(7)})
    gain = np.array([0.0, 0.2, 0.6, 1.0]) + 0.15 * draw.normal(size=4)
    weight = draw.uniform(0.4, 1.0, 7)
    order = 0.8 * draw.normal(size=(6, 4, 4))  # which operation follows which

    def value(rows: np.ndarray) -> np.ndarray:
        capacity = (weight * gain[rows]).sum(axis=1)
        follows = sum(order[i, rows[:, i], rows[:, i + 1]] for i in range(6))
        harm = np.maximum((rows == 1).sum(axis=1) - 2, 0)
        return 4 * np.tanh(capacity / 3) + 0.5 * follows - 0.5 * harm

    return space, value


def detector(draw: Draw) -> tuple[ChoiceSpace, Any]:
    """Widths and depths of three stages, a kernel and a head: capacity against its cost."""
    widths, depths = (16, 24, 32, 48, 64), (1, 2, 3, 4)
    space = ChoiceSpace(
        {f"width{i}": widths for i in range(3)}
        | {f"depth{i}": depths for i in range(3)}
        | {"kernel": (3, 5), "head": ("a", "b", "c")}
    )
    share, best = draw.dirichlet(np.ones(3) * 3), draw.uniform(0.3, 0.8, 3)
    head = 0.3 * draw.normal(size=3)

    def value(rows: np.ndarray) -> np.ndarray:
        width, depth = rows[:, :3] / 4, rows[:, 3:6] / 3
        balance = -((width - best) ** 2 + 0.5 * (depth - best[::-1]) ** 2) @ share
        return 4 * balance + head[rows[:, 7]] + 0.2 * rows[:, 6] * (width[:, 0] - 0.4)

    return space, value


def cell(draw: Draw) -> tuple[ChoiceSpace, Any]:
    """A graph of four nodes whose five edges carry one of seven operations; paths add up."""
    edges = [(0, 1), (0, 2), (1, 2), (1, 3), (2, 3)]
    space = ChoiceSpace({f"{a}to{b}": tuple("tuvwxyz") for a, b in edges})
    strength = draw.uniform(0.0, 1.2, 7)
    own = 0.15 * draw.normal(size=(5, 7))

    def value(rows: np.ndarray) -> np.ndarray:
        signal = {0: np.ones(len(rows))}
        for node in (1, 2, 3):
            into = [(i, a) for i, (a, b) in enumerate(edges) if b == node]
            signal[node] = sum(np.tanh(signal[a] * strength[rows[:, i]]) for i, a in into)
        return np.log(0.1 + signal[3]) + sum(own[i, rows[:, i]] for i in range(5))

    return space, value


KINDS = {f.__name__: f for f in (additive, rugged, network, detector, cell)}
KEYS = {
    "seeds": 10,
    "jobs": 1,
    "strategies": "bayes,local,evolution,optuna:tpe",
    "kinds": ",".join(KINDS),
    "out": "runs/landscapes.jsonl",
}


def run(task: dict[str, Any]) -> dict[str, Any]:
    """Search one landscape."""
    draw = np.random.default_rng([task["seed"], sum(map(ord, task["kind"]))])
    space, value = KINDS[task["kind"]](draw)
    rows = np.array(list(itertools.product(*(range(len(o)) for o in space.choices.values()))))
    values = value(rows)
    values = values + NOISE * values.std() * draw.normal(size=len(values))
    options = itertools.product(*space.choices.values())
    table = dict(zip(options, values.tolist(), strict=True))
    begin = time.process_time()
    study = search(
        space,
        lambda p: {"fitness": table[tuple(p.values())]},
        strategy=task["strategy"],
        trials=max(BUDGETS),
        seed=task["seed"],
    )
    seen = [t.metrics["fitness"] for t in study.trials]
    ranks = [int((values > max(seen[:n])).sum()) + 1 for n in BUDGETS]
    return {**task, "ranks": ranks, "cpu_seconds": round(time.process_time() - begin, 2)}


def main(given: dict[str, Any]) -> Figures:
    """Make the runs that are missing, print the table and return the figures."""
    runs = Rows(given["out"])
    have = {(r["kind"], r["strategy"], r["seed"]) for r in runs}
    wanted = itertools.product(
        range(given["seeds"]), names(given["kinds"]), names(given["strategies"])
    )
    todo = [
        {"kind": kind, "strategy": strategy, "seed": seed}
        for seed, kind, strategy in wanted
        if (kind, strategy, seed) not in have
    ]
    for found in parallel(run, todo, given["jobs"]):
        runs.keep(found)
    return report([r for r in runs if r["seed"] < given["seeds"]])


def report(runs: list[dict[str, Any]]) -> Figures:
    """Print medians and means, and return the figures."""
    groups: dict[str, dict[str, list[list[int]]]] = defaultdict(lambda: defaultdict(list))
    for found in runs:
        groups[found["strategy"]][found["kind"]].append(found["ranks"])
    kinds = [kind for kind in KINDS if any(kind in group for group in groups.values())]
    table = Table(f"{'strategy':<12}", *(f"{kind:<28}" for kind in kinds), f"{'all':<14}")
    means = {}
    for strategy, group in groups.items():
        cells, logs = [], []
        for kind in kinds:
            ranks = np.array(group[kind])
            logs.append(np.log(ranks).mean(axis=0))
            middle = "/".join(f"{m:g}" for m in np.median(ranks, axis=0))
            cells.append(f"{middle} ({_slashed(logs[-1])})")
        means[strategy] = np.mean(logs, axis=0)
        table.row(strategy, *cells, _slashed(means[strategy]))
    mine = means.get("bayes", np.full(3, math.inf))
    passed = all((mine <= other)[1:].all() for other in means.values())
    figures = {name: [round(float(m), 3) for m in values] for name, values in means.items()}
    return {"mean_ln_rank": figures, "pass": bool(passed)}


def _slashed(values: np.ndarray) -> str:
    return "/".join(f"{value:.2f}" for value in values)


if __name__ == "__main__":
    start(main, KEYS)
