"""What pruning saves and what it loses, replayed on networks that were trained in full.

    python benchmarks/pruning.py [set=brain] [orders=200]

The learning curves of a reference set (`reference.py`) come in random orders, as a random
search would meet them, and every pruner decides epoch by epoch as in a search. The table gives the
share of all epochs that are trained, how often the best network is pruned, and the regret: the
fitness of the best network less that of the best one which is trained to its end, on average and
in the worst twentieth of the orders. The last line is a JSON object; `pass` is a mean regret of at
most 0.01 with at least a quarter of the epochs saved, for any pruner.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import reference
from lib import Figures, Table, start

from yolo_nas_ext.estimators.training import localisation
from yolo_nas_ext.space.choices import Point
from yolo_nas_ext.study.pruning import PRUNERS, Pruning
from yolo_nas_ext.study.trial import Trial

KEYS = {"set": "brain", "orders": 200}
REGRET, SAVED = 0.01, 0.25


def main(given: dict[str, Any]) -> Figures:
    """Print the table and return the figures."""
    rows = [
        row for row in reference.trainings(str(given["set"])) if row["metrics"] and row["seed"] == 0
    ]
    print(f"{given['set']}: {len(rows)} networks, {len(rows[0]['losses'])} epochs\n")
    table = Table("pruner", "epochs trained", "best pruned", "regret", "regret, 95 %")
    figures: dict[str, dict[str, float]] = {}
    for name in PRUNERS:
        replays = [replay(name, rows, seed) for seed in range(int(given["orders"]))]
        epochs, regret = (np.array([r[i] for r in replays]) for i in (0, 1))
        figures[name] = figure = {
            "epochs": float(epochs.mean()),
            "lost": float((regret > 0).mean()),
            "regret": float(regret.mean()),
            "worst": float(np.quantile(regret, 0.95)),
        }
        shares = [f"{figure[share]:.0%}" for share in ("epochs", "lost")]
        table.row(name, *shares, f"{figure['regret']:.4f}", f"{figure['worst']:.4f}")
    good = any(f["regret"] <= REGRET and f["epochs"] <= 1 - SAVED for f in figures.values())
    return {**given, "networks": len(rows), "figures": figures, "pass": good}


def replay(pruner: str, rows: Sequence[Mapping[str, Any]], seed: int) -> tuple[float, float]:
    """Return the share of epochs trained and the regret of one random order."""
    order = random.Random(seed).sample(rows, len(rows))
    pruning, trained, kept = Pruning(pruner), 0, [0.0]
    for number, row in enumerate(order):
        trial = Trial(number, Point({"key": row["key"]}))
        pruning.start(trial)
        for epoch, losses in enumerate(row["losses"], 1):
            trained += 1
            if epoch < len(row["losses"]) and pruning.prune(trial, epoch, localisation(losses)):
                trial = replace(trial, state="pruned")
                break
        else:
            fitness = row["metrics"]["fitness"]
            trial = replace(trial, state="complete", metrics={"fitness": fitness})
            kept.append(fitness)
        pruning.end(trial)
    best = max(row["metrics"]["fitness"] for row in rows)
    return trained / sum(len(row["losses"]) for row in rows), best - max(kept)


if __name__ == "__main__":
    start(main, KEYS)
