"""By which recipe is a trained network best tuned to a data set of one's own?

    python benchmarks/finetuning.py set=raccoon recipe=stock,ours epochs=4 seeds=0,1
    python benchmarks/finetuning.py                     # the table of what is there

Each row of `results/finetuning.csv` is a training on all of train, from `parent` (a checkpoint in
`../shared/data`); nothing that is there is done again. What is measured is the average of the
weights after the last epoch, on val. A seed gives all recipes the same images in the same order.

`recipe=yolo` is `yolo train` itself in a process of its own, to compare `stock` with. It pads
images to rectangles where it measures, and draws other random numbers.

A recipe is a name of `RECIPES`, or `key=value` joined by `+` to one: `carried+nbs=16+lr0=0.001`.
Keys that are not named here are Ultralytics':

    start     what the first weights are: `stock` for Ultralytics' own loading; `names` for tensors
              that are alike in name and shape; `roles` for `host.transfer` with the leading
              channels; `best` for the same with the channels that matter most; `random`
    classes   the layer of the classes: `usual` for random weights and Ultralytics' bias, which is
              that of 640 px; `prior` for that of the image size; `zero` and `common` for weights
              that are 0, or the mean over the parent's classes, as well
    ema       the part of the steps that the weights are averaged over; Ultralytics' unless given
    norms     the momentum of batch norms; Ultralytics' 0.03 unless given
    backbone  what the backbone's learning rate is multiplied by
    half      1 for convolutions in bfloat16
    first     the image size in pixels of the first two thirds of the epochs

Protocol, written before the first training: recipes are chosen by one change at a time, on
`raccoon` and `pcb`, 4 to 8 epochs, seed 0; the best are trained with a second seed. The choice is
judged on `brain` and from the other parent. Where recipes are within the noise of two seeds, the
simpler one is taken. Of this one seed of YOLO11n was done, and `brain` was also tried by three
learning rates.

The last line is a JSON object; `pass` is whether `ours` is above `stock` on every set that both
were trained on; `stock+half=1` stands for `stock` where that is not there.
"""

from __future__ import annotations

import csv
import shutil
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Any

import torch
import yaml
from lib import RESULTS, SHARED, Figures, Table, csv_rows, keep_csv, names, start, yolo

from yolo_nas_ext.config.arguments import parse_arguments
from yolo_nas_ext.errors import NASError
from yolo_nas_ext.host.dataset import joined, read
from yolo_nas_ext.host.training import bfloat16, lean
from yolo_nas_ext.host.training.augmented import augmented_batches
from yolo_nas_ext.host.training.initialisation import norms
from yolo_nas_ext.host.training.settings import TrainingSettings
from yolo_nas_ext.host.training.trainer import train
from yolo_nas_ext.host.transfer.prepare import number_of_images, prepared
from yolo_nas_ext.host.transfer.weights import Source, load, transfer
from yolo_nas_ext.network.emit import emit

KEYS = {"set": "", "recipe": "", "parent": "yolo11n", "epochs": 4, "seeds": "0", "images": 0}
SETS = {  # folder in the shared data, pixels
    "raccoon": ("raccoon", 320),
    "pcb": ("pcb_defects", 320),
    "brain": ("brain_tumor", 160),
    "raccoon224": ("raccoon", 224),  # the same in half the time
    "pcb224": ("pcb_defects", 224),
}
FIRST = (
    "start=roles+classes=zero+nbs=16+optimizer=AdamW+lr0=0.001+momentum=0.9+warmup_epochs=0.4"
    "+warmup_bias_lr=0+cos_lr=True+lrf=0.05"
)
RECIPES = {
    "stock": "start=stock",
    "names": "start=names",
    "carried": "start=roles",
    "first": FIRST,  # what was guessed before anything was measured
    # As `estimators.training.FineTuning`, whose warm-up is a tenth of the epochs.
    "ours": "first+half=1+norms=0.1+ema=0.1+start=best",
}
OWN = ("start", "classes", "ema", "norms", "backbone", "half", "first")
COLUMNS: list[str] = [*"set parent recipe epochs images seed map50_95 map50 seconds".split()]
BATCH = 16
BACKBONE = 11  # rows of YOLO11n's and YOLO26n's


