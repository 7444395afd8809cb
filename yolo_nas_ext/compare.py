"""`yolo nas-compare`: what trained models see in pictures that no search has looked at.

Model definitions, which are to be trained first, are handed to `comparison`.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from tqdm import tqdm

from yolo_nas_ext import comparison
from yolo_nas_ext.commands import aligned, checked, flag
from yolo_nas_ext.config import optional, size, text, texts, whole
from yolo_nas_ext.cost.budget import short
from yolo_nas_ext.data import annotations, coco_numbers, dice, froc
from yolo_nas_ext.data.bootstrap import interval
from yolo_nas_ext.data.masks import fill
from yolo_nas_ext.data.privacy import place
from yolo_nas_ext.errors import NASError
from yolo_nas_ext.host import dataset
from yolo_nas_ext.host.metrics import SURE
from yolo_nas_ext.host.predict import Trained, View

HELP = """yolo nas-compare models=<a.yaml>,<b.yaml>,yolo11n.yaml data=<data set> [seeds=3]
yolo nas-compare models=<best.pt>[,<other.pt>...] data=<data set> [imgsz=640] [json=True]
yolo nas-compare models=<best.pt>[,...] coco=<instances.json> images=<folder> [imgsz=640]

Model definitions are trained on train, all with the host's complete schedule and the same seeds, in
turns, and measured on a part that no search looks at:
  epochs=100, imgsz=640, batch=16, seed=0 (the first), task=detect, part=val (or test), augment=,
  fitness=froc or dice, inherit=<.pt> to start from, timeout=, and the host's training keys
  runtime=onnx, torch, openvino or none, precision=fp32, latency_threads=1: latency is measured too,
  of all models in turns
  baseline=<names>: what the others are compared with; the host's own models unless given
  name= and project= of the folder; resume=<folder> goes on after a stop, with more models or seeds
  it leaves comparison.html, .csv and .png, verdict.md, and the weights of the first seed

What trained models see in the val part of a data set, or in the pictures of a COCO JSON:
  COCO's twelve numbers (by pycocotools), of masks too where the model finds masks
  froc_cpm: mean sensitivity at 1/8 to 8 false positives a scan, findings merged through slices
  dice: of the scans' volumes, of segmentation models
  accuracy: of classifiers
froc_cpm and dice come with a 95 % interval by drawing patients; seed=0 is of these draws.
A JSON's categories are told by their names. device= is the host's. json=True prints all figures."""

BAR = "{percentage:3.0f}% of {total} pictures, {elapsed} so far, {remaining} left"
TASKS = ("detect", "segment", "classify")
DRAWS = 500
SHOWN = ("AP", "AP50", "mask_AP", "mask_AP50", "froc_cpm", "dice", "accuracy")


KEYS: dict[str, Callable[[Any], Any]] = {
    "models": texts, "data": optional(text), "coco": optional(text), "images": optional(text),
    "imgsz": size, "device": optional(text), "seed": whole(0), "json": flag,
}  # fmt: skip


USUAL: dict[str, Any] = {
    "models": (), "data": None, "coco": None, "images": None, "imgsz": 640, "device": None,
    "seed": 0, "json": False,
}  # fmt: skip


def main(given: Mapping[str, Any]) -> int:
    """Print the table, or the JSON, of ``nas-compare``.

    Returns:
        0; 3 where pictures were left out, each of them named.

    Raises:
        NASError: For an unknown key, a bad value, or a model that does not fit the pictures.
    """
    if given.get("resume") or _definitions(given.get("models")):
        return comparison.main(given)
    settings = _settings(given)
    models = [Trained(Path(name), settings["device"]) for name in settings["models"]]
    of = _of_coco if settings["coco"] else _of_data
    rows, skipped = [], {}
    for name, model in zip(settings["models"], models, strict=True):
        if model.task not in TASKS:
            raise NASError(
                f"models={name}: is of task={model.task}; compared are {', '.join(TASKS)}: "
                f"yolo {model.task} val measures it"
            )
        figures, left_out = of(name, model, settings)
        skipped.update(dict.fromkeys(left_out))
        rows.append({"model": name, "task": model.task, "params": model.params, **figures})
    for line in skipped:
        print(line, file=sys.stderr)
    print(json.dumps(rows) if settings["json"] else table(rows))
    return 3 if skipped else 0


def _definitions(given: Any) -> bool:
    """Say whether models are to be trained first, told by their names.

    Raises:
        NASError: For both kinds at once.
    """
    names = given if isinstance(given, (list, tuple)) else str(given or "").split(",")
    kinds = {str(name).strip().endswith(".pt") for name in names if str(name).strip()}
    if len(kinds) == 2:
        raise NASError(
            f"models={given}: holds trained models (.pt) and model definitions; give one kind: "
            "definitions are trained and compared, trained models are measured as they are"
        )
    return kinds == {False}


def _settings(given: Mapping[str, Any]) -> dict[str, Any]:
    values = checked(given, KEYS, USUAL)
    if not values["models"]:
        raise NASError("models: is required; as in models=runs/nas/search/best.pt")
    if (values["data"] is None) == (values["coco"] is None):
        raise NASError("data: give either data=<data set> or coco=<instances.json> images=<folder>")
    if values["coco"] and not (values["images"] and Path(values["images"]).is_dir()):
        raise NASError(
            f"images={values['images']}: is not a folder; give the one that the JSON's file names "
            "refer to"
        )
    return values


Figures = dict[str, Any]


def _of_coco(name: str, model: Trained, settings: Mapping[str, Any]) -> tuple[Figures, list[str]]:
    """Return COCO's numbers of a model on a COCO JSON, and what was left out."""
    if model.task == "classify":
        raise NASError(f"models={name}: is of task=classify, which a COCO JSON is not of")
    file = Path(settings["coco"])
    content = annotations.load(file)
    found, skipped = annotations.find_images(content, Path(settings["images"]))
    if not found:
        raise NASError(f"images={settings['images']}: has none of the images of {file}")
    by_name = {str(row["name"]): key for key, row in content.cats.items()}
    categories = {i: by_name[n] for i, n in model.names.items() if n in by_name}
    if not categories:
        raise NASError(
            f"models={name}: knows no category of {file}: it knows "
            f"{', '.join(model.names.values())[:80]}, the file has {', '.join(by_name)[:80]}"
        )
    ids = {str(path): int(row["id"]) for row, path in found}
    rows: list[dict[str, Any]] = []
    seen = set()
    for view in _watched(model, list(ids), settings["imgsz"]):
        seen.add(view.file)
        rows += _detections(view, ids[view.file], categories)
    damaged = [f"skipped image {path}: cannot be decoded" for path in ids if path not in seen]
    measured = [ids[path] for path in ids if path in seen]
    lines = [f"skipped image {image}: {reason}" for image, reason in skipped] + damaged
    return _numbers(file, rows, model.task, measured), lines


