"""The plots of the page as places in pixels, which templates draw: every point says what it is."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import ClassVar, NamedTuple

from yolo_nas_ext.console import cut
from yolo_nas_ext.report import axes
from yolo_nas_ext.report.axes import Axis
from yolo_nas_ext.report.facts import label
from yolo_nas_ext.report.summary import Findings
from yolo_nas_ext.study.trial import Trial

WIDTH, HEIGHT = 560, 400
LEFT, TOP, RIGHT, BOTTOM = 84, 50, 534, 336  # the plotting area, with room for labels
SHADES = 8  # classes o0 to o7 of the style sheet, from the first trial to the last
PLAIN = 4  # the shade where the order is an axis
LETTER, LINE = 10.5, 22  # size of a letter on a narrow screen, where text is largest
STAR = " ".join(
    f"{r * math.sin(i * math.pi / 5):.1f},{-r * math.cos(i * math.pi / 5):.1f}"
    for i, r in enumerate([10, 4.2] * 5)
)
# Outlines of the markers of baselines, in turn.
MARKERS = (
    "0,-8 8,0 0,8 -8,0",
    "0,-8 8,6 -8,6",
    "-6.5,-6.5 6.5,-6.5 6.5,6.5 -6.5,6.5",
    "0,8 8,-6 -8,-6",
    "0,-8 7.6,-2.5 4.7,6.5 -4.7,6.5 -7.6,-2.5",
    "-4,-8 4,-8 8,0 4,8 -4,8 -8,0",
)
EMPTY = "no trial is complete"
SO_FAR = "highest so far, in the space"


class Tick(NamedTuple):
    """A place along an axis, in pixels, and what is written there."""

    at: float
    text: str


class Point(NamedTuple):
    """A mark.

    Attributes:
        x: Where it is, in pixels.
        y: The same downwards.
        kind: Class.
        tip: What it says when one points at it.
        href: Where it leads; empty where it is no link.
        tab: Order among what the keys reach; -1 for a mark that they pass over.
        outline: Corners around its place; a circle without any.
        r: Radius of a circle, in pixels.
    """

    x: float
    y: float
    kind: str
    tip: str
    href: str = ""
    tab: int = -1
    outline: str = ""
    r: float = 4.5


class Name(NamedTuple):
    """A label, with the line to its point where it is not beside it."""

    text: str
    x: float
    y: float
    leader: tuple[float, float, float, float] | None


@dataclass(frozen=True, slots=True)
class Chart:
    """What `charts.html` draws.

    Attributes:
        title: What a screen reader says.
        across: Name of the axis across.
        up: Name of the axis upwards.
        x_ticks: Of the axis across.
        y_ticks: Of the axis upwards.
        line: Corners of the front, or of the best so far.
        points: Marks.
        names: Labels of some of them.
        times: Ticks above the plot.
        unit: What they are.
        failures: Marks on the axis across.
        empty: What is said where there is no point.
    """

    title: str
    across: str
    up: str
    x_ticks: Sequence[Tick]
    y_ticks: Sequence[Tick]
    line: Sequence[tuple[float, float]] = ()
    points: Sequence[Point] = ()
    names: Sequence[Name] = ()
    times: Sequence[Tick] = ()
    unit: str = ""
    failures: Sequence[Point] = ()
    empty: str = ""

    area: ClassVar = SimpleNamespace(
        width=WIDTH, height=HEIGHT, left=LEFT, top=TOP, right=RIGHT, bottom=BOTTOM
    )


def pareto_chart(findings: Findings, drawn: Collection[int] = ()) -> Chart:
    """Return fitness against FLOPs with the front.

    Args:
        findings: Of the record.
        drawn: Numbers of the trials whose drawing is on the page; their marks link to it.
    """
    x, y, shown = axes.pareto_axes(findings)
    spots = {t.number: spot(x, y, axes.cost_of(findings, t), t.fitness) for t in shown}
    line = [spot(x, y, *corner) for corner in axes.steps(findings, x)]
    points, marked = _points(findings, shown, spots, ordered=True, drawn=drawn)
    return Chart(
        f"{findings.measure.name} of all networks against their FLOPs",
        "FLOPs of one image" if findings.has_flops else "trial",
        findings.measure.name,
        *ticks(x, y),
        line=line,
        points=points,
        names=named(marked, list(spots.values()), line),
        empty="" if shown else EMPTY,
    )


def progress_chart(findings: Findings) -> Chart:
    """Return fitness by trial with the best so far."""
    ended = [t for t in findings.trials if t.state != "running"]
    x = axes.linear_axis([t.number + 1 for t in ended] or [1.0], margin=0.03, whole=True)
    y = axes.linear_axis([t.fitness for t in findings.complete] or [0.0, 1.0], margin=0.14)
    spots = {t.number: spot(x, y, t.number + 1, t.fitness) for t in findings.complete}
    unit, marks = axes.time_ticks(findings, x)
    times = [Tick(_across(x, at), text) for at, text in marks]
    line = [spot(x, y, *corner) for corner in axes.best_so_far(findings)]
    points, marked = _points(findings, findings.complete, spots)
    return Chart(
        f"{findings.measure.name} of each trial and the highest so far",
        "trial",
        findings.measure.name,
        *ticks(x, y),
        line=line,
        points=points,
        names=named(marked, list(spots.values()), line),
        times=[tick for tick in times if LEFT <= tick.at <= RIGHT],
        unit=f"{unit} of trials" if unit else "",
        failures=[
            _point(findings, trial, (_across(x, trial.number + 1), BOTTOM), "failed")
            for trial in findings.failed
        ],
        empty="" if findings.complete else EMPTY,
    )


def volume_chart(findings: Findings) -> Chart:
    """Return the hypervolume of several objectives by trial."""
    corners = axes.volume_so_far(findings)
    x = axes.linear_axis([1.0, corners[-1][0]], margin=0.03, whole=True)
    y = axes.linear_axis([up for _, up in corners])
    line = [spot(x, y, *corner) for corner in corners]
    return Chart("Hypervolume after each trial", "trial", "hypervolume", *ticks(x, y), line=line)


def tooltip(findings: Findings, trial: Trial) -> str:
    """Return what a point says, a fact a line."""
    lines = [f"{label(trial)} (trial {trial.number + 1})", *findings.facts(trial)]
    if trial.architecture is None and trial.point is not None:
        lines += [f"{name}: {value}" for name, value in trial.point.items()]
    return "\n".join(lines)


def spot(x: Axis, y: Axis, across: float, up: float) -> tuple[float, float]:
    """Return the place of two values in the plotting area, in pixels."""
    return _across(x, across), _up(y, up)


def _up(y: Axis, value: float) -> float:
    return BOTTOM - y.at(value) * (BOTTOM - TOP)


def _across(x: Axis, value: float) -> float:
    return LEFT + x.at(value) * (RIGHT - LEFT)


def ticks(x: Axis, y: Axis) -> tuple[list[Tick], list[Tick]]:
    """Return the ticks of the axis across and of that upwards, in pixels."""
    across = [Tick(_across(x, v), text) for v, text in zip(x.ticks, x.texts, strict=True)]
    return across, [Tick(_up(y, v), text) for v, text in zip(y.ticks, y.texts, strict=True)]


def _point(
    findings: Findings,
    trial: Trial,
    at: tuple[float, float],
    kind: str,
    outline: str = "",
    drawn: Collection[int] = (),
) -> Point:
    """Return a mark that links to the trial's drawing, or to its row; drawings by the keys too."""
    there = trial.number in drawn
    href = f"#net-{trial.number}" if there else f"#trial-{trial.number}"
    return Point(*at, kind, tooltip(findings, trial), href, 0 if there else -1, outline)


