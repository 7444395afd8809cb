"""What a model does on scans as files: a table of cases, sizes of lesions, and plots."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from yolo_nas_ext.compare.cases import DRAWS, EDGES, NAMES, Case, Cases
from yolo_nas_ext.metrics import froc
from yolo_nas_ext.metrics.bootstrap import interval
from yolo_nas_ext.metrics.thresholds import GRID
from yolo_nas_ext.report import evaluation

RATES = np.geomspace(1 / 16, 16, 65)  # false positives a scan that curves are drawn at
SIZES = ("from", "to", "unit", "lesions", "found", "sensitivity", "low", "high")


def write(
    folder: Path, cases: Cases, names: Mapping[int, str], title: str, rng: np.random.Generator
) -> list[str]:
    """Write a folder about a model, and return the names of its files.

    Args:
        folder: Where to; is made.
        cases: What the model was shown.
        names: Class names by index.
        title: What to call the model.
        rng: Draws the patients of intervals.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows = cases.rows(names)
    _csv(folder / "cases.csv", NAMES, rows)
    sizes = by_size(cases, rng)
    unit = "mm" if all(case.spacing for case in cases.cases) else "px"
    _csv(folder / "sizes.csv", SIZES, [{**row, "unit": unit} for row in sizes])
    files = ["cases.csv", "sizes.csv"]
    if sizes:
        evaluation.froc_png(folder / "froc.png", RATES, *_curves(cases, rng), title)
        evaluation.sizes_png(folder / "sizes.png", sizes, unit, title)
        files += ["froc.png", "sizes.png"]
    if cases.segmented:
        volumes = {name: _volumes(rows, name) for name in {str(r["class"]): 0 for r in rows}}
        unit = next(iter({str(row["unit"]) for row in rows}), "px").rpartition(" ")[2]
        evaluation.volumes_png(folder / "volumes.png", volumes, unit, title)
        files.append("volumes.png")
    return files


def by_size(cases: Cases, rng: np.random.Generator) -> list[dict[str, Any]]:
    """Return how many lesions of each size there are and are found, with intervals.

    A lesion counts as found at the threshold of its patient, see `Cases.chosen`.
    """
    chosen = cases.chosen()
    rows = []
    for low, high in pairwise(EDGES):
        parts = {
            patient: [_found(case, float(GRID[chosen[patient]]), low, high) for case in own]
            for patient, own in cases.by_patient().items()
        }
        n, hit = (sum(pair[i] for own in parts.values() for pair in own) for i in (0, 1))
        if not n:
            continue
        ends = interval(parts, _part, rng=rng, draws=DRAWS)
        numbers = {"lesions": n, "found": hit, "sensitivity": hit / n}
        rows.append({"from": low, "to": high, **numbers, "low": ends[0], "high": ends[1]})
    return rows


def _found(case: Case, least: float, low: float, high: float) -> tuple[int, int]:
    """Return how many lesions of some size a case has, and how many of them are found."""
    inside = [n for n, size in case.sizes.items() if low <= size < high]
    return len(inside), sum(case.matched.found.get(n, -1.0) >= least for n in inside)


def _part(pairs: Sequence[tuple[int, int]]) -> float:
    n = sum(pair[0] for pair in pairs)
    return sum(pair[1] for pair in pairs) / n if n else math.nan


def _curves(
    cases: Cases, rng: np.random.Generator
) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray] | None]:
    """Return the sensitivity at `RATES` and its interval, None of one patient."""
    patients = [[c.matched.scores for c in own] for own in cases.by_patient().values()]
    curve = _at([scan for own in patients for scan in own])
    if len(patients) < 2:
        return curve, None
    drawn = []
    for _ in range(DRAWS):
        picked = rng.integers(0, len(patients), len(patients))
        drawn.append(_at([scan for i in picked for scan in patients[i]]))
    low, high = np.nanquantile(np.array(drawn), (0.025, 0.975), axis=0)
    return curve, (low, high)


def _at(scans: Sequence[froc.Scores]) -> np.ndarray:
    """Return the sensitivity at each of `RATES`; nan without lesions."""
    found = froc.froc(scans)
    if not found.rates:
        return np.full(len(RATES), math.nan)
    order = np.argsort(found.rates, kind="stable")
    return np.interp(RATES, np.array(found.rates)[order], np.array(found.curve)[order])


def _volumes(rows: Sequence[Mapping[str, Any]], name: str) -> tuple[np.ndarray, np.ndarray]:
    own = [row for row in rows if row["class"] == name]
    return np.array([r["volume"] for r in own]), np.array([r["found_volume"] for r in own])


def _csv(path: Path, names: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, names, restval="")
        writer.writeheader()
        writer.writerows({k: _said(v) for k, v in row.items()} for row in rows)


def _said(value: Any) -> Any:
    if not isinstance(value, float):
        return value
    return "" if math.isnan(value) else f"{value:.6g}"
