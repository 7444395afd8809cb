"""Searches on real scans and pictures, and what Ultralytics' own commands make of the results.

    python benchmarks/scans.py part=segment source=msd_hippocampus   # also part=detect
    python benchmarks/scans.py part=classify source=mednist
    python benchmarks/scans.py part=findings source=brain_tumor
    python benchmarks/scans.py part=coco source=coco128

Every part converts what has to be converted, searches, goes on with Ultralytics' own command and
measures the val part, which the search has not seen. `source` is a folder, or the name of one in
../shared/data. Everything is kept below `out` (runs/scans): run again, the same command goes on
where it was. The last line is a JSON object; `pass` holds the targets of the part. An accuracy is
measured after the last epoch, as the best epoch would be picked by the images that are measured.
"""

from __future__ import annotations

import csv
import json
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lib import Figures, Table, located, start, yolo

from yolo_nas_ext.errors import NASError

SEEDS = (0, 1, 2)
BASELINES = ("yolo11n-cls", "yolo26n-cls")
QUICK = ("threads=1", "workers=0")
SCANS = ("space=tiny", "augment=mri", "trials=12", "confirm=0")  # of every search on scans
TUNING = {"batch": 16, "fliplr": 0, "hsv_h": 0, "hsv_s": 0, "optimizer": "AdamW", "lr0": 0.002}
KEYS = {"part": "", "source": "", "out": "runs/scans"}


def search(out: Path, name: str, *arguments: str) -> Figures:
    """Run a search, or go on with it, and return its figures."""
    folder = out / name
    if not (folder / "best.yaml").is_file():
        begun = (folder / "args.yaml").is_file()
        keys = (f"resume={folder}",) if begun else (f"project={out}", f"name={name}", *arguments)
        yolo("nas-search", *keys, *(() if begun else QUICK), allowed=(0, 3))
    rows = list(csv.DictReader((folder / "trials.csv").read_text("utf-8").splitlines()))
    good = [row for row in rows if row["state"] == "complete"]
    seconds = sum(float(row["seconds"] or 0) for row in rows)
    return {
        "trials": len(rows),
        "failed": len(rows) - len(good),
        "minutes": round(seconds / 60, 1),
        "fitness": max(round(float(row["fitness"]), 4) for row in good),
    }


def train(out: Path, name: str, task: str, *, model: str, data: Path, **keys: Any) -> Figures:
    """Train with Ultralytics' own command, unless that is done, and return its last row."""
    table = out / name / "results.csv"
    if not table.is_file() or len(table.read_text("utf-8").splitlines()) <= keys["epochs"]:
        yolo(
            task,
            "train",
            f"model={model}",
            f"data={data}",
            f"project={out.resolve()}",
            f"name={name}",
            "exist_ok=True",
            "workers=0",
            "plots=False",
            "amp=False",
            *(f"{key}={value}" for key, value in keys.items()),
        )
    return list(csv.DictReader(table.read_text("utf-8").splitlines()))[-1]


def convert(out: Path, name: str, source: Path, *keys: str) -> Path:
    """Convert scans in one command, unless that is done."""
    folder = out / name
    if not (folder / "conversion.json").is_file():
        yolo(
            "nas-data", f"source={source}", f"out={folder}", "salt=benchmark", *keys, allowed=(0, 3)
        )
    return folder


def compared(*keys: str) -> Figures:
    """Return the figures of `yolo nas-compare` for one model."""
    return json.loads(yolo("nas-compare", *keys, "json=True").splitlines()[-1])[0]


def tuned(
    out: Path, part: str, task: str, data: Path, *, kind: str, imgsz: int, **more: Any
) -> tuple[float, Figures]:
    """Go on with the best of a search for four epochs.

    Returns:
        mAP50-95 on val, of boxes (kind ``B``) or masks (``M``), and the figures of nas-compare.
    """
    row = train(
        out,
        f"tuned_{part}",
        task,
        model=str(out / f"search_{part}" / "best.pt"),
        data=data,
        epochs=4,
        imgsz=imgsz,
        **TUNING,
        **more,
    )
    model = out / f"tuned_{part}" / "weights" / "last.pt"
    seen = compared(f"models={model}", f"data={data}", f"imgsz={imgsz}")
    return round(float(row[f"metrics/mAP50-95({kind})"]), 4), seen


def volumes(task: str) -> Callable[[Path, Path], Figures]:
    """Return the part for volumes with masks."""

    def part(source: Path, out: Path) -> Figures:
        folder = convert(
            out, f"hippocampus_{task}", source, f"task={task}", "names=1:anterior,2:posterior"
        )
        data = folder / "data.yaml"
        # Boxes are cheaper than masks; both searches take about a quarter of an hour of a core.
        fitness, batch = {"segment": ("dice", 8), "detect": ("froc", 16)}[task]
        keys = (f"task={task}", "imgsz=64", "epochs=1", "max_flops=70M", f"batch={batch}")
        found = search(out, f"search_{task}", f"data={data}", *keys, f"fitness={fitness}", *SCANS)
        kind = "M" if task == "segment" else "B"
        map50_95, seen = tuned(out, task, task, data, kind=kind, imgsz=64, flipud=0)
        return {
            "search": found,
            "map50_95": map50_95,
            **seen,
            "pass": found["trials"] - found["failed"] >= 12 and map50_95 > 0.1,
        }

    return part


