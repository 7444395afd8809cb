"""How well each estimator orders networks: its rank correlation with trainings in full.

    python benchmarks/estimators.py [set=brain] [only=short,naswot] [evaluate=True] [jobs=1]

Each estimator evaluates every network of a reference set (`reference.py`) from the images that
the full trainings saw and no others; what it says is compared with the fitness after those. The
table gives Kendall's tau and Spearman's rho with 95 % bootstrap intervals over networks, tau over
the better half, regret@3 (fitness lost by training only the estimator's three first), and the
cost: its share of the processor time of full trainings (a process' first network alone augments
images, and the others get its batches; in rows made to 29 November 2026 all did). `warm` starts
from weights of a trained YOLOv8n, whose training is not counted. Above it stand the noise ceiling,
the tau between two seeds of the full trainings, and what costs nothing: parameters, FLOPs and the
analytic scores. `+ FLOPs` is the mean of two ranks.

Estimates are kept in `results/reference/<set>.estimates.jsonl` and made once; run again to go on,
and with `evaluate=False` for the table of what is there. The last line is a JSON object; `pass` is
whether the targets at 5 % and 1 % of the cost and the zero-cost target are met.
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
from lib import Figures, Row, Rows, Table, names, parallel, start, targets
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
ABOVE_FLOPS = 0.10  # of the best score without a training
CEILING = 0.9  # of the noise ceiling, where that is lower than a target


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
    return _table(name, truth, plan, rows)


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
        self.pairs = [(s[0], s[1]) for s in found.values() if {0, 1} <= set(s)]
        seconds = [row["cpu_seconds"] for row in rows]
        self.seconds = mean(seconds) if seconds else math.nan  # of the processor, a training

    def ceiling(self, best: bool = False) -> float:
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


def _table(name: str, truth: Truth, plan: Mapping[str, Any], rows: Sequence[Row]) -> Figures:
    """Print the table and return the figures."""
    known = {network["key"]: network for network in plan["networks"]}
    keys = [key for key in truth.keys if key in known]
    target = [truth.fitness[key] for key in keys]
    print(
        f"\n{len(keys)} networks, {len(truth.pairs)} of them with two seeds; fitness "
        f"{min(target):.3f} to {max(target):.3f}; noise ceiling: tau {truth.ceiling():.2f}, "
        f"better half {truth.ceiling(best=True):.2f}\n"
    )
    table = Table(
        "estimator   ",
        f"{'score':<34}",
        "tau  ",
        f"{'95 %':<14}",
        "rho  ",
        "better half",
        "regret@3",
        "cost ",
    )
    figures: dict[str, dict[str, float]] = {}
    networks = [known[key] for key in keys]
    for score, values in _free(networks, plan["settings"]).items():
        figures[score] = ordering(values, target)
        table.row("free", score, *_cells(figures[score]))
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
            line = {**ordering(values, fitness), "cost": share}
            figures[f"{estimator}: {score}"] = line
            table.row(estimator, score, *_cells(line))
    print()
    met = targets(_met(figures, truth))
    return {"set": name, "networks": len(keys), "figures": figures, "pass": met}


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


def _met(figures: Mapping[str, Mapping[str, float]], truth: Truth) -> dict[str, bool]:
    """Return which targets are met."""
    met: dict[str, bool] = {}
    ceiling = truth.ceiling()
    for estimator, (least, most) in TARGETS.items():
        line = figures.get(estimator)
        least = min(least, CEILING * ceiling) if math.isfinite(ceiling) else least
        # Of equal numbers one may be rounded.
        good = bool(line and line["tau"] >= least - 1e-9 and line.get("cost", 0.0) <= most)
        met[f"{estimator}: tau {least:.2f} at {most:.0%} of the cost"] = good
    free = {n: line for n, line in figures.items() if "cost" not in line or _untrained(n)}
    best = max((name for name in free if name != "flops"), key=lambda name: free[name]["tau"])
    good = free[best]["tau"] >= free["flops"]["tau"] + ABOVE_FLOPS
    return {**met, f"without a training: {ABOVE_FLOPS} above FLOPs (best: {best})": good}


def _untrained(figure: str) -> bool:
    return figure.partition(":")[0] in PROXIES


def ordering(values: Sequence[float], target: Sequence[float]) -> dict[str, float]:
    """Return how well values order networks by their fitness in full.

    Args:
        values: What an estimator says; higher is better.
        target: Fitness after trainings in full, of the same networks.

    Returns:
        ``tau`` with the bounds ``low`` and ``high`` of its 95 % interval, ``rho``, ``better_half``
        and ``regret``, fitness lost by training only the first three.
    """
    x, y = np.asarray(values, float), np.asarray(target, float)
    draws = np.random.default_rng(0).integers(len(x), size=(DRAWS, len(x)))
    spread = [t for t in (tau(x[d], y[d]) for d in draws) if math.isfinite(t)]  # pyright: ignore[reportArgumentType]
    half = np.argsort(-y)[: (len(y) + 1) // 2]
    first = np.argsort(-x, kind="stable")[:3]
    low, high = np.quantile(spread, [0.025, 0.975]) if spread else (math.nan, math.nan)
    return {
        "tau": tau(x, y),
        "low": float(low),
        "high": float(high),  # pyright: ignore[reportArgumentType]
        "rho": float(spearmanr(x, y).statistic),
        "better_half": tau(x[half], y[half]),  # pyright: ignore[reportArgumentType]
        "regret": float(y.max() - y[first].max()),
    }


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
