"""Pictures of a scan with what a model sees in them and what there is; tiles joined to slices."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from yolo_nas_ext.data.naming import corner, place
from yolo_nas_ext.data.polygons import covered, fill
from yolo_nas_ext.data.scans.tiles import join
from yolo_nas_ext.host import tiled
from yolo_nas_ext.host.predict import View


@dataclass(frozen=True, slots=True)
class Looked:
    """A picture that was looked at.

    Attributes:
        stem: Its name without the suffix; that of the first of the tiles that it is joined of.
        index: Number of the slice.
        view: What a model sees in it.
        boxes: Rows (left, top, right, bottom, class, 1) of what there is, in pixels.
        masks: Masks (n, h, w) of these; None where the model finds no masks.
        lesions: The lesion of each; None where the data set does not say it.
    """

    stem: str
    index: int
    view: View
    boxes: np.ndarray
    masks: np.ndarray | None
    lesions: Sequence[int] | None = None


def looked(
    views: Sequence[View],
    labels: Mapping[str, Mapping[str, Any]],
    known: Mapping[str, Sequence[int]],
    *,
    between: bool = False,
) -> Iterator[Looked]:
    """Yield the pictures of a scan, slice after slice.

    Args:
        views: What a model sees in its pictures, in the order of its slices.
        labels: Ultralytics' labels of each picture by its file.
        known: The lesion of every label of a picture, see `data.lesions.read`.
        between: Whether outlines run between pixels, see `data.scans.recipe.resampled`.
    """
    for _, of_slice in groupby(views, lambda view: place(Path(view.file).stem, view.file)[1:]):
        parts = [_one(view, labels[view.file], known, between) for view in of_slice]
        yield from [_joined(parts)] if corner(parts[0].stem) else parts


def _one(
    view: View, label: Mapping[str, Any], known: Mapping[str, Sequence[int]], between: bool
) -> Looked:
    stem, boxes, masks = Path(view.file).stem, true_boxes(label), None
    if view.masks is not None or view.classes is not None:
        masks = np.array(true_masks(label, between=between), bool).reshape(-1, *view.shape)
    lesions = known.get(stem, ())
    index = place(stem, view.file)[2]
    return Looked(stem, index, view, boxes, masks, lesions if len(lesions) == len(boxes) else None)


def _joined(parts: Sequence[Looked]) -> Looked:
    """Return the slice that tiles are of; objects are joined as those are that are seen."""
    corners = [corner(part.stem) or (0, 0) for part in parts]
    view = tiled.whole([part.view for part in parts], corners)
    frames = tiled.frames_of([part.view.shape for part in parts], corners)
    boxes, members = join([part.boxes for part in parts], frames)
    masks = lesions = None
    if all(part.masks is not None for part in parts):
        of_tiles = [part.masks for part in parts if part.masks is not None]
        masks = tiled.masks_of(of_tiles, frames, members, view.shape)
    if all(part.lesions is not None for part in parts):
        of = [part.lesions or () for part in parts]
        lesions = [of[tile][row] for (tile, row), *_ in members]
    return Looked(parts[0].stem, parts[0].index, view, boxes, masks, lesions)


def true_boxes(label: Mapping[str, Any]) -> np.ndarray:
    """Return a picture's labels as rows (left, top, right, bottom, class, 1) in pixels."""
    height, width = label["shape"]
    middle, sides = label["bboxes"][:, :2].astype(float), label["bboxes"][:, 2:].astype(float)
    corners = np.concatenate((middle - sides / 2, middle + sides / 2), 1)
    ones = np.ones((len(corners), 1))
    return np.concatenate((corners * (width, height, width, height), label["cls"], ones), 1)


def true_masks(label: Mapping[str, Any], *, between: bool = False) -> list[np.ndarray]:
    """Return the masks (h, w) of a picture's polygons, as Ultralytics draws them.

    Args:
        label: Ultralytics' label.
        between: Whether outlines run between pixels, and a pixel is inside where its middle is.
    """
    height, width = label["shape"]
    drawn = covered if between else fill
    return [drawn(segment * (width, height), label["shape"]) for segment in label["segments"]]
