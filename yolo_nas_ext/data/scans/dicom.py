"""A DICOM series as a volume: a file a slice, or many frames in a file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.pixels import apply_color_lut, pixel_array
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from yolo_nas_ext.data.scans.anonymise import may_show_text, removed
from yolo_nas_ext.data.scans.series import UNREADABLE, Series, find, may_be, silent
from yolo_nas_ext.data.scans.volumes import (
    Facts,
    Picture,
    Scan,
    ScanError,
    check_room,
    turned,
)

__all__ = ["Series", "find", "may_be", "read"]

PARALLEL = 1e-3  # how far cosines of one direction may differ
GAP = 1.5  # times the usual distance: a slice is missing


@dataclass(frozen=True, slots=True)
class Plane:
    """A slice: where its pixels are, and what its header says.

    Attributes:
        file: Its file.
        header: Its place, direction, spacing and scale.
        frame: Its number in a file of many frames.
    """

    file: Path
    header: Any
    frame: int | None = None


def read(series: Series, volume: int | None = None) -> Scan:
    """Return a series as a volume in Hounsfield units, or what else its rescaling gives.

    Args:
        series: Of the kind ``scan``.
        volume: Which volume of a file of many frames that holds several.

    Raises:
        ScanError: For damaged files, missing slices, two slices at a place, or slices of several
            orientations or sizes.
    """
    with silent():
        headers = [_load(file) for file in series.files]
        first = headers[0]
        names, private = removed(headers)
        facts = Facts(
            names,
            private,
            any(map(may_show_text, headers)),
            inverted=first.get("PhotometricInterpretation") == "MONOCHROME1",
            notes=series.notes,
        )
        planes = _planes(series.files, headers, volume)
        if "ImagePositionPatient" in planes[0].header:
            order, affine = _geometry([plane.header for plane in planes])
            facts = replace(facts, other=_straight(affine))
            return _stack([planes[i] for i in order], affine, facts)
        if len(planes) > 1:
            return _stack(planes, _by_number(planes), replace(facts, placed=False))
        values, (slope, intercept) = _pixels(planes[0]), _scale(first)
        if (slope, intercept) != (1.0, 0.0):
            values = values * np.float32(slope) + np.float32(intercept)
        rows, columns = first.get("PixelSpacing") or first.get("ImagerPixelSpacing") or (1, 1)
        facts = replace(facts, colour=values.ndim == 3)
        return Picture(values, (float(rows), float(columns)), facts)


def _load(file: Path) -> Any:
    try:
        return pydicom.dcmread(file, stop_before_pixels=True, force=True)
    except UNREADABLE as error:
        raise ScanError("damaged", f"has the file {file.name}, which cannot be read") from error


def _planes(files: Sequence[Path], headers: Sequence[Any], volume: int | None) -> list[Plane]:
    """Return the slices of files; those of many frames say a frame's place in groups.

    Raises:
        ScanError: For frames without a place, or of several volumes.
    """
    found: list[Plane] = []
    for file, header in zip(files, headers, strict=True):
        n = int(header.get("NumberOfFrames", 1) or 1)
        if n == 1 and "PerFrameFunctionalGroupsSequence" not in header:
            found.append(Plane(file, header))
            continue
        groups = header.get("PerFrameFunctionalGroupsSequence")
        if not groups or not any("PlanePositionSequence" in group for group in groups):
            raise ScanError(
                "dimensions",
                f"has {n} frames without a place in the file {file.name}; convert it to pictures",
            )
        shared = (header.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
        frames = [Plane(file, _framed(header, shared, own), i) for i, own in enumerate(groups)]
        found += _one_volume(frames, volume, file)
    return found


def _framed(header: Any, shared: Any, own: Any) -> Any:
    """Return a frame's header: what its own group says, else the shared one, else the file."""
    frame = Dataset()
    for name in ("Rows", "Columns", "BitsAllocated", "PixelRepresentation", "SliceThickness"):
        if name in header:
            setattr(frame, name, header.get(name))
    for source in (header, *_items(shared), *_items(own)):
        for name in (
            *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"),
            *("SliceThickness", "RescaleSlope", "RescaleIntercept"),
        ):
            if name in source:
                setattr(frame, name, source.get(name))
    return frame


def _items(group: Any) -> list[Any]:
    return [element.value[0] for element in group if element.VR == "SQ" and element.value]


def _one_volume(frames: list[Plane], volume: int | None, file: Path) -> list[Plane]:
    """Return the frames of one volume of a file in which places come back."""
    at: dict[tuple[float, ...], list[Plane]] = {}
    for frame in frames:
        place = frame.header.get("ImagePositionPatient") or ()
        at.setdefault(tuple(round(float(v), 3) for v in place), []).append(frame)
    n = max(map(len, at.values()))
    if n == 1:
        return frames
    if volume is None or not 0 <= volume < n or any(len(there) != n for there in at.values()):
        raise ScanError(
            "dimensions",
            f"has {n} frames at one place in the file {file.name}, so several volumes; choose one "
            f"with volume=0 to volume={n - 1}, or split it",
        )
    return [there[volume] for there in at.values()]


