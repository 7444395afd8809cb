"""Files of scans and masks: NIfTI, NRRD and images, read without a second copy of the voxels."""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.openers import ImageOpener
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError
from nrrd import NRRDError
from PIL import Image, ImageOps

from yolo_nas_ext.data.pictures import opened
from yolo_nas_ext.data.scans import itk_files
from yolo_nas_ext.data.scans.intensity import to_8_bits
from yolo_nas_ext.data.scans.volumes import (
    PICTURES,
    Facts,
    Picture,
    Scan,
    ScanError,
    Stack,
    Volume,
    check_numbers,
    check_room,
    suffix_of,
    turned,
    unsaid,
    which_of,
)
from yolo_nas_ext.files import free_memory

DEFLATED = 1032  # bytes that a compressed one may stand for, at the most
PART = 1 << 22  # bytes read at a time of a compressed file
SLAB = 16  # slices converted at a time where voxels are stored in 8 bytes
PAGES = ("pictures", "channels", "first")
GZIP = b"\x1f\x8b"
ORIENTATION = 274  # tag of EXIF
PAGED = ("TIFF", "GIF", "WEBP")  # formats whose pages are more than previews

DAMAGED = (
    OSError,
    EOFError,
    zlib.error,
    gzip.BadGzipFile,
    ImageFileError,
    WrapStructError,
    ValueError,
    KeyError,
    NRRDError,
    RuntimeError,  # of SimpleITK
    MemoryError,
    SyntaxError,
    StopIteration,
    ArithmeticError,
    LookupError,
    TypeError,
    AttributeError,
    HeaderDataError,
    Image.DecompressionBombError,
)


def read(path: Path, volume: int | None = None, pages: str | None = None) -> Scan:
    """Return the scan in a file that is not DICOM.

    Args:
        path: NIfTI, MGH, NRRD, MetaImage or an image.
        volume: Which volume of a file that holds several; such a file is refused without.
        pages: What the pages of a picture are, one of `PAGES`; a file of several is refused
            without.

    Raises:
        ScanError: For a file that is damaged, or that is no volume of numbers.
    """
    suffix = suffix_of(path)
    try:
        if suffix in PICTURES:
            return _picture(path, pages)
        if suffix in (".mha", ".mhd"):
            return itk_files.metaimage(path, volume)
        if suffix in (".nrrd", ".nhdr", ".seg.nrrd"):
            return itk_files.nrrd(path, volume)
        return _nifti(path, volume)
    except DAMAGED as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ScanError(
            "damaged", f"cannot be read to its end ({reason}); copy it again"
        ) from error


def _nifti(path: Path, volume: int | None) -> Volume:
    with unsaid():  # what it says of an odd header goes past the one line a scan
        image, compressed = _opened(path)
    shape, kind = image.shape, image.get_data_dtype()
    check_numbers(kind)
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    which: tuple[Any, ...] = ()
    if len(shape) > 3:
        which = (which_of(shape, shape[3:], volume), *[0] * (len(shape) - 4))
    proxy = image.dataobj
    _check_size(path, shape, kind, proxy.offset)
    slope, intercept = float(proxy.slope), float(proxy.inter)
    if len(shape) == 2:
        shape = (*shape, 1)
    if kind.itemsize <= 4 and not which:
        stored = _compressed(path, proxy) if compressed else proxy.get_unscaled()
        stored = np.asanyarray(stored).reshape(shape[:3], order="F")
    else:  # a slab at a time, so that 8 bytes a voxel are never there at once
        slope, intercept = 1.0, 0.0
        stored = np.empty(shape[:3], np.float32, order="F")
        for start in range(0, shape[2], SLAB):
            end = min(start + SLAB, shape[2])
            part = np.asarray(proxy[(slice(None), slice(None), slice(start, end), *which)])
            stored[:, :, start:end] = part.reshape(*shape[:2], end - start)
    return turned(stored, image.affine, slope, intercept, _facts(image))


def _opened(path: Path) -> tuple[Any, bool]:
    """Return a NIfTI image, and whether it is compressed, whatever its name says."""
    if suffix_of(path) not in (".nii", ".nii.gz"):
        return nib.load(path, keep_file_open=True), False  # type: ignore[attr-defined]
    with path.open("rb") as file:
        compressed = file.read(2) == GZIP
    if compressed == (suffix_of(path) == ".nii.gz"):
        return nib.load(path, keep_file_open=True), compressed  # type: ignore[attr-defined]
    content = path.read_bytes()
    if compressed:
        content = _decompressed(path)
    two = b"\x02\x1c" in content[:4]  # the size of NIfTI-2's header, 540, in either byte order
    kind: Any = nib.Nifti2Image if two else nib.Nifti1Image
    return kind.from_bytes(content), False


def _decompressed(path: Path) -> bytes:
    """Return what a compressed file holds, refused where that is more than memory has free.

    Raises:
        ScanError: As above.
    """
    parts, done, most = [], 0, free_memory() // 2
    with gzip.open(path) as inflated:
        while part := inflated.read(PART):
            parts.append(part)
            done += len(part)
            if done > most:
                check_room(math.inf, "compressed voxels")
    return b"".join(parts)


def _facts(image: Any) -> Facts:
    """Say whether a header says where voxels are, and more than nothing turned."""
    header = image.header
    coded = "sform_code" not in header or header["sform_code"] or header["qform_code"]
    two = "sform_code" in header and header["sform_code"] and header["qform_code"]
    return Facts(
        placed=bool(coded),
        blank=np.array_equal(image.affine, np.eye(4)),
        other=header.get_qform() if two else None,
    )


