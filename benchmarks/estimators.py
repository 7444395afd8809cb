"""How well each estimator orders networks: its rank correlation with trainings in full.

    python benchmarks/estimators.py [set=brain] [only=short,naswot] [evaluate=True] [jobs=1]

Each estimator evaluates every network of a reference set (`reference.py`) from the images that
the full trainings saw and no others; what it says is compared with the fitness after those. The
table gives Kendall's tau and Spearman's rho with 95 % bootstrap intervals over networks, tau over
the better half, regret@3 (fitness lost by training only the estimator's three first), and the
cost: its share of the processor time of full trainings (a process' first network alone augments
images, and the others get its batches; in rows made to 29 November 2026 all did). `warm` starts
from weights of a trained YOLOv8n, whose training is not counted. Above it stand tau between two
seeds of the full trainings, the tau that a perfect estimator would have with trainings as noisy as
these, and what costs nothing: parameters, FLOPs and the analytic scores. `+ FLOPs` is the mean of
two ranks.

Estimates are kept in `results/reference/<set>.estimates.jsonl` and made once; run again to go on,
and with `evaluate=False` for the table of what is there. The last line is a JSON object; `pass` is
whether the targets at 5 % and 1 % of the cost and the zero-cost target are met. A target is met
where the whole interval reaches it, and open where the estimate alone does. The zero-cost score is
the one that is best on the other set.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import reference
from lib import Figures, Row, Rows, Table, names, parallel, reached, start, targets
from scipy.stats import kendalltau, rankdata, spearmanr

from yolo_nas_ext.config.search import PROXIES
from yolo_nas_ext.cost.counts import costs
from yolo_nas_ext.errors import NASError
from yolo_nas_ext.estimators.extrapolation import projected
from yolo_nas_ext.estimators.zero_cost.entropy import SCORES as ANALYTIC
from yolo_nas_ext.estimators.zero_cost.proxy import log_ranks
from yolo_nas_ext.estimators.zero_cost.resolved import Resolved
from yolo_nas_ext.host.dataset import read
from yolo_nas_ext.network.architecture import Architecture
from yolo_nas_ext.space.detector import DetectorSpace

KEYS = {"set": "brain", "only": None, "evaluate": True, "jobs": 1}
DRAWS = 2000  # bootstrap samples
FEWEST = 8  # networks for a line of the table

# Short trainings by name: settings of `ShortTraining`, and overrides of Ultralytics' arguments.
SHORT: dict[str, dict[str, Any]] = {
    "short": {"epochs": 5, "part": 0.9},
    "short-1": {"epochs": 1, "batch": 8, "part": 0.4},
    "short-all": {"epochs": 5},
    "short-warm": {"epochs": 5, "part": 0.9, "warm": True},
    "short-batch8": {"epochs": 4, "batch": 8},
    "short-fp32": {"epochs": 5, "overrides": {"amp": False}},
}
SOURCE, SOURCE_EPOCHS = "yolov8n", 30  # whose weights the warm starts begin with
# The losses of an end-to-end head compare with others' in its one-to-many branch alone.
SCORES = {
    "mAP50-95": lambda m: m["map50_95"],
    "mAP50": lambda m: m["map50"],
    "training box loss": lambda m: -_many(m, "loss", "box"),
    "training class loss": lambda m: -_many(m, "loss", "cls"),
    "held-out box loss": lambda m: -_many(m, "val_loss", "box"),
    "held-out class loss": lambda m: -_many(m, "val_loss", "cls"),
}
# Tau at a share of the cost, each of what is recommended at that cost.
TARGETS = {"short: projected": (0.70, 0.05), "resolved": (0.55, 0.01)}
ABOVE_FLOPS = 0.10  # of a score without a training
OTHER = {"brain": "cells", "cells": "brain"}  # the set on which that score is chosen
CEILING = 0.9  # of a perfect estimator's tau, where that is lower than a target


def main(given: dict[str, Any]) -> Figures:
    """Evaluate what is missing, print the table and return the figures."""
    name = str(given["set"])
    plan, truth = reference.plan_of(name), Truth(reference.trainings(name))
    rows = Rows(reference.FOLDER / f"{name}.estimates.jsonl")
    known = [*PROXIES, *SHORT]
    wanted = (names(given["only"]) or known) if given["evaluate"] else []
    if unknown := sorted(set(wanted) - set(known)):
        raise NASError(f"only={','.join(unknown)}: no such estimator; allowed: {', '.join(known)}")
    have = {(row["estimator"], row["key"]) for row in rows}
    todo = [
        (estimator, network)
        for estimator in wanted
        for network in plan["networks"]
        if network["key"] in truth.keys
        if (estimator, network["key"]) not in have
    ]
    print(f"{len(rows)} estimates are there, {len(todo)} to do; {len(truth.keys)} networks trained")
    for row in parallel(_estimate, todo, int(given["jobs"]), reference.load, (plan["settings"],)):
        rows.keep(row)
        print(f"{row['estimator']} {row['key']}", flush=True)
    figures = compared(name, show=True)
    chosen = untrained_best(compared(OTHER[name])) if name in OTHER else None
    met = targets(_met(figures, truth, chosen))
    return {"set": name, "networks": len(truth.keys), "figures": figures, "pass": met}


class Truth:
    """Fitness after trainings in full, of the networks that have one.

    Args:
        rows: Rows of a reference set.
    """

    def __init__(self, rows: Sequence[Row]) -> None:
        found: dict[str, dict[int, float]] = {}
        for row in rows:
            if row["metrics"]:
                found.setdefault(row["key"], {})[row["seed"]] = row["metrics"]["fitness"]
        self.fitness = {key: mean(seeds.values()) for key, seeds in found.items()}
        self.keys = list(self.fitness)
        self.seeds = [len(seeds) for seeds in found.values()]
        self.pairs = [(s[0], s[1]) for s in found.values() if {0, 1} <= set(s)]
        seconds = [row["cpu_seconds"] for row in rows]
        self.seconds = mean(seconds) if seconds else math.nan  # of the processor, a training

    def ceiling(self) -> float:
        """Return the tau that a perfect estimator has with this truth, which is noisy itself.

        Two single seeds agree less than a seed and the truth do. Fitness is taken for normal, so
        that tau is 2/pi arcsin(r); r of the mean of k seeds is by Spearman and Brown (1910). NaN
        for fewer than three networks with two seeds.
        """
        one = math.sin(math.pi / 2 * max(self.agreement(), 0.0))
        means = (k * one / (1 + (k - 1) * one) for k in self.seeds)
        return 2 / math.pi * math.asin(mean(map(math.sqrt, means)))

    def agreement(self, best: bool = False) -> float:
        """Return tau between two seeds, over all networks or the half with the better first one.

        NaN for fewer than three networks with two seeds.
        """
        if len(self.pairs) < 3:
            return math.nan
        pairs = sorted(self.pairs, reverse=True)
        return tau(*zip(*pairs[: (len(pairs) + 1) // 2] if best else pairs, strict=True))


def tau(a: Sequence[float], b: Sequence[float]) -> float:
    """Return Kendall's tau-b."""
    return float(kendalltau(a, b).statistic)