def _points(
    findings: Findings,
    shown: Sequence[Trial],
    spots: dict[int, tuple[float, float]],
    *,
    ordered: bool = False,
    drawn: Collection[int] = (),
) -> tuple[list[Point], list[tuple[str, tuple[float, float]]]]:
    """Return all points, then baselines and the best, and the names of these with their places.

    Ordered: points are shaded by their order and those of the front outlined.
    """
    points, names = [], []
    last = max((t.number for t in shown), default=0) or 1
    front = {t.number for t in findings.front} if ordered else set()
    for trial in shown:
        if not trial.name:
            shade = min(SHADES - 1, trial.number * SHADES // last) if ordered else PLAIN
            kind = f"o{shade}" + (" on-front" if trial.number in front else "")
            points.append(_point(findings, trial, spots[trial.number], kind, drawn=drawn))
    for index, trial in enumerate(findings.baselines):
        if trial.number in spots:
            names.append(trial)
            outline = MARKERS[index % len(MARKERS)]
            at = spots[trial.number]
            points.append(_point(findings, trial, at, "baseline", outline, drawn))
    best = findings.best
    if best is not None and best.number in spots:
        if not best.name:
            names.append(best)
        points.append(_point(findings, best, spots[best.number], "best", STAR, drawn))
    return points, [(label(t), spots[t.number]) for t in names]


def named(
    marked: Sequence[tuple[str, tuple[float, float]]],
    spots: Sequence[tuple[float, float]],
    line: Sequence[tuple[float, float]] = (),
) -> list[Name]:
    """Return the names of some points, placed where they hide few spots and little of a line."""
    texts = [cut(text, 20) for text, _ in marked]
    anchors = [at for _, at in marked]
    sizes = [(LETTER * len(text), LINE) for text in texts]
    bounds = (LEFT, TOP - 4, RIGHT + 14, BOTTOM - 4)
    centres = axes.place(anchors, sizes, [*spots, *axes.along(line)], bounds)
    found = []
    for text, (x, y), (ax, ay) in zip(texts, centres, anchors, strict=True):
        near = min(max(ax, x - LETTER * len(text) / 2), x + LETTER * len(text) / 2)
        edge = min(max(ay, y - LINE / 2), y + LINE / 2)
        far = math.hypot(near - ax, edge - ay) > 16
        found.append(Name(text, x, y + 5, (ax, ay, near, edge) if far else None))
    return found