def _watched(model: Trained, files: Sequence[str], imgsz: int) -> Iterator[View]:
    delay = 0.0 if sys.stderr.isatty() else 10.0
    yield from tqdm(
        model.see(files, imgsz=imgsz), total=len(files), bar_format=BAR, delay=delay, leave=False,
        mininterval=0.5 if sys.stderr.isatty() else 10,
    )  # fmt: skip


def _detections(view: View, image: int, categories: Mapping[int, int]) -> list[dict[str, Any]]:
    """Return what a model sees in a picture as COCO's results."""
    rows = []
    for index, (x0, y0, x1, y1, label, score) in enumerate(view.boxes.tolist()):
        if int(label) not in categories:
            continue
        row: dict[str, Any] = {
            "image_id": image, "category_id": categories[int(label)], "score": score,
            "bbox": [x0, y0, x1 - x0, y1 - y0],
        }  # fmt: skip
        if view.masks is not None:
            row["segmentation"] = coco_numbers.encoded(view.masks[index])
        rows.append(row)
    return rows


def _numbers(
    file: Path, rows: list[dict[str, Any]], task: str, images: Sequence[int] | None = None
) -> Figures:
    boxes = [{k: v for k, v in row.items() if k != "segmentation"} for row in rows]
    figures: Figures = coco_numbers.numbers(file, boxes, images=images)
    if task == "segment":
        masks = [{k: v for k, v in row.items() if k != "bbox"} for row in rows]
        masks = [row for row in masks if "segmentation" in row]
        found = coco_numbers.numbers(file, masks, kind="segm", images=images)
        figures |= {f"mask_{name}": value for name, value in found.items()}
    return figures


def _of_data(name: str, model: Trained, settings: Mapping[str, Any]) -> tuple[Figures, list[str]]:
    """Return the figures of a model on the val part of a data set, and what was left out."""
    data = dataset.read(settings["data"], model.task, part="val")
    if model.names != data.names:
        raise NASError(
            f"models={name}: knows the classes {', '.join(model.names.values())[:80]}, but "
            f"data={data.source} has {', '.join(data.names.values())[:80]}; give a model that was "
            "trained on them"
        )
    labels = {str(label["im_file"]): label for label in data.labels}
    views = _watched(model, sorted(labels), settings["imgsz"])
    if model.task == "classify":
        right = [int(np.argmax(v.scores)) == int(labels[v.file]["cls"][0, 0]) for v in views]
        return {"accuracy": sum(right) / len(right), "images": len(right)}, list(data.skipped)
    seen = _Seen(data, labels)
    for _, scan in groupby(views, lambda view: place(Path(view.file).stem, view.file)[1]):
        seen.add(list(scan))
    return seen.figures(model.task, np.random.default_rng(settings["seed"])), list(data.skipped)


