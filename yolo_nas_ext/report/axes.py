"""Axes and labels: where ticks and names go, for the PNGs and the page alike."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from yolo_nas_ext.console import short
from yolo_nas_ext.report.summary import Findings
from yolo_nas_ext.study.trial import Trial

# Mantissas of ticks on a logarithmic axis, from sparse to dense.
MANTISSAS = (
    (1,),
    (1, 3),
    (1, 2, 5),
    (1, 1.5, 2, 3, 4, 5, 7),
    (1, 1.2, 1.5, 1.8, 2, 2.5, 3, 3.5, 4, 4.5, 5, 6, 7, 8, 9),
)
Box = tuple[float, float, float, float]  # left, low, right, high


@dataclass(frozen=True, slots=True)
class Axis:
    """A range of values with its ticks.

    Attributes:
        low: Value at the start.
        high: Value at the end.
        ticks: Values to mark.
        texts: What to write at the ticks.
        log: Whether it is logarithmic.
    """

    low: float
    high: float
    ticks: tuple[float, ...]
    texts: tuple[str, ...]
    log: bool = False

    def at(self, value: float) -> float:
        """Return the place of a value, from 0 at the start to 1 at the end."""
        low, high = self.low, self.high
        if self.log:
            value, low, high = math.log(value), math.log(low), math.log(high)
        return (value - low) / (high - low)


def log_axis(values: Sequence[float], most: int = 6) -> Axis:
    """Return a logarithmic axis over positive values with up to `most` ticks."""
    low, high = min(values), max(values)
    margin = max((high / low) ** 0.07, 1.05)
    low, high = low / margin, high * margin
    ticks: list[float] = []
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for mantissas in MANTISSAS:
        ticks = [m * 10.0**p for p in powers for m in mantissas if low <= m * 10.0**p <= high]
        if len(ticks) >= 3:
            break
    ticks = ticks[:: math.ceil(len(ticks) / most)] if ticks else [low * margin]
    return Axis(low, high, tuple(ticks), tuple(_short(t) for t in ticks), True)


def linear_axis(
    values: Sequence[float], most: int = 6, *, margin: float = 0.08, whole: bool = False
) -> Axis:
    """Return a linear axis over values with up to `most` ticks.

    Args:
        values: At least one.
        most: Number of ticks.
        margin: Room at either end, as a part of the range.
        whole: Whether ticks are whole numbers.
    """
    low, high = min(values), max(values)
    span = high - low or (1.0 if whole else abs(high) * 0.1 or 1.0)
    if high == low:
        low, high = low - span / 2, high + span / 2
    low, high = low - margin * span, high + margin * span
    if whole:  # there is no trial 0
        low = max(low, 0.5)
    step, digits = _step((high - low) / most, whole)
    first = math.ceil(low / step)
    ticks = [i * step for i in range(first, first + most + 1) if i * step <= high]
    texts = [f"{t:.{digits}f}" if abs(t) < 1e6 else f"{t:.3g}" for t in ticks]
    return Axis(low, high, tuple(ticks), tuple(texts))


def _step(least: float, whole: bool) -> tuple[float, int]:
    """Return the round number from `least` up, and its number of decimals."""
    power = math.floor(math.log10(least))
    mantissa = next((m for m in (1, 2, 2.5, 5) if m * 10.0**power >= least), 10)
    step = mantissa * 10.0**power
    if whole:
        return max(1.0, math.ceil(step)), 0
    return step, max(0, -power + (mantissa == 2.5) - (mantissa == 10))


def _short(value: float) -> str:
    """Return a tick such as ``1.5G``."""
    text = short(value) if value >= 1e3 else f"{value:.3g}"
    suffix = text[-1] if text[-1].isalpha() else ""
    digits = text.removesuffix(suffix)
    return (digits.rstrip("0").rstrip(".") if "." in digits else digits) + suffix


# What the two plots show


def pareto_axes(findings: Findings) -> tuple[Axis, Axis, list[Trial]]:
    """Return the axes of fitness against FLOPs, or against the trial, and the trials that fit."""
    shown = [t for t in findings.complete if not findings.has_flops or "flops" in t.cost]
    xs = [cost_of(findings, t) for t in shown] or [1.0]
    x = log_axis(xs) if findings.has_flops else linear_axis(xs, whole=True)
    return x, linear_axis([t.fitness for t in shown] or [0.0, 1.0], margin=0.13), shown


def cost_of(findings: Findings, trial: Trial) -> float:
    """Return a trial's place across the plot: its FLOPs, or its number from 1."""
    return trial.cost["flops"] if findings.has_flops else trial.number + 1


def steps(findings: Findings, x: Axis) -> list[tuple[float, float]]:
    """Return the corners of the front: the highest fitness that a cost pays for."""
    corners: list[tuple[float, float]] = []
    for trial in findings.front:
        at = cost_of(findings, trial)
        if corners:
            corners.append((at, corners[-1][1]))
        corners.append((at, trial.fitness))
    return [*corners, (x.high, corners[-1][1])] if corners else []


