"""FROC and its CPM: findings against lesions, in scans rather than in pictures.

A lesion is one in however many slices it shows (`data.lesions`), and detections of neighbouring
slices are merged into one finding. Curves and scores are MONAI's (`monai.metrics.froc`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from yolo_nas_ext.data.lesions import by_scan, ious
from yolo_nas_ext.data.naming import corner, place, whole
from yolo_nas_ext.data.scans.tiles import join
from yolo_nas_ext.errors import TrialError

# False positives a scan at which sensitivities are averaged: the CPM of LUNA16 (Setio et al. 2017).
RATES = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
OVERLAP = 0.3  # IoU from which boxes of neighbouring slices are of one finding, or a hit
GAP = 1  # slices that a finding may miss
# Of a scan: scores of its true findings, of its false ones, and its number of lesions.
Scores = tuple[Sequence[float], Sequence[float], int]
NOTHING = np.zeros((0, 6))  # rows of a picture in which nothing is seen


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


def merge(
    slices: Sequence[tuple[int, np.ndarray]], *, overlap: float = OVERLAP, gap: int = GAP
) -> tuple[list[np.ndarray], np.ndarray]:
    """Join detections of a scan to findings: chains of overlapping boxes through its slices.

    Args:
        slices: Number of each slice, ascending, and its detections: rows (left, top, right,
            bottom, class, score) in pixels.
        overlap: IoU from which boxes of neighbouring slices are of one finding.
        gap: Slices that may be missing between two boxes of a finding.

    Returns:
        The finding of every row of each slice, and the score of each finding: that of its surest
        box. The surer box chooses first where two want the same place, and a finding has one box a
        slice.
    """
    scores: list[float] = []
    of: list[np.ndarray] = []
    last, at, number = np.zeros((0, 6)), np.zeros(0, int), np.zeros(0, int)
    for index, rows in slices:
        near = index - at <= gap + 1
        last, at, number = last[near], at[near], number[near]
        shared = ious(rows, last)
        own = np.full(len(rows), -1)
        for row in np.lexsort((*rows[:, 3::-1].T, -rows[:, 5])):
            best = int(shared[row].argmax()) if len(last) else -1
            if best >= 0 and shared[row, best] >= overlap:
                own[row] = number[best]
                shared[:, best] = 0  # taken
                scores[own[row]] = max(scores[own[row]], float(rows[row, 5]))
            else:
                own[row] = len(scores)
                scores.append(float(rows[row, 5]))
        of.append(own)
        kept = ~np.isin(number, own)
        last = np.concatenate((last[kept], rows))
        at = np.concatenate((at[kept], np.full(len(rows), index)))
        number = np.concatenate((number[kept], own))
    return of, np.array(scores)


@dataclass(frozen=True, slots=True)
class Matched:
    """What became of a scan's lesions and findings.

    Attributes:
        found: Score of the surest finding of each lesion that is found, by its number.
        kinds: Class of every lesion, by its number.
        false: Score and class of each finding of no lesion.
    """

    found: dict[int, float]
    kinds: dict[int, int]
    false: list[tuple[float, int]]

    @property
    def scores(self) -> Scores:
        """What `froc` takes."""
        return [*self.found.values()], [score for score, _ in self.false], len(self.kinds)


def match(
    found: Sequence[tuple[int, np.ndarray]],
    lesions: Sequence[np.ndarray],
    of: Sequence[Sequence[int]],
    *,
    overlap: float = OVERLAP,
) -> Matched:
    """Return which lesions of a scan are found, and which findings are false.

    A finding is of each lesion that one of its boxes overlaps in some slice, and a lesion is found
    by the surest such finding. A finding of no lesion is false; a further one of a lesion that is
    found already counts as neither. So what sees all lesions and nothing else is perfect, however
    its boxes are joined.

    Args:
        found: See `merge`.
        lesions: The true boxes of the same slices, as rows.
        of: The lesion of each of them.
        overlap: IoU, in one slice, from which a box is of a lesion.
    """
    numbers, scores = merge(found)
    best: dict[int, float] = {}
    kinds: dict[int, int] = {}
    true: set[int] = set()
    labels: dict[int, int] = {}
    for (_, rows), own, boxes, lesion in zip(found, numbers, lesions, of, strict=True):
        kinds.update(zip(lesion, boxes[:, 4].astype(int).tolist(), strict=True))
        labels.update(zip(own.tolist(), rows[:, 4].astype(int).tolist(), strict=True))
        for row, box in zip(*np.nonzero(ious(rows, boxes) >= overlap), strict=True):
            finding = int(own[row])
            true.add(finding)
            best[lesion[box]] = max(best.get(lesion[box], 0.0), float(scores[finding]))
    false = [(float(s), labels[i]) for i, s in enumerate(scores) if i not in true]
    return Matched(best, kinds, false)


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


def evaluate(
    found: Mapping[str, np.ndarray],
    truth: Mapping[str, np.ndarray],
    *,
    known: Mapping[str, Sequence[int]] | None = None,
    shapes: Mapping[str, tuple[int, int]] | None = None,
) -> dict[str, float]:
    """Return the CPM of detections in pictures as ``fitness`` and ``froc_cpm``.

    Args:
        found: Rows (left, top, right, bottom, class, score) in pixels by the picture's stem.
        truth: Rows of every picture looked at; scores do not matter.
        known: The lesion of every true box, see `data.lesions.read`.
        shapes: Height and width of the pictures that are tiles, which are joined to slices.

    Raises:
        TrialError: Where there is no lesion in any picture.
    """
    of, _ = patients(found, truth, known, shapes=shapes)
    value = cpm([scan for part in of.values() for scan in part])
    if np.isnan(value):
        raise TrialError("nan", "the held-out pictures have no lesions, so there is no FROC")
    return {"fitness": value, "froc_cpm": value}


def patients(
    found: Mapping[str, np.ndarray],
    truth: Mapping[str, np.ndarray],
    known: Mapping[str, Sequence[int]] | None = None,
    *,
    shapes: Mapping[str, tuple[int, int]] | None = None,
) -> tuple[dict[str, list[Scores]], str]:
    """Return what `cpm` takes, by patient, from rows as `evaluate` takes them.

    Returns:
        The scores of scans by patient, and how lesions were made, see `data.lesions.by_scan`.
    """
    found, truth, known = _joined(found, truth, known or {}, shapes or {})
    of, stems, how = by_scan(truth, known)
    result: dict[str, list[Scores]] = {}
    for scan, names in stems.items():
        slices = [(place(name)[2], found.get(name, NOTHING)) for name in names]
        matched = match(slices, [truth[name] for name in names], of[scan])
        result.setdefault(place(names[0])[0], []).append(matched.scores)
    return result, how


def _joined(
    found: Mapping[str, np.ndarray],
    truth: Mapping[str, np.ndarray],
    known: Mapping[str, Sequence[int]],
    shapes: Mapping[str, tuple[int, int]],
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], dict[str, Sequence[int]]]:
    """Return the rows and lesions of slices, from those of their tiles: what two show is one."""
    tiles: dict[str, list[str]] = {}
    for stem in truth:
        tiles.setdefault(whole(stem), []).append(stem)
    rows, boxes, lesions = {}, {}, {}
    for name, parts in tiles.items():
        if parts == [name]:
            rows[name], boxes[name] = found.get(name, NOTHING), truth[name]
            lesions[name] = known.get(name, ())
            continue
        corners = [corner(part) or (0, 0) for part in parts]
        sizes = [shapes[part] for part in parts]
        frames = [(x, y, x + w, y + h) for (x, y), (h, w) in zip(corners, sizes, strict=True)]
        rows[name], _ = join([found.get(part, NOTHING) for part in parts], frames)
        boxes[name], members = join([truth[part] for part in parts], frames)
        of = [known.get(part, ()) for part in parts]
        if all(len(own) == len(truth[part]) for own, part in zip(of, parts, strict=True)):
            lesions[name] = [of[tile][row] for (tile, row), *_ in members]
    return rows, boxes, lesions


def cpm(scans: Sequence[Scores]) -> float:
    """Return the CPM of scans; nan where there is no lesion."""
    return froc(scans).cpm
