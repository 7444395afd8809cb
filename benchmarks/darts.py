"""Differentiable search against chance: its network and random ones of its FLOPs, trained alone.

    python benchmarks/darts.py [set=cells] [space=tiny] [epochs=30] [trials=24] [confirm=3]
        [alone=15] [random=8] [seeds=3] [out=benchmarks/results/darts.<set>.jsonl]

For each seed DARTS searches on the images that the trainings of a reference set see
(`reference.py`): a supernet of `epochs` epochs, `trials` networks drawn from what was learnt,
the best `confirm` by the shared weights trained on from them. The network that is named, and
`random` ones within a tenth of its FLOPs, are then trained alone from random weights for `alone`
epochs of the short recipe with the same seed, and measured on all images that the search did not
see. What is compared is the found one with the mean of the random ones of its seed; the interval is
Student's over the seeds. How far the seeds' distributions agree is printed as well.

A line a search and a training goes to `out`; what is there is not done again. The last line is a
JSON object; `pass` is whether the interval is above 0.
"""

from __future__ import annotations

import itertools
import random
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import reference
from lib import RESULTS, Figures, Row, Rows, Table, start

from yolo_nas_ext.config.search import configure
from yolo_nas_ext.cost.budget import Budget
from yolo_nas_ext.estimators.base import Context
from yolo_nas_ext.estimators.training import ShortTraining
from yolo_nas_ext.estimators.weight_sharing import SharedWeights
from yolo_nas_ext.loop import run
from yolo_nas_ext.network.architecture import Architecture
from yolo_nas_ext.pipeline.confirm import ConfirmTraining, confirm
from yolo_nas_ext.space.detector import DetectorSpace
from yolo_nas_ext.strategies.darts import Darts
from yolo_nas_ext.study.leaderboard import interval
from yolo_nas_ext.study.study import Study
from yolo_nas_ext.study.trial import Trial

KEYS = {
    "set": "cells",
    "space": "tiny",
    "epochs": 30,
    "trials": 24,
    "confirm": 3,
    "alone": 15,
    "random": 8,
    "seeds": 3,
    "out": "",
}
NEAR, TRIES = 0.1, 20_000


class Alone(ShortTraining):
    """A short training on the images of the search, measured on all others."""

    def _split(self, seed: int) -> tuple[list[int], list[int]]:
        return reference.state["split"]


def main(given: dict[str, Any]) -> Figures:
    """Do what is missing, print the table and return the figures."""
    plan = reference.plan_of(str(given["set"]))
    reference.load(plan["settings"])
    rows = Rows(given["out"] or RESULTS / f"darts.{given['set']}.jsonl")
    space = DetectorSpace.load(str(given["space"]))
    budget = Budget({}, reference.state["seen"].nc, plan["settings"]["imgsz"])
    settings = {
        "imgsz": plan["settings"]["imgsz"],
        "batch": 8,
        "device": "cpu",
        "threads": 1,
    }

    def keep(row: Row) -> Row:
        print(*(row[name] for name in ("part", "seed", "key", "seconds")), flush=True)
        return rows.keep(row)

    for seed in range(int(given["seeds"])):
        found = next((r for r in rows if (r["part"], r["seed"]) == ("search", seed)), None)
        if found is None:
            found = keep(_search(space, budget, seed, given, settings))
        alone = Alone(
            reference.state["data"],
            epochs=int(given["alone"]),
            seed=seed,
            overrides={"workers": 0},
            **settings,
        )
        networks = [Architecture.from_dict(found["architecture"])]
        networks += _others(space, budget, found["flops"], seed, int(given["random"]))
        for network in networks:
            key = ("alone", seed, network.key)
            if not any((r["part"], r["seed"], r["key"]) == key for r in rows):
                keep(_alone(alone, network, budget, seed))
    return _report(rows, given)


