"""The two plots of the page as SVG: every point says what it is and links to its row."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

from yolo_nas_ext.console import cut, number, short
from yolo_nas_ext.report import axes
from yolo_nas_ext.report.axes import Axis
from yolo_nas_ext.report.html import Markup, element, join
from yolo_nas_ext.report.summary import Findings, label
from yolo_nas_ext.study.trial import Trial

WIDTH, HEIGHT = 560, 400
LEFT, TOP, RIGHT, BOTTOM = 66, 50, 540, 336  # the plotting area
SHADES = 8  # classes o0 to o7 of the style sheet, from the first trial to the last
PLAIN = 4  # the shade where the order is an axis
LETTER, LINE = 10.5, 22  # size of a letter on a narrow screen, where text is largest
STAR = " ".join(
    f"{r * math.sin(i * math.pi / 5):.1f},{-r * math.cos(i * math.pi / 5):.1f}"
    for i, r in enumerate([10, 4.2] * 5)
)
# Outlines of the markers of hand-made networks, in turn.
MARKERS = (
    "0,-8 8,0 0,8 -8,0",
    "0,-8 8,6 -8,6",
    "-6.5,-6.5 6.5,-6.5 6.5,6.5 -6.5,6.5",
    "0,8 8,-6 -8,-6",
    "0,-8 7.6,-2.5 4.7,6.5 -4.7,6.5 -7.6,-2.5",
    "-4,-8 4,-8 8,0 4,8 -4,8 -8,0",
)


def pareto_chart(findings: Findings, drawn: Collection[int] = ()) -> Markup:
    """Return fitness against FLOPs with the front, as SVG.

    Args:
        findings: Of the record.
        drawn: Numbers of the trials whose drawing is on the page; their marks link to it.
    """
    x, y, shown = axes.pareto_axes(findings)
    title = "FLOPs of one image" if findings.has_flops else "trial"
    spots = {t.number: spot(x, y, axes.cost_of(findings, t), t.fitness) for t in shown}
    line = [spot(x, y, *corner) for corner in axes.steps(findings, x)]
    parts = [
        frame(x, y, title),
        *_trials(findings, shown, spots, line, ordered=True, drawn=drawn),
    ]
    return svg("Fitness of all networks against their FLOPs", parts)


def progress_chart(findings: Findings) -> Markup:
    """Return fitness by trial with the best so far, as SVG."""
    ended = [t for t in findings.trials if t.state != "running"]
    x = axes.linear_axis([t.number + 1 for t in ended] or [1.0], margin=0.03, whole=True)
    y = axes.linear_axis([t.fitness for t in findings.complete] or [0.0, 1.0], margin=0.14)
    spots = {t.number: spot(x, y, t.number + 1, t.fitness) for t in findings.complete}
    parts = [frame(x, y, "trial")]
    unit, ticks = axes.time_ticks(findings, x)
    for at, text in ticks:
        across = LEFT + x.at(at) * (RIGHT - LEFT)
        if LEFT <= across <= RIGHT:
            parts.append(element("path", d=f"M{across:.1f} {TOP}v-5", class_="axis"))
            parts.append(element("text", text, x=across, y=TOP - 9, text_anchor="middle"))
    if unit:
        parts.append(element("text", f"{unit} of trials", x=RIGHT, y=16, text_anchor="end"))
    for trial in findings.failed:
        across = LEFT + x.at(trial.number + 1) * (RIGHT - LEFT)
        mark = element("path", d=f"M{across:.1f} {BOTTOM}v-12", class_="failed")
        parts.append(_link(trial, mark))
    line = [spot(x, y, *corner) for corner in axes.best_so_far(findings)]
    parts.extend(_trials(findings, findings.complete, spots, line))
    return svg("Fitness of each trial and the best so far", parts)


def volume_chart(findings: Findings) -> Markup:
    """Return the hypervolume of several objectives by trial, as SVG."""
    corners = axes.volume_so_far(findings)
    x = axes.linear_axis([1.0, corners[-1][0]], margin=0.03, whole=True)
    y = axes.linear_axis([up for _, up in corners])
    line = _line([spot(x, y, *corner) for corner in corners])
    return svg("Hypervolume after each trial", [frame(x, y, "trial", "hypervolume"), line])


def tooltip(trial: Trial) -> str:
    """Return what a point says, a fact a line."""
    lines = [f"{label(trial)} (trial {trial.number + 1})"]
    if trial.state == "complete":
        lines.append(f"fitness {number(trial.fitness)}")
    else:
        lines.append(f"{trial.state}: {trial.error}" if trial.error else trial.state)
    names = {"params": "parameters", "flops": "FLOPs"}
    lines += [f"{short(trial.cost[n])} {text}" for n, text in names.items() if n in trial.cost]
    if trial.architecture is None and trial.point is not None:
        lines += [f"{name}: {value}" for name, value in trial.point.items()]
    return "\n".join(lines)


def marker(index: int) -> Markup:
    """Return the marker of the hand-made network of this index."""
    return element("polygon", points=MARKERS[index % len(MARKERS)], class_="baseline")


def star() -> Markup:
    """Return the marker of the best network."""
    return element("polygon", points=STAR, class_="best")


def svg(title: str, parts: Sequence[Markup]) -> Markup:
    """Return a chart of some parts, with the title that a screen reader says."""
    return element(
        "svg", *parts, viewBox=f"0 0 {WIDTH} {HEIGHT}", role="img", aria_label=title, class_="chart"
    )


def spot(x: Axis, y: Axis, across: float, up: float) -> tuple[float, float]:
    """Return the place of two values in the plotting area, in pixels."""
    return LEFT + x.at(across) * (RIGHT - LEFT), BOTTOM - y.at(up) * (BOTTOM - TOP)


def frame(x: Axis, y: Axis, title: str, up: str = "fitness") -> Markup:
    """Return grid, ticks and the names of the axes."""
    parts = []
    for value, text in zip(y.ticks, y.texts, strict=True):
        at = BOTTOM - y.at(value) * (BOTTOM - TOP)
        parts.append(element("path", d=f"M{LEFT} {at:.1f}H{RIGHT}", class_="grid"))
        parts.append(element("text", text, x=LEFT - 8, y=at + 5, text_anchor="end"))
    for value, text in zip(x.ticks, x.texts, strict=True):
        across = LEFT + x.at(value) * (RIGHT - LEFT)
        parts.append(element("path", d=f"M{across:.1f} {BOTTOM}v5", class_="axis"))
        parts.append(element("text", text, x=across, y=BOTTOM + 24, text_anchor="middle"))
    parts.append(element("path", d=f"M{LEFT} {BOTTOM}H{RIGHT}", class_="axis"))
    middle = (LEFT + RIGHT) / 2
    parts.append(element("text", title, x=middle, y=HEIGHT - 12, text_anchor="middle"))
    parts.append(element("text", up, x=4, y=16))
    return join(*parts)


def _line(corners: Sequence[tuple[float, float]]) -> Markup:
    text = " ".join(f"{x:.1f},{y:.1f}" for x, y in corners)
    return element("polyline", points=text, class_="front") if corners else Markup()


def _link(trial: Trial, mark: Markup, drawn: Collection[int] = ()) -> Markup:
    """Return a mark that links to the trial's drawing, or to its row; drawings by the keys too."""
    there = trial.number in drawn
    return element(
        "a",
        mark,
        element("title", tooltip(trial)),
        tabindex=0 if there else -1,
        href=f"#net-{trial.number}" if there else f"#trial-{trial.number}",
    )


