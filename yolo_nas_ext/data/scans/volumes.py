"""Scans as pictures: NIfTI, NRRD and DICOM volumes turned to one orientation, and plain images.

Voxels stay as they are stored: at most 4 bytes each, once. They become numbers a slice at a time,
and a CT of 800 slices needs no more than its own size.
"""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from nibabel import orientations

from yolo_nas_ext.files import free_memory

VOLUMES = (
    *(".nii", ".nii.gz", ".hdr", ".mgz", ".mgh", ".nrrd", ".nhdr", ".seg.nrrd"),
    *(".mha", ".mhd"),
)
PICTURES = (
    *(".avif", ".bmp", ".gif", ".heic", ".heif", ".jp2", ".jpeg", ".jpg", ".pgm", ".png", ".pnm"),
    *(".ppm", ".tif", ".tiff", ".webp"),
)
STANDARD = ("L", "P", "S")  # what indices grow towards: DICOM's own, and how slices are looked at
WHOLE = 1e-3  # how far a label may be off a whole number


class ScanError(Exception):
    """A scan that cannot be used; the others still can.

    Args:
        kind: One word that tells nothing of a patient, for the record.
        message: What is wrong and what to do, for the screen.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


@dataclass(frozen=True, slots=True)
class Facts:
    """What a header said beside geometry.

    Attributes:
        removed: Names of DICOM attributes that are not passed on.
        private: Number of private elements that are not passed on.
        text: Whether pixels may show text.
        colour: Whether pictures have three channels of 8 bits.
        inverted: Whether low values are bright; values stay as they are, pictures are turned.
        placed: Whether the header says where voxels are.
        blank: Whether what it says is nothing but the identity, as tools without a header leave it.
        notes: What was repaired or left out, for the user.
        other: Where other readers put the voxels in the file's order, an affine (4, 4): by a
            NIfTI's qform where it is another than its sform, or without the tilt of a gantry.
    """

    removed: tuple[str, ...] = ()
    private: int = 0
    text: bool = False
    colour: bool = False
    inverted: bool = False
    placed: bool = True
    blank: bool = False
    notes: tuple[str, ...] = ()
    other: np.ndarray | None = field(default=None, compare=False)


class Scan(Protocol):
    """What slices are cut from."""

    @property
    def facts(self) -> Facts:
        """What the header said."""
        ...

    def planes(self, axis: int) -> int:
        """Return the number of slices across an axis."""
        ...

    def plane(self, axis: int, index: int) -> np.ndarray:
        """Return a slice (h, w) as it is looked at, or (h, w, 3) of a coloured picture."""
        ...

    def spacing_of(self, axis: int) -> tuple[float, float]:
        """Return the distance of a slice's rows and of its columns in mm."""
        ...


@dataclass(frozen=True, slots=True)
class Volume:
    """A scan in three dimensions; indices grow to the patient's left, back and head.

    Attributes:
        stored: Voxels as stored.
        slope: Value = `slope` * stored + `intercept`.
        intercept: See `slope`.
        affine: From indices to mm, (4, 4), as NIfTI's.
        was: Orientation of the file, for example ``RAS``.
        facts: What the header said.
    """

    stored: np.ndarray
    slope: float
    intercept: float
    affine: np.ndarray
    was: str = ""
    facts: Facts = field(default_factory=Facts)

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Size of a voxel in mm along its three axes."""
        x, y, z = (float(v) for v in np.linalg.norm(self.affine[:3, :3], axis=0))
        return x, y, z

    def planes(self, axis: int) -> int:
        """Return the number of slices across an axis."""
        return self.stored.shape[axis]

    def plane(self, axis: int, index: int) -> np.ndarray:
        """Return a slice (h, w) as radiologists look at it: head or front up, right on the left."""
        # A view; `np.take` would copy the whole volume first.
        flat = self.stored[(slice(None),) * axis + (index,)].T
        values = self.values(flat)
        return values if axis == 2 else values[::-1]

    def values(self, stored: np.ndarray) -> np.ndarray:
        """Return stored numbers as values; unscaled ones keep their type."""
        if self.slope == 1 and self.intercept == 0:
            return stored
        return stored.astype(np.float32) * np.float32(self.slope) + np.float32(self.intercept)

    def spacing_of(self, axis: int) -> tuple[float, float]:
        """Return the distance of a slice's rows and of its columns in mm."""
        x, y, z = self.spacing
        return ((z, y), (z, x), (y, x))[axis]


@dataclass(frozen=True, slots=True)
class Picture:
    """A plain image as a scan of one slice.

    Attributes:
        values: Pixels (h, w), or (h, w, 3) of colours.
        spacing: Rows and columns in mm; 1 where nobody knows.
        facts: What the header said.
    """

    values: np.ndarray
    spacing: tuple[float, float] = (1.0, 1.0)
    facts: Facts = field(default_factory=Facts)

    def planes(self, axis: int) -> int:
        """Return 1."""
        return 1

    def plane(self, axis: int, index: int) -> np.ndarray:
        """Return the image."""
        return self.values

    def spacing_of(self, axis: int) -> tuple[float, float]:
        """Return the distance of rows and of columns in mm."""
        return self.spacing


