"""The reference sets: networks trained in full, by which estimators are evaluated.

    python benchmarks/reference.py set=brain [jobs=2] [data=../shared/data/brain_tumor]
    python benchmarks/reference.py set=cells [jobs=2]
    python benchmarks/reference.py set=mine data=my.yaml networks=16 images=450 imgsz=96

Networks are spread over the shipped spaces, their levels and FLOPs, with YOLOv8n, YOLO11n and
YOLO26n among them. Each is trained by Ultralytics' complete schedule (its defaults, but 60 epochs)
on a class-stratified part of the data set's images, and measured after the last epoch on all
others: of train and val alike, as nothing is chosen by them. The first seed comes for all networks,
then the second for half of them. The order is drawn, so that a part of the set is spread like the
whole.

`results/reference/<set>.json` holds the settings and networks, `<set>.jsonl` a row a training,
written whole and at once; run the command again to go on after an interrupt or a kill. The last
line is a JSON object; `pass` is whether every training is there.
"""

from __future__ import annotations

import json
import math
import os
import random
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml
from lib import RESULTS, SHARED, Figures, Row, Rows, Table, machine, parallel, start

from yolo_nas_ext.cost.counts import costs
from yolo_nas_ext.network.architecture import Architecture
from yolo_nas_ext.space.detector import DetectorSpace

FOLDER = RESULTS / "reference"
KEYS = {"set": "brain", "jobs": 2}
BASELINES = ("yolov8n", "yolo11n", "yolo26n")
SPACES = ("tiny", "yolo", "damo")
POOL = 8000  # points drawn of each space to choose from
LARGEST = 1.5  # times YOLOv8n's FLOPs
MEASURE = 10  # epochs from one point of the learning curve to the next
SETS: dict[str, dict[str, Any]] = {
    "brain": {
        "data": str(SHARED / "brain_tumor"),
        "images": 450,
        "imgsz": 96,
        "epochs": 60,
        "networks": 32,
        "twice": 16,
    },
    "cells": {
        "data": "cells",
        "images": 180,
        "imgsz": 128,
        "epochs": 60,
        "networks": 16,
        "twice": 8,
    },
}


def main(given: dict[str, Any]) -> Figures:
    """Train what is missing, print the rows and return the figures."""
    name, jobs = str(given.pop("set")), int(given.pop("jobs"))
    plan = _plan(name, given)
    rows = trainings(name)
    have = {(row["key"], row["seed"]) for row in rows}
    networks, twice = plan["networks"], plan["settings"]["twice"]
    everything = [(n, 0) for n in networks] + [(n, 1) for n in networks[:twice]]
    todo = [(n, seed) for n, seed in everything if (n["key"], seed) not in have]
    print(f"{name}: {len(rows)} trainings are there, {len(todo)} to do, {jobs} at a time")
    table = Table(
        "   ", "network ", "key       ", "seed", "MFLOPs", "fitness", "seconds", "minutes left"
    )
    for number, row in enumerate(rows, 1):
        table.row(number, *_cells(row), "")
    begin, work = time.perf_counter(), sum(network["flops"] for network, _ in todo)
    done = 0.0
    for row in parallel(_train, todo, jobs, load, (plan["settings"],)):
        rows.keep(row)
        done += row["flops"]
        left = (time.perf_counter() - begin) * (work / done - 1) / 60
        table.row(len(rows), *_cells(row), f"{left:.0f}")
    hours = sum(row["cpu_seconds"] for row in rows) / 3600
    return {
        "set": name,
        "trainings": len(rows),
        "hours": round(hours, 2),
        **machine(),
        "pass": len(rows) >= len(everything),
    }


def _cells(row: Mapping[str, Any]) -> list[object]:
    return [
        row["name"] or row["space"],
        row["key"],
        row["seed"],
        f"{row['flops'] / 1e6:.1f}",
        f"{row['metrics'].get('fitness', 0):.4f}",
        f"{row['seconds']:.0f}",
    ]


def plan_of(name: str) -> dict[str, Any]:
    """Return the settings and networks of a set."""
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


def trainings(name: str) -> Rows:
    """Return the rows of a set, one a training."""
    return Rows(FOLDER / f"{name}.jsonl")