def _trials(
    findings: Findings,
    shown: Sequence[Trial],
    spots: dict[int, tuple[float, float]],
    line: Sequence[tuple[float, float]],
    *,
    ordered: bool = False,
    drawn: Collection[int] = (),
) -> list[Markup]:
    """Return the line and all points, then hand-made networks and the best with their names.

    Ordered: points are shaded by their order and those of the front outlined.
    """
    parts, names = [_line(line)], []
    last = max((t.number for t in shown), default=0) or 1
    front = {t.number for t in findings.front} if ordered else set()
    for trial in shown:
        if not trial.name:
            x, y = spots[trial.number]
            shade = min(SHADES - 1, trial.number * SHADES // last) if ordered else PLAIN
            kind = f"o{shade}" + (" on-front" if trial.number in front else "")
            parts.append(_link(trial, element("circle", cx=x, cy=y, r=4.5, class_=kind), drawn))
    for index, trial in enumerate(findings.baselines):
        if trial.number in spots:
            names.append(trial)
            parts.append(_link(trial, _moved(marker(index), spots[trial.number]), drawn))
    best = findings.best
    if best is not None and best.number in spots:
        if not best.name:
            names.append(best)
        parts.append(_link(best, _moved(star(), spots[best.number]), drawn))
    if not shown:
        middle = {"x": (LEFT + RIGHT) / 2, "y": (TOP + BOTTOM) / 2, "text_anchor": "middle"}
        parts.append(element("text", "no trial is complete", **middle))
    marked = [(label(t), spots[t.number]) for t in names]
    return [*parts, *named(marked, list(spots.values()), line)]


def _moved(mark: Markup, spot: tuple[float, float]) -> Markup:
    return element("g", mark, transform=f"translate({spot[0]:.1f} {spot[1]:.1f})")


def named(
    marked: Sequence[tuple[str, tuple[float, float]]],
    spots: Sequence[tuple[float, float]],
    line: Sequence[tuple[float, float]] = (),
) -> list[Markup]:
    """Return the names of some points, placed where they hide few spots and little of a line."""
    texts = [cut(text, 20) for text, _ in marked]
    anchors = [at for _, at in marked]
    sizes = [(LETTER * len(text), LINE) for text in texts]
    bounds = (LEFT, TOP - 4, RIGHT + 14, BOTTOM - 4)
    centres = axes.place(anchors, sizes, [*spots, *axes.along(line)], bounds)
    parts = []
    for text, (x, y), (ax, ay) in zip(texts, centres, anchors, strict=True):
        near = min(max(ax, x - LETTER * len(text) / 2), x + LETTER * len(text) / 2)
        edge = min(max(ay, y - LINE / 2), y + LINE / 2)
        if math.hypot(near - ax, edge - ay) > 16:
            d = f"M{ax:.1f} {ay:.1f}L{near:.1f} {edge:.1f}"
            parts.append(element("path", d=d, class_="leader"))
        parts.append(element("text", text, x=x, y=y + 5, text_anchor="middle", class_="name"))
    return parts
