"""Recipes of the short training: what a few epochs on the embedded cells reach with each.

    python benchmarks/recipes.py [epochs=8] [imgsz=128]

Trains YOLOv8n and one sampled network of the space `tiny` with each recipe, from the same seed. The
last line is a JSON object; `pass` is whether the shipped recipe is at most 10 % below the best on
average, so that a better one does not go unnoticed.
"""

from __future__ import annotations

import random
from statistics import mean
from typing import Any

from lib import Figures, Table, machine, start

from yolo_nas_ext.estimators.training import ShortTraining
from yolo_nas_ext.host.dataset import read
from yolo_nas_ext.host.models import definition
from yolo_nas_ext.network.parse import read as read_model
from yolo_nas_ext.space.detector import DetectorSpace

KEYS = {"epochs": 8, "imgsz": 128}
RECIPES: dict[str, dict[str, object]] = {
    "shipped": {"batch": 8},
    "lr0=0.002": {"batch": 8, "lr0": 0.002},
    "mosaic=0.5": {"batch": 8, "mosaic": 0.5, "close_mosaic": 2},
    "batch=16": {"batch": 16},
    "batch=16 lr0=0.002": {"batch": 16, "lr0": 0.002},
    "batch=16 SGD": {"batch": 16, "optimizer": "SGD", "lr0": 0.02, "momentum": 0.937},
    "batch=16 MuSGD": {"batch": 16, "optimizer": "MuSGD", "lr0": 0.01, "momentum": 0.9},
}


def main(given: dict[str, Any]) -> Figures:
    """Print the table and return the figures."""
    data = read("cells")
    space = DetectorSpace.load("tiny")
    networks = {
        "yolov8n": read_model(*definition("yolov8n")),
        "tiny": space.architecture(space.sample(random.Random(0))),
    }
    found: dict[str, dict[str, float]] = {}
    table = Table(f"{'recipe':<20}", *(f"{name:<7}" for name in networks))
    for name, recipe in RECIPES.items():
        overrides = dict(recipe)
        batch = int(str(overrides.pop("batch")))
        short = ShortTraining(data, batch=batch, overrides=overrides, **given)
        found[name] = {n: short.estimate(a)["fitness"] for n, a in networks.items()}
        table.row(name, *(f"{fitness:.4f}" for fitness in found[name].values()))
    means = {name: mean(row.values()) for name, row in found.items()}
    good = means["shipped"] >= 0.9 * max(means.values())
    return {**given, "fitness": found, **machine(), "pass": good}


if __name__ == "__main__":
    start(main, KEYS, others=True)
