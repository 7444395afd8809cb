"""Files of scans and masks: NIfTI, NRRD and images, read without a second copy of the voxels."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import Any

import nibabel as nib
import nrrd
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.openers import ImageOpener
from PIL import Image

from yolo_nas_ext.data.scans.volumes import (
    PICTURES,
    Facts,
    Picture,
    Scan,
    ScanError,
    Volume,
    suffix_of,
    turned,
)

PART = 1 << 22  # bytes read at a time of a compressed file
SLAB = 16  # slices converted at a time where voxels are stored in 8 bytes

DAMAGED = (
    OSError,
    EOFError,
    zlib.error,
    gzip.BadGzipFile,
    ImageFileError,
    ValueError,
    KeyError,
    nrrd.NRRDError,
    MemoryError,
    SyntaxError,
    Image.DecompressionBombError,
)


def read(path: Path, volume: int | None = None) -> Scan:
    """Return the scan in a file that is not DICOM.

    Args:
        path: NIfTI, NRRD or an image.
        volume: Which volume of a file that holds several; such a file is refused without.

    Raises:
        ScanError: For a file that is damaged, or that is no volume of numbers.
    """
    suffix = suffix_of(path)
    try:
        if suffix in (".nii", ".nii.gz"):
            return _nifti(path, volume)
        return _picture(path) if suffix in PICTURES else _nrrd(path, volume)
    except DAMAGED as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ScanError(
            "damaged", f"cannot be read to its end ({reason}); copy it again"
        ) from error


def _nifti(path: Path, volume: int | None) -> Volume:
    image: Any = nib.load(path, keep_file_open=True)  # type: ignore[attr-defined]
    shape, kind = image.shape, image.get_data_dtype()
    _check_numbers(kind)
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    which: tuple[Any, ...] = ()
    if len(shape) > 3:
        which = (_which(shape, shape[3:], volume), *[0] * (len(shape) - 4))
    proxy = image.dataobj
    slope, intercept = float(proxy.slope), float(proxy.inter)
    if len(shape) == 2:
        shape = (*shape, 1)
    if kind.itemsize <= 4 and not which:
        stored = _compressed(path, proxy) if suffix_of(path) == ".nii.gz" else proxy.get_unscaled()
        stored = np.asanyarray(stored).reshape(shape[:3], order="F")
    else:  # a slab at a time, so that 8 bytes a voxel are never there at once
        slope, intercept = 1.0, 0.0
        stored = np.empty(shape[:3], np.float32, order="F")
        for start in range(0, shape[2], SLAB):
            end = min(start + SLAB, shape[2])
            part = np.asarray(proxy[(slice(None), slice(None), slice(start, end), *which)])
            stored[:, :, start:end] = part.reshape(*shape[:2], end - start)
    return turned(stored, image.affine, slope, intercept)


def _compressed(path: Path, proxy: Any) -> np.ndarray:
    """Return the numbers of a compressed file, read in parts: at once, they would be there twice.

    Raises:
        OSError: For a file that ends early.
    """
    stored = np.empty(proxy.shape, proxy.dtype, order="F")
    raw = stored.reshape(-1, order="F").view(np.uint8).data
    with ImageOpener(str(path)) as file:
        file.seek(proxy.offset)
        done = 0
        while done < len(raw):
            n = file.readinto(raw[done : done + PART])
            if not n:
                raise OSError(f"it ends after {done:,} of {len(raw):,} bytes")
            done += n
    return stored


def _nrrd(path: Path, volume: int | None) -> Volume:
    stored, header = nrrd.read(str(path), index_order="F")
    _check_numbers(stored.dtype)
    directions = np.atleast_2d(
        np.asarray(header.get("space directions", np.eye(stored.ndim)), float)
    )
    spatial: Any = np.isfinite(directions).all(1)  # axes of channels have no direction
    if stored.ndim > 3:
        if spatial.sum() != 3:
            raise ScanError("dimensions", f"has {stored.ndim} axes, of which three must be spatial")
        others = [n for n, inside in zip(stored.shape, spatial, strict=True) if not inside]
        at = _which(stored.shape, others, volume)
        for index, axis in enumerate(np.flatnonzero(~spatial)):
            stored = np.take(stored, at if not index else 0, axis - index)
    affine = np.eye(4)
    affine[:3, :3] = directions[spatial].T[:3, :3]
    affine[:3, 3] = np.asarray(header.get("space origin", np.zeros(3)), float)
    space = str(header.get("space", "left-posterior-superior")).lower().replace("_", "-")
    if space in ("left-posterior-superior", "lps"):
        affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    elif space in ("left-anterior-superior", "las"):
        affine = np.diag([-1.0, 1.0, 1.0, 1.0]) @ affine
    if stored.dtype.itemsize > 4:
        stored = stored.astype(np.float32)
    return turned(stored, affine)


def _picture(path: Path) -> Picture:
    with Image.open(path) as image:
        if image.mode in ("P", "CMYK", "YCbCr", "LAB", "HSV", "PA", "LA"):
            image = image.convert("RGB" if image.mode != "LA" else "L")
        values = np.asarray(image)
    if values.dtype == bool:
        values = values.astype(np.uint8)
    if values.ndim == 3:
        rgb = values[..., :3]
        if values.dtype == np.uint8 and (rgb == rgb[..., :1]).all():
            return Picture(rgb[..., 0])  # a grey picture in colour channels
        return Picture(rgb, facts=Facts(colour=True))
    return Picture(values)


def _check_numbers(kind: np.dtype) -> None:
    if kind.kind not in "iufb":
        raise ScanError("type", f"stores {kind} a voxel; volumes of plain numbers can be read")


def _which(shape: Any, others: Any, volume: int | None) -> int:
    """Return the volume to read of a file with several; refuse it where none was chosen."""
    n = int(others[0])
    if volume is None or not 0 <= volume < n:
        size = " x ".join(str(v) for v in shape)
        raise ScanError(
            "dimensions",
            f"is {len(shape)}-D ({size}), {n} volumes in one file; choose one with "
            f"volume=0 to volume={n - 1}, or split it",
        )
    return volume


def pixels(path: Path) -> tuple[np.ndarray, bool]:
    """Return the stored numbers of a picture, and whether they are indices of a palette.

    Raises:
        ScanError: For a file that cannot be read.
    """
    try:
        with Image.open(path) as image:
            return np.asarray(image), image.mode in ("P", "PA")
    except DAMAGED as error:
        raise ScanError("damaged", "cannot be read to its end; copy it again") from error


def values_in(path: Path) -> float:
    """Return how many different values a file holds; infinitely many where it cannot be read."""
    try:
        if suffix_of(path) in PICTURES:
            return len(np.unique(pixels(path)[0]))
        scan = read(path)
        return len({v for i in range(scan.planes(2)) for v in np.unique(scan.plane(2, i)).tolist()})
    except ScanError:
        return float("inf")
