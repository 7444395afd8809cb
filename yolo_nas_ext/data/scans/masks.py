"""Masks that are pictures: labels, black and white with soft edges, or colours."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from yolo_nas_ext.data.scans import reading
from yolo_nas_ext.data.scans.volumes import PICTURES, Picture, Scan, ScanError, Stack, suffix_of

MANY = 32  # labels; a picture with more is one of instances
HARD = 3  # values; as few are labels, whatever they look like
BETWEEN = 0.5  # part of the grey pixels that are no plateau and lie on slopes, of a soft mask
WIDTH = 5  # pixels; an edge between black and white is less wide
STRAY = 0.05  # part of the object's pixels that may be grey elsewhere
VOID = 255  # what borders are left with where classes are small numbers
SMALL = 100  # the largest label beside which 255 is no class
CHANNELS = np.array([65536, 256, 1])  # a colour as a number


@dataclass(frozen=True, slots=True)
class Look:
    """What a mask's picture is like.

    Attributes:
        labels: Its labels, thresholded where it is soft.
        soft: Whether it is black and white with values between, as JPEG and smoothing leave them.
        coloured: Whether its labels are colours.
        pieces: Whether a colour is in several pieces.
        wide: Whether it stores more than 8 bits.
    """

    labels: frozenset[int]
    soft: bool
    coloured: bool
    pieces: bool
    wide: bool


@dataclass(frozen=True, slots=True)
class Meaning:
    """What the values of a source's masks mean.

    Attributes:
        instances: Whether a value is an object rather than a class.
        void: Whether 255 marks borders that are of no class.
        notes: What of it was guessed, for the user.
    """

    instances: bool
    void: bool
    notes: tuple[str, ...]


def labels(path: Path, pages: str | None = None) -> Scan:
    """Return a mask as whole numbers; of a coloured picture every colour is a label.

    A picture that is black and white with soft edges is split in the middle.

    Args:
        path: The mask.
        pages: What the pages of a picture are, see `reading.read`.

    Raises:
        ScanError: For a file that cannot be read, or that is neither labels nor black and white.
    """
    if suffix_of(path) not in PICTURES:
        return reading.read(path)
    found = [values for values, *_ in _read(path, pages)]
    return Picture(found[0]) if len(found) == 1 else Stack(np.stack(found))


def look(path: Path, pages: str | None = None) -> Look | None:
    """Return what a mask's picture is like; None for a volume, and for what cannot be read."""
    if suffix_of(path) not in PICTURES:
        return None
    try:
        found = _read(path, pages)
    except ScanError:
        return None
    values = np.stack([values for values, *_ in found])
    soft, coloured, wide = (any(one[i] for one in found) for i in (1, 2, 3))
    there = frozenset(int(v) for v in np.unique(values) if v)
    few = there if coloured and len(there) <= MANY else ()
    pieces = any(_components(plane == v) > 1 for v in few for plane in values)
    return Look(there, soft, coloured, pieces, wide)


def meaning(looks: Iterable[Look | None]) -> Meaning:
    """Return what the values of all masks of a source mean together."""
    known = [found for found in looks if found is not None]
    notes = []
    if soft := sum(found.soft for found in known):
        notes.append(
            f"{soft} of {len(known)} masks have soft edges, as JPEG and smoothing leave them: what "
            "is nearer to white is taken for the object"
        )
    everything = Counter(label for found in known for label in found.labels)
    coloured = any(found.coloured for found in known)
    hard = [found for found in known if found.labels]
    void = not coloured and VOID in everything and _is_void(everything)
    if void:
        notes.append(
            f"label {VOID} beside labels up to {max(v for v in everything if v != VOID)} is taken "
            f"for borders of no class; names=...,{VOID}:border keeps it"
        )
    several = any(len(found.labels) > 1 for found in hard)
    instances = any(len(found.labels) > MANY for found in hard)
    instances |= several and any(found.wide for found in hard)
    if instances and not coloured:
        notes.append(
            "masks hold numbers of 16 bits or many of them, and each is taken for an object; "
            "values=classes takes them for classes"
        )
    if coloured:
        instances = _colours_are_objects(hard, everything)
        names = ", ".join(f"{v:06x} is label {v}" for v in sorted(everything)[:3])
        notes.append(
            "masks are coloured, and each colour of a mask is taken for an object; values=classes "
            "takes colours for classes"
            if instances
            else f"masks are coloured, and colours are taken for classes ({names}); "
            "values=instances takes each for an object"
        )
    return Meaning(instances, void and not instances, tuple(notes))