@dataclass(frozen=True, slots=True)
class Stack:
    """Pages of a picture as a scan of one slice each, whichever axis is asked for.

    Attributes:
        pages: Pixels (pages, h, w), or (pages, h, w, 3) of colours.
        facts: What the header said.
    """

    pages: np.ndarray
    facts: Facts = field(default_factory=Facts)

    def planes(self, axis: int) -> int:
        """Return the number of pages."""
        return len(self.pages)

    def plane(self, axis: int, index: int) -> np.ndarray:
        """Return a page."""
        return self.pages[index]

    def spacing_of(self, axis: int) -> tuple[float, float]:
        """Return the distance of rows and of columns in mm, which nobody knows."""
        return 1.0, 1.0


def check_room(size: float, what: str = "voxels") -> None:
    """Refuse to take more memory than is free, before it is taken.

    Args:
        size: Bytes.
        what: What would take them, for the message.

    Raises:
        ScanError: As above.
    """
    if size > (free := free_memory()):
        raise ScanError(
            "memory",
            f"has {what} of {size / 1e9:.1f} GB by its header, and {free / 1e9:.1f} GB of memory "
            "are free",
        )


@contextlib.contextmanager
def unsaid() -> Iterator[None]:
    """Keep nibabel from printing what it finds odd in a header, past the one line a scan.

    Its own suppressor takes the handlers away for good, and Python then prints by another.
    """
    logger = logging.getLogger("nibabel.global")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(level)


def suffix_of(path: Path) -> str:
    """Return the suffix of a file in lower case, ``.nii.gz`` as one."""
    match = re.search(r"(\.nii\.gz|\.seg\.nrrd|\.[^.]*)$", path.name.lower())
    return match[1] if match else ""


def stem_of(path: Path) -> str:
    """Return the name of a file without its suffix."""
    return path.name[: len(path.name) - len(suffix_of(path))]


def turned(
    stored: np.ndarray,
    affine: np.ndarray,
    slope: float = 1.0,
    intercept: float = 0.0,
    facts: Facts | None = None,
) -> Volume:
    """Return voxels in the standard orientation, without copying them.

    Raises:
        ScanError: Where the affine gives an axis no direction.
    """
    if stored.ndim != 3 or 0 in stored.shape:
        raise ScanError("dimensions", f"has the shape {stored.shape}; volumes have three axes")
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        raise ScanError("affine", "has a header that gives its voxels no place; correct its affine")
    before = orientations.io_orientation(affine)
    change = orientations.ornt_transform(before, orientations.axcodes2ornt(STANDARD))
    inverse = orientations.inv_ornt_aff(change, stored.shape)
    was = "".join(str(code) for code in orientations.ornt2axcodes(before))
    standard = orientations.apply_orientation(stored, change)
    return Volume(standard, slope, intercept, affine @ inverse, was, facts or Facts())


def check_numbers(kind: np.dtype) -> None:
    """Refuse voxels that are no plain numbers.

    Raises:
        ScanError: As above.
    """
    if kind.kind not in "iufb":
        colours = "colours" if kind.names else str(kind)
        raise ScanError(
            "type",
            f"stores {colours} a voxel; volumes of plain numbers can be read: save one channel, or "
            "its slices as pictures",
        )


def which_of(shape: Sequence[int], others: Sequence[int], volume: int | None) -> int:
    """Return the volume to read of a file with several.

    Raises:
        ScanError: Where none was chosen.
    """
    n = int(others[0])
    if volume is None or not 0 <= volume < n:
        size = " x ".join(str(v) for v in shape)
        raise ScanError(
            "dimensions",
            f"is {len(shape)}-D ({size}), {n} volumes in one file; choose one with "
            f"volume=0 to volume={n - 1}, or split it",
        )
    return volume


def check_labels(plane: np.ndarray) -> np.ndarray:
    """Return a plane of a mask as whole numbers; what is below 0 is background.

    Raises:
        ScanError: For values that are more than `WHOLE` off a whole number.
    """
    if plane.dtype.kind in "ub":
        return plane.astype(np.int64)
    if plane.dtype.kind == "f":
        if not np.isfinite(plane).all():
            raise ScanError(
                "labels", "has labels that are NaN or infinite in its mask; save whole numbers"
            )
        whole = np.rint(plane)
        if (off := np.abs(plane - whole) > WHOLE).any():
            value = float(plane[off].flat[0])
            raise ScanError(
                "labels",
                f"has the label {value:g} in its mask; labels are whole numbers, up to {WHOLE:g} "
                "off: threshold or round the mask before saving",
            )
        plane = whole
    return np.maximum(plane.astype(np.int64), 0)
