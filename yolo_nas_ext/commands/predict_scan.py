"""What a model finds in one scan, written on it."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from yolo_nas_ext.data.scans import channels, dicom, findings, tiles, write_back
from yolo_nas_ext.data.scans.overlay import Sheet
from yolo_nas_ext.data.scans.paired import PairedScan
from yolo_nas_ext.data.scans.recipe import Recipe
from yolo_nas_ext.data.scans.slices import Slice, cut, size_of, survey
from yolo_nas_ext.data.scans.volumes import Scan, ScanError, Volume
from yolo_nas_ext.data.scans.write_scan import load
from yolo_nas_ext.files import write_json
from yolo_nas_ext.host import tiled
from yolo_nas_ext.host.predict import Trained, View
from yolo_nas_ext.metrics.froc import merge

SHARE = 0.999  # of a scan's step of the progress; the last of it is the loop's
BACKGROUND = "background"  # of semantic models: pixels of no class


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What all scans have in common.

    Attributes:
        model: The model.
        recipe: How scans become pictures.
        imgsz: Image size in pixels.
        conf: Score from which something counts.
        batch: Slices at a time.
        kind: Format of masks, of `config.predict.FORMATS`.
    """

    model: Trained
    recipe: Recipe
    imgsz: int
    conf: float
    batch: int
    kind: str

    @property
    def of_class(self) -> dict[int, int]:
        """The label of each class index of the model; 0 for background."""
        by_name = {name: label for label, name in self.recipe.names.items()}
        return {i: by_name.get(name, 0) for i, name in self.model.names.items()}


class _Instances:
    """Objects that are told apart: each detection, joined through slices that it overlaps in."""

    def __init__(self) -> None:
        self._rows: dict[int, list[list[float]]] = {}
        self._masks: dict[int, list[tuple[tuple[slice, slice], np.ndarray]]] = {}
        self._shape = (0, 0)

    def add(self, index: int, row: list[float], mask: np.ndarray) -> None:
        """Take a detection: its row (left, top, right, bottom, class, score) and mask (h, w)."""
        rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
        box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        self._rows.setdefault(index, []).append(row)
        self._masks.setdefault(index, []).append((box, mask[box].copy()))
        self._shape = mask.shape[0], mask.shape[1]

    def put(self, scan: Scan, axis: int) -> tuple[write_back.Labels, dict[int, int]]:
        """Return the number of the object at every place, and the class index of each number."""
        slices = [(index, np.array(rows)) for index, rows in sorted(self._rows.items())]
        numbers, scores = merge(slices)
        labels = write_back.empty(scan, axis, len(scores))
        kinds: dict[int, int] = {}
        for (index, rows), own in zip(slices, numbers, strict=True):
            plane, sure = np.zeros(self._shape, np.int32), np.zeros(self._shape, np.float32)
            for row in np.argsort(rows[:, 5], kind="stable"):  # the surest last, on top
                at, mask = self._masks[index][row]
                plane[at][mask], sure[at][mask] = own[row] + 1, rows[row, 5]
                kinds[int(own[row]) + 1] = int(rows[row, 4])
            labels.put(scan, axis, index, plane, sure)
        return labels, kinds


def predict_scan(
    entry: PairedScan, key: str, patient: str, folder: Path, job: Job, bar: Any
) -> dict[str, Any]:
    """Write what is found in a scan into a folder and return its record.

    Args:
        entry: The scan.
        key: Its pseudonym.
        patient: Its patient's.
        folder: Where to; exists and is empty.
        job: See `Job`.
        bar: Shows the progress; it is moved by less than 1 in all.

    Raises:
        ScanError: For a scan that cannot be used.
    """
    recipe, how = job.recipe, job.recipe.options.cut
    scan = load(entry, recipe.options)
    size_of(scan, how)  # which refuses scans that are too small
    n = scan.planes(how.axis)
    record: dict[str, Any] = {"key": key, "patient": patient, "slices": n}
    views = _seen(scan, job, bar)
    scan = channels.base(scan)  # which says where all of them are
    if job.model.task == "classify":
        rows = _classified(patient, key, [view for _, view in views], job.model.names)
        record |= {"rows": rows, "files": []}
    else:
        labels, of, sheet = _painted(scan, views, job)
        names = recipe.names
        found = findings.find(scan, how.axis, labels, of=of)
        rows = findings.rows(patient, key, found, names)
        if job.model.task == "detect":  # boxes hold more than what is in them
            rows = [{**row, "volume_ml": ""} for row in rows]
        files, note = _masks(entry, scan, labels.values, folder / key, job, names)
        picture = folder / f"{key}.overlay.png"
        Image.fromarray(sheet.draw(dict(enumerate(names.values())))).save(picture)
        names_of = [file.name for file in (*files, picture)]
        record |= {"rows": rows, "files": names_of, "note": note}
    write_json(folder / "record.json", record)
    return record


def _seen(scan: Scan, job: Job, bar: Any) -> Iterator[tuple[Slice, View]]:
    """Yield every slice of a scan with what the model sees in it, tiles joined."""
    of_slice: list[tuple[Slice, View]] = []
    for part, view in _looked(scan, job, bar):
        if of_slice and of_slice[0][0].index != part.index:
            yield _joined(of_slice)
            of_slice = []
        of_slice.append((part, view))
    if of_slice:
        yield _joined(of_slice)


