"""A scan and its masks cut into pictures with objects."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from yolo_nas_ext.data.lesions import Components
from yolo_nas_ext.data.polygons import MaskObject, objects
from yolo_nas_ext.data.scans.channels import Channels
from yolo_nas_ext.data.scans.cutout import Cutout
from yolo_nas_ext.data.scans.intensity import percentiles, to_8_bits
from yolo_nas_ext.data.scans.options import Cut
from yolo_nas_ext.data.scans.tiles import corners
from yolo_nas_ext.data.scans.volumes import Picture, Scan, ScanError, Stack, check_labels

SMALLEST = 10  # pixels; Ultralytics refuses smaller images
FEW = 4  # whole values; a scan that holds no more looks like a mask
WHITE = 255
SAMPLE = 2_000_000  # voxels that percentiles are computed from


@dataclass(frozen=True, slots=True)
class Survey:
    """What a scan's voxels are like.

    Attributes:
        least: Lowest value.
        most: Highest value.
        percentiles: `intensity.PERCENTILES` of the values.
        lost: Voxels that are NaN or infinite.
        few: Whether there are so few values, all whole, as masks hold.
        parts: The same of every channel, where there are several.
    """

    least: float
    most: float
    percentiles: tuple[float, float]
    lost: int = 0
    few: bool = False
    parts: tuple[Survey, ...] = ()


@dataclass(frozen=True, slots=True)
class Slice:
    """A picture to write.

    Attributes:
        index: Number of the slice.
        pixels: Bytes (h, w) or (h, w, 3).
        found: Its objects, in pixels of the picture.
        small: Objects that were left out as too small.
        labels: Pixels of each label, those of the scan.
        corner: Left and upper corner of a tile in its slice.
        pieces: For each object its number in `data.lesions.Components`.
        kept: Whether it is for training, too; others are for patients that are measured, of whom
            every slice is wanted.
    """

    index: int
    pixels: np.ndarray
    found: list[MaskObject]
    small: int
    labels: dict[int, int]
    corner: tuple[int, int] = (0, 0)
    pieces: list[int] = field(default_factory=list)
    kept: bool = True


def survey(scan: Scan, axis: int) -> Survey:
    """Return what a scan's voxels are like, looking at every one.

    Raises:
        ScanError: Where all voxels are NaN or infinite.
    """
    if isinstance(scan, Channels):
        parts = tuple(survey(part, axis) for part in scan.parts)
        lost, few = sum(part.lost for part in parts), all(part.few for part in parts)
        return replace(parts[0], parts=parts, lost=lost, few=few)
    n = scan.planes(axis)
    least, most, bad = math.inf, -math.inf, 0
    parts = []
    first = scan.plane(axis, 0)
    stride = max(1, math.ceil(n * first.size / SAMPLE))
    for index in range(n):
        plane = scan.plane(axis, index)
        if plane.dtype.kind == "f" and not np.isfinite(plane).all():
            whole = plane.size
            plane = plane[np.isfinite(plane)]
            bad += whole - plane.size
        if plane.size:
            least, most = min(least, float(plane.min())), max(most, float(plane.max()))
            # A copy; a view would keep every plane, and so the volume once more.
            parts.append(plane.ravel()[index % stride :: stride].copy())
    if not parts:
        raise ScanError("values", f"has nothing but {bad:,} voxels that are NaN or infinite")
    sample = np.concatenate(parts)
    few = most - least < 256 and len(found := np.unique(sample)) <= FEW and not (found % 1).any()
    low, high = percentiles(sample)
    return Survey(least, most, (low, high), bad, bool(few))


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
    """Yield the pictures of a scan, and None for each slice, or tile of one, that gives none.

    Args:
        scan: What to cut.
        masks: A label map, or one mask an instance; none where nothing is labelled: then every
            slice is kept.
        how: See `Cut`.
        seen: The scan's `survey`.
        rng: Decides which slices without objects are kept.
        classes: The label of each mask, where each is of a class; 0 where its values are labels.
        every: Whether slices that are not kept are yielded, too.
        together: Joins objects through slices to lesions.

    Raises:
        ScanError: For labels that are not whole numbers.
    """
    shape, _ = size_of(scan, how)
    own = scan.plane(how.axis, 0).shape[:2]
    ends = _ends(scan, how, seen)
    least = how.min_mm2 / math.prod(scan.spacing_of(how.axis))
    places = corners(shape, how.tile, how.overlap)
    for index in range(scan.planes(how.axis)):
        # Objects are traced on the scan's own grid: outlines lie between the pixels of pictures of
        # another size, and labels of small objects would lose a border there.
        whole = label_map(masks, how, index, own, classes)
        pixels: np.ndarray | None = None
        if together is not None:
            together.add(index, whole)
        for x, y in places:
            there = np.s_[y : y + how.tile, x : x + how.tile] if how.tile else np.s_[:, :]
            at = Cutout(shape, own, (x, y), how.tile)
            plane = whole[at.window]
            found = _found(plane, how, least)
            kept = bool(found) or not masks or rng.random() < how.empty
            if not kept and not every:
                yield None
                continue
            if pixels is None:
                pixels = _pixels(scan, how, index, shape, ends)
            values, counts = np.unique(plane, return_counts=True)
            areas = {int(v): int(c) for v, c in zip(values, counts, strict=True) if v}
            small = 0 if not least else _count(plane, how) - len(found)
            pieces = [] if together is None else together.within(at.window, least)
            found = [at.scaled(one) for one in found]
            yield Slice(index, pixels[there], found, small, areas, (x, y), pieces, kept)


def _found(plane: np.ndarray, how: Cut, least: float) -> list[Any]:
    """Return the objects of a slice, or of a tile.

    Raises:
        ScanError: For a mask of more objects than any picture has.
    """
    try:
        return objects(
            plane,
            connectivity=how.connectivity,
            min_area=least,
            polygons=how.polygons,
            instances=how.instances,
        )
    except ValueError as error:
        raise ScanError("labels", f"has a mask with {error}; smooth it") from error


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
    """Return the label map of a slice, of the shape (h, w) that scan and masks have."""
    result = np.zeros(shape, np.int64)
    one = len(masks) == 1 and not classes
    for number, mask in zip(classes or range(1, len(masks) + 1), masks, strict=True):
        plane = check_labels(mask.plane(how.axis, index))
        plane = np.where(plane > 0, plane if one or not number else number, 0)
        result = np.where(plane > 0, plane, result)
    before = result.copy()
    for label, to in how.remap:
        result[before == label] = to
    return result


def _ends(scan: Scan, how: Cut, seen: Survey) -> list[tuple[float, float]]:
    """Return what is black and what is white in each channel.

    Raises:
        ScanError: For values that no 8 bits hold, where they are to stay as they are.
    """
    if how.windows:
        return [*how.windows]
    parts = scan.parts if isinstance(scan, Channels) else (scan,)
    ends = []
    for part, its in zip(parts, seen.parts or (seen,), strict=True):
        picture = isinstance(part, Picture | Stack) and part.plane(how.axis, 0).dtype == np.uint8
        if how.keep == "all" and not (0 <= its.least and its.most <= WHITE):
            raise ScanError(
                "values",
                f"holds {its.least:g} to {its.most:g}, which window=none cannot keep as 8 bits; "
                "choose a window",
            )
        asis = how.keep == "all" or (how.keep == "pictures" and picture)
        ends.append((0.0, float(WHITE)) if asis else how.window or its.percentiles)
    return ends


def _pixels(
    scan: Scan,
    how: Cut,
    index: int,
    shape: tuple[int, int],
    ends: Sequence[tuple[float, float]],
) -> np.ndarray:
    """Return the picture of a slice: bytes, at the written size.

    Its channels are neighbours, windows or contrasts; a third that is missing is black.
    """
    if scan.facts.colour:
        return _resized(_bytes(scan.plane(how.axis, index), *ends[0]), shape)
    last = scan.planes(how.axis) - 1
    around = (index,) if how.channels == 1 else (max(index - 1, 0), index, min(index + 1, last))
    of = scan.parts if isinstance(scan, Channels) else (scan,) * len(ends)
    planes = []
    for part, (low, high) in zip(of, ends, strict=True):
        for i in around:
            plane = _resized(to_8_bits(part.plane(how.axis, i), low, high), shape)
            planes.append(255 - plane if part.facts.inverted else plane)
    if len(planes) == 1:
        return planes[0]
    return np.stack([*planes, *[np.zeros_like(planes[0])] * (3 - len(planes))], -1)


def _bytes(values: np.ndarray, low: float, high: float) -> np.ndarray:
    return values if values.dtype == np.uint8 else to_8_bits(values, low, high)


def _resized(values: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return a plane (h, w) or (h, w, c) at another size: averaged, or between pixels."""
    if values.shape[:2] == shape:
        return values
    from monai.transforms.spatial.array import Resize

    channels_first = values[None] if values.ndim == 2 else np.moveaxis(values, -1, 0)
    grows = shape[0] > values.shape[0] or shape[1] > values.shape[1]
    resize: Any = Resize(shape, mode="bilinear" if grows else "area")
    resized = np.asarray(resize(channels_first.astype(np.float32)))
    resized = np.rint(resized).astype(values.dtype)
    return resized[0] if values.ndim == 2 else np.moveaxis(resized, 0, -1)
