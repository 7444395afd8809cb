"""`yolo nas-compare` of trained models: what they find in pictures that no search has looked at.

Model definitions are trained first: see `compare.definitions`.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from yolo_nas_ext.config.compare import TrainedSettings
from yolo_nas_ext.console import EVERY, Progress, aligned, short
from yolo_nas_ext.data.coco import annotations
from yolo_nas_ext.data.naming import place
from yolo_nas_ext.data.polygons import fill
from yolo_nas_ext.errors import NASError
from yolo_nas_ext.host import dataset
from yolo_nas_ext.host.metrics import SURE
from yolo_nas_ext.host.predict import Trained, View
from yolo_nas_ext.metrics import coco, dice, froc
from yolo_nas_ext.metrics.bootstrap import interval

BAR = "{percent:3.0f}% of {total} pictures, {spent} so far, {left} left"
TASKS = ("detect", "segment", "classify")
DRAWS = 500
SHOWN = ("AP", "AP50", "mask_AP", "mask_AP50", "froc_cpm", "dice", "accuracy")
Figures = dict[str, Any]


def measure(name: str, model: Trained, settings: TrainedSettings) -> tuple[Figures, list[str]]:
    """Return the figures of a trained model, and what was left out.

    Args:
        name: What the user calls the model.
        model: The model.
        settings: With ``coco`` and ``images``, or ``data``, whose val images are taken. With
            ``imgsz`` in pixels, and the ``seed`` of the intervals' draws.

    Raises:
        NASError: For a model that does not fit the pictures.
    """
    if model.task not in TASKS:
        raise NASError(
            f"models={name}: is of task={model.task}; compared are {', '.join(TASKS)}: "
            f"yolo {model.task} val measures it"
        )
    if settings.coco:
        return _on_coco(name, model, settings)
    return _on_data(name, model, settings)


def _on_coco(name: str, model: Trained, settings: TrainedSettings) -> tuple[Figures, list[str]]:
    """Return COCO's numbers of a model on a COCO JSON, and what was left out."""
    if model.task == "classify":
        raise NASError(f"models={name}: is of task=classify, which a COCO JSON is not of")
    file = Path(settings.coco)
    content = annotations.load(file)
    found, skipped = annotations.find_images(content, Path(settings.images))
    if not found:
        raise NASError(f"images={settings.images}: has none of the images of {file}")
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
    for view in _watched(model, list(ids), settings.imgsz):
        seen.add(view.file)
        rows += detections(view, ids[view.file], categories)
    damaged = [f"skipped image {path}: cannot be decoded" for path in ids if path not in seen]
    measured = [ids[path] for path in ids if path in seen]
    lines = [f"skipped image {image}: {reason}" for image, reason in skipped] + damaged
    return _numbers(file, rows, model.task, measured), lines


def _watched(model: Trained, files: Sequence[str], imgsz: int) -> Iterator[View]:
    with Progress(len(files), BAR, delay=EVERY, stream=sys.stderr) as progress:
        for done, view in enumerate(model.see(files, imgsz=imgsz), 1):
            yield view
            progress(done)


def detections(view: View, image: int, categories: Mapping[int, int]) -> list[dict[str, Any]]:
    """Return what a model sees in a picture as COCO's results.

    Args:
        view: What it sees.
        image: COCO's id of the picture.
        categories: COCO's id of a category by the model's class; other classes are left out.
    """
    rows = []
    for index, (x0, y0, x1, y1, label, score) in enumerate(view.boxes.tolist()):
        if int(label) not in categories:
            continue
        row: dict[str, Any] = {
            "image_id": image,
            "category_id": categories[int(label)],
            "score": score,
            "bbox": [x0, y0, x1 - x0, y1 - y0],
        }
        if view.masks is not None:
            row["segmentation"] = coco.encoded(view.masks[index])
        rows.append(row)
    return rows


