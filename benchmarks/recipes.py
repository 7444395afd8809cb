"""Recipes of the short training: what a few epochs on the embedded cells reach with each.

    python benchmarks/recipes.py [epochs=8] [imgsz=128]

Trains YOLOv8n and one sampled network of the space `tiny` with each recipe, from the same seed. The
last line is a JSON object; `pass` is whether the shipped recipe is at most 10 % below the best on
average, so that a better one does not go unnoticed.
"""

from __future__ import annotations

import json
import os
import platform
import random
import sys
from statistics import mean

from yolo_nas_ext.config.arguments import parse_arguments
from yolo_nas_ext.estimators.training import ShortTraining
from yolo_nas_ext.host.dataset import read
from yolo_nas_ext.host.models import definition
from yolo_nas_ext.network.parse import read as read_model
from yolo_nas_ext.space.detector import DetectorSpace

RECIPES: dict[str, dict[str, object]] = {
    "shipped": {"batch": 8},
    "lr0=0.002": {"batch": 8, "lr0": 0.002},
    "mosaic=0.5": {"batch": 8, "mosaic": 0.5, "close_mosaic": 2},
    "batch=16": {"batch": 16},
    "batch=16 lr0=0.002": {"batch": 16, "lr0": 0.002},
    "batch=16 SGD": {"batch": 16, "optimizer": "SGD", "lr0": 0.02, "momentum": 0.937},
    "batch=16 MuSGD": {"batch": 16, "optimizer": "MuSGD", "lr0": 0.01, "momentum": 0.9},
}


def main(arguments: list[str]) -> int:
    """Print the table and figures and return the exit code."""
    settings = {"epochs": 8, "imgsz": 128, **parse_arguments(arguments)}
    data = read("cells")
    space = DetectorSpace.load("tiny")
    networks = {
        "yolov8n": read_model(*definition("yolov8n")),
        "tiny": space.architecture(space.sample(random.Random(0))),
    }
    table: dict[str, dict[str, float]] = {}
    for name, recipe in RECIPES.items():
        overrides = dict(recipe)
        batch = int(str(overrides.pop("batch")))
        short = ShortTraining(data, batch=batch, overrides=overrides, **settings)
        table[name] = {n: short.estimate(a)["fitness"] for n, a in networks.items()}
        print(
            f"{name:<20}" + "".join(f"{n:>10} {f:.4f}" for n, f in table[name].items()), flush=True
        )
    means = {name: mean(row.values()) for name, row in table.items()}
    good = means["shipped"] >= 0.9 * max(means.values())
    machine = platform.processor() or platform.machine()
    print(
        json.dumps(
            {**settings, "fitness": table, "cpu": machine, "cores": os.cpu_count(), "pass": good}
        )
    )
    return 0 if good else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