def _geometry(headers: Sequence[Any]) -> tuple[list[int], np.ndarray]:
    """Return the order of slices along their normal and the affine in NIfTI's directions."""
    try:
        cosines = np.array([[float(v) for v in h.ImageOrientationPatient] for h in headers])
        places = np.array([[float(v) for v in h.ImagePositionPatient] for h in headers])
        grids = {
            (int(h.Rows), int(h.Columns), *(float(v) for v in h.PixelSpacing)) for h in headers
        }
    except (AttributeError, TypeError, ValueError) as error:
        raise ScanError("geometry", "lacks the place, direction or spacing of a slice") from error
    if cosines.shape[1:] != (6,) or places.shape[1:] != (3,):
        raise ScanError("geometry", "lacks the place, direction or spacing of a slice")
    if np.abs(cosines - cosines[0]).max() > PARALLEL:
        n = len({tuple(np.round(c, 2)) for c in cosines})
        raise ScanError("orientation", f"mixes slices of {n} orientations in one series; split it")
    if len(grids) > 1:
        raise ScanError("shape", "has slices of several sizes or spacings in one series; split it")
    _, _, dy, dx = next(iter(grids))
    normal = np.cross(cosines[0, :3], cosines[0, 3:])
    along = places @ normal
    order = [int(i) for i in np.argsort(along, kind="stable")]
    steps = np.diff(along[order])
    step = normal * _thickness(headers[0])
    if len(steps):
        usual = float(np.median(steps))
        if usual < 1e-4 or steps.min() < usual / 4:
            raise ScanError("series", "has two slices at one place; leave one of them")
        if (wide := np.flatnonzero(steps > GAP * usual)).size:
            lost = round(float(steps[wide].sum() / usual)) - len(wide)
            raise ScanError(
                "series",
                f"misses {lost} slice{'s' * (lost > 1)} behind slice {int(wide[0]) + 1} "
                f"of {len(order)}; copy the series again",
            )
        step = (places[order[-1]] - places[order[0]]) / len(steps)
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1], affine[:3, 2] = cosines[0, :3] * dx, cosines[0, 3:] * dy, step
    affine[:3, 3] = places[order[0]]
    return order, np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine


def _straight(affine: np.ndarray) -> np.ndarray | None:
    """Return an affine without the tilt of a gantry, as ITK reads such a series; None without one.

    ITK knows no axes but those at right angles: it keeps the distance of slices.
    """
    across, down, step = affine[:3, :3].T
    normal = np.cross(across, down)
    straight = affine.copy()
    distance = np.linalg.norm(step)
    straight[:3, 2] = normal / np.linalg.norm(normal) * distance * np.sign(normal @ step)
    return None if np.linalg.norm(straight[:3, 2] - step) < PARALLEL * distance else straight


def _thickness(header: Any) -> float:
    return float(header.get("SpacingBetweenSlices") or header.get("SliceThickness") or 1)


def _by_number(planes: Sequence[Plane]) -> np.ndarray:
    """Return the affine of slices that have no place: axial ones, from the feet to the head."""
    first = planes[0].header
    dy, dx = (float(v) for v in first.get("PixelSpacing") or (1, 1))
    return np.diag([-dx, -dy, _thickness(first), 1.0])


def _stack(planes: Sequence[Plane], affine: np.ndarray, facts: Facts) -> Scan:
    """Return the slices as stored, or as values where each has a scale of its own, as in PET."""
    scales = [_scale(plane.header) for plane in planes]
    kinds = {(p.header.get("BitsAllocated"), p.header.get("PixelRepresentation")) for p in planes}
    uniform = len(set(scales)) == 1 and len(kinds) == 1
    stored = np.empty(0)
    for index, (at, (slope, intercept)) in enumerate(zip(planes, scales, strict=True)):
        plane = _pixels(at)
        if plane.ndim != 2:
            raise ScanError(
                "type", f"has colours in the file {at.file.name}; volumes have one channel"
            )
        if not uniform:
            plane = plane * np.float32(slope) + np.float32(intercept)
        if not index:
            check_room(len(planes) * plane.nbytes)
            stored = np.empty((len(planes), *plane.shape), plane.dtype)
        stored[index] = plane
    return turned(stored.transpose(2, 1, 0), affine, *(scales[0] if uniform else (1.0, 0.0)), facts)


def _scale(header: Any) -> tuple[float, float]:
    """Return slope and intercept of stored numbers."""
    slope, intercept = (header.get(name) for name in ("RescaleSlope", "RescaleIntercept"))
    return 1.0 if slope is None else float(slope), 0.0 if intercept is None else float(intercept)


def _pixels(plane: Plane) -> np.ndarray:
    """Return the stored numbers (rows, columns) of a slice, or its colours (rows, columns, 3)."""
    try:
        header = pydicom.dcmread(plane.file, force=True)
        sizes = ["Rows", "Columns", "SamplesPerPixel", *["NumberOfFrames"] * (plane.frame is None)]
        numbers = [int(header.get(name) or 1) for name in sizes]
        check_room(math.prod(numbers) * (int(header.get("BitsAllocated") or 8) + 7) // 8, "pixels")
        if "TransferSyntaxUID" not in header.file_meta:
            implicit = header.original_encoding[0]
            header.file_meta.TransferSyntaxUID = (
                ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
            )
        if plane.frame is not None:
            return pixel_array(header, index=plane.frame)
        values = header.pixel_array
        if header.get("PhotometricInterpretation") == "PALETTE COLOR":
            coloured = apply_color_lut(values, header)
            return coloured if coloured.dtype == np.uint8 else (coloured >> 8).astype(np.uint8)
        return values
    except ScanError:
        raise
    except Exception as error:  # decoders of compressed pixels fail in many ways
        reason = " ".join(str(error).split())[:240] or type(error).__name__
        raise ScanError(
            "damaged",
            f"has pixels in the file {plane.file.name} that cannot be decoded ({reason}); copy it "
            "again, or store it uncompressed",
        ) from error
