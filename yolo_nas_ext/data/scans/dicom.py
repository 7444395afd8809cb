"""DICOM files sorted into series, and a series as a volume."""

from __future__ import annotations

import contextlib
import logging
import math
import warnings
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_file_meta_info
from pydicom.misc import is_dicom

from yolo_nas_ext.data.scans.anonymise import may_show_text, removed
from yolo_nas_ext.data.scans.volumes import (
    Facts,
    Picture,
    Scan,
    ScanError,
    check_room,
    suffix_of,
    turned,
)
from yolo_nas_ext.files import free_memory

SUFFIXES = (".dcm", ".dicom", ".ima", "")  # or digits: files are often named by an identifier
DEFLATED = b"1.2.840.10008.1.2.1.99"  # the transfer syntax of files compressed as a whole
PART = 1 << 20
PARALLEL = 1e-3  # how far cosines of one direction may differ
GAP = 1.5  # times the usual distance: a slice is missing


@dataclass(frozen=True, slots=True)
class Series:
    """The files of one series.

    Attributes:
        files: Its files, sorted by name.
        uid: Its identifier, secret.
        patient: Whose it is, secret: the patient's number, else the study's.
    """

    files: tuple[Path, ...]
    uid: str
    patient: str


def may_be(file: Path) -> bool:
    """Say whether a file's name is one that DICOM files have."""
    suffix = suffix_of(file)
    return suffix in SUFFIXES or suffix[1:].isdigit()


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Keep `pydicom` from printing values of a header that it finds odd."""
    logger = logging.getLogger("pydicom")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def find(files: Sequence[Path]) -> tuple[list[Series], list[tuple[Path, str]]]:
    """Return the series among files, and the DICOM files that cannot be read with the reason."""
    found: dict[tuple[str, str], list[Path]] = {}
    patients: dict[tuple[str, str], str] = {}
    bad = []
    for file in sorted(files):
        try:
            with _silent():
                if not file.is_file() or not is_dicom(file):
                    continue
                if is_bomb(file):
                    bad.append((file, "is compressed as a whole, and too large for memory"))
                    continue
                header = pydicom.dcmread(
                    file,
                    stop_before_pixels=True,
                    specific_tags=[
                        "SeriesInstanceUID",
                        "StudyInstanceUID",
                        "PatientID",
                        "Rows",
                        "ImagePositionPatient",
                        "SOPInstanceUID",
                    ],
                )
        except (
            OSError,
            InvalidDicomError,
            ValueError,
            KeyError,
            AttributeError,
            EOFError,
        ) as error:
            bad.append((file, f"is a damaged DICOM file ({type(error).__name__}); copy it again"))
            continue
        if "Rows" not in header:
            continue  # a report, a directory, contours: no picture
        series = str(header.get("SeriesInstanceUID", "") or file)
        study = str(header.get("StudyInstanceUID", "") or series)
        if "ImagePositionPatient" not in header:  # pictures of their own, as X-rays are
            series += f"/{header.get('SOPInstanceUID', file)}"
        key = study, series
        found.setdefault(key, []).append(file)
        patients.setdefault(key, str(header.get("PatientID", "") or "").strip() or study)
    return [Series(tuple(files), key[1], patients[key]) for key, files in found.items()], bad


def is_bomb(file: Path) -> bool:
    """Say whether a file is compressed as a whole, and what is in it too large for memory."""
    with file.open("rb") as opened:
        if DEFLATED not in opened.read(2048):
            return False
    header = read_file_meta_info(file)
    if str(header.get("TransferSyntaxUID")) != DEFLATED.decode():
        return False
    inflate, done, most = zlib.decompressobj(-zlib.MAX_WBITS), 0, free_memory() // 4
    with file.open("rb") as opened:
        opened.seek(144 + int(header.get("FileMetaInformationGroupLength", 0)))
        while (part := inflate.unconsumed_tail or opened.read(PART)) and done <= most:
            try:
                done += len(inflate.decompress(part, 4 * PART))
            except zlib.error:  # which the reader will say
                return False
    return done > most


def read(series: Series) -> Scan:
    """Return a series as a volume in Hounsfield units, or what else its rescaling gives.

    Raises:
        ScanError: For damaged files, missing slices, two slices at a place, or slices of several
            orientations or sizes.
    """
    with _silent():
        headers = [_load(file, pixels=False) for file in series.files]
        first = headers[0]
        for file, header in zip(series.files, headers, strict=True):
            if int(header.get("NumberOfFrames", 1) or 1) > 1:
                raise ScanError(
                    "dimensions",
                    f"has many frames in the file {file.name}; convert it to NIfTI "
                    "or to a file a slice first",
                )
        names, private = removed(headers)
        facts = Facts(names, private, any(map(may_show_text, headers)))
        if "ImagePositionPatient" not in first:
            values, (slope, intercept) = _pixels(series.files[0]), _scale(first)
            if (slope, intercept) != (1.0, 0.0):
                values = values * np.float32(slope) + np.float32(intercept)
            rows, columns = first.get("PixelSpacing") or first.get("ImagerPixelSpacing") or (1, 1)
            facts = replace(facts, colour=values.ndim == 3)
            return Picture(values, (float(rows), float(columns)), facts)
        order, affine = _geometry(headers)
        files = [series.files[i] for i in order]
        return _stack(files, [headers[i] for i in order], affine, facts)


def _load(file: Path, *, pixels: bool) -> Any:
    try:
        return pydicom.dcmread(file, stop_before_pixels=not pixels)
    except (OSError, InvalidDicomError, ValueError, KeyError, AttributeError, EOFError) as error:
        raise ScanError("damaged", f"has the file {file.name}, which cannot be read") from error


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
    step = normal * float(headers[0].get("SliceThickness", 1) or 1)
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


def _stack(files: Sequence[Path], headers: Sequence[Any], affine: np.ndarray, facts: Facts) -> Scan:
    """Return the slices as stored, or as values where each has a scale of its own, as in PET."""
    scales = [_scale(header) for header in headers]
    kinds = {(h.get("BitsAllocated"), h.get("PixelRepresentation")) for h in headers}
    uniform = len(set(scales)) == 1 and len(kinds) == 1
    stored = np.empty(0)
    for index, (file, (slope, intercept)) in enumerate(zip(files, scales, strict=True)):
        plane = _pixels(file)
        if plane.ndim != 2:
            raise ScanError(
                "type", f"has colours in the file {file.name}; volumes have one channel"
            )
        if not uniform:
            plane = plane * np.float32(slope) + np.float32(intercept)
        if not index:
            check_room(len(files) * plane.nbytes)
            stored = np.empty((len(files), *plane.shape), plane.dtype)
        stored[index] = plane
    return turned(stored.transpose(2, 1, 0), affine, *(scales[0] if uniform else (1.0, 0.0)), facts)


def _scale(header: Any) -> tuple[float, float]:
    """Return slope and intercept of stored numbers, turned where bright is low."""
    slope, intercept = (header.get(name) for name in ("RescaleSlope", "RescaleIntercept"))
    slope = 1.0 if slope is None else float(slope)
    intercept = 0.0 if intercept is None else float(intercept)
    if header.get("PhotometricInterpretation") == "MONOCHROME1":
        return -slope, -intercept
    return slope, intercept


def _pixels(file: Path) -> np.ndarray:
    """Return the stored numbers (rows, columns) of a file."""
    header = _load(file, pixels=True)
    try:
        numbers = [int(header.get(name) or 1) for name in ("Rows", "Columns", "SamplesPerPixel")]
        check_room(math.prod(numbers) * (int(header.get("BitsAllocated") or 8) + 7) // 8, "pixels")
        return header.pixel_array
    except ScanError:
        raise
    except Exception as error:  # decoders of compressed pixels fail in many ways
        raise ScanError(
            "damaged",
            f"has pixels in the file {file.name} that cannot be decoded "
            f"({type(error).__name__}); copy it again, or store it uncompressed",
        ) from error
