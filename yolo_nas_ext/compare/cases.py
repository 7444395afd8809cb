"""Scans that a model was shown, case by case: overlap, surfaces, volumes, lesions."""

from __future__ import annotations

import math
import warnings
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np

from yolo_nas_ext.data import lesions
from yolo_nas_ext.data.lesions import Components
from yolo_nas_ext.metrics import dice, froc, thresholds
from yolo_nas_ext.metrics.bootstrap import interval
from yolo_nas_ext.metrics.dice import Counts
from yolo_nas_ext.metrics.froc import Matched
from yolo_nas_ext.metrics.thresholds import GRID

DRAWS = 500
NAMES = (
    "patient scan class threshold dice surface hausdorff95 volume found_volume "
    "lesions lesions_found false_alarms unit"
).split()
EDGES = (0.0, 5.0, 10.0, 20.0, 40.0, math.inf)  # of sizes, in mm or pixels


@dataclass(frozen=True, slots=True)
class Slice:
    """What there is and what is seen in a picture.

    Attributes:
        index: Number of the slice.
        found: Rows (left, top, right, bottom, class, score).
        true: Rows of what there is.
        scores: Scores (classes, h, w) of what covers each pixel; None of detectors.
        masks: Masks (n, h, w) of the true rows; None where only boxes are known.
    """

    index: int
    found: np.ndarray
    true: np.ndarray
    scores: np.ndarray | None = None
    masks: np.ndarray | None = None


@dataclass(frozen=True, slots=True)
class Case:
    """What is kept of a scan.

    Attributes:
        patient: Whose it is.
        scan: What it is called.
        spacing: Distance of slices, rows and columns in mm; None where nobody knows.
        flat: Whether it is one picture, which has areas and no volumes.
        matched: Its lesions and findings.
        sizes: Equivalent diameter of each lesion, by its number, in mm or pixels.
        counts: Its voxels by score; None of detectors.
        levels: Scores as `thresholds.level`, (classes, slices, h, w), packed.
        truth: Masks of the same shape, packed.
        shape: That shape.
    """

    patient: str
    scan: str
    spacing: tuple[float, float, float] | None
    flat: bool
    matched: Matched
    sizes: dict[int, float]
    counts: Counts | None = None
    levels: bytes = b""
    truth: bytes = b""
    shape: tuple[int, ...] = ()

    def volumes(self, threshold: int) -> tuple[np.ndarray, np.ndarray]:
        """Return what is found at a threshold of the grid, and what there is."""
        levels = np.frombuffer(zlib.decompress(self.levels), np.uint8).reshape(self.shape)
        bits = np.frombuffer(zlib.decompress(self.truth), np.uint8)
        truth = np.unpackbits(bits, count=levels.size).reshape(self.shape).astype(bool)
        return levels > threshold, truth


