"""NRRD and MetaImage, the formats of ITK and of 3D Slicer, with the names of segments."""

from __future__ import annotations

import bz2
import gzip
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nrrd as pynrrd
import numpy as np

from yolo_nas_ext.data.scans.volumes import (
    Facts,
    ScanError,
    Volume,
    check_numbers,
    check_room,
    turned,
    which_of,
)
from yolo_nas_ext.files import free_memory

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
LOCAL = ("LOCAL",)  # the voxels are behind the header
DEFLATED, BZIPPED = 1032, 50_000  # bytes that a compressed one may stand for, at the most
PART = 1 << 22  # bytes read at a time of a compressed file
LISTED = "LIST"  # files of any place are named behind the header


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment of 3D Slicer.

    Attributes:
        name: What it is called.
        value: Its number in the voxels.
        layer: Which of several label maps it is in, as those that overlap are.
    """

    name: str
    value: int
    layer: int


def nrrd(path: Path, volume: int | None) -> Volume:
    """Return the volume of an NRRD.

    Raises:
        ScanError: For voxels elsewhere, that are no plain numbers, or of several volumes.
    """
    _check_nrrd(path)
    stored, header = pynrrd.read(str(path), index_order="F")
    check_numbers(stored.dtype)
    directions, spatial = _directions(header, stored.ndim)
    if stored.ndim > 3:
        others = [n for n, inside in zip(stored.shape, spatial, strict=True) if not inside]
        at = which_of(stored.shape, others, volume)
        for index, axis in enumerate(np.flatnonzero(~spatial)):
            stored = np.take(stored, at if not index else 0, axis - index)
    if stored.dtype.itemsize > 4:
        stored = stored.astype(np.float32)
    facts = Facts(placed="space directions" in header)
    return turned(stored, _affine(header, directions[spatial]), facts=facts)


def _directions(header: Mapping[str, Any], n: int) -> tuple[np.ndarray, Any]:
    """Return the directions of axes, and which of them are spatial."""
    directions = np.atleast_2d(np.asarray(header.get("space directions", np.eye(n)), float))
    spatial: Any = np.isfinite(directions).all(1)  # axes of channels have no direction
    if n > 3 and spatial.sum() != 3:
        raise ScanError("dimensions", f"has {n} axes, of which three must be spatial")
    return directions, spatial


def _affine(header: Mapping[str, Any], directions: np.ndarray) -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3] = directions.T[:3, :3]
    affine[:3, 3] = np.asarray(header.get("space origin", np.zeros(3)), float)
    space = str(header.get("space", "left-posterior-superior")).lower().replace("_", "-")
    if space in ("left-posterior-superior", "lps"):
        return LPS @ affine
    if space in ("left-anterior-superior", "las"):
        return np.diag([-1.0, 1.0, 1.0, 1.0]) @ affine
    return affine


def segments(path: Path) -> list[Segment]:
    """Return the segments that the header of a segmentation of 3D Slicer names."""
    header = pynrrd.read_header(str(path))
    numbers = sorted(
        int(match[1]) for key in header if (match := re.fullmatch(r"Segment(\d+)_Name", key))
    )
    return [
        Segment(
            str(header[f"Segment{n}_Name"]).strip(),
            int(header.get(f"Segment{n}_LabelValue", n + 1)),
            int(header.get(f"Segment{n}_Layer", 0)),
        )
        for n in numbers
    ]


def segmentation(path: Path, labels: Mapping[str, int]) -> Volume:
    """Return a segmentation of 3D Slicer as a label map, the smaller of two segments on top.

    Args:
        path: Its file.
        labels: The label of each name; others are left out.

    Raises:
        ScanError: As `nrrd`.
    """
    _check_nrrd(path)
    stored, header = pynrrd.read(str(path), index_order="F")
    check_numbers(stored.dtype)
    directions, spatial = _directions(header, stored.ndim)
    if stored.ndim > 3:
        stored = np.moveaxis(stored, int(np.flatnonzero(~spatial)[0]), 0)
    else:
        stored = stored[None]
    kind = np.uint8 if max(labels.values(), default=0) < 256 else np.int32
    found = np.zeros(stored.shape[1:], kind)
    known = [segment for segment in segments(path) if labels.get(segment.name)]
    size = {s: np.count_nonzero(stored[s.layer] == s.value) for s in known}
    for segment in sorted(known, key=lambda s: -size[s]):
        found[stored[segment.layer] == segment.value] = labels[segment.name]
    return turned(found, _affine(header, directions[spatial]))


def metaimage(path: Path, volume: int | None) -> Volume:
    """Return the volume of a MetaImage, as SimpleITK reads it.

    Raises:
        ScanError: For voxels elsewhere, that are no plain numbers, or of several volumes.
    """
    import SimpleITK as sitk

    header = check_metaimage(path)
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.SetImageIO("MetaImageIO")
    image = reader.Execute()
    array = sitk.GetArrayFromImage(image)
    n = image.GetDimension()
    if image.GetNumberOfComponentsPerPixel() > 1:
        at = which_of(array.shape[::-1], array.shape[-1:], volume)
        array = array[..., at]
    for _ in range(n - 3):
        array = array[which_of(array.shape[::-1], array.shape[:1], volume)]
    if array.ndim == 2:
        array = array[None]
    if array.dtype.itemsize > 4:
        array = array.astype(np.float32)
    m = min(n, 3)
    affine = np.eye(4)
    cosines = np.array(image.GetDirection()).reshape(n, n)[:m, :m]
    affine[:m, :m] = cosines * np.array(image.GetSpacing())[:m]
    affine[:m, 3] = image.GetOrigin()[:m]
    placed = bool({"Offset", "Position", "Origin", "TransformMatrix"} & set(header))
    return turned(array.transpose(2, 1, 0), LPS @ affine, facts=Facts(placed=placed))


def check_metaimage(path: Path) -> dict[str, str]:
    """Return the header of a MetaImage, refused where its voxels are elsewhere.

    Raises:
        ScanError: As above.
    """
    header = _metaimage_header(path)
    _check_beside(path, header.get("ElementDataFile"), LOCAL)
    sizes = [int(n) for n in header.get("DimSize", "").split() if n.isdecimal()]
    width = 8 if header.get("ElementType", "").endswith(("DOUBLE", "LONG_LONG")) else 4
    check_room(math.prod(sizes) * width * int(header.get("ElementNumberOfChannels") or 1))
    return header


def _metaimage_header(path: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    with path.open("rb") as file:
        for _ in range(200):
            key, sign, value = file.readline(4096).decode("latin-1").partition("=")
            if not sign:
                break
            found[key.strip()] = value.strip()
            if key.strip() == "ElementDataFile":
                break
    return found


def _check_nrrd(path: Path) -> None:
    """Refuse voxels that are elsewhere, or that take more memory than is free.

    Raises:
        ScanError: As above.
    """
    with path.open("rb") as file:
        header = pynrrd.read_header(file)
        name = header.get("datafile", header.get("data file"))
        if name is None:
            _check_inflated(file, header)
            return
    _check_beside(path, str(name))
    with Path(os.path.realpath(path.parent / str(name))).open("rb") as file:
        _check_inflated(file, header)


def _check_inflated(file: Any, header: Mapping[str, Any]) -> None:
    """Refuse voxels that take more memory than is free, by the header or by what is compressed.

    Raises:
        ScanError: As above.
    """
    check_room(math.prod(map(int, header.get("sizes", ()))))
    start, size = file.tell(), file.seek(0, os.SEEK_END)
    file.seek(start)
    encoding = str(header.get("encoding", "raw"))
    most = free_memory() // 2  # as the library holds them twice
    if not encoding.startswith(("gz", "bz")):
        check_room(size - start)
    elif (size - start) * (DEFLATED if encoding.startswith("gz") else BZIPPED) > most:
        with (gzip if encoding.startswith("gz") else bz2).open(file) as inflated:
            done = 0
            while part := inflated.read(PART):
                done += len(part)
                if done > most:
                    check_room(math.inf, "compressed voxels")
        file.seek(start)


def _check_beside(path: Path, name: str | None, inside: tuple[str, ...] = ()) -> None:
    """Refuse a header whose voxels are in a file elsewhere, which may be any file of its reader's.

    Raises:
        ScanError: As above.
    """
    if name is None or name.upper() in inside:
        return
    target = Path(os.path.realpath(path.parent / name))
    beside = {os.path.realpath(path.parent), os.path.dirname(os.path.realpath(path))}
    listed = name.upper().startswith(LISTED)
    if listed or os.path.basename(name) != name or str(target.parent) not in beside:
        raise ScanError(
            "elsewhere",
            "has its voxels in a file that is not beside it; put both into one folder and name the "
            "file alone in the header",
        )