def main(given: dict[str, Any]) -> Figures:
    """Train what is missing, print the table and return the figures."""
    file = RESULTS / "finetuning.csv"
    rows = csv_rows(file)
    for set_ in names(given["set"]):
        for seed in names(given["seeds"]):
            for recipe in names(given["recipe"]):
                asked = [set_, str(given["parent"]), recipe, given["epochs"], given["images"], seed]
                key: dict[str, str] = dict(zip(COLUMNS, map(str, asked), strict=False))
                if any(key.items() <= row.items() for row in rows):
                    continue
                row = {**key, **trained(key)}
                rows.append({name: str(row[name]) for name in COLUMNS})
                keep_csv(file, COLUMNS, rows[-1])
                print(" ".join(rows[-1].values()), flush=True)
    return verdict(rows)


def settings_of(recipe: str) -> dict[str, Any]:
    """Return the keys of a recipe; a name stands for its keys, and later ones replace earlier."""
    found: dict[str, Any] = {}
    for part in recipe.split("+"):
        found |= settings_of(RECIPES[part]) if part in RECIPES else parse_arguments([part])
    return found


def by_yolo(key: Mapping[str, str]) -> dict[str, Any]:
    """Train by Ultralytics' command on a copy of the data, beside which it writes its notes."""
    folder, imgsz = SETS[key["set"]]
    begin = time.perf_counter()
    with tempfile.TemporaryDirectory() as place:
        copy = shutil.copytree(SHARED / folder, Path(place) / "data")
        content: dict[str, Any] = {"path": str(copy), "train": "images/train", "val": "images/val"}
        content["names"] = read(str(copy)).names
        (copy / "data.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
        asked = {"epochs": key["epochs"], "seed": key["seed"], "imgsz": imgsz, "batch": BATCH}
        yolo(
            "train",
            f"model={parent_of(key).resolve()}",
            f"data={copy / 'data.yaml'}",
            f"project={place}",
            "name=run",
            "amp=False",
            "plots=False",
            "device=cpu",
            *(f"{name}={value}" for name, value in asked.items()),
        )
        with (Path(place) / "run" / "results.csv").open(encoding="utf-8") as text:
            last = [{k.strip(): v for k, v in row.items()} for row in csv.DictReader(text)][-1]
    print(last)
    return {
        "map50_95": round(float(last["metrics/mAP50-95(B)"]), 4),
        "map50": round(float(last["metrics/mAP50(B)"]), 4),
        "seconds": round(time.perf_counter() - begin),
    }


def parent_of(key: Mapping[str, str]) -> Path:
    """Return the checkpoint that is started from."""
    return SHARED / f"{key['parent']}_coco" / f"{key['parent']}.pt"


def trained(key: Mapping[str, str]) -> dict[str, Any]:
    """Train by a recipe and return what was measured."""
    if key["recipe"] == "yolo":
        return by_yolo(key)
    folder, imgsz = SETS[key["set"]]
    train_on, measured = (read(str(SHARED / folder), part=part) for part in ("train", "val"))
    asked = settings_of(key["recipe"])
    own = {name: asked.pop(name) for name in OWN if name in asked}
    parent = load(parent_of(key))
    lean.TRAINERS["detect"] = type("Tuner", (Tuner,), {"own": own})
    images = int(key["images"]) or len(train_on.images)
    data = joined(train_on, measured)
    all_ = len(train_on.images)
    settings = TrainingSettings(
        epochs=int(key["epochs"]),
        imgsz=imgsz,
        batch=BATCH,
        seed=int(key["seed"]),
        device="cpu",
        short=False,
        overrides={"amp": False, **asked},
    )
    begin = time.perf_counter()
    seen = list(range(images))
    if own.get("start") == "best":
        count = number_of_images(imgsz)
        drawn = augmented_batches(data, seen, settings, images=count, seed=settings.seed)
        parent = prepared(parent, drawn)
    metrics = train(
        emit(parent.architecture, data.nc),
        data,
        (seen, list(range(all_, len(data.images)))),
        settings,
        initial=lambda model, names: first_weights(model, names, parent, imgsz, own),
    ).metrics
    seconds = round(time.perf_counter() - begin)
    return {
        "map50_95": round(metrics["map50_95"], 4),
        "map50": round(metrics["map50"], 4),
        "seconds": seconds,
    }


def first_weights(
    model: Any,
    names: Mapping[int, str],
    parent: Source,
    imgsz: int,
    own: Mapping[str, Any],
) -> None:
    """Write the first weights of a recipe into a new model."""
    kind, classes = own.get("start", "stock"), own.get("classes", "usual")
    if kind == "stock":
        model.names = dict(names)
        model.load(parent.model, verbose=False)
    elif kind == "names":
        mine, theirs = model.state_dict(), parent.model.state_dict()
        alike = {n: v for n, v in theirs.items() if n in mine and mine[n].shape == v.shape}
        model.load_state_dict(alike, strict=False)
    elif kind in ("roles", "best"):
        source = common(parent, names) if classes == "common" else parent
        transfer(model, parent.architecture, source, names)
    elif kind != "random":
        raise NASError(f"start={kind}: no such start")
    if classes != "usual":
        head = model.model[-1]
        for scores in filter(None, (head.cv3, getattr(head, "one2one_cv3", None))):
            for score, stride in zip(scores, head.stride.tolist(), strict=True):
                prior = 5 / head.nc / (imgsz / stride) ** 2
                score[-1].bias.data[:] = torch.tensor(prior).log()
                if classes == "zero":
                    score[-1].weight.data[:] = 0


def common(parent: Source, names: Mapping[int, str]) -> Source:
    """Return a parent whose classes are named as ours and have the same weights, the mean."""
    model: Any = deepcopy(parent.model)
    model.names = {**{n: f"theirs {n}" for n in model.names}, **names}
    head = model.model[-1]
    for scores in filter(None, (head.cv3, getattr(head, "one2one_cv3", None))):
        for score in scores:
            score[-1].weight.data[:] = score[-1].weight.data.mean(0, keepdim=True)
    return replace(parent, model=model)


class Tuner(lean.LeanDetectionTrainer):
    """The trainer with the keys that are not Ultralytics'."""

    own: Mapping[str, Any] = {}

    def setup_model(self) -> None:
        """Give batch norms their momentum, and convolutions their digits."""
        super().setup_model()
        if self.own.get("half"):
            bfloat16.halve(self.model)
        for norm in norms(self.model):
            norm.momentum = self.own.get("norms", norm.momentum)

    def build_optimizer(self, *args: Any, **kwargs: Any) -> torch.optim.Optimizer:
        """Give the backbone a learning rate of its own."""
        optimizer = super().build_optimizer(*args, **kwargs)
        if factor := self.own.get("backbone"):
            named = {id(p): name for name, p in self.model.named_parameters()}
            for group in list(optimizer.param_groups):
                inside: dict[bool, list[Any]] = defaultdict(list)
                for parameter in group["params"]:
                    inside[int(named[id(parameter)].split(".")[1]) < BACKBONE].append(parameter)
                group["params"] = inside[False]
                optimizer.add_param_group(
                    {**group, "params": inside[True], "lr": group["lr"] * factor}
                )
        return optimizer

    def _setup_train(self) -> None:
        super()._setup_train()
        if part := self.own.get("ema"):
            steps = len(self.train_loader) * self.epochs / self.accumulate
            most = min(0.9999, max(0.0, 1 - 1 / (part * steps)))
            self.ema.decay = lambda x: min(most, (1 + x) / (10 + x))

    def preprocess_batch(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Make images of the first epochs smaller."""
        batch = super().preprocess_batch(batch)
        size = self.own.get("first")
        if size and self.model.training and self.epoch < round(self.epochs * 2 / 3):
            batch["img"] = torch.nn.functional.interpolate(
                batch["img"], size=(size, size), mode="bilinear", antialias=True
            ).contiguous(memory_format=torch.channels_last)
        return batch


def verdict(rows: list[dict[str, str]]) -> Figures:
    """Print the table and return the figures."""
    groups: dict[tuple[str, ...], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        which = row["set"], row["parent"], row["epochs"], row["images"]
        groups[which][row["recipe"]].append(float(row["map50_95"]))
    table = Table("set    ", "parent ", "epochs", "images", f"{'recipe':<60}", "map50_95", "seeds")
    figures: Figures = {}
    passed = []
    for which, found in sorted(groups.items()):
        for recipe, values in sorted(found.items(), key=lambda item: -mean(item[1])):
            set_, parent, epochs, images = which
            value = f"{mean(values):.4f}"
            table.row(
                set_, parent, epochs, images if images != "0" else "all", recipe, value, len(values)
            )
        figures["/".join(which)] = {r: round(mean(v), 4) for r, v in found.items()}
        stock = found.get("stock") or found.get("stock+half=1")
        if stock and "ours" in found:
            passed.append(mean(found["ours"]) > mean(stock))
    return {**figures, "pass": bool(passed) and all(passed)}


if __name__ == "__main__":
    start(main, KEYS)
