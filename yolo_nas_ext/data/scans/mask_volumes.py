"""Masks of every kind as label maps of whole numbers on their scan's grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from yolo_nas_ext.data.scans import grids, itk_files, reading
from yolo_nas_ext.data.scans import masks as mask_pictures
from yolo_nas_ext.data.scans.series import Series
from yolo_nas_ext.data.scans.volumes import (
    PICTURES,
    WHOLE,
    Scan,
    ScanError,
    Volume,
    check_labels,
    suffix_of,
)

ROUNDED = f"labels up to {WHOLE:g} off whole numbers are rounded"
NEGATIVE = "labels below 0 are taken for background"
ONE_HOT = "masks of one volume a class are taken for classes by their order, the first for nothing"
SEVERAL = "masks of one volume a class are taken for classes by their order"
SEGMENTED = ".seg.nrrd"


def named(mask: Path | Series) -> tuple[str, ...]:
    """Return the names of the structures that a file of masks says itself.

    Raises:
        ScanError: For a file that cannot be read.
    """
    if isinstance(mask, Series):
        return mask.names
    if suffix_of(mask) != SEGMENTED:
        return ()
    try:
        return tuple(dict.fromkeys(segment.name for segment in itk_files.segments(mask)))
    except reading.DAMAGED as error:
        raise ScanError("damaged", "cannot be read to its end; copy it again") from error


def read(
    mask: Path | Series,
    scan: Scan,
    axis: int,
    *,
    pages: str | None = None,
    labels: Mapping[str, int] | None = None,
) -> tuple[Scan, tuple[str, ...]]:
    """Return a mask on its scan's grid, and what was done to it, for the user.

    Args:
        mask: Its file or series.
        scan: What it is of.
        axis: The axis that slices are cut across.
        pages: What the pages of a picture are, see `reading.read`.
        labels: The label of each structure that files of masks name.

    Raises:
        ScanError: For a mask that cannot be read or does not lie on its scan.
    """
    found, notes = _read(mask, scan, pages, labels or {})
    same = isinstance(mask, Series)
    laid, said = grids.lay(scan, found, axis, same_frame=same)
    return laid, (*notes, *said)


def _read(
    mask: Path | Series, scan: Scan, pages: str | None, labels: Mapping[str, int]
) -> tuple[Scan, tuple[str, ...]]:
    if isinstance(mask, Series):
        from yolo_nas_ext.data.scans import dicom, dicom_masks  # load pydicom

        if mask.kind != "scan":
            return dicom_masks.read(mask, scan, labels), ()
        return whole(dicom.read(mask))
    if suffix_of(mask) in PICTURES:
        return mask_pictures.labels(mask, pages), ()
    if labels and named(mask):
        try:
            return itk_files.segmentation(mask, labels), ()
        except reading.DAMAGED as error:
            raise ScanError(
                "damaged", f"has the mask {mask.name}, which cannot be read to its end"
            ) from error
    volumes = reading.volumes_in(mask)
    if volumes > 1:
        return _joined([reading.read(mask, index) for index in range(volumes)])
    return whole(reading.read(mask))


def whole(mask: Scan) -> tuple[Scan, tuple[str, ...]]:
    """Return a mask whose labels are whole numbers of at least 0, and what was done to it.

    Raises:
        ScanError: For labels that are none.
    """
    if not isinstance(mask, Volume):
        return mask, ()
    stored = mask.stored
    if mask.slope == 1 and mask.intercept == 0 and stored.dtype.kind in "ub":
        return mask, ()
    rounded = negative = False
    most = 0
    for k in range(stored.shape[2]):
        values = mask.values(stored[:, :, k])
        checked = check_labels(values)
        negative |= bool((values < -WHOLE).any())
        rounded |= values.dtype.kind == "f" and bool((values != np.rint(values)).any())
        most = max(most, int(checked.max(initial=0)))
    plain = mask.slope == 1 and mask.intercept == 0 and stored.dtype.kind == "i"
    notes = (*[ROUNDED] * rounded, *[NEGATIVE] * negative)
    if plain and not negative:
        return mask, notes
    labels = np.empty(stored.shape, np.uint8 if most < 256 else np.int32, order="F")
    for k in range(stored.shape[2]):
        labels[:, :, k] = check_labels(mask.values(stored[:, :, k]))
    return replace(mask, stored=labels, slope=1.0, intercept=0.0), notes


def values(mask: Scan) -> list[int]:
    """Return the labels in a mask, without the background."""
    found = {int(v) for i in range(mask.planes(2)) for v in np.unique(mask.plane(2, i))}
    return sorted(found - {0})


def size(mask: Scan) -> int:
    """Return how many voxels of a mask are labelled."""
    return sum(int(np.count_nonzero(mask.plane(2, i))) for i in range(mask.planes(2)))


def labels_in(mask: Path | Series) -> set[int]:
    """Return the labels in a volume of masks; none where it cannot be read, or names structures."""
    if isinstance(mask, Series) or suffix_of(mask) in PICTURES:
        return set()
    try:
        volumes = reading.volumes_in(mask)
        parts = [reading.read(mask, index) for index in range(volumes)]
        found, _ = whole(parts[0]) if volumes == 1 else _joined(parts)
    except ScanError:
        return set()
    return set(values(found))


def _joined(parts: Sequence[Scan]) -> tuple[Scan, tuple[str, ...]]:
    """Return one label map of volumes of one class each.

    Raises:
        ScanError: For volumes that hold more than 0 and 1.
    """
    first, volumes = parts[0], [part for part in parts if isinstance(part, Volume)]
    assert isinstance(first, Volume)
    planes = [[v.values(v.stored[:, :, k]) for v in volumes] for k in range(first.stored.shape[2])]
    if not all(np.isin(np.rint(p), (0, 1)).all() for plane in planes for p in plane):
        n = len(volumes)
        raise ScanError(
            "dimensions",
            f"has a mask of {n} volumes that are not of 0 and 1, one a class; save one label map",
        )
    covered = all((np.rint(sum(plane)) == 1).all() for plane in planes)
    labels = np.zeros(first.stored.shape, np.uint8)
    for k, plane in enumerate(planes):
        for index, part in enumerate(plane):
            labels[:, :, k][np.rint(part) == 1] = index if covered else index + 1
    note = ONE_HOT if covered else SEVERAL
    return replace(first, stored=labels, slope=1.0, intercept=0.0), (note,)
