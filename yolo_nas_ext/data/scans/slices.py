"""A scan and its masks cut into pictures with objects."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from yolo_nas_ext.data.lesions import Components
from yolo_nas_ext.data.polygons import MaskObject, objects
from yolo_nas_ext.data.scans.intensity import percentiles, to_8_bits
from yolo_nas_ext.data.scans.volumes import AXES, Scan, ScanError, check_labels

SMALLEST = 10  # pixels; Ultralytics refuses smaller images
SAMPLE = 2_000_000  # voxels that percentiles are computed from


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """How scans become pictures.

    Attributes:
        axis: Index in `volumes.AXES` of the axis that slices are perpendicular to.
        channels: 1, or 3 for a slice between its neighbours.
        spacing: Size of a written pixel in mm; 0 keeps the scan's, -1 its smaller one for both.
        window: Lowest and highest value; percentiles of each scan without.
        connectivity: 4 or 8, see `data.polygons.objects`.
        min_mm2: Area in mm^2 below which an object is left out.
        instances: Whether a label is one object rather than a class.
        polygons: Whether outlines are wanted.
        empty: Part of the slices without an object to keep for training.
        remap: Labels and what becomes of them; 0 leaves a label out.
    """

    axis: int = AXES.index("axial")
    channels: int = 1
    spacing: float = 0.0
    window: tuple[float, float] | None = None
    connectivity: int = 8
    min_mm2: float = 0.0
    instances: bool = False
    polygons: bool = False
    empty: float = 0.1
    remap: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Survey:
    """What a scan's voxels are like.

    Attributes:
        least: Lowest value.
        most: Highest value.
        percentiles: `intensity.PERCENTILES` of the values.
    """

    least: float
    most: float
    percentiles: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Slice:
    """A picture to write.

    Attributes:
        index: Number of the slice.
        pixels: Bytes (h, w) or (h, w, 3).
        found: Its objects, in pixels of the picture.
        small: Objects that were left out as too small.
        labels: Pixels of each label in the picture.
        pieces: For each object its number in `data.lesions.Components`.
        kept: Whether it is for training, too; others are for patients that are measured, of whom
            every slice is wanted.
    """

    index: int
    pixels: np.ndarray
    found: list[MaskObject]
    small: int
    labels: dict[int, int]
    pieces: list[int] = field(default_factory=list)
    kept: bool = True


def survey(scan: Scan, axis: int) -> Survey:
    """Return what a scan's voxels are like, looking at every one.

    Raises:
        ScanError: For voxels that are NaN or infinite.
    """
    n = scan.planes(axis)
    least, most, bad = math.inf, -math.inf, 0
    parts = []
    first = scan.plane(axis, 0)
    stride = max(1, math.ceil(n * first.size / SAMPLE))
    for index in range(n):
        plane = scan.plane(axis, index)
        if plane.dtype.kind == "f":
            bad += plane.size - int(np.isfinite(plane).sum())
        if not bad:
            least, most = min(least, float(plane.min())), max(most, float(plane.max()))
            # A copy; a view would keep every plane, and so the volume once more.
            parts.append(plane.ravel()[index % stride :: stride].copy())
    if bad:
        raise ScanError("values", f"has {bad:,} voxels that are NaN or infinite; repair it")
    low, high = percentiles(np.concatenate(parts))
    return Survey(least, most, (low, high))


def size_of(scan: Scan, how: Cut) -> tuple[tuple[int, int], tuple[float, float]]:
    """Return height and width of the pictures of a scan, and the size of a pixel in mm.

    Raises:
        ScanError: For pictures that Ultralytics would refuse as too small.
    """
    height, width = scan.plane(how.axis, 0).shape[:2]
    rows, columns = scan.spacing_of(how.axis)
    if how.spacing:
        target = min(rows, columns) if how.spacing < 0 else how.spacing
        height, width = (
            max(1, round(n * mm / target)) for n, mm in ((height, rows), (width, columns))
        )
        rows = columns = target
    if min(height, width) < SMALLEST:
        raise ScanError(
            "size",
            f"gives pictures of {width} x {height} pixels; Ultralytics wants {SMALLEST} or "
            "more each way: cut along another axis= or resample with spacing=",
        )
    return (height, width), (rows, columns)


def cut(
    scan: Scan,
    masks: Sequence[Scan],
    how: Cut,
    seen: Survey,
    *,
    rng: random.Random,
    classes: Sequence[int] = (),
    every: bool = False,
    together: Components | None = None,
) -> Iterator[Slice | None]:
    """Yield the pictures of a scan, and None for each slice that gives none.

    Args:
        scan: What to cut.
        masks: A label map, or one mask an instance; none where nothing is labelled: then every
            slice is kept.
        how: See `Cut`.
        seen: The scan's `survey`.
        rng: Decides which slices without objects are kept.
        classes: The label of each mask, where each is of a class.
        every: Whether slices that are not kept are yielded, too.
        together: Joins objects through slices to lesions.

    Raises:
        ScanError: For labels that are not whole numbers.
    """
    shape, spacing = size_of(scan, how)
    low, high = how.window or seen.percentiles
    for index in range(scan.planes(how.axis)):
        plane = label_map(masks, how, index, shape, classes)
        least = how.min_mm2 / (spacing[0] * spacing[1])
        found = objects(
            plane,
            connectivity=how.connectivity,
            min_area=least,
            polygons=how.polygons,
            instances=how.instances,
        )
        pieces = [] if together is None else together.add(index, plane)
        pieces = [p for p in pieces if together and together.sizes[p] >= least]
        kept = bool(found) or not masks or rng.random() < how.empty
        if not kept and not every:
            yield None
            continue
        values, counts = np.unique(plane, return_counts=True)
        areas = {int(v): int(c) for v, c in zip(values, counts, strict=True) if v}
        small = 0 if not least else _count(plane, how) - len(found)
        pixels = _pixels(scan, how, index, shape, low, high)
        yield Slice(index, pixels, found, small, areas, pieces, kept)


def _count(plane: np.ndarray, how: Cut) -> int:
    """Return the number of objects of whatever size."""
    return len(
        objects(plane, connectivity=how.connectivity, instances=how.instances, polygons=False)
    )


def label_map(
    masks: Sequence[Scan],
    how: Cut,
    index: int,
    shape: tuple[int, int],
    classes: Sequence[int],
) -> np.ndarray:
    """Return the label map of a slice at the written size."""
    result = np.zeros(shape, np.int64)
    one = len(masks) == 1 and not classes
    for number, mask in zip(classes or range(1, len(masks) + 1), masks, strict=True):
        plane = check_labels(mask.plane(how.axis, index))
        plane = _resized(plane.astype(np.int32), shape, "nearest-exact").astype(np.int64)
        plane = np.where(plane > 0, plane if one else number, 0)
        result = np.where(plane > 0, plane, result)
    before = result.copy()
    for label, to in how.remap:
        result[before == label] = to
    return result


def _pixels(
    scan: Scan, how: Cut, index: int, shape: tuple[int, int], low: float, high: float
) -> np.ndarray:
    """Return the picture of a slice: bytes, at the written size, with its neighbours if wanted."""
    if scan.facts.colour:
        return _resized(_bytes(scan.plane(how.axis, index), low, high), shape, "area")
    last = scan.planes(how.axis) - 1
    around = (index,) if how.channels == 1 else (max(index - 1, 0), index, min(index + 1, last))
    planes = [
        _resized(to_8_bits(scan.plane(how.axis, i), low, high), shape, "area") for i in around
    ]
    return planes[0] if len(planes) == 1 else np.stack(planes, -1)


def _bytes(values: np.ndarray, low: float, high: float) -> np.ndarray:
    return values if values.dtype == np.uint8 else to_8_bits(values, low, high)


def _resized(values: np.ndarray, shape: tuple[int, int], mode: str) -> np.ndarray:
    """Return a plane (h, w) or (h, w, c) at another size; averaged, or labels as they are."""
    if values.shape[:2] == shape:
        return values
    from monai.transforms.spatial.array import Resize

    channels_first = values[None] if values.ndim == 2 else np.moveaxis(values, -1, 0)
    grows = shape[0] > values.shape[0] or shape[1] > values.shape[1]
    mode = "bilinear" if grows and mode == "area" else mode
    resize: Any = Resize(shape, mode=mode)
    resized = np.asarray(resize(channels_first.astype(np.float32)))
    resized = np.rint(resized).astype(values.dtype)
    return resized[0] if values.ndim == 2 else np.moveaxis(resized, 0, -1)