def _plan(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings and networks of a set: as written before, or chosen and written now."""
    file = FOLDER / f"{name}.json"
    if file.is_file():
        plan = plan_of(name)
        if given:
            plan["settings"] |= {"data": given.get("data", plan["settings"]["data"])}
        return plan
    settings = {**SETS["brain"], **SETS.get(name, {}), **given}
    plan = {"settings": settings, "networks": choose(settings["networks"], settings["imgsz"])}
    networks = ",\n".join(map(json.dumps, plan["networks"]))  # a line each
    text = f'{{"settings": {json.dumps(settings)}, "networks": [\n{networks}\n]}}\n'
    file.write_text(text, encoding="utf-8")
    return plan


def choose(n: int, imgsz: int) -> list[dict[str, Any]]:
    """Return `n` networks, the baselines first, spread over spaces, levels and log FLOPs."""
    from yolo_nas_ext.host.models import definition
    from yolo_nas_ext.network.parse import read as read_model

    baselines = [(b, "", read_model(*definition(b))) for b in BASELINES]
    most = LARGEST * costs(baselines[0][2], imgsz=imgsz).flops
    chosen = {a.key: _entry(name, space, a, imgsz) for name, space, a in baselines}
    used: Counter[object] = Counter()
    for index, space_name in enumerate(SPACES):
        share = (n - len(BASELINES)) * (index + 1) // len(SPACES)
        share -= (n - len(BASELINES)) * index // len(SPACES)
        space, rng = DetectorSpace.load(space_name), random.Random(f"reference/{space_name}")
        # Rejected rather than sampled within a budget, which would walk to the cheapest heads.
        pool = (space.architecture(space.sample(rng)) for _ in range(POOL))
        drawn = {a.key: _entry("", space_name, a, imgsz) for a in pool}
        entries = [e for e in drawn.values() if e["flops"] <= most and e["key"] not in chosen]
        entries.sort(key=lambda e: e["flops"])
        low, high = (math.log(entries[i]["flops"]) for i in (0, -1))
        for step in range(share):
            # Of the dozen nearest to an even spread of log FLOPs, one whose levels are rare so far.
            target = low + (high - low) * (step + 0.5) / share
            nearest = sorted(entries, key=lambda e: abs(math.log(e["flops"]) - target))
            near = [e for e in nearest if e["key"] not in chosen][:12]
            best = min(near, key=lambda e: used[_levels(e)])
            used[_levels(best)] += 1
            chosen[best["key"]] = best
    order = list(chosen.values())
    drawn_ones = order[len(baselines) :]
    random.Random("reference/order").shuffle(drawn_ones)
    return [*order[: len(baselines)], *drawn_ones]


def _levels(entry: Mapping[str, Any]) -> str:
    architecture = entry["architecture"]
    return json.dumps([architecture["neck"]["levels"], architecture["head"]])


def _entry(name: str, space: str, architecture: Architecture, imgsz: int) -> dict[str, Any]:
    cost = costs(architecture, imgsz=imgsz)
    return {
        "key": architecture.key,
        "name": name,
        "space": space,
        "params": cost.params,
        "flops": cost.flops,
        "architecture": architecture.to_dict(),
    }


# The data set that a worker process keeps, see `load`.
state: dict[str, Any] = {}


def load(settings: Mapping[str, Any]) -> None:
    """Read the data of a reference set into `state`, and which images its trainings see."""
    from yolo_nas_ext.data.splits import subset
    from yolo_nas_ext.host.dataset import read as read_data

    os.environ["OMP_NUM_THREADS"] = "1"
    if hasattr(os, "nice"):
        os.nice(int(os.environ.get("NICE", 10)))
    data = read_data(settings["data"])
    with tempfile.TemporaryDirectory() as folder:  # a data set of train and val alike
        both = Path(folder) / "both.yaml"
        parts = [str(p) for s in ("train", "val") for p in _listed(data.data[s])]
        both.write_text(
            yaml.safe_dump({"train": parts, "val": parts[-1], "names": dict(data.names)}),
            encoding="utf-8",
        )
        everything = read_data(both)
    train_on = subset(everything.classes, settings["images"], seed=0)
    others = sorted(set(range(len(everything.images))) - set(train_on))
    seen = replace(
        everything,
        images=tuple(everything.images[i] for i in train_on),
        labels=tuple(everything.labels[i] for i in train_on),
    )
    state.update(settings=settings, data=everything, split=(train_on, others), seen=seen)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _train(task: tuple[Row, int]) -> Row:
    """Train one network and return its row."""
    from yolo_nas_ext.errors import TrialError
    from yolo_nas_ext.host.training.settings import TrainingSettings
    from yolo_nas_ext.host.training.trainer import train
    from yolo_nas_ext.network.emit import emit

    network, seed = task
    settings, data = state["settings"], state["data"]
    losses, curve = [], {}

    def keep(epoch: int, metrics: Mapping[str, float]) -> None:
        losses.append({n: round(v, 4) for n, v in metrics.items() if n.startswith("loss")})
        if "fitness" in metrics:
            curve[epoch] = round(metrics["fitness"], 5)

    row = {name: value for name, value in network.items() if name != "architecture"}
    begin = time.perf_counter(), time.process_time()
    try:
        metrics = train(
            emit(Architecture.from_dict(network["architecture"]), data.nc),
            data,
            state["split"],
            TrainingSettings(
                epochs=settings["epochs"],
                imgsz=settings["imgsz"],
                batch=16,
                seed=seed,
                device="cpu",
                threads=1,
                short=False,
                every=MEASURE,
            ),
            on_epoch=keep,
        ).metrics
        row |= {"metrics": {n: round(v, 5) for n, v in metrics.items()}, "error": ""}
    except TrialError as error:
        row |= {"metrics": {}, "error": str(error)}
    end = time.perf_counter(), time.process_time()
    seconds, cpu_seconds = (round(b - a, 1) for a, b in zip(begin, end, strict=True))
    return {
        **row,
        "seed": seed,
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "curve": curve,
        "losses": losses,
    }


if __name__ == "__main__":
    start(main, KEYS, others=True)
