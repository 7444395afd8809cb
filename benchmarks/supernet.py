"""Weight sharing against trainings in full: order, price of a score, memory, and what is extracted.

    python benchmarks/supernet.py [set=brain] [space=tiny] [epochs=60] [sampling=spos] [distill=0]
        [paths=200] [alone=1] [keep=folder]

One supernet of a space is trained on the images of a reference set (`reference.py`), and
scores those of the set's networks that are in the space; tau is against their trainings in full,
beside that of FLOPs. `paths` drawn networks are scored as well: the time of a score against a bare
pass over the held-out images and the batch-norm calibration of the same network, and the memory
of the process along the way. With `alone=1` the best of the drawn is trained alone with the
supernet's schedule and compared with itself extracted, and fine-tuned for a fifth of it.

With `keep` the supernet and the scores stay there and a second run goes on with them. `memory=1
paths=1000 epochs=1` measures the memory alone, with 16 images to train on and 16 to measure on. The
last line is a JSON object; `pass` is whether every target that could be measured is met.
"""

from __future__ import annotations

import json
import random
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import reference
from estimators import Truth, ordering
from lib import Figures, Table, growth, memory_mib, start, targets

from yolo_nas_ext.errors import NASError
from yolo_nas_ext.estimators.base import Context
from yolo_nas_ext.estimators.training import ShortTraining
from yolo_nas_ext.estimators.weight_sharing import SharedWeights
from yolo_nas_ext.host.supernet.model import extract
from yolo_nas_ext.network.architecture import Architecture
from yolo_nas_ext.space.detector import DetectorSpace

KEYS = {
    "set": "brain",
    "space": "tiny",
    "epochs": 60,
    "sampling": "spos",
    "distill": 0.0,
    "paths": 200,
    "alone": 0,
    "keep": "",
    "batch": 16,
    "memory": 0,
}
FEW = 16  # images of each part where memory alone is measured
TAU, PRICE, SCORE, MEMORY = 0.55, 6.0, 1.3, 0.05  # targets; memory grows by at most a twentieth
BEHIND, TUNED = 0.02, 0.2  # mAP50-95 that an extracted network may lack; share of the schedule


def main(given: dict[str, Any]) -> Figures:
    """Measure, print the tables and return the figures."""
    plan = reference.plan_of(str(given["set"]))
    truth = Truth(reference.trainings(str(given["set"])))
    reference.load(plan["settings"])
    options = {
        "imgsz": plan["settings"]["imgsz"],
        "batch": given["batch"],
        "device": "cpu",
        "threads": 1,
    }
    space = DetectorSpace.load(str(given["space"]))
    with tempfile.TemporaryDirectory() as folder:
        estimator = SharedWeights(
            reference.state["seen"],
            space,
            epochs=given["epochs"],
            sampling=given["sampling"],
            distill=given["distill"],
            **options,
        )
        estimator.use_context(Context(Path(given["keep"] or folder).absolute()))
        if given["memory"]:
            return {**given, **_memory(estimator, space, int(given["paths"]))}
        begin = time.process_time()
        estimator.supernet()
        spent = time.process_time() - begin
        figures = _price(estimator, spent, truth)
        figures |= _order(estimator, space, plan, truth)
        figures |= _paths(estimator, space, int(given["paths"]))
        if given["alone"]:
            figures |= _alone(estimator, space, int(given["paths"]), options)
    met = _met(figures)
    return {**given, **figures, "met": met, "pass": targets(met)}


def _price(estimator: Any, spent: float, truth: Truth) -> dict[str, float]:
    """Return what the supernet's training took, in trainings in full; nothing if it was resumed."""
    note = estimator.folder / "price.json"
    if note.is_file():
        return json.loads(note.read_text())
    found = {"trainings": spent / truth.seconds, "cpu_minutes": spent / 60}
    note.write_text(json.dumps(found))
    print(f"the supernet took {found['trainings']:.2f} trainings in full of a mean network")
    return found


