"""What was found in a scan: connected pieces of its labels, in mm of the patient."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage
from scipy.spatial import ConvexHull
from scipy.spatial.distance import pdist

from yolo_nas_ext.data.scans.volumes import Scan, Volume
from yolo_nas_ext.data.scans.write_back import LPS, Labels, file_indices

TOUCHING = np.ones((3, 3, 3), bool)  # voxels that share a corner are of one finding
BESIDE = TOUCHING & (np.arange(3)[:, None, None] == 1)  # as pixels of one page are
COLUMNS: list[str] = [
    *(
        "row patient scan finding class score volume_ml longest_mm "
        "centre_l_mm centre_p_mm centre_s_mm extent_l_mm extent_p_mm extent_s_mm "
        "slices first_slice last_slice i j k size_i size_j size_k"
    ).split()
]


@dataclass(frozen=True, slots=True)
class Finding:
    """A connected piece of one class.

    Attributes:
        label: Its label.
        score: Of its surest voxel, 0 to 1.
        voxels: How many.
        middle: Mean index of its voxels in the file, counted from 0.
        size: How many voxels it spans along the file's axes.
        slices: Those that it shows in, indices along the axis of the cut, as the file counts them.
        centre: Its centre of mass in mm towards the patient's left, back and head; None of a
            picture, as are the others in mm.
        extent: How far it reaches along these directions in mm.
        longest: The largest distance of two of its points in mm.
        volume: In ml.
    """

    label: int
    score: float
    voxels: int
    middle: tuple[float, ...]
    size: tuple[int, ...]
    slices: tuple[int, ...]
    centre: tuple[float, ...] | None = None
    extent: tuple[float, ...] | None = None
    longest: float | None = None
    volume: float | None = None


def find(
    scan: Scan, axis: int, labels: Labels, *, of: Mapping[int, int] | None = None
) -> list[Finding]:
    """Return the findings of a scan, the surest first.

    Args:
        scan: The scan.
        axis: The axis that it was cut across.
        labels: What lies on it.
        of: The label of each value, where every value is one finding; without, the pieces of a
            value are, in volumes by 26 neighbours and in pictures by 8.
    """
    found = []
    touching = TOUCHING if isinstance(scan, Volume) else BESIDE
    for value, where in _pieces(labels.values, touching, whole=of is not None):
        indices = np.argwhere(where[1]) + [s.start for s in where[0]]
        score = float(labels.scores[where[0]][where[1]].max())
        label = of[value] if of is not None else value
        found.append(_finding(scan, axis, indices, label, score))
    return sorted(found, key=lambda f: (-f.score, -f.voxels, f.middle))


def _pieces(
    values: np.ndarray, touching: np.ndarray, *, whole: bool
) -> Iterator[tuple[int, tuple[tuple[slice, ...], np.ndarray]]]:
    """Yield the value of every finding, the box that it is in and its mask there."""
    boxes: list[Any] = ndimage.find_objects(values)
    for value, box in enumerate(boxes, 1):
        if box is None:
            continue
        mask = values[box] == value
        if whole:
            yield value, (box, mask)
            continue
        labelled: Any = ndimage.label(mask, touching)
        parts = labelled[0]
        for number, inner in enumerate(ndimage.find_objects(parts), 1):
            place = tuple(
                slice(a.start + b.start, a.start + b.stop) for a, b in zip(box, inner, strict=True)
            )
            yield value, (place, parts[inner] == number)


def _finding(scan: Scan, axis: int, indices: np.ndarray, label: int, score: float) -> Finding:
    if not isinstance(scan, Volume):
        seen = indices[:, [2, 1, 0]]  # column, row, page
        pages = tuple(sorted({int(v) for v in indices[:, 0]}))
        return Finding(label, score, len(indices), *_span(seen), pages)
    own = file_indices(scan, indices)
    along = int(np.flatnonzero(np.ptp(file_indices(scan, _step(axis)), axis=0))[0])
    slices = tuple(sorted({int(v) for v in own[:, along]}))
    to_mm = (LPS @ scan.affine)[:3]
    corners = _corners(indices) @ to_mm[:, :3].T + to_mm[:, 3]
    centre = indices.mean(0) @ to_mm[:, :3].T + to_mm[:, 3]
    return Finding(
        label,
        score,
        len(indices),
        *_span(own),
        slices,
        tuple(float(v) for v in centre),
        tuple(float(v) for v in np.ptp(corners, axis=0)),
        _longest(corners),
        len(indices) * abs(float(np.linalg.det(scan.affine[:3, :3]))) / 1000,
    )


def _step(axis: int) -> np.ndarray:
    """Return two indices that differ along an axis."""
    return np.stack([np.zeros(3, int), np.eye(3, dtype=int)[axis]])


def _span(own: np.ndarray) -> tuple[tuple[float, ...], tuple[int, ...]]:
    sizes = np.ptp(own, axis=0) + 1
    return tuple(float(v) for v in own.mean(0)), tuple(int(v) for v in sizes)


def _corners(indices: np.ndarray) -> np.ndarray:
    """Return the corners of voxels that may be outermost: of each row its first and last one."""
    order = np.lexsort((indices[:, 2], indices[:, 1], indices[:, 0]))
    rows = indices[order]
    new = np.any(np.diff(rows[:, :2], axis=0) != 0, axis=1)
    ends = rows[np.concatenate(([True], new)) | np.concatenate((new, [True]))]
    around = np.array(list(np.ndindex(2, 2, 2))) - 0.5
    return (ends[:, None] + around).reshape(-1, 3)


def _longest(corners: np.ndarray) -> float:
    """Return the largest distance of two points, which are corners of their convex hull."""
    return float(pdist(corners[ConvexHull(corners).vertices]).max())


def rows(
    patient: str, scan: str, found: Sequence[Finding], names: Mapping[int, str]
) -> list[dict[str, Any]]:
    """Return the rows of a scan's findings.

    Args:
        patient: Its pseudonym.
        scan: The scan's.
        found: Its findings.
        names: Class names by label.
    """
    result = []
    for number, finding in enumerate(found, 1):
        row: dict[str, Any] = {
            "row": "finding",
            "patient": patient,
            "scan": scan,
            "finding": number,
            "class": names[finding.label],
            "score": _short(finding.score),
            "volume_ml": _short(finding.volume),
            "longest_mm": _short(finding.longest),
            "slices": len(finding.slices),
            "first_slice": finding.slices[0],
            "last_slice": finding.slices[-1],
        }
        for kind, values in (("centre", finding.centre), ("extent", finding.extent)):
            for index, way in enumerate("lps"):
                row[f"{kind}_{way}_mm"] = _short(values[index]) if values else ""
        for index, way in enumerate("ijk"):
            row[way] = _short(finding.middle[index])
            row[f"size_{way}"] = finding.size[index]
        result.append(row)
    return result


def summary(patient: str, scans: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the row of a patient: findings, volumes added, the longest and the surest of them.

    Args:
        patient: The pseudonym.
        scans: The rows of all findings of the patient.
    """
    found = list(scans)

    def numbers(name: str) -> list[float]:
        return [float(row[name]) for row in found if row.get(name, "") != ""]

    row: dict[str, Any] = {"row": "patient", "patient": patient, "finding": len(found)}
    row["class"] = ";".join(sorted({str(r["class"]) for r in found}))
    for name, of in (("volume_ml", sum), ("longest_mm", max), ("score", max), ("slices", sum)):
        row[name] = _short(float(of(values))) if (values := numbers(name)) else ""
    row["slices"] = int(float(row["slices"] or 0))
    return row


def write(path: Path, table: Iterable[Mapping[str, Any]]) -> None:
    """Write rows as CSV."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer: csv.DictWriter[str] = csv.DictWriter(file, COLUMNS, restval="")
        writer.writeheader()
        writer.writerows(table)


def _short(value: float | None) -> Any:
    return "" if value is None else float(f"{value:.5g}")