def _many(metrics: Mapping[str, float], prefix: str, kind: str) -> float:
    return metrics.get(f"{prefix}_many_{kind}", metrics[f"{prefix}_{kind}"])


def _estimate(task: tuple[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return what one estimator says of one network, in a worker of the reference set."""
    name, network = task
    estimator, part = _estimator(name)
    architecture = Architecture.from_dict(network["architecture"])
    losses: list[dict[str, float]] = []
    begin = time.process_time()
    if name == "az_nas":
        metrics = estimator.scores(architecture, {})  # ranked among the networks of the set
    else:
        metrics = estimator.estimate(architecture, part, report=lambda _, m: losses.append(dict(m)))
    seconds = time.process_time() - begin
    return {
        "estimator": name,
        "key": network["key"],
        "cpu_seconds": round(seconds, 2),
        "metrics": {n: float(f"{v:.6g}") for n, v in metrics.items()},
        "losses": [{n: round(v, 4) for n, v in e.items() if n.startswith("loss")} for e in losses],
    }


def _estimator(name: str) -> tuple[Any, dict[str, float]]:
    """Return the estimator of a name and its fidelity, made once in a worker."""
    from yolo_nas_ext.estimators.training import ShortTraining
    from yolo_nas_ext.estimators.zero_cost.proxy import AzNas, Untrained

    made = reference.state.setdefault("estimators", {})
    if name in made:
        return made[name]
    settings, data = reference.state["settings"], reference.state["seen"]
    if name == "az_nas":
        estimator, part = AzNas(DetectorSpace.load("tiny"), data, imgsz=settings["imgsz"]), {}
    elif name in PROXIES:
        estimator, part = Untrained(name, data, imgsz=settings["imgsz"]), {}
    else:
        given = dict(SHORT[name])
        share = given.pop("part", 1.0)  # of the images
        common = {"imgsz": settings["imgsz"], "device": "cpu", "threads": 1, "fitness": "projected"}
        if given.pop("warm", False):
            given["inherit"] = Path(tempfile.mkdtemp()) / "source.pt"
            source = ShortTraining(data, **{**common, "epochs": SOURCE_EPOCHS})
            source.estimate(SOURCE, weights=given["inherit"])
        estimator = ShortTraining(data, **{**common, **given})
        part = {"images": round(share * len(estimator.split[0]))}
    made[name] = estimator, part
    return made[name]


def compared(name: str, *, show: bool = False) -> dict[str, dict[str, float]]:
    """Return how well each score orders the networks of a set, by estimates that are kept.

    Args:
        name: Of the reference set.
        show: Whether to print the table.
    """
    plan, truth = reference.plan_of(name), Truth(reference.trainings(name))
    rows = Rows(reference.FOLDER / f"{name}.estimates.jsonl")
    known = {network["key"]: network for network in plan["networks"]}
    keys = [key for key in truth.keys if key in known]
    target = [truth.fitness[key] for key in keys]
    figures: dict[str, dict[str, float]] = {}
    table = _begun(truth, target) if show else None

    def add(estimator: str, score: str, full: str, line: dict[str, float]) -> None:
        figures[full] = line
        if table:
            table.row(estimator, score, *_cells(line))

    networks = [known[key] for key in keys]
    flops = {network["key"]: float(network["flops"]) for network in networks}
    for score, values in _free(networks, plan["settings"]).items():
        add("free", score, score, ordering(values, target, list(flops.values())))
    by_estimator: dict[str, dict[str, Row]] = {}
    for row in rows:
        by_estimator.setdefault(row["estimator"], {})[row["key"]] = row
    for estimator, found in by_estimator.items():
        own = [key for key in keys if key in found and found[key]["metrics"]]
        if len(own) < FEWEST:
            continue
        share = mean(found[key]["cpu_seconds"] for key in own) / truth.seconds
        fitness = [truth.fitness[key] for key in own]
        scores = _scores(
            estimator,
            [found[key] for key in own],
            [known[key] for key in own],
            plan["settings"]["imgsz"],
        )
        for score, values in scores.items():
            line = {**ordering(values, fitness, [flops[key] for key in own]), "cost": share}
            add(estimator, score, f"{estimator}: {score}", line)
    if show:
        print()
    return figures


def _begun(truth: Truth, target: Sequence[float]) -> Table:
    """Print what is known of the truth, and return the table that follows."""
    print(
        f"\n{len(target)} networks, {len(truth.pairs)} of them with two seeds; fitness "
        f"{min(target):.3f} to {max(target):.3f}; tau of two seeds {truth.agreement():.2f}, of "
        f"their better half {truth.agreement(best=True):.2f}; of a perfect estimator "
        f"{truth.ceiling():.2f}\n"
    )
    return Table(
        "estimator   ",
        f"{'score':<34}",
        "tau  ",
        f"{'95 %':<14}",
        "rho  ",
        "better half",
        "regret@3",
        "cost ",
    )


def _scores(
    estimator: str, found: Sequence[Row], networks: Sequence[Row], imgsz: int
) -> dict[str, Sequence[float]]:
    """Return by name what an estimator's estimates of some networks can be read as."""
    metrics = [row["metrics"] for row in found]
    if estimator == "az_nas":
        scores: dict[str, Sequence[float]] = {"score": log_ranks(metrics)}
    elif estimator in PROXIES:
        scores = {"score": [m["fitness"] for m in metrics]}
    else:
        # By the projection as it is now, whatever it was when the networks were evaluated.
        made = [Architecture.from_dict(network["architecture"]) for network in networks]
        scores = {
            "projected": [
                projected(m["map50_95"], a, 3, imgsz) for m, a in zip(metrics, made, strict=True)
            ],
            **{name: [read(m) for m in metrics] for name, read in SCORES.items()},
        }
        if all(len(row["losses"]) > 1 for row in found):
            scores["box loss, extrapolated"] = [_ahead(row["losses"]) for row in found]
    flops = [float(network["flops"]) for network in networks]
    first = next(name for name in scores if name != "projected")
    return {**scores, f"{first} + FLOPs": both(scores[first], flops)}


def both(a: Sequence[float], b: Sequence[float]) -> list[float]:
    """Return the sum of the ranks in two scores."""
    return (rankdata(a) + rankdata(b)).tolist()


def _free(networks: Sequence[Row], settings: Mapping[str, Any]) -> dict[str, list[float]]:
    """Return what can be said of networks without building them."""
    imgsz = settings["imgsz"]
    found = {cost: [float(network[cost]) for network in networks] for cost in ("flops", "params")}
    architectures = [Architecture.from_dict(network["architecture"]) for network in networks]
    # Activations foretell accuracy where resolution matters (Radosavovic et al. 2020).
    found["memory"] = [float(costs(a, nc=3, imgsz=imgsz).memory) for a in architectures]
    for score, of in ANALYTIC.items():
        found[score] = [of(architecture, imgsz, 3) for architecture in architectures]
    resolved = Resolved(read(settings["data"]), imgsz=imgsz)
    found["resolved"] = [resolved.value(architecture, imgsz) for architecture in architectures]
    for score in [score for score in found if score != "flops"]:
        found[f"{score} + FLOPs"] = both(found[score], found["flops"])
    return found


def _ahead(losses: Sequence[Mapping[str, float]]) -> float:
    """Return the negated box loss that the last two epochs point to, one epoch on."""
    before, after = (_many(epoch, "loss", "box") for epoch in losses[-2:])
    return -(2 * after - before)


def _met(
    figures: Mapping[str, Mapping[str, float]], truth: Truth, chosen: str | None
) -> dict[str, bool | None]:
    """Return which targets are met, None where the interval does not tell."""
    met: dict[str, bool | None] = {}
    ceiling = truth.ceiling()
    for estimator, (least, most) in TARGETS.items():
        line = figures.get(estimator)
        least = min(least, CEILING * ceiling) if math.isfinite(ceiling) else least
        good: bool | None = False
        if line and line.get("cost", 0.0) <= most:
            good = reached(line["tau"], line["low"], least)
        met[f"{estimator}: tau {least:.2f} at {most:.0%} of the cost"] = good
    if chosen:
        line = figures[chosen]
        good = reached(line["over_flops"], line["over_flops_low"], ABOVE_FLOPS)
        met[f"without a training: {ABOVE_FLOPS} above FLOPs ({chosen}, of the other set)"] = good
    return met


def untrained_best(figures: Mapping[str, Mapping[str, float]]) -> str:
    """Return the name of the score that orders best of those that need no training."""
    free = [name for name, line in figures.items() if "cost" not in line or _untrained(name)]
    return max((n for n in free if n != "flops"), key=lambda n: figures[n]["tau"])


def _untrained(figure: str) -> bool:
    return figure.partition(":")[0] in PROXIES


def ordering(
    values: Sequence[float], target: Sequence[float], flops: Sequence[float] = ()
) -> dict[str, float]:
    """Return how well values order networks by their fitness in full.

    Args:
        values: What an estimator says; higher is better.
        target: Fitness after trainings in full, of the same networks.
        flops: Their FLOPs, to compare with.

    Returns:
        ``tau`` with the bounds ``low`` and ``high`` of its 95 % interval, ``rho``, ``better_half``
        and ``regret``, fitness lost by training only the first three; with FLOPs ``over_flops``,
        by how much tau is above theirs, and ``over_flops_low``, its bound by the same draws.
    """
    x, y = np.asarray(values, float), np.asarray(target, float)
    draws = np.random.default_rng(0).integers(len(x), size=(DRAWS, len(x)))
    drawn = np.array([_tau(x[d], y[d]) for d in draws])
    half = np.argsort(-y)[: (len(y) + 1) // 2]
    first = np.argsort(-x, kind="stable")[:3]
    line = {
        "tau": _tau(x, y),
        "low": _quantile(drawn, 0.025),
        "high": _quantile(drawn, 0.975),
        "rho": float(spearmanr(x, y).statistic),
        "better_half": _tau(x[half], y[half]),
        "regret": float(y.max() - y[first].max()),
    }
    if not len(flops):
        return line
    z = np.asarray(flops, float)
    over = drawn - np.array([_tau(z[d], y[d]) for d in draws])
    return {
        **line,
        "over_flops": line["tau"] - _tau(z, y),
        "over_flops_low": _quantile(over, 0.025),
    }


def _tau(a: np.ndarray, b: np.ndarray) -> float:
    return tau(a.tolist(), b.tolist())


def _quantile(drawn: np.ndarray, share: float) -> float:
    """Return a quantile of the draws that have a value."""
    known = drawn[np.isfinite(drawn)]
    return float(np.quantile(known, share)) if len(known) else math.nan


def _cells(line: Mapping[str, float]) -> list[str]:
    return [
        f"{line['tau']:.2f}",
        f"{line['low']:.2f} to {line['high']:.2f}",
        f"{line['rho']:.2f}",
        f"{line['better_half']:.2f}",
        f"{line['regret']:.4f}",
        f"{line['cost']:.1%}" if "cost" in line else "0",
    ]


if __name__ == "__main__":
    start(main, KEYS)