def _numbers(
    file: Path, rows: list[dict[str, Any]], task: str, images: Sequence[int] | None = None
) -> Figures:
    boxes = [{k: v for k, v in row.items() if k != "segmentation"} for row in rows]
    figures: Figures = coco.numbers(file, boxes, images=images)
    if task == "segment":
        masks = [{k: v for k, v in row.items() if k != "bbox"} for row in rows]
        masks = [row for row in masks if "segmentation" in row]
        found = coco.numbers(file, masks, kind="segm", images=images)
        figures |= {f"mask_{name}": value for name, value in found.items()}
    return figures


def _on_data(name: str, model: Trained, settings: TrainedSettings) -> tuple[Figures, list[str]]:
    """Return the figures of a model on the val images of a data set, and what was left out."""
    data = dataset.read(settings.data, model.task, part=settings.part)
    if model.names != data.names:
        raise NASError(
            f"models={name}: knows the classes {', '.join(model.names.values())[:80]}, but "
            f"data={data.source} has {', '.join(data.names.values())[:80]}; give a model that was "
            "trained on them"
        )
    labels = {str(label["im_file"]): label for label in data.labels}
    views = _watched(model, sorted(labels), settings.imgsz)
    if model.task == "classify":
        right = [int(np.argmax(v.scores)) == int(labels[v.file]["cls"][0, 0]) for v in views]
        return {"accuracy": sum(right) / len(right), "images": len(right)}, list(data.skipped)
    seen = _Seen(data, labels)
    for _, scan in groupby(views, lambda view: place(Path(view.file).stem, view.file)[1]):
        seen.add(list(scan))
    return seen.figures(model.task, np.random.default_rng(settings.seed)), list(data.skipped)


class _Seen:
    """What a model saw in a data set so far, a scan at a time, as masks take much room."""

    def __init__(self, data: dataset.DataSet, labels: Mapping[str, Mapping[str, Any]]) -> None:
        self._data, self._labels = data, labels
        self._found: dict[str, np.ndarray] = {}
        self._true: dict[str, np.ndarray] = {}
        self._dice: dict[str, list[np.ndarray]] = {}
        self._rows: list[dict[str, Any]] = []
        self._truth = coco.Truth(data.names)

    def add(self, scan: Sequence[View]) -> None:
        """Take the pictures of a scan."""
        same = {index: index + 1 for index in self._data.names}
        found, true = {}, {}
        for view in scan:
            label, key = self._labels[view.file], Path(view.file).stem
            key = view.file if key in self._true else key  # of two folders
            boxes, masks = true_boxes(label), true_masks(label)
            image = self._truth.add(label["shape"], boxes, masks)
            self._rows += detections(view, image, same)
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
        figures["froc_cpm"] = froc.cpm([scan for patient in scans.values() for scan in patient])
        figures["froc_cpm_95"] = interval(scans, froc.cpm, rng=rng, draws=DRAWS)
        if task == "segment":
            figures["dice"] = _mean([scan for patient in self._dice.values() for scan in patient])
            figures["dice_95"] = interval(self._dice, _mean, rng=rng, draws=DRAWS)
        figures |= {"images": len(self._true), "patients": len(scans)}
        return figures


def _mean(scans: Sequence[np.ndarray]) -> float:
    """Return the mean Dice over classes and scans, without the classes that a scan lacks."""
    values = np.concatenate(scans)
    return math.nan if np.isnan(values).all() else float(np.nanmean(values))


def true_boxes(label: Mapping[str, Any]) -> np.ndarray:
    """Return a picture's labels as rows (left, top, right, bottom, class, 1) in pixels."""
    height, width = label["shape"]
    middle, sides = label["bboxes"][:, :2].astype(float), label["bboxes"][:, 2:].astype(float)
    corners = np.concatenate((middle - sides / 2, middle + sides / 2), 1)
    ones = np.ones((len(corners), 1))
    return np.concatenate((corners * (width, height, width, height), label["cls"], ones), 1)


def true_masks(label: Mapping[str, Any]) -> list[np.ndarray]:
    """Return the masks (h, w) of a picture's polygons, as Ultralytics draws them."""
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