def _order(estimator: Any, space: DetectorSpace, plan: Any, truth: Truth) -> Figures:
    """Return tau of the scores, and of FLOPs, on the reference networks of the space."""
    rows = []
    for network in plan["networks"]:
        architecture = Architecture.from_dict(network["architecture"])
        try:
            space.point_of(architecture)
        except NASError:
            continue
        if network["key"] in truth.fitness:
            metrics = estimator.estimate(architecture)
            rows.append((truth.fitness[network["key"]], network["flops"], metrics))
    target = [row[0] for row in rows]
    scores = {
        "flops": [float(row[1]) for row in rows],
        "fitness": [row[2]["fitness"] for row in rows],
        "held-out box loss": [-row[2]["val_loss_box"] for row in rows],
        "held-out class loss": [-row[2]["val_loss_cls"] for row in rows],
    }
    print(f"\n{len(rows)} networks of the set are in the space and trained in full\n")
    table = Table(f"{'score':<20}", "tau  ", f"{'95 %':<14}")
    found = {}
    for name, values in scores.items():
        line = ordering(values, target)
        found[name] = {k: round(line[k], 3) for k in ("tau", "low", "high")}
        table.row(name, f"{line['tau']:.2f}", f"{line['low']:.2f} to {line['high']:.2f}")
    return {"networks": len(rows), "order": found}


def _paths(estimator: Any, space: DetectorSpace, count: int) -> dict[str, float]:
    """Return the time of a score against its bare parts, and how memory grows."""
    supernet, bench = estimator.supernet(), estimator.evaluator(estimator.imgsz)
    ratios, rss = [], []
    rng = random.Random(1)
    for index in range(count):
        architecture = space.architecture(space.sample(rng))
        begin = time.process_time()
        model = extract(supernet, architecture, estimator.data.names)
        bench.calibrate(model)
        bench.score(model)
        whole = time.process_time() - begin
        begin = time.process_time()
        bench.calibrate(model)
        bench.score(model)
        ratios.append(whole / (time.process_time() - begin))
        if index >= count // 10:  # what is remembered has filled up by then
            rss.append(memory_mib())
    print(
        f"\na score takes {median(ratios):.2f} times its calibration and validation; over {count} "
        f"networks memory went from {rss[0]:.0f} to {rss[-1]:.0f} MiB"
    )
    return {"score_ratio": round(median(ratios), 3), "memory_growth": round(growth(rss), 4)}


def _memory(estimator: Any, space: DetectorSpace, count: int) -> Figures:
    """Score networks, print how the memory of the process grows, and return by how much."""
    estimator.split = tuple(part[:FEW] for part in estimator.split)
    rng, rss = random.Random(1), []
    table = Table("networks", "MiB   ")
    for index in range(count):
        estimator.estimate(space.architecture(space.sample(rng)))
        rss.append(memory_mib())
        if (index + 1) % (count // 10 or 1) == 0:
            table.row(index + 1, f"{rss[-1]:.0f}")
    grown = growth(rss[count // 10 :])  # what is remembered has filled up by then
    return {"memory_growth": round(grown, 4), "pass": targets({"memory flat": grown <= MEMORY})}


def _alone(estimator: Any, space: DetectorSpace, count: int, options: Figures) -> Figures:
    """Return the best drawn network as extracted, trained alone, and extracted and fine-tuned."""
    rng = random.Random(2)
    drawn = [space.architecture(space.sample(rng)) for _ in range(count)]
    best = max(drawn, key=lambda one: estimator.estimate(one)["fitness"])
    file = estimator.folder / "best.pt"
    extracted = estimator.estimate(best, weights=file)["map50_95"]
    alone = ShortTraining(estimator.data, epochs=estimator.epochs, **options)
    trained = alone.estimate(best)["map50_95"]
    tune = ShortTraining(estimator.data, epochs=round(TUNED * estimator.epochs), **options)
    tuned = tune.estimate(best, inherit=file)["map50_95"]
    print(
        f"\nbest of {count}, nas-{best.key}: mAP50-95 {extracted:.4f} extracted, {trained:.4f} "
        f"trained alone, {tuned:.4f} extracted and fine-tuned for a fifth of the epochs"
    )
    return {"extracted": extracted, "alone": trained, "tuned": tuned}


def _met(figures: Figures) -> dict[str, bool]:
    """Return which targets are met."""
    order = figures["order"]
    met = {
        f"at most {PRICE:g} trainings": figures["trainings"] <= PRICE,
        f"tau at least {TAU}": order["fitness"]["tau"] >= TAU,
        "tau above that of FLOPs": order["fitness"]["tau"] > order["flops"]["tau"],
        f"a score at most {SCORE} times its parts": figures["score_ratio"] <= SCORE,
        "memory flat": figures["memory_growth"] <= MEMORY,
    }
    if "alone" in figures:
        met["extracted close to trained alone"] = figures["extracted"] >= figures["alone"] - BEHIND
        met["fine-tuned level"] = figures["tuned"] >= figures["alone"]
    return met


if __name__ == "__main__":
    start(main, KEYS)