class Cases:
    """All scans, which come one after the other, as masks take much room.

    Args:
        nc: Number of classes.
        known: The lesion of every label of a picture, see `data.lesions.read`.
        voxels: The voxels of every lesion of a scan, see `data.lesions.voxels`.
        spacings: See `data.scans.recipe.spacings`.

    Attributes:
        lesions_by: How lesions were made, see `data.lesions`.
    """

    def __init__(
        self,
        nc: int,
        known: Mapping[str, Sequence[int]],
        voxels: Mapping[str, Sequence[int]],
        spacings: Mapping[str, tuple[float, float, float]],
    ) -> None:
        self._nc, self._known, self._voxels, self._spacings = nc, known, voxels, spacings
        self.cases: list[Case] = []
        self.lesions_by = lesions.BY_MASKS

    def add(self, patient: str, scan: str, pictures: Mapping[str, Slice]) -> None:
        """Take the pictures of a scan, by their stems."""
        parts = sorted(pictures.items(), key=lambda item: item[1].index)
        of = self._of(parts)
        slices = [part for _, part in parts]
        matched = froc.match([(s.index, s.found) for s in slices], [s.true for s in slices], of)
        spacing, flat = self._spacings.get(scan), len(slices) == 1
        sizes = self._sizes(scan, of, slices, spacing, flat)
        case = Case(patient, scan, spacing, flat, matched, sizes)
        if all(s.scores is not None for s in slices):
            case = self._with_masks(case, slices)
        self.cases.append(case)

    def _of(self, parts: Sequence[tuple[str, Slice]]) -> list[list[int]]:
        """Return the lesion of every true row of each picture."""
        if all(len(self._known.get(stem, ())) == len(part.true) for stem, part in parts):
            return [list(self._known.get(stem, ())) for stem, _ in parts]
        if len(parts) == 1:  # a picture of its own, in which objects are told apart
            return [list(range(len(parts[0][1].true)))]
        if any(part.masks is None for _, part in parts):
            self.lesions_by = lesions.BY_BOXES
            return lesions.of_boxes((part.index, part.true) for _, part in parts)[0]
        together = Components()
        pieces: list[list[int | None]] = []
        for _, part in parts:
            assert part.masks is not None
            kinds = (part.true[:, 4].astype(int) + 1).tolist()
            plane = np.zeros(part.masks.shape[1:], np.int64)
            for kind, mask in zip(kinds, part.masks, strict=True):
                plane[mask] = kind
            together.add(part.index, plane)
            seen = [mask & (plane == k) for k, mask in zip(kinds, part.masks, strict=True)]
            pieces.append(
                [
                    together.piece_of(kind, mask) if mask.any() else None
                    for kind, mask in zip(kinds, seen, strict=True)
                ]
            )
        of, sizes = together.lesions()
        hidden = count(len(sizes))  # what others cover, or what is too thin to be drawn
        return [[next(hidden) if p is None else of[p] for p in own] for own in pieces]

    def _sizes(
        self,
        scan: str,
        of: Sequence[Sequence[int]],
        slices: Sequence[Slice],
        spacing: tuple[float, float, float] | None,
        flat: bool,
    ) -> dict[int, float]:
        """Return the diameter of the ball, or disc, as large as each lesion."""
        amounts: dict[int, float] = {}
        for own, part in zip(of, slices, strict=True):
            boxes = part.true
            areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
            if part.masks is not None:
                areas = part.masks.sum((1, 2))
            for lesion, area in zip(own, areas.tolist(), strict=True):
                amounts[lesion] = amounts.get(lesion, 0.0) + area
        if known := self._voxels.get(scan):
            amounts = {n: known[n] if n < len(known) else v for n, v in amounts.items()}
        between, rows, columns = spacing or (1.0, 1.0, 1.0)
        if flat:
            return {n: 2 * math.sqrt(v * rows * columns / math.pi) for n, v in amounts.items()}
        one = between * rows * columns
        return {n: (6 * v * one / math.pi) ** (1 / 3) for n, v in amounts.items()}

    def _with_masks(self, case: Case, slices: Sequence[Slice]) -> Case:
        levels, truth = [], []
        for part in slices:
            assert part.scores is not None and part.masks is not None
            levels.append(thresholds.level(part.scores))
            plane = np.zeros(part.scores.shape, bool)
            for kind, mask in zip(part.true[:, 4].astype(int), part.masks, strict=True):
                plane[kind] |= mask
            truth.append(plane)
        found, true = np.stack(levels, 1), np.stack(truth, 1)
        return Case(
            case.patient,
            case.scan,
            case.spacing,
            case.flat,
            case.matched,
            case.sizes,
            dice.count(found, true),
            zlib.compress(found.tobytes(), 1),
            zlib.compress(np.packbits(true).tobytes(), 1),
            found.shape,
        )

    @property
    def segmented(self) -> bool:
        """Whether there are masks of all."""
        return bool(self.cases) and all(case.counts is not None for case in self.cases)

    def by_patient(self) -> dict[str, list[Case]]:
        """Return the cases of each patient."""
        result: dict[str, list[Case]] = {}
        for case in self.cases:
            result.setdefault(case.patient, []).append(case)
        return result

    def chosen(self) -> dict[str, int]:
        """Return the threshold that each patient is measured at: the best for all others.

        It is the best by Dice where there are masks, and else by the F1 of lesions.
        """
        return thresholds.crossed(self.by_patient(), self._curve)

    def _curve(self, cases: Sequence[Case]) -> np.ndarray:
        if self.segmented:
            return dice.curve([case.counts for case in cases if case.counts is not None])
        return f1([case.matched for case in cases])

    def figures(self, rng: np.random.Generator) -> dict[str, Any]:
        """Return the figures of all cases, with intervals by drawing patients."""
        patients = self.by_patient()
        scores = {p: [case.matched.scores for case in part] for p, part in patients.items()}
        result: dict[str, Any] = {
            "froc_cpm": froc.cpm([scan for part in scores.values() for scan in part]),
            "froc_cpm_95": interval(scores, froc.cpm, rng=rng, draws=DRAWS),
            "threshold": float(GRID[thresholds.best(self.cases, self._curve)]),
            "lesions": sum(len(case.matched.kinds) for case in self.cases),
            "lesions_by": self.lesions_by,
            "scans": len(self.cases),
            "patients": len(patients),
        }
        if self.segmented:
            chosen = self.chosen()
            values = {
                p: [case.counts.dice()[:, chosen[p]] for case in part if case.counts is not None]
                for p, part in patients.items()
            }
            result["dice"] = mean([scan for part in values.values() for scan in part])
            result["dice_95"] = interval(values, mean, rng=rng, draws=DRAWS)
        return result

    def rows(self, names: Mapping[int, str]) -> list[dict[str, Any]]:
        """Return a row for every class of every case, of `NAMES`.

        Args:
            names: Class names by index.
        """
        chosen = self.chosen()
        return [
            row
            for case in self.cases
            for row in _rows(case, chosen[case.patient], dict(list(names.items())[: self._nc]))
        ]