def best_so_far(findings: Findings) -> list[tuple[float, float]]:
    """Return the corners of the best fitness up to each trial (from 1) of the space."""
    corners: list[tuple[float, float]] = []
    for trial in findings.complete:
        if trial.point is None or (corners and trial.fitness <= corners[-1][1]):
            continue
        if corners:
            corners.append((trial.number + 1, corners[-1][1]))
        corners.append((trial.number + 1, trial.fitness))
    last = max((t.number + 1 for t in findings.trials if t.state != "running"), default=0)
    return [*corners, (last, corners[-1][1])] if corners else []


def volume_so_far(findings: Findings) -> list[tuple[float, float]]:
    """Return the corners of the hypervolume after each trial (from 1)."""
    corners: list[tuple[float, float]] = []
    for number, volume in findings.volumes:
        corners += [(number + 1, corners[-1][1] if corners else 0.0), (number + 1, volume)]
    last = max((t.number + 1 for t in findings.trials if t.state != "running"), default=0)
    return [*corners, (last, corners[-1][1])] if corners else []


def time_ticks(findings: Findings, x: Axis, most: int = 5) -> tuple[str, list[tuple[float, str]]]:
    """Return the unit of a second axis and its ticks: (trial, time since the start)."""
    ended = [t for t in findings.trials if t.state != "running"]
    ends = [0.0]
    for trial in ended:
        ends.append(ends[-1] + max(trial.seconds, 0.0))
    if ends[-1] <= 0:
        return "", []
    units = {"hours": 3600.0, "minutes": 60.0, "seconds": 1.0}
    unit = next((u for u, s in units.items() if ends[-1] >= 1.5 * s), "milliseconds")
    seconds = units.get(unit, 1e-3)
    axis = linear_axis([0.0, ends[-1] / seconds], most, margin=0)
    ticks: list[tuple[float, str]] = []
    for value, text in zip(axis.ticks, axis.texts, strict=True):
        index = next((i for i, c in enumerate(ends) if c >= value * seconds), len(ends) - 1)
        before = ends[index - 1] if index else 0.0
        part = (value * seconds - before) / (ends[index] - before) if index else 0.0
        place = max(index - 1, 0) + part + 0.5  # trial n lasts from n - 1/2 to n + 1/2
        if not ticks or x.at(place) - x.at(ticks[-1][0]) > 0.08:
            ticks.append((place, text))
    return unit, ticks


# Labels


def along(corners: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return points some 8 pixels apart along a line, for labels to keep off it."""
    points: list[tuple[float, float]] = []
    for (x0, y0), (x1, y1) in pairwise(corners):
        count = int(math.hypot(x1 - x0, y1 - y0) / 8) + 1
        points += [(x0 + (x1 - x0) * i / count, y0 + (y1 - y0) * i / count) for i in range(count)]
    return points


def place(
    anchors: Sequence[tuple[float, float]],
    sizes: Sequence[tuple[float, float]],
    points: Sequence[tuple[float, float]],
    bounds: Box,
) -> list[tuple[float, float]]:
    """Return centres for labels such that they hide little: not one another, few points.

    Args:
        anchors: What the labels belong to, in pixels.
        sizes: Width and height of each label in pixels.
        points: What should stay visible, in pixels.
        bounds: Where labels may be, in pixels.
    """
    taken: list[Box] = [(x - 8, y - 8, x + 8, y + 8) for x, y in anchors]
    centres = []
    for (x, y), (width, height) in zip(anchors, sizes, strict=True):
        chosen, lowest = (x, y), math.inf
        for distance in (10, 20, 34, 52, 74):
            for turn in range(12):
                dx, dy = math.cos(turn * math.pi / 6), math.sin(turn * math.pi / 6)
                cx = _within(x + dx * (distance + width / 2), width, bounds[0], bounds[2])
                cy = _within(y + dy * (distance + height / 2), height, bounds[1], bounds[3])
                box = (cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2)
                score = distance / 10 + _hidden(box, taken, points)
                if score < lowest:
                    chosen, lowest = (cx, cy), score
        centres.append(chosen)
        cx, cy = chosen
        taken.append((cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2))
    return centres


def _hidden(box: Box, taken: Sequence[Box], points: Sequence[tuple[float, float]]) -> float:
    left, low, right, high = box
    over = sum(left < b[2] and right > b[0] and low < b[3] and high > b[1] for b in taken)
    hit = sum(left - 4 < x < right + 4 and low - 4 < y < high + 4 for x, y in points)
    return 50 * over + 2 * hit


def _within(centre: float, size: float, low: float, high: float) -> float:
    """Return the centre nearest to this one at which a label lies between bounds."""
    return max(low + size / 2, min(centre, high - size / 2))
