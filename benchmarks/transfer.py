"""How much of a trained network's mAP does a changed network have, before any training?

    python benchmarks/transfer.py                     # the table of what is there
    python benchmarks/transfer.py parent=yolo11n,yolo26n [trained=1]

Each row of `results/transfer.csv` is a network made of a parent (a checkpoint in
`../shared/data`), its weights carried over in one of three ways, and measured on 40 photos of
coco128 at 416 px. Nothing that is there is done again. Importance and least squares see 64 of the
other 88 photos, as they are.

Changes are all hidden widths (those of bottlenecks, inside blocks) to 0.9, 0.75 or 0.5, and the
network without its highest level. Ways:

    leading   the leading channels of each part
    ordered   the channels that matter most, batch norms estimated again
    fitted    as ordered, and each convolution fitted to the parent by least squares, as in a search

With `trained=1` the leading and the fitted ones of the last two changes, beyond a fit alone, are
fine-tuned as well: three epochs of the 88 photos in batches of 8 by our recipe, `taught` with the
parent as teacher.

Targets, of the parent's mAP50-95, `fitted`: 0.75 of it at 0.9 and 0.45 at 0.75 of the widths.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from lib import RESULTS, SHARED, Figures, Table, csv_rows, keep_csv, names, start, targets
from ultralytics import YOLO

from yolo_nas_ext.estimators.training import UntouchedFineTuning
from yolo_nas_ext.host import models
from yolo_nas_ext.host.dataset import DataSet, read
from yolo_nas_ext.host.training.augmented import augmented_batches
from yolo_nas_ext.host.training.settings import TrainingSettings
from yolo_nas_ext.host.transfer.prepare import prepared
from yolo_nas_ext.host.transfer.weights import Source, load, transfer
from yolo_nas_ext.network.architecture import Architecture, Block
from yolo_nas_ext.network.block_rows import round8
from yolo_nas_ext.network.blocks import BLOCKS
from yolo_nas_ext.network.emit import emit
from yolo_nas_ext.space.parent import ParentSpace

KEYS = {"parent": "", "trained": 0}
COLUMNS = ["parent", "change", "way", "map50_95", "share", "seconds"]
CHANGES = ("nothing", "hidden x 0.9", "hidden x 0.75", "hidden x 0.5", "without P5")
WAYS = ("leading", "ordered", "fitted")
TRAINED = tuple(f"{way}, {how}" for way in ("leading", "fitted") for how in ("trained", "taught"))
FAR = ("hidden x 0.5", "without P5")  # of which too little is left without a training
EPOCHS, BATCH = 3, 8
IMGSZ, SEEN, MEASURED = 416, 64, 40
PLAIN = {
    **dict.fromkeys(("mosaic", "hsv_h", "hsv_s", "hsv_v", "translate", "scale", "fliplr"), 0.0),
    "erasing": 0.0,
}


def main(given: dict[str, Any]) -> Figures:
    """Measure what is missing, print the table and return the figures."""
    file = RESULTS / "transfer.csv"
    rows = csv_rows(file)
    for parent in names(given["parent"]):
        for row in measured(parent, rows, (*WAYS, *TRAINED) if int(given["trained"]) else WAYS):
            rows.append(row)
            keep_csv(file, COLUMNS, row)
            print(" ".join(row.values()), flush=True)
    return verdict(rows)


def measured(
    parent: str, rows: list[dict[str, str]], ways: Sequence[str]
) -> Iterator[dict[str, str]]:
    """Yield the rows of a parent that are missing."""
    done = {(r["change"], r["way"]): float(r["map50_95"]) for r in rows if r["parent"] == parent}
    with tempfile.TemporaryDirectory() as folder:
        file = SHARED / f"{parent}_coco" / f"{parent}.pt"
        source = load(file, "parent")
        data = photos(Path(folder), source.model.names)
        ready: Source | None = None
        for change in CHANGES:
            for way in ways if change != "nothing" else ("leading",):
                if (change, way) in done or (way in TRAINED and change not in FAR):
                    continue
                begin = time.perf_counter()
                network = changed(source.architecture, change)
                if way in TRAINED:
                    value = tuned(network, file, Path(folder), way)
                else:
                    if way != "leading" and ready is None:
                        ready = made_ready(source, data)
                    value = score(carried(network, source, ready, way), Path(folder))
                done[change, way] = value
                yield {
                    "parent": parent,
                    "change": change,
                    "way": way,
                    "map50_95": f"{value:.4f}",
                    "share": f"{value / done['nothing', 'leading']:.3f}",
                    "seconds": f"{time.perf_counter() - begin:.0f}",
                }


def photos(folder: Path, classes: Mapping[int, str]) -> DataSet:
    """Write coco128 as a data set of 88 and 40 photos, and return the 88."""
    source = (SHARED / "coco128").resolve()
    for number, file in enumerate(sorted((source / "train2017").glob("*.jpg"))):
        part = "val" if number >= 128 - MEASURED else "train"
        label = source / "labels_det" / f"{file.stem}.txt"
        for kind, path in (("images", file), ("labels", label)):
            (folder / kind / part).mkdir(parents=True, exist_ok=True)
            if path.is_file():
                (folder / kind / part / path.name).symlink_to(path)
    lines = "\n".join(f"  {number}: {name}" for number, name in classes.items())
    text = f"path: {folder}\ntrain: images/train\nval: images/val\nnames:\n{lines}\n"
    (folder / "data.yaml").write_text(text, encoding="utf-8")
    return read(folder / "data.yaml")


def changed(parent: Architecture, change: str) -> Architecture:
    """Return a parent with a change."""
    if change == "nothing":
        return parent
    if change == "without P5":
        space = ParentSpace(parent, "detect")
        return space.architecture({**space.point_of(parent), "levels": "3-4"})
    factor = float(change.rpartition(" ")[2])

    def narrow(block: Block) -> Block:
        if not block.hidden:
            return block
        return replace(block, hidden=BLOCKS[block.kind].fit(max(8, round8(block.hidden * factor))))

    neck = parent.neck
    return replace(
        parent,
        backbone=tuple(map(narrow, parent.backbone)),
        neck=replace(
            neck,
            down=tuple(map(narrow, neck.down)),
            up=tuple((narrow(a), narrow(b)) for a, b in neck.up),
        ),
    )


def made_ready(source: Source, data: DataSet) -> Source:
    """Return a source in the order of importance, with the photos to fit on."""
    settings = TrainingSettings(epochs=1, imgsz=IMGSZ, batch=8, overrides=PLAIN)
    seen = augmented_batches(data, range(len(data.images)), settings, images=SEEN, seed=0)
    return prepared(source, seen)


def carried(network: Architecture, source: Source, ready: Source | None, way: str) -> Any:
    """Return a model of a network with the weights of a source."""
    classes = source.model.names
    model = models.build(emit(network, len(classes)), task="detect", nc=len(classes))
    if way == "leading" or ready is None:
        transfer(model, network, source, classes)
    elif way == "fitted":
        transfer(model, network, ready, classes)
    else:
        transfer(model, network, replace(ready, images=None), classes)
        estimate(model, ready.images)
    model.names = classes
    return model


class Leading(UntouchedFineTuning):
    """A fine-tuning from the leading channels of a parent."""

    def _ready(self, source: Source) -> Source:
        return source


def tuned(network: Architecture, parent: Path, folder: Path, way: str) -> float:
    """Return the mAP50-95 of a network after some epochs."""
    start, _, how = way.partition(", ")
    kind = Leading if start == "leading" else UntouchedFineTuning
    photos = (read(folder / "data.yaml", part=part) for part in ("train", "val"))
    teacher = parent if how == "taught" else None
    training = kind(
        *photos, inherit=parent, teacher=teacher, epochs=EPOCHS, imgsz=IMGSZ, batch=BATCH, threads=1
    )
    return training.estimate(network)["map50_95"]


@torch.no_grad()
def estimate(model: Any, images: torch.Tensor | None) -> None:
    """Estimate the batch norms of a model again."""
    kept = [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in kept]
    for norm in kept:
        norm.momentum = 1.0
    model.train()(images)
    for norm, momentum in zip(kept, momenta, strict=True):
        norm.momentum = momentum


def score(model: Any, folder: Path) -> float:
    """Return a model's mAP50-95, as Ultralytics measures it."""
    detector = YOLO("yolo11n.yaml", task="detect")
    model = deepcopy(model).float().eval()
    model.args = detector.model.args
    detector.model = model
    result = detector.val(
        data=str(folder / "data.yaml"),
        imgsz=IMGSZ,
        batch=8,
        workers=0,
        plots=False,
        verbose=False,
        project=str(folder / "runs"),
    )
    return float(result.box.map)


def verdict(rows: list[dict[str, str]]) -> Figures:
    """Print the table and return whether the targets are met."""
    shares = {(r["parent"], r["change"], r["way"]): float(r["share"]) for r in rows}
    ways = [way for way in (*WAYS, *TRAINED) if any(key[2] == way for key in shares)]
    table = Table("parent ", "change       ", *(f"{way:<8}" for way in ways))
    for parent in sorted({r["parent"] for r in rows}):
        for change in CHANGES[1:]:
            found = [shares.get((parent, change, way)) for way in ways]
            table.row(parent, change, *("-" if f is None else f"{f:.3f}" for f in found))
    met = {
        f"{parent}: {least} of the mAP at {change}": share >= least
        for change, least in (("hidden x 0.9", 0.75), ("hidden x 0.75", 0.45))
        for parent in sorted({r["parent"] for r in rows})
        if (share := shares.get((parent, change, "fitted"))) is not None
    }
    return {"shares": {" / ".join(key): v for key, v in shares.items()}, "pass": targets(met)}


if __name__ == "__main__":
    start(main, KEYS)