def _search(
    space: DetectorSpace,
    budget: Budget,
    seed: int,
    given: Mapping[str, Any],
    settings: Mapping[str, Any],
) -> Row:
    """Return the network that DARTS names, and the collapse figures."""
    begin = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        estimator = SharedWeights(
            reference.state["seen"],
            space,
            epochs=int(given["epochs"]),
            seed=seed,
            learn=True,
            overrides={"workers": 0},
            **settings,
        )
        estimator.use_context(Context(Path(folder)))
        study = Study(space)

        def estimate(trial: Trial, report: Any) -> Mapping[str, float]:
            return estimator.estimate(trial.network)

        run(
            study,
            Darts(space, learned=estimator.distribution),
            estimate,
            trials=int(given["trials"]),
            seed=seed,
            cost_of=budget.record,
        )
        keys = {**settings, "estimator": "supernet", "epochs": given["epochs"], "seed": seed}
        theirs = {"workers": 0}
        config = configure({**keys, **theirs}, theirs, {})
        finalists = ConfirmTraining(config, estimator.data, estimator)
        weights = Path(folder) / "weights.pt"
        confirm(
            study, lambda t, report: finalists.train(t.network, weights), n=int(given["confirm"])
        )
        last = estimator.history()[-1]
        estimator.close()
    best, scores = study.best, [trial.fitness for trial in study.complete]
    return {
        "part": "search",
        "seed": seed,
        "key": best.network.key,
        "flops": best.cost["flops"],
        "architecture": best.network.to_dict(),
        "metrics": dict(best.metrics),
        "entropy": mean(last["entropy"].values()),
        "leaning": last["leaning"],
        "gap": max(scores) - mean(scores),
        "probabilities": last["probabilities"],
        "seconds": round(time.process_time() - begin, 1),
    }


def _others(
    space: DetectorSpace, budget: Budget, flops: float, seed: int, count: int
) -> list[Architecture]:
    """Return random networks within a tenth of some FLOPs."""
    rng, found = random.Random(f"darts/{seed}"), {}
    for _ in range(TRIES):
        network = space.architecture(space.sample(rng))
        if abs(budget.record(network)["flops"] / flops - 1) <= NEAR:
            found[network.key] = network
            if len(found) == count:
                break
    return list(found.values())


def _alone(alone: Alone, network: Architecture, budget: Budget, seed: int) -> Row:
    begin = time.process_time()
    metrics = alone.estimate(network)
    return {
        "part": "alone",
        "seed": seed,
        "key": network.key,
        "flops": budget.record(network)["flops"],
        "metrics": {name: round(value, 5) for name, value in metrics.items()},
        "seconds": round(time.process_time() - begin, 1),
    }


def _report(rows: list[Row], given: Mapping[str, Any]) -> Figures:
    """Print what was found, a line a seed, and return the difference over the seeds."""
    table = Table(
        "seed",
        f"{'found':<14}",
        "FLOPs",
        "mAP50-95",
        "random, mean (n)",
        "entropy",
        "smallest",
        "gap   ",
    )
    gains = []
    for row in (r for r in rows if r["part"] == "search"):
        trained = [r for r in rows if (r["part"], r["seed"]) == ("alone", row["seed"])]
        mine = [r["metrics"]["map50_95"] for r in trained if r["key"] == row["key"]]
        others = [r["metrics"]["map50_95"] for r in trained if r["key"] != row["key"]]
        if not mine or not others:
            continue
        gains.append(mine[0] - mean(others))
        table.row(
            row["seed"],
            f"nas-{row['key']}",
            f"{row['flops'] / 1e6:.0f}M",
            f"{mine[0]:.4f}",
            f"{mean(others):.4f} ({len(others)})",
            f"{row['entropy']:.2f}",
            f"{row['leaning']:.2f}",
            f"{row['gap']:.4f}",
        )
    agreement = _agreement([r["probabilities"] for r in rows if r["part"] == "search"])
    gain, low, high, seeds = interval(gains)
    figures = {"seeds": seeds, "gain": gain, "low": low, "high": high, **agreement}
    return {**given, **figures, "pass": bool(low > 0)}


def _agreement(learned: list[Mapping[str, list[float]]]) -> dict[str, float]:
    """Return in how many choices two seeds have the same likeliest option, and by chance would.

    `overlap` is the probability that two distributions share, on average over choices and pairs of
    seeds: 1 where they are the same, and also where nothing was learnt.
    """
    pairs = list(itertools.combinations(learned, 2))
    if not pairs:
        return {}
    choices = [(a[name], b[name]) for a, b in pairs for name in a]
    return {
        "same": mean(int(np.argmax(a) == np.argmax(b)) for a, b in choices),
        "same_by_chance": mean(1 / len(a) for a, _ in choices),
        "overlap": mean(float(np.minimum(a, b).sum()) for a, b in choices),
    }


if __name__ == "__main__":
    start(main, KEYS)