def pictures(source: Path, out: Path) -> Figures:
    """Search a classifier, and train it and Ultralytics' alike at no more of their FLOPs.

    Seven tenths of the pictures measure, and a training is of ten epochs: with many to train on, or
    twice the epochs, every network comes so close to 1 that a mistake more or less decides. The
    search holds two fifths of the others out, and trains for as many more epochs, so that a
    candidate takes the steps of the training that counts.
    """
    folder = convert(out, "mednist", source, "task=classify", "class_from=folder", "val=0.7")
    keys: dict[str, Any] = {"epochs": 10, "imgsz": 64, "batch": 16, "fliplr": 0}
    longer = {**keys, "epochs": round(keys["epochs"] / (1 - CLASSIFIED))}
    found = search(
        out,
        "search_classify",
        f"data={folder}",
        "task=classify",
        "space=yolo",
        "estimator=full",
        "trials=36",
        "confirm=8",
        f"val_fraction={CLASSIFIED}",
        f"max_flops={CLASSIFIER}",
        "baseline=yolo11n",
        *(f"{key}={value}" for key, value in longer.items()),
    )
    models = {
        "found": str(out / "search_classify" / "best.yaml"),
        **{name: f"{name}.yaml" for name in BASELINES},
    }
    if same(*BASELINES):  # as of Ultralytics 8.4: the same network under two names
        print(f"{' and '.join(BASELINES)} are the same network, which is trained once a seed")
        del models[BASELINES[1]]
    accuracies: dict[str, list[float]] = {name: [] for name in models}
    for seed in SEEDS:
        for name, model in models.items():
            row = train(
                out, f"{name}_{seed}", "classify", model=model, data=folder, seed=seed, **keys
            )
            accuracies[name].append(float(row["metrics/accuracy_top1"]))
    mean = {name: round(statistics.mean(values), 4) for name, values in accuracies.items()}
    costs = flops([out / f"{name}_{SEEDS[0]}" / "weights" / "last.pt" for name in models], 64)
    for name, cost in zip(models, costs, strict=True):
        values = ", ".join(f"{value:.4f}" for value in accuracies[name])
        print(f"{name:<14}{cost / 1e6:8.1f} MFLOPs  accuracy {mean[name]:.4f} ({values})")
    good = all(mean["found"] > value for name, value in mean.items() if name != "found")
    mflops = {name: round(cost / 1e6, 2) for name, cost in zip(models, costs, strict=True)}
    return {
        "search": found,
        "accuracy": mean,
        "seeds": accuracies,
        "mflops": mflops,
        "pass": good and costs[0] <= min(costs[1:]),
    }


CLASSIFIED = 0.4  # of the pictures to train on, held out by the search
CLASSIFIER = "33M"  # FLOPs; both baselines have 32.5M at 64 px and six classes


def same(*names: str) -> bool:
    """Say whether Ultralytics builds models of the same modules, with the same first weights."""
    import torch
    from ultralytics import YOLO

    models = []
    for name in names:
        torch.manual_seed(0)
        models.append(YOLO(f"{name}.yaml").model)
    weights = [list(model.state_dict().values()) for model in models]
    return len({str(model) for model in models}) == 1 and all(
        torch.equal(a, b) for other in weights[1:] for a, b in zip(weights[0], other, strict=True)
    )


def flops(models: list[Path], imgsz: int) -> list[float]:
    """Return the FLOPs of checkpoints by Ultralytics' own count."""
    from ultralytics import YOLO
    from ultralytics.utils.torch_utils import get_flops

    return [1e9 * get_flops(YOLO(model).model, imgsz) for model in models]


def findings(source: Path, out: Path) -> Figures:
    """Search a detector by its findings."""
    keys = ("imgsz=128", "epochs=2", "batch=8", "max_flops=150M", "fitness=froc")
    found = search(out, "search_findings", f"data={source}", *keys, *SCANS)
    data = out / "search_findings" / "data.yaml"
    map50_95, seen = tuned(out, "findings", "detect", data, kind="B", imgsz=128)
    return {
        "search": found,
        "map50_95": map50_95,
        **seen,
        "pass": found["trials"] - found["failed"] >= 12 and seen["froc_cpm"] > 0,
    }


def coco(source: Path, out: Path) -> Figures:
    """Take a subset of COCO128, train a little on it and measure COCO's twelve numbers."""
    file, images = source / "annotations" / "instances_train2017.json", source / "train2017"
    folder = out / "coco_subset"
    if not folder.is_dir():
        yolo(
            "nas-data",
            f"source={file}",
            f"images={images}",
            f"out={folder}",
            "subset=64",
            "all_classes=True",
        )
    train(
        out,
        "coco_yolo11n",
        "detect",
        model="yolo11n.yaml",
        data=folder / "data.yaml",
        epochs=50,
        imgsz=128,
        batch=8,
        optimizer="AdamW",
        lr0=0.002,
        warmup_epochs=1,
        nbs=8,
        mosaic=0,
        val=False,
    )
    model = out / "coco_yolo11n" / "weights" / "last.pt"
    seen = compared(f"models={model}", f"coco={file}", f"images={images}", "imgsz=128")
    return {**seen, "pass": seen["AP"] > 0}


PARTS: dict[str, Callable[[Path, Path], Figures]] = {
    "segment": volumes("segment"),
    "detect": volumes("detect"),
    "classify": pictures,
    "findings": findings,
    "coco": coco,
}


def main(given: dict[str, Any]) -> Figures:
    """Run a part, print its figures and return them."""
    if given["part"] not in PARTS or not given["source"]:
        raise NASError(f"give part= and source=; parts: {', '.join(PARTS)}")
    figures = PARTS[given["part"]](located(str(given["source"])), Path(given["out"]))
    table = Table(f"{'figure':<20}", "value")
    for name, value in figures.items():
        table.row(name, value)
    return figures


if __name__ == "__main__":
    start(main, KEYS)