class _Seen:
    """What a model saw in a data set so far, a scan at a time, as masks take much room."""

    def __init__(self, data: dataset.DataSet, labels: Mapping[str, Mapping[str, Any]]) -> None:
        self._data, self._labels = data, labels
        self._found: dict[str, np.ndarray] = {}
        self._true: dict[str, np.ndarray] = {}
        self._dice: dict[str, list[np.ndarray]] = {}
        self._rows: list[dict[str, Any]] = []
        self._truth = coco_numbers.Truth(data.names)

    def add(self, scan: Sequence[View]) -> None:
        """Take the pictures of a scan."""
        same = {index: index + 1 for index in self._data.names}
        found, true = {}, {}
        for view in scan:
            label, key = self._labels[view.file], Path(view.file).stem
            key = view.file if key in self._true else key  # of two folders
            boxes, masks = _true_boxes(label), _true_masks(label)
            image = self._truth.add(label["shape"], boxes, masks)
            self._rows += _detections(view, image, same)
            self._found[key], self._true[key] = view.boxes, boxes
            if view.masks is not None:
                sure, nc = view.boxes[:, 5] >= SURE, self._data.nc
                true[key] = _flat(masks, boxes, view.shape, nc)
                found[key] = _flat(view.masks[sure], view.boxes[sure], view.shape, nc)
        if true:
            patient = place(Path(scan[0].file).stem, scan[0].file)[0]
            self._dice.setdefault(patient, []).extend(dice.dice(found, true).values())

    def figures(self, task: str, rng: np.random.Generator) -> Figures:
        """Return all figures."""
        with TemporaryDirectory() as folder:
            figures = _numbers(self._truth.write(Path(folder)), self._rows, task)
        scans = froc.patients(self._found, self._true)
        figures["froc_cpm"] = froc.cpm([scan for part in scans.values() for scan in part])
        figures["froc_cpm_95"] = interval(scans, froc.cpm, rng=rng, draws=DRAWS)
        if task == "segment":
            figures["dice"] = _mean([scan for part in self._dice.values() for scan in part])
            figures["dice_95"] = interval(self._dice, _mean, rng=rng, draws=DRAWS)
        figures |= {"images": len(self._true), "patients": len(scans)}
        return figures


def _mean(scans: Sequence[np.ndarray]) -> float:
    """Return the mean Dice over classes and scans, without the classes that a scan lacks."""
    values = np.concatenate(scans)
    return math.nan if np.isnan(values).all() else float(np.nanmean(values))


def _true_boxes(label: Mapping[str, Any]) -> np.ndarray:
    """Return rows (left, top, right, bottom, class, 1) in pixels."""
    height, width = label["shape"]
    middle, sides = label["bboxes"][:, :2].astype(float), label["bboxes"][:, 2:].astype(float)
    corners = np.concatenate((middle - sides / 2, middle + sides / 2), 1)
    ones = np.ones((len(corners), 1))
    return np.concatenate((corners * (width, height, width, height), label["cls"], ones), 1)


def _true_masks(label: Mapping[str, Any]) -> list[np.ndarray]:
    """Return the masks (h, w) of a picture's polygons, as the host draws them."""
    height, width = label["shape"]
    return [fill(segment * (width, height), label["shape"]) for segment in label["segments"]]


def _flat(
    masks: Iterable[np.ndarray], boxes: np.ndarray, shape: tuple[int, int], nc: int
) -> np.ndarray:
    """Return the masks (classes, h, w) of what is in a picture."""
    result = np.zeros((nc, *shape), bool)
    for mask, label in zip(masks, boxes[:, 4], strict=True):
        result[int(label)] |= mask
    return result


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return compared models as a table for people."""
    names = [name for name in SHOWN if any(name in row for row in rows)]
    cells = [["model", "params", *names]]
    for row in rows:
        numbers = [_said(row, name) for name in names]
        cells.append([str(row["model"])[-60:], short(row["params"]), *numbers])
    return aligned(cells)


def _said(row: Mapping[str, Any], name: str) -> str:
    if name not in row:
        return "-"
    low, high = row.get(f"{name}_95", (math.nan, math.nan))
    return f"{row[name]:.4f}" + ("" if math.isnan(low) else f" ({low:.4f} to {high:.4f})")