def _check_size(path: Path, shape: tuple[int, ...], kind: np.dtype, offset: int) -> None:
    """Refuse a header that says more than its file can hold, or than memory can.

    Raises:
        ScanError, OSError: As above.
    """
    size = math.prod(shape) * kind.itemsize
    if path.suffix.lower() == ".hdr":  # whose voxels are in the file beside it
        beside = (path.with_suffix(end) for end in (".img", ".IMG"))
        path = next((file for file in beside if file.is_file()), path)
    with path.open("rb") as file:  # whatever its name says
        compressed = file.read(2) == GZIP
    there = path.stat().st_size * (DEFLATED if compressed else 1)
    if size + offset > there:
        raise OSError(f"its header says {size:,} bytes of voxels, which are not in the file")
    check_room(math.prod(shape[:3]) * min(kind.itemsize, 4))


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


def _picture(path: Path, pages: str | None) -> Scan:
    planes = [_plane(values) for values, _ in _pages(path, pages)]
    colour = planes[0].ndim == 3
    if len(planes) == 1:
        return Picture(planes[0], facts=Facts(colour=colour))
    if len({plane.shape for plane in planes}) > 1:
        raise ScanError("dimensions", "has pages of several sizes; pages=first takes the first")
    if pages == "pictures":
        return Stack(np.stack(planes), Facts(colour=colour))
    if len(planes) > 3 or colour:
        raise ScanError(
            "dimensions",
            f"has {len(planes)} pages{' of colours' * colour}, and pictures of pages=channels have "
            "2 or 3 grey ones; pages=pictures takes each for a picture",
        )
    low, high = (float(f([plane.max() for plane in planes])) for f in (min, max))
    whole = np.stack([*planes, *[np.zeros_like(planes[0])] * (3 - len(planes))], -1)
    if whole.dtype != np.uint8:
        whole = to_8_bits(whole, min(low, 0.0), high)
    return Picture(whole, facts=Facts(colour=True))


def _plane(values: np.ndarray) -> np.ndarray:
    """Return pixels (h, w), or (h, w, 3) where they have colours."""
    if values.dtype == bool:
        values = values.astype(np.uint8)
    if values.ndim == 2:
        return values
    if values.shape[-1] == 2:  # grey and how transparent
        return values[..., 0]
    rgb = values[..., :3]
    return rgb[..., 0] if values.dtype == np.uint8 and (rgb == rgb[..., :1]).all() else rgb


def _pages(path: Path, pages: str | None, *, palette: bool = False) -> list[tuple[Any, bool]]:
    """Return the pixels of each page, turned as they are looked at, and whether by a palette.

    Args:
        path: The picture.
        pages: See `read`.
        palette: Whether indices of a palette are wanted rather than its colours.

    Raises:
        ScanError: For several pages where nothing says what they are.
    """
    found, taken = [], 0
    with opened(path) as image:
        n = getattr(image, "n_frames", 1) if image.format in PAGED else 1
        orientation = image.getexif().get(ORIENTATION, 1)
        if image.format == "TIFF" and orientation in (5, 6, 7, 8):
            # Pillow 13 reads its rows at the width of the turned image.
            raise ScanError(
                "orientation",
                f"is a TIFF that lies on its side (EXIF {orientation}); save it turned",
            )
        if n > 1 and pages is None:
            raise ScanError(
                "dimensions",
                f"has {n} pages; choose pages=pictures (a picture each), pages=channels (of one "
                "picture) or pages=first",
            )
        for index in range(n if pages != "first" else 1):
            image.seek(index)
            page = ImageOps.exif_transpose(image)
            indexed = page.mode in ("P", "PA")
            if not palette and page.mode in ("P", "CMYK", "YCbCr", "LAB", "HSV", "PA"):
                page = page.convert("RGB")
            taken += page.width * page.height * len(page.getbands())
            check_room(taken, "pages")
            found.append((np.asarray(page), indexed))
    return found


def pixels(path: Path, pages: str | None = None) -> tuple[list[np.ndarray], bool]:
    """Return the stored numbers of a picture's pages, and whether they are indices of a palette.

    Args:
        path: The picture.
        pages: See `read`; of channels the first page says what is where.

    Raises:
        ScanError: For a file that cannot be read, or for several pages that nothing says more of.
    """
    try:
        found = _pages(path, "first" if pages == "channels" else pages, palette=True)
    except DAMAGED as error:
        raise ScanError("damaged", "cannot be read to its end; copy it again") from error
    return [values for values, _ in found], found[0][1]


def values_in(path: Path) -> float:
    """Return how many different values a file holds; infinitely many where it cannot be read."""
    try:
        if suffix_of(path) in PICTURES:
            return len(np.unique(pixels(path, "first")[0][0]))
        scan = read(path)
        return len({v for i in range(scan.planes(2)) for v in np.unique(scan.plane(2, i)).tolist()})
    except ScanError:
        return float("inf")


def volumes_in(path: Path) -> int:
    """Return how many volumes a NIfTI holds; 1 of any other file."""
    if suffix_of(path) not in (".nii", ".nii.gz", ".hdr", ".mgz", ".mgh"):
        return 1
    try:
        shape = _opened(path)[0].shape
    except DAMAGED:
        return 1
    return int(np.prod(shape[3:4], initial=1))
