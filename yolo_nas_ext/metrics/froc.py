"""FROC and its CPM: findings against lesions, in scans rather than in pictures.

Detections of neighbouring slices are merged into one finding, as a lesion is one lesion in however
many slices it shows. Curves and scores are MONAI's (`monai.metrics.froc`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from yolo_nas_ext.data.naming import place
from yolo_nas_ext.errors import TrialError

# False positives a scan at which sensitivities are averaged: the CPM of LUNA16 (Setio et al. 2017).
RATES = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
OVERLAP = 0.3  # IoU from which boxes of neighbouring slices are of one finding, or a hit
GAP = 1  # slices that a finding may miss
# Of a scan: scores of its true findings, of its false ones, and its number of lesions.
Scores = tuple[Sequence[float], Sequence[float], int]


@dataclass(frozen=True, slots=True)
class Box:
    """A box in a slice.

    Attributes:
        index: Number of the slice.
        xyxy: Left, top, right and bottom edge in pixels.
        label: Class.
        score: Confidence; 1 of a lesion.
    """

    index: int
    xyxy: tuple[float, float, float, float]
    label: int = 0
    score: float = 1.0


@dataclass(frozen=True, slots=True)
class Froc:
    """A free-response curve.

    Attributes:
        cpm: Mean sensitivity at `RATES`, 0 to 1.
        sensitivities: Sensitivity at each of `RATES`.
        rates: False positives a scan along the curve.
        curve: Sensitivity along the curve.
        lesions: Number of lesions.
        scans: Number of scans.
    """

    cpm: float
    sensitivities: tuple[float, ...]
    rates: tuple[float, ...]
    curve: tuple[float, ...]
    lesions: int
    scans: int


def iou(a: Sequence[float], b: Sequence[float]) -> float:
    """Return the intersection of two boxes over their union."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return width * height / (sum(areas) - width * height)


def merge(boxes: Sequence[Box], *, overlap: float = OVERLAP, gap: int = GAP) -> list[list[Box]]:
    """Return boxes of a scan in findings: chains of overlapping boxes through its slices.

    Args:
        boxes: Detections or lesions, of any order.
        overlap: IoU from which boxes of neighbouring slices are of one finding.
        gap: Slices that may be missing between two boxes of a finding.

    Returns:
        Findings, each in the order of its slices; a box is in one of them. The surer box chooses
        first where two want the same place.
    """
    findings: list[list[Box]] = []
    active: list[list[Box]] = []
    for box in sorted(boxes, key=lambda b: (b.index, -b.score, b.xyxy)):
        best, found = overlap, None
        active = [finding for finding in active if box.index - finding[-1].index <= gap + 1]
        for finding in active:
            last = finding[-1]
            near = box.index > last.index and last.label == box.label
            if near and (shared := iou(last.xyxy, box.xyxy)) >= best:
                best, found = shared, finding
        if found is None:
            findings.append([box])
            active.append(findings[-1])
        else:
            found.append(box)
    return findings


def hits(
    findings: Sequence[Sequence[Box]], lesions: Sequence[Sequence[Box]], *, overlap: float = OVERLAP
) -> tuple[list[float], list[float]]:
    """Return the scores of a scan's true and of its false findings.

    A finding is as sure as its surest box. A lesion is found once, by the surest finding that
    overlaps it in some slice; another finding of a lesion that is found already counts as neither.

    Args:
        findings: Of `merge`.
        lesions: Of `merge`.
        overlap: IoU, in one slice, from which a finding is of a lesion.

    Returns:
        Scores of the surest finding of each found lesion, and of findings of no lesion.
    """
    found: dict[int, float] = {}
    false = []
    for finding in findings:
        score = max(box.score for box in finding)
        overlaps = [_shared(finding, lesion) for lesion in lesions]
        at = int(np.argmax(overlaps)) if overlaps else -1
        if at >= 0 and overlaps[at] >= overlap:
            found[at] = max(found.get(at, 0.0), score)
        else:
            false.append(score)
    return list(found.values()), false


