"""`yolo nas-compare` of trained models: what they find in pictures that no search has looked at.

Model definitions are trained first: see `compare.definitions`.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from yolo_nas_ext.compare import evaluation
from yolo_nas_ext.compare.cases import DRAWS, Cases, Slice
from yolo_nas_ext.compare.pictures import looked
from yolo_nas_ext.config.compare import TrainedSettings
from yolo_nas_ext.console import EVERY, Progress, aligned, short
from yolo_nas_ext.data import lesions
from yolo_nas_ext.data.coco import annotations
from yolo_nas_ext.data.naming import place
from yolo_nas_ext.data.polygons import objects
from yolo_nas_ext.data.scans import recipe
from yolo_nas_ext.errors import NASError
from yolo_nas_ext.host import dataset
from yolo_nas_ext.host.predict import Trained, View
from yolo_nas_ext.metrics import coco
from yolo_nas_ext.metrics.bootstrap import interval

BAR = "{percent:3.0f}% of {total} pictures, {spent} so far, {left} left"
TASKS = ("detect", "segment", "semantic", "classify")
SHOWN = ("AP", "AP50", "mask_AP", "mask_AP50", "froc_cpm", "dice", "accuracy", "auc")
BACKGROUND = "background"  # of semantic data sets: what no polygon covers
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
    if model.task == "semantic" and not all("segments" in label for label in labels.values()):
        raise NASError(
            f"data={data.source}: has masks as pictures, by which scans cannot be measured here; "
            "yolo semantic val measures it"
        )
    views = _watched(model, sorted(labels), settings.imgsz)
    rng = np.random.default_rng(settings.seed)
    if model.task == "classify":
        return _accuracy(list(views), labels, model.names, rng), list(data.skipped)
    seen = _Seen(data, labels)
    for _, scan in groupby(views, lambda view: place(Path(view.file).stem, view.file)[1]):
        seen.add(list(scan))
    figures = seen.figures(model.task, rng)
    if settings.out:
        folder = Path(settings.out) / Path(name).stem
        figures["files"] = [
            str(folder / file)
            for file in evaluation.write(folder, seen.cases, data.names, Path(name).name, rng)
        ]
    return figures, list(data.skipped)


def _accuracy(
    views: Sequence[View],
    labels: Mapping[str, Mapping[str, Any]],
    names: Mapping[int, str],
    rng: np.random.Generator,
) -> Figures:
    """Return accuracy and AUC of a classifier, each with its interval."""
    patients: dict[str, list[tuple[int, np.ndarray]]] = {}
    for view in views:
        patient = place(Path(view.file).stem, view.file)[0]
        kind = int(labels[view.file]["cls"][0, 0])
        patients.setdefault(patient, []).append((kind, view.scores))
    figures: Figures = {"images": len(views), "patients": len(patients)}
    for key, statistic in (("accuracy", accuracy), ("auc", auc)):
        figures[key] = statistic([pair for own in patients.values() for pair in own])
        figures[f"{key}_95"] = interval(patients, statistic, rng=rng, draws=DRAWS)
    return figures


def accuracy(pairs: Sequence[tuple[int, np.ndarray]]) -> float:
    """Return the part of pictures whose surest class is the true one."""
    return sum(int(np.argmax(scores)) == kind for kind, scores in pairs) / len(pairs)


def auc(pairs: Sequence[tuple[int, np.ndarray]]) -> float:
    """Return the area under the ROC curve, each class against all others, averaged.

    Classes that are in no picture, or in all, say nothing and are left out; nan without others.
    """
    from sklearn.metrics import roc_auc_score

    kinds = np.array([kind for kind, _ in pairs])
    scores = np.stack([scores for _, scores in pairs])
    areas = [
        roc_auc_score(kinds == kind, scores[:, kind])
        for kind in range(scores.shape[1])
        if 0 < (kinds == kind).sum() < len(kinds)
    ]
    return float(np.mean(areas)) if areas else math.nan


class _Seen:
    """What a model saw in a data set so far, a scan at a time, as masks take much room."""

    def __init__(self, data: dataset.DataSet, labels: Mapping[str, Mapping[str, Any]]) -> None:
        self._data, self._labels = data, labels
        self._rows: list[dict[str, Any]] = []
        self._truth = coco.Truth(data.names)
        self._images = 0
        where = data.yaml or data.source
        nc = data.nc - (data.task == "semantic" and BACKGROUND in data.names.values())
        folder = data.yaml.parent if data.yaml else Path(data.source)
        voxels = lesions.voxels(folder)
        self._known: dict[str, Sequence[int]] = dict(data.lesions)
        self._between = recipe.resampled(where)
        self.cases = Cases(nc, self._known, voxels, recipe.spacings(where))

    def add(self, scan: Sequence[View]) -> None:
        """Take the pictures of a scan."""
        same = {index: index + 1 for index in self._data.names}
        pictures: dict[str, Slice] = {}
        for one in looked(scan, self._labels, self._known, between=self._between):
            view = one.view
            image = self._truth.add(
                view.shape, one.boxes, () if one.masks is None else [*one.masks]
            )
            found, scores = self._found(view)
            if view.classes is None:
                self._rows += detections(view, image, same)
            pictures[one.stem] = Slice(one.index, found, one.boxes, scores, one.masks)
            self._known[one.stem] = () if one.lesions is None else one.lesions
        self._images += len(scan)
        patient, key, _ = place(Path(scan[0].file).stem, scan[0].file)
        self.cases.add(patient, key, pictures)

    def _found(self, view: View) -> tuple[np.ndarray, np.ndarray | None]:
        """Return the rows of what is seen in a picture, and the scores of its pixels."""
        if view.classes is not None and view.sure is not None:
            return _pieces(view.classes, view.sure, self._data.names)
        if view.masks is None:
            return view.boxes, None
        scores = np.zeros((self._data.nc, *view.shape), np.float32)
        for index in np.argsort(view.boxes[:, 5], kind="stable"):  # the surest last, on top
            scores[int(view.boxes[index, 4])][view.masks[index]] = view.boxes[index, 5]
        return view.boxes, scores

    def figures(self, task: str, rng: np.random.Generator) -> Figures:
        """Return all figures."""
        figures: Figures = {}
        if task != "semantic":  # which has no objects that COCO could rank
            with TemporaryDirectory() as folder:
                figures = _numbers(self._truth.write(Path(folder)), self._rows, task)
        return {**figures, **self.cases.figures(rng), "images": self._images}


def _pieces(
    classes: np.ndarray, sure: np.ndarray, names: Mapping[int, str]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the pieces of a class map as rows, and the scores (classes, h, w) of its pixels."""
    kinds = [kind for kind, name in names.items() if name != BACKGROUND]
    scores = np.stack([np.where(classes == kind, sure, 0) for kind in kinds]).astype(np.float32)
    plane = np.where(np.isin(classes, kinds), classes.astype(np.int64) + 1, 0)
    rows = []
    for piece in objects(plane, polygons=False):
        x0, y0, x1, y1 = piece.box
        inside = (plane == piece.value)[y0:y1, x0:x1]
        score = float(sure[y0:y1, x0:x1][inside].max())
        rows.append([x0, y0, x1, y1, piece.value - 1, score])
    return np.array(rows, float).reshape(-1, 6), scores


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
    low, high = row.get(f"{name}_95", (0.0, math.nan))
    if math.isnan(low):  # of one patient, who says nothing of others
        return f"{row[name]:.4f} (no interval)"
    return f"{row[name]:.4f}" + ("" if math.isnan(high) else f" ({low:.4f} to {high:.4f})")


def said(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return what to say below the table: what was counted, and what was written."""
    lines = []
    for row in rows:
        if "lesions" in row:
            lines.append(
                f"{row['model']}: {row['lesions']} lesions in {row['scans']} scans of "
                f"{row['patients']} patients: {row['lesions_by']}"
            )
        if "threshold" in row:
            lines.append(
                f"{row['model']}: each patient is measured at the score that is best for the "
                f"others; {row['threshold']:g} is best for all of them (nas-predict conf=)"
            )
        if "files" in row:
            lines.append(f"{row['model']}: {', '.join(row['files'])}")
    return lines


def plain(value: Any) -> Any:
    """Return figures as JSON has them: null for what is no number."""
    if isinstance(value, float):
        return None if math.isnan(value) else value
    if isinstance(value, dict):
        return {key: plain(part) for key, part in value.items()}
    return [plain(part) for part in value] if isinstance(value, list | tuple) else value