def mean(scans: Sequence[np.ndarray]) -> float:
    """Return the mean Dice over classes and scans, without the classes that a scan lacks."""
    values = np.concatenate(scans)
    return math.nan if np.isnan(values).all() else float(np.nanmean(values))


def f1(cases: Sequence[Matched]) -> np.ndarray:
    """Return the F1 of lesions at each threshold."""
    true = np.array([score for case in cases for score in case.found.values()])
    false = np.array([score for case in cases for score, _ in case.false])
    n = sum(len(case.kinds) for case in cases)
    hit, wrong = ((values[:, None] >= GRID).sum(0) for values in (true, false))
    with np.errstate(invalid="ignore"):
        return 2 * hit / (hit + wrong + n)


def _rows(case: Case, threshold: int, names: Mapping[int, str]) -> list[dict[str, Any]]:
    """Return a case's rows."""
    least = float(GRID[threshold])
    rows = []
    found, true = case.volumes(threshold) if case.counts is not None else (None, None)
    for kind, name in names.items():
        row: dict[str, Any] = {
            "patient": case.patient,
            "scan": case.scan,
            "class": name,
            "threshold": least,
            "lesions": sum(k == kind for k in case.matched.kinds.values()),
            "lesions_found": sum(
                case.matched.kinds[n] == kind and score >= least
                for n, score in case.matched.found.items()
            ),
            "false_alarms": sum(k == kind and s >= least for s, k in case.matched.false),
            "unit": "px" if case.spacing is None else "mm, ml" if not case.flat else "mm, mm2",
        }
        if found is not None and true is not None:
            row |= _overlap(found[kind], true[kind], case.spacing, case.flat)
        rows.append(row)
    return rows


def _overlap(
    found: np.ndarray, true: np.ndarray, spacing: tuple[float, float, float] | None, flat: bool
) -> dict[str, Any]:
    """Return the overlap, distances and volumes of two masks (slices, h, w), by MONAI."""
    import torch
    from monai.metrics.hausdorff_distance import compute_hausdorff_distance
    from monai.metrics.meandice import compute_dice
    from monai.metrics.surface_distance import compute_average_surface_distance

    distances = spacing or (1.0, 1.0, 1.0)
    one = math.prod(distances[1:]) if flat else math.prod(distances)
    scale = 1000.0 if spacing and not flat else 1.0  # mm^3 a ml
    row = {"volume": true.sum() * one / scale, "found_volume": found.sum() * one / scale}
    if not true.any():
        return row
    a, b = (torch.from_numpy(v[None, None].astype(np.float32)) for v in (found, true))
    row["dice"] = float(compute_dice(a, b)[0, 0])
    if found.any():
        a, b = (v[:, :, 0] if flat else v for v in (a, b))
        how: dict[str, Any] = {
            "include_background": True,
            "spacing": list(distances[1:] if flat else distances),
        }
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # of MONAI's about itself
            row["surface"] = float(compute_average_surface_distance(a, b, symmetric=True, **how))
            row["hausdorff95"] = float(compute_hausdorff_distance(a, b, percentile=95, **how))
    return row