def _shared(finding: Sequence[Box], lesion: Sequence[Box]) -> float:
    """Return the largest IoU of a finding and a lesion in one slice."""
    return max(
        (
            iou(a.xyxy, b.xyxy)
            for a in finding
            for b in lesion
            if a.index == b.index and a.label == b.label
        ),
        default=0.0,
    )


def froc(scans: Sequence[Scores]) -> Froc:
    """Return the curve of scans.

    Args:
        scans: For each scan the scores of its true and of its false findings (`hits`) and its
            number of lesions.

    Returns:
        The curve; sensitivities are nan where there is no lesion at all.
    """
    from monai.metrics.froc import compute_froc_curve_data, compute_froc_score

    true = np.array([s for found, _, _ in scans for s in found])
    # MONAI leaves out the lowest score as a threshold; one below all others takes its place.
    false = np.array([*(s for _, found, _ in scans for s in found), -1.0])
    lesions = sum(n for _, _, n in scans)
    if not lesions or not scans:
        nothing = (float("nan"),) * len(RATES)
        return Froc(float("nan"), nothing, (), (), lesions, len(scans))
    rates, curve = compute_froc_curve_data(false, true, lesions, len(scans))
    at = tuple(float(compute_froc_score(rates, curve, (rate,))) for rate in RATES)
    return Froc(
        float(np.mean(at)),
        at,
        tuple(map(float, rates)),
        tuple(map(float, curve)),
        lesions,
        len(scans),
    )


SUREST = 10  # detections of a picture that are looked at; further ones are far below any threshold


def evaluate(found: Mapping[str, np.ndarray], truth: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Return the CPM of detections in pictures as ``fitness`` and ``froc_cpm``.

    Args:
        found: Rows (left, top, right, bottom, class, score) by the picture's stem.
        truth: Rows of every picture looked at; scores do not matter.

    Raises:
        TrialError: Where there is no lesion in any picture.
    """
    value = cpm([scan for part in patients(found, truth).values() for scan in part])
    if np.isnan(value):
        raise TrialError("nan", "the held-out pictures have no lesions, so there is no FROC")
    return {"fitness": value, "froc_cpm": value}


def patients(
    found: Mapping[str, np.ndarray], truth: Mapping[str, np.ndarray]
) -> dict[str, list[Scores]]:
    """Return what `cpm` takes, by patient, from rows of pictures as `evaluate` takes them."""
    surest = {stem: rows[np.argsort(-rows[:, 5])][:SUREST] for stem, rows in found.items()}
    return by_patient(_boxes(surest), _boxes(truth))


def cpm(scans: Sequence[Scores]) -> float:
    """Return the CPM of scans; nan where there is no lesion."""
    return froc(scans).cpm


def _boxes(rows: Mapping[str, np.ndarray]) -> dict[str, list[Box]]:
    return {
        stem: [Box(0, (r[0], r[1], r[2], r[3]), int(r[4]), float(r[5])) for r in table.tolist()]
        for stem, table in rows.items()
    }


def by_patient(
    found: Mapping[str, Sequence[Box]], truth: Mapping[str, Sequence[Box]]
) -> dict[str, list[Scores]]:
    """Return what `froc` takes, by patient, from boxes of pictures.

    Args:
        found: Detections by the picture's stem; their `index` is set from it.
        truth: Lesions by the picture's stem, of every picture looked at.
    """
    scans: dict[str, tuple[str, list[Box], list[Box]]] = {}
    for stem, lesions in truth.items():
        patient, scan, index = place(stem)
        entry = scans.setdefault(scan, (patient, [], []))
        for boxes, into in ((found.get(stem, ()), entry[1]), (lesions, entry[2])):
            into.extend(Box(index, b.xyxy, b.label, b.score) for b in boxes)
    result: dict[str, list[Scores]] = {}
    for patient, boxes, lesions in scans.values():
        marks = merge(lesions)
        result.setdefault(patient, []).append((*hits(merge(boxes), marks), len(marks)))
    return result
