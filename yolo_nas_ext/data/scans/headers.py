"""What headers say of scans before any voxel is read: size, spacing, memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import nrrd
import numpy as np
from nibabel.orientations import io_orientation

from yolo_nas_ext.data.scans import itk_files, reading
from yolo_nas_ext.data.scans.options import AXES
from yolo_nas_ext.data.scans.paired import Source
from yolo_nas_ext.data.scans.series import Series
from yolo_nas_ext.data.scans.slices import SMALLEST
from yolo_nas_ext.data.scans.volumes import PICTURES, suffix_of, unsaid

ROUND = 1.1  # times as far apart; nearer spacings are taken for the same
UNKNOWN = 20  # times its file, at most, a scan takes in memory where its header says nothing


@dataclass(frozen=True, slots=True)
class Header:
    """What a header says.

    Attributes:
        shape: Voxels to the patient's left, back and head.
        spacing: Their distances in mm.
        bytes: What they take in memory.
    """

    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    bytes: int


def peek(source: Source) -> Header | None:
    """Return what a scan's header says; None for a picture, and for what says nothing."""
    try:
        if isinstance(source, Series):
            return _of_series(source)
        suffix = suffix_of(source)
        if suffix in PICTURES:
            return None
        if suffix in (".nrrd", ".nhdr", ".seg.nrrd"):
            return _of_nrrd(source)
        if suffix in (".mha", ".mhd"):
            return _of_metaimage(source)
        with unsaid():  # of an odd header the reader says what is wrong
            image: Any = nib.load(source)  # type: ignore[attr-defined]
            size = image.get_data_dtype().itemsize
            return _turned(image.shape[:3], image.affine[:3, :3], size)
    except (*reading.DAMAGED, TypeError, IndexError):
        return None


def memory(sources: Iterable[Source]) -> int:
    """Return the bytes that scans and masks take together, as far as headers and files say."""
    total = 0
    for source in sources:
        header = peek(source)
        files = source.files if isinstance(source, Series) else (source,)
        size = sum(file.stat().st_size for file in files if file.exists())
        total += header.bytes if header else UNKNOWN * size
    return total


def finest(sources: Iterable[Source]) -> tuple[int, str]:
    """Return the axis across which slices have the finest pixels, and what is to be said of it.

    Axial slices are taken where no other are finer, by more than a tenth, in most of the scans.
    """
    axial = AXES.index("axial")
    votes = Counter(_coarsest(header) for source in sources if (header := peek(source)) is not None)
    if not votes:
        return axial, ""
    most = max(votes, key=lambda axis: (votes[axis], axis == axial))
    if set(votes) == {axial}:
        return axial, ""
    total = sum(votes.values())
    others = ", ".join(f"{n} {AXES[axis]}" for axis, n in sorted(votes.items()) if axis != most)
    also = f", while pixels are finest in others: {others}" if others else ""
    return most, (
        f"slices are {AXES[most]}: there pixels are finest, in {votes[most]} of {total} "
        f"volumes{also}; axis= chooses"
    )


def _coarsest(header: Header) -> int:
    """Return the axis across which pixels are finest; one that gives pictures, where any does."""
    axial = AXES.index("axial")
    able = [a for a in range(3) if min(np.delete(header.shape, a)) >= SMALLEST] or range(3)
    axis = max(able, key=lambda a: (header.spacing[a], a == axial))
    if axial in able and header.spacing[axis] <= ROUND * header.spacing[axial]:
        return axial
    return axis


def _turned(shape: Any, directions: np.ndarray, size: int) -> Header:
    """Return what a file's axes are in the standard orientation."""
    affine = np.eye(4)
    affine[:3, :3] = directions
    order = io_orientation(affine)[:, 0].astype(int)
    shape = [*shape, *[1] * (3 - len(shape))]
    spacing = np.linalg.norm(directions, axis=0)
    x, y, z = (int(np.flatnonzero(order == axis)[0]) for axis in range(3))
    voxels = int(np.prod([int(n) for n in shape]))
    return Header(
        (int(shape[x]), int(shape[y]), int(shape[z])),
        (float(spacing[x]), float(spacing[y]), float(spacing[z])),
        voxels * min(size, 4),
    )


def _of_nrrd(path: Path) -> Header:
    header = nrrd.read_header(str(path))
    sizes = np.array(header["sizes"], int)
    directions = np.asarray(header.get("space directions", np.eye(len(sizes))), float)
    spatial = np.isfinite(directions).all(1)
    kind = str(header["type"])
    size = 1 if "char" in kind or "8" in kind else 2 if "short" in kind or "16" in kind else 4
    return _turned(sizes[spatial], directions[spatial].T, size)


def _of_metaimage(path: Path) -> Header:
    import SimpleITK as sitk

    itk_files.check_metaimage(path)
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.SetImageIO("MetaImageIO")
    reader.ReadImageInformation()
    n = reader.GetDimension()
    cosines = np.eye(3)
    cosines[: min(n, 3), : min(n, 3)] = np.array(reader.GetDirection()).reshape(n, n)[:3, :3]
    spacing = np.array([*reader.GetSpacing()[:3], 1.0][:3])
    return _turned(reader.GetSize()[:3], cosines * spacing, 4)


def _of_series(one: Series) -> Header | None:
    if not one.grid:
        return None
    rows, columns, dy, dx, step, *cosines = one.grid
    across, down = np.array(cosines[:3]), np.array(cosines[3:])
    directions = np.stack([across * dx, down * dy, np.cross(across, down) * step], 1)
    return _turned((columns, rows, len(one.files)), directions, 2)