def _looked(scan: Scan, job: Job, bar: Any) -> Iterator[tuple[Slice, View]]:
    """Yield every slice of a scan, or every tile of one, with what the model sees in it."""
    how = job.recipe.options.cut
    shape, _ = size_of(scan, how)
    height, width = scan.plane(how.axis, 0).shape[:2]
    n = scan.planes(how.axis) * len(tiles.corners(shape, how.tile, how.overlap))
    slices = cut(scan, (), how, survey(scan, how.axis), rng=random.Random(0))
    # Of pictures of another size than their slices, masks are wanted at that of the slices.
    own = None if how.tile else (height, width)
    while batch := [part for part in islice(slices, job.batch) if part is not None]:
        views = job.model.look(
            [p.pixels for p in batch], imgsz=job.imgsz, least=job.conf, shape=own
        )
        yield from zip(batch, views, strict=True)
        bar.update(SHARE * len(batch) / n)


def _joined(of_slice: Sequence[tuple[Slice, View]]) -> tuple[Slice, View]:
    """Return a slice of its tiles, and what the model sees in it."""
    if len(of_slice) == 1:
        return of_slice[0]
    parts, views = [part for part, _ in of_slice], [view for _, view in of_slice]
    seen = tiled.whole(views, [part.corner for part in parts])
    pixels = np.zeros((*seen.shape, *parts[0].pixels.shape[2:]), np.uint8)
    for part in parts:
        (x, y), (height, width) = part.corner, part.pixels.shape[:2]
        pixels[y : y + height, x : x + width] = part.pixels
    return replace(parts[0], pixels=pixels, corner=(0, 0)), seen


def _painted(
    scan: Scan, views: Iterator[tuple[Slice, View]], job: Job
) -> tuple[write_back.Labels, dict[int, int] | None, Sheet]:
    """Return what lies on a scan, the label of each value where these are objects, and a sheet."""
    how, of_class = job.recipe.options.cut, job.of_class
    order = {label: i for i, label in enumerate(job.recipe.names)}
    labels = write_back.empty(scan, how.axis, max(job.recipe.names))
    instances = _Instances() if how.instances and job.model.task != "semantic" else None
    sheet = Sheet(scan.planes(how.axis), scan.spacing_of(how.axis), scan.plane(how.axis, 0).shape)
    for part, view in views:
        marks = list(_marks(view, of_class, job.conf))
        plane, sure = np.zeros(view.shape, np.int32), np.zeros(view.shape, np.float32)
        for mask, kind, score, row in marks:  # the surest last, on top
            plane[mask], sure[mask] = of_class[kind], score if np.isscalar(score) else score[mask]
            if instances is not None and mask.any():
                instances.add(part.index, row, mask)
        if instances is None:
            labels.put(scan, how.axis, part.index, plane, sure)
        pixels = part.pixels
        if pixels.ndim == 3 and not scan.facts.colour:  # of neighbours the middle, else the first
            pixels = pixels[..., 1 if how.channels == 3 else 0]
        shown = [
            (
                mask,
                order[of_class[kind]],
                float(np.max(score if np.isscalar(score) else score[mask])),
            )
            for mask, kind, score, _ in marks
            if mask.any()
        ]
        sheet.add(part.index, pixels, shown)
    if instances is None:
        return labels, None, sheet
    labels, kinds = instances.put(scan, how.axis)
    return labels, {number: of_class[kind] for number, kind in kinds.items()}, sheet


def _marks(
    view: View, of_class: Mapping[int, int], conf: float
) -> Iterator[tuple[np.ndarray, int, Any, list[float]]]:
    """Yield mask (h, w), class index, score and row of what is in a slice, the surest last.

    The score of a semantic model is one a pixel.
    """
    if view.classes is not None:
        assert view.sure is not None
        for kind, label in of_class.items():
            mask = (view.classes == kind) & (view.sure >= conf)
            if label and mask.any():
                yield mask, kind, view.sure, []
        return
    for index in np.argsort(view.boxes[:, 5], kind="stable"):
        row = view.boxes[index].tolist()
        if view.masks is not None:
            mask = view.masks[index]
        else:
            mask = np.zeros(view.shape, bool)
            x0, y0, x1, y1 = row[:4]
            left, top = max(0, int(x0)), max(0, int(y0))
            mask[top : int(np.ceil(y1)), left : int(np.ceil(x1))] = True
        yield mask, int(row[4]), float(row[5]), row


def _masks(
    entry: PairedScan,
    scan: Scan,
    values: np.ndarray,
    path: Path,
    job: Job,
    names: dict[int, str],
) -> tuple[list[Path], str]:
    """Write what lies on a scan in the formats that are asked for; say what could not be."""
    source = entry.source if isinstance(entry.source, Path) else None
    instances = job.recipe.options.cut.instances  # and a segment is a class
    series = entry.source if isinstance(entry.source, dicom.Series) and not instances else None
    kind = job.kind
    if kind == "auto" or (kind == "dicom-seg" and series is None):
        kind = write_back.format_of(source)
    files, note = [], ""
    if kind != "dicom-seg":
        files.append(write_back.write(scan, values, path, kind, source=source))
    if series is not None and job.kind in ("auto", "dicom-seg") and isinstance(scan, Volume):
        try:
            files.append(write_back.dicom_seg(series.files, scan, values, path, names))
        except ScanError as error:
            if job.kind != "auto":
                raise
            note = f"{error}; its mask is NIfTI alone"
    return files, note


def _classified(
    patient: str, key: str, views: Sequence[View], names: Mapping[int, str]
) -> list[dict[str, Any]]:
    """Return the row of a scan that is of a class: by the mean probability over its slices."""
    scores = np.stack([view.scores for view in views])
    mean = scores.mean(0)
    kind = int(mean.argmax())
    row = {"row": "scan", "patient": patient, "scan": key, "class": names[kind]}
    alike = np.flatnonzero(scores.argmax(1) == kind)
    row |= {"score": round(float(mean[kind]), 4), "slices": len(alike)}
    return [row]