def _is_void(everything: Iterable[int]) -> bool:
    others = [label for label in everything if label != VOID]
    return bool(others) and max(others) <= SMALL


def _colours_are_objects(looks: list[Look], counts: Counter[int]) -> bool:
    """Say whether colours tell objects apart: of classes the same ones come back in every mask."""
    if len(counts) > MANY:
        return True
    if len(looks) > 1 and sum(n > 1 for n in counts.values()) < len(counts) / 2:
        return True
    usual = float(np.mean([len(found.labels) for found in looks] or [0]))
    return usual > HARD and not any(found.pieces for found in looks)


def _read(path: Path, pages: str | None) -> list[tuple[np.ndarray, bool, bool, bool]]:
    """Return for each page its labels (h, w), and whether it is soft, coloured and wide."""
    planes, palette = reading.pixels(path, pages)
    try:
        return [_labelled(plane, palette) for plane in planes]
    except ValueError as error:
        raise ScanError("labels", f"has a mask that cannot be read ({error})") from error


def _labelled(values: np.ndarray, palette: bool) -> tuple[np.ndarray, bool, bool, bool]:
    """Return labels (h, w), and whether pixels are soft, coloured and of more than 8 bits."""
    if values.ndim == 3 and values.shape[-1] in (2, 4):  # what is transparent is background
        values = np.where(values[..., -1:] > 0, values[..., :-1], 0)
    if values.ndim == 3 and (values == values[..., :1]).all():
        values = values[..., 0]
    wide = values.dtype.itemsize > 1 and values.dtype != bool
    if values.dtype.kind == "f":
        if not np.isfinite(values).all():
            raise ScanError("labels", "has values that are NaN or infinite in its mask")
        wide = bool((values > 255).any())
    whole = values.dtype.kind in "iub" or not (values % 1).any()
    soft = not palette and (not whole or _slopes(values))
    if soft:
        values = _split(values)
    if values.ndim == 3:
        return (values.astype(np.int64) * CHANNELS).sum(-1), soft, True, False
    return values.astype(np.int64), soft, False, wide


def _slopes(values: np.ndarray) -> bool:
    """Say whether what is between the lowest and the highest value lies on slopes between them.

    Labels are plateaus. The edge of an object that was smoothed, and what JPEG leaves around it,
    has something higher and something lower beside nearly every pixel.
    """
    from scipy import ndimage  # which masks that are volumes do without

    planes = [values] if values.ndim == 2 else list(np.moveaxis(values, -1, 0))
    n, sloping = 0, 0
    for plane in planes:
        if len(np.unique(plane)) <= HARD:
            continue
        between = (plane > 0) & (plane < _full(values))
        ends = ndimage.maximum_filter(plane, 3), ndimage.minimum_filter(plane, 3)
        n += int((between & (ends[0] > ends[1])).sum())
        sloping += int((between & (ends[0] > plane) & (ends[1] < plane)).sum())
    return n > 0 and sloping >= BETWEEN * n


def _split(values: np.ndarray) -> np.ndarray:
    """Return a soft mask as black and white.

    Raises:
        ScanError: Where too much is neither.
    """
    from scipy import ndimage

    full = _full(values)
    high, low = values >= 7 / 8 * full, values < full / 8
    middle = np.logical_not(high | low)
    if middle.ndim == 3:
        high, middle = high.any(-1), middle.any(-1)
    broad = ndimage.binary_erosion(middle, np.ones((WIDTH, WIDTH)))
    alone = middle & np.logical_not(ndimage.binary_dilation(high, np.ones((WIDTH, WIDTH))))
    if max(int(broad.sum()), int(alone.sum())) > STRAY * (middle | high).sum():
        raise ScanError(
            "labels",
            f"has a mask that is neither black and white nor labels: {len(np.unique(values)):,} "
            f"values from {values.min():g} to {values.max():g}; save its labels as PNG, or "
            "threshold it",
        )
    return np.where(values >= full / 2, full, 0)


def _full(values: np.ndarray) -> float:
    """Return what is white in pictures of such numbers."""
    top = float(values.max(initial=0))
    return next((full for full in (1.0, 255.0, 65535.0) if top <= full), top)


def _components(mask: np.ndarray) -> int:
    from scipy import ndimage

    found: Any = ndimage.label(mask, np.ones((3, 3)))
    return int(found[1])
