"""Masks that DICOM holds as such: segmentations, and contours of structures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pydicom
from pydicom.errors import InvalidDicomError

from yolo_nas_ext.data.scans.itk_files import LPS
from yolo_nas_ext.data.scans.series import UNREADABLE, Series, silent
from yolo_nas_ext.data.scans.volumes import Scan, ScanError, Volume, turned

FLAT = 0.05  # voxels that the points of a contour may leave their slice by
NEAR = 0.5  # voxels that a contour may be off the middle of its slice


def read(mask: Series, scan: Scan, labels: Mapping[str, int]) -> Volume:
    """Return masks of DICOM as a label map; the smaller of structures that overlap lies on top.

    Args:
        mask: Of the kind ``seg`` or ``rtstruct``.
        scan: What it is of, on whose voxels contours are drawn.
        labels: The label of each name; other structures are left out.

    Raises:
        ScanError: For a file that cannot be read, or contours of no slice.
    """
    with silent():
        try:
            if mask.kind == "seg":
                return _segmentation(mask, labels)
            return _contours(mask, scan, labels)
        except (*UNREADABLE, InvalidDicomError, RuntimeError, IndexError) as error:
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise ScanError(
                "labels", f"has the masks {mask.files[0].name}, which cannot be read ({reason})"
            ) from error


def _segmentation(mask: Series, labels: Mapping[str, int]) -> Volume:
    import highdicom

    seg: Any = highdicom.seg.segread(mask.files[0])
    there: list[tuple[int, np.ndarray]] = []
    affine = np.eye(4)
    for number in seg.segment_numbers:
        label = labels.get(str(seg.get_segment_description(number).segment_label).strip())
        if not label:
            continue
        volume = seg.get_volume(segment_numbers=[number], allow_missing_positions=True)
        # slices, rows, columns and perhaps channels; half and more of a fraction is inside
        values = np.asarray(volume.array)
        there.append((label, (values[..., 0] if values.ndim == 4 else values) >= 0.5))
        affine = np.asarray(volume.affine, float)
    if not there:
        raise ScanError("labels", f"has the masks {mask.files[0].name} without a structure")
    found = np.zeros(there[0][1].shape, np.uint8 if max(labels.values()) < 256 else np.int32)
    for label, inside_it in sorted(there, key=lambda one: -int(one[1].sum())):
        found[inside_it] = label
    return turned(found, LPS @ affine)


def _contours(mask: Series, scan: Scan, labels: Mapping[str, int]) -> Volume:
    if not isinstance(scan, Volume):
        raise ScanError("labels", "has contours, which need slices with a place")
    header = pydicom.dcmread(mask.files[0], force=True)
    names = {int(roi.ROINumber): str(roi.ROIName).strip() for roi in header.StructureSetROISequence}
    kind = np.uint8 if max(labels.values(), default=0) < 256 else np.int32
    found = np.zeros(scan.stored.shape, kind)
    to = np.linalg.inv(scan.affine) @ LPS
    parts: list[tuple[int, dict[tuple[int, int], np.ndarray]]] = []
    for roi in header.get("ROIContourSequence") or ():
        label = labels.get(names.get(int(roi.ReferencedROINumber), ""))
        if not label:
            continue
        drawn: dict[tuple[int, int], np.ndarray] = {}
        for contour in roi.get("ContourSequence") or ():
            if str(contour.get("ContourGeometricType", "CLOSED_PLANAR")) != "CLOSED_PLANAR":
                continue  # points and lines enclose nothing
            points = np.array([float(v) for v in contour.ContourData]).reshape(-1, 3)
            axis, index, flat = _in_slice(points @ to[:3, :3].T + to[:3, 3], scan, mask)
            shape = np.delete(scan.stored.shape, axis)
            one = drawn.setdefault((axis, index), np.zeros(shape, bool))
            one ^= inside(flat, (int(shape[0]), int(shape[1])))  # a contour in another is a hole
        parts.append((label, drawn))
    for label, drawn in sorted(
        parts, key=lambda part: -sum(int(d.sum()) for d in part[1].values())
    ):
        for (axis, index), there in drawn.items():
            found[(slice(None),) * axis + (index,)][there] = label
    return Volume(found, 1.0, 0.0, scan.affine, scan.was)


def _in_slice(points: np.ndarray, scan: Volume, mask: Series) -> tuple[int, int, np.ndarray]:
    """Return the axis across a contour's slice, the slice, and its points within it in voxels.

    Raises:
        ScanError: For a contour that lies in no slice.
    """
    axis = int(np.argmin(np.ptp(points, axis=0)))
    level = float(points[:, axis].mean())
    index = round(level)
    shape = scan.stored.shape
    if np.ptp(points[:, axis]) > FLAT or abs(level - index) > NEAR or not 0 <= index < shape[axis]:
        raise ScanError(
            "labels",
            f"has contours in {mask.files[0].name} that lie in none of its slices; give the series "
            "that they were drawn on",
        )
    return axis, index, np.delete(points, axis, 1)


def inside(polygon: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return which points of a grid (h, w) lie in a polygon, by the even-odd rule.

    Args:
        polygon: Its corners (n, 2) in steps of the grid, first and second index.
        shape: Of the grid.
    """
    found = np.zeros(shape, bool)
    (i0, j0), (i1, j1) = polygon.T, np.roll(polygon, -1, axis=0).T
    for i in range(max(0, int(np.ceil(polygon[:, 0].min()))), shape[0]):
        if i > polygon[:, 0].max():
            break
        crosses = (i0 <= i) != (i1 <= i)
        with np.errstate(divide="ignore", invalid="ignore"):
            at = j0 + (i - i0) * (j1 - j0) / (i1 - i0)
        for start, end in np.sort(at[crosses]).reshape(-1, 2):
            found[i, max(0, int(np.ceil(start))) : max(0, int(np.ceil(end)))] ^= True
    return found
