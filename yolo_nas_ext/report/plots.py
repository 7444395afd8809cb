"""The two plots as PNG, drawn without touching matplotlib's global state."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure

from yolo_nas_ext.console import cut, number
from yolo_nas_ext.report import axes
from yolo_nas_ext.report.axes import Axis
from yolo_nas_ext.report.charts import SO_FAR
from yolo_nas_ext.report.facts import label
from yolo_nas_ext.report.summary import Findings
from yolo_nas_ext.study.leaderboard import Leaderboard
from yolo_nas_ext.study.study import Study

DPI = 150
SIZE = 10  # of names, in points
ORDER = LinearSegmentedColormap.from_list("order", ["#c3d6e8", "#4a87bf", "#0b3d7a"])
BEST, BASELINE, LINE, SOFT = "#d55e00", "#007a59", "#1b1f24", "#57606a"  # as on the page
MARKERS = "D^svph"
Spot = tuple[float, float]


def pareto_png(study: Study, path: Path, title: str = "") -> None:
    """Draw fitness against FLOPs, with the front, the baselines and the best.

    Args:
        study: The record; without costs the number of the trial takes the place of FLOPs.
        path: PNG to write.
        title: Above the plot.
    """
    findings = Findings(study)
    x, y, shown = axes.pareto_axes(findings)
    figure, plot = _figure(x, y, findings.measure.name)
    plot.set_xlabel("FLOPs of one image" if findings.has_flops else "trial", color=SOFT)
    corners = axes.steps(findings, x) if findings.has_flops else []
    if corners:
        plot.plot(*zip(*corners, strict=True), color=LINE, lw=1.4, zorder=2, label="Pareto front")
    where = {t.number: (axes.cost_of(findings, t), t.fitness) for t in shown}
    _order(plot, findings, where)
    _markers(plot, findings, where, corners)
    if title:
        plot.set_title(_cut(title, 70), fontsize=12, loc="left", pad=12, parse_math=False)
    _save(figure, path)


def comparison_png(leaderboard: Leaderboard, path: Path, title: str = "") -> None:
    """Draw the mean fitness of compared models against their cost, with intervals.

    Args:
        leaderboard: What trainings say.
        path: PNG to write.
        title: Above the plot.
    """
    ranked = [e for e in leaderboard.ranking if getattr(e, leaderboard.cost)]
    costs = [float(getattr(e, leaderboard.cost)) for e in ranked] or [1.0]
    dots = {e.name: list(leaderboard.values(e.name).values()) for e in ranked}
    everything = [value for values in dots.values() for value in values] or [0.0, 1.0]
    x, y = axes.log_axis(costs), axes.linear_axis(everything, margin=0.25)
    figure, plot = _figure(x, y, leaderboard.metric)
    latency = leaderboard.cost == "latency_ms"
    plot.set_xlabel("ms an image" if latency else "FLOPs of one image", color=SOFT)
    names = []
    for model, cost in zip(ranked, costs, strict=False):
        colour = BASELINE if model.baseline else BEST
        mean, low, high, n = leaderboard.mean(model.name)
        if n > 1:
            ends = [max(low, y.low), min(high, y.high)]
            plot.plot([cost, cost], ends, color=colour, lw=1.4, zorder=3)
        values = dots[model.name]
        plot.scatter([cost] * len(values), values, s=14, color=SOFT, zorder=4)
        plot.scatter([cost], [mean], s=70, color=colour, edgecolors="white", zorder=5)
        names.append((f"{_cut(model.name, 24)} {number(mean)}", (cost, mean)))
    if title:
        plot.set_title(_cut(title, 70), fontsize=12, loc="left", pad=12, parse_math=False)
    _names(plot, names, [spot for _, spot in names], [])
    _save(figure, path)


def progress_png(study: Study, path: Path) -> None:
    """Draw the fitness of each trial and the best so far; failed trials are ticks at the bottom.

    Args:
        study: The record.
        path: PNG to write.
    """
    findings = Findings(study)
    ended = [t.number + 1 for t in findings.trials if t.state != "running"]
    x = axes.linear_axis(ended or [1], 10, margin=0.03, whole=True)
    y = axes.linear_axis([t.fitness for t in findings.complete] or [0.0, 1.0], margin=0.14)
    figure, plot = _figure(x, y, findings.measure.name)
    plot.set_xlabel("trial", color=SOFT)
    corners = axes.best_so_far(findings)
    if corners:
        plot.plot(*zip(*corners, strict=True), color=LINE, lw=1.4, zorder=2, label=SO_FAR)
    if findings.failed:
        height = y.low + 0.035 * (y.high - y.low)
        numbers = [t.number + 1 for t in findings.failed]
        plot.vlines(numbers, y.low, height, color=BEST, lw=1.6, zorder=5, label="failed")
    unit, ticks = axes.time_ticks(findings, x, 8)
    if unit:
        second = plot.twiny()
        second.set_xlim(x.low, x.high)
        second.set_xticks([at for at, _ in ticks], [text for _, text in ticks], color=SOFT)
        second.set_xlabel(f"{unit} of trials", color=SOFT)
        second.tick_params(color=SOFT)
        second.spines[:].set_visible(False)
    where = {t.number: (t.number + 1.0, t.fitness) for t in findings.complete}
    if found := [where[t.number] for t in findings.found]:
        plot.scatter(
            *zip(*found, strict=True),
            s=30,
            color="#4a87bf",
            edgecolors="white",
            linewidths=0.6,
            zorder=3,
        )
    _markers(plot, findings, where, corners)
    _save(figure, path)


def _figure(x: Axis, y: Axis, up: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(8, 5.2), dpi=DPI, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    plot = figure.add_subplot()
    plot.set_xscale("log" if x.log else "linear")
    plot.set_xlim(x.low, x.high)
    plot.set_ylim(y.low, y.high)
    plot.set_xticks(x.ticks, x.texts, color=SOFT)
    plot.set_xticks([], minor=True)
    plot.set_yticks(y.ticks, y.texts, color=SOFT)
    plot.tick_params(color=SOFT)
    plot.set_ylabel(up, color=SOFT)
    plot.grid(axis="y", color="#d0d7de", lw=0.7)
    plot.set_axisbelow(True)
    plot.spines[["top", "right", "left"]].set_visible(False)
    return figure, plot


def _order(plot: Axes, findings: Findings, where: Mapping[int, Spot]) -> None:
    """Draw the proposals in the colours of their order, with the bar that explains them."""
    found = [t for t in findings.found if t.number in where]
    if not found:
        return
    front = {t.number for t in findings.front}
    last = max(t.number + 1 for t in found)
    dots = plot.scatter(
        *zip(*(where[t.number] for t in found), strict=True),
        s=34,
        zorder=3,
        c=[t.number + 1 for t in found],
        cmap=ORDER,
        norm=Normalize(1, max(last, 2)),
        edgecolors=[LINE if t.number in front else "white" for t in found],
        linewidths=[1.3 if t.number in front else 0.6 for t in found],
    )
    if last > 1:
        bar = plot.figure.colorbar(dots, ax=plot, pad=0.02, aspect=30)
        bar.set_label("trial", color=SOFT)
        bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
        ticks = axes.linear_axis([1, last], 5, margin=0, whole=True)
        bar.set_ticks(ticks.ticks, labels=ticks.texts)
        bar.ax.tick_params(color=SOFT, labelcolor=SOFT)


def _markers(
    plot: Axes, findings: Findings, where: Mapping[int, Spot], line: Sequence[Spot]
) -> None:
    """Draw the baselines and the best with their names, and the legend."""
    shape = {"edgecolors": "white", "linewidths": 0.8, "clip_on": False}
    names: list[tuple[str, Spot]] = []
    for index, trial in enumerate(findings.baselines):
        if trial.number in where:
            again = "_" if names else ""  # one line in the legend for all of them
            plot.scatter(
                *where[trial.number],
                s=80,
                marker=MARKERS[index % len(MARKERS)],
                color=BASELINE,
                zorder=4,
                label=f"{again}baseline",
                **shape,
            )
            names.append((f"{_cut(trial.name, 24)} {number(trial.fitness)}", where[trial.number]))
    best = findings.best
    name = "rank 1" if findings.places else "best"
    if best is not None and best.number in where:
        plot.scatter(
            *where[best.number], s=190, marker="*", color=BEST, zorder=6, label=name, **shape
        )
        if not best.name:
            names.append((f"{_cut(label(best), 24)} {number(best.fitness)}", where[best.number]))
    if not where:
        plot.text(
            0.5,
            0.5,
            "no trial is complete",
            transform=plot.transAxes,
            ha="center",
            color=SOFT,
            fontsize=13,
        )
    if plot.get_legend_handles_labels()[0]:
        plot.legend(loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=4, frameon=False)
    _names(plot, names, list(where.values()), line)


def _names(
    plot: Axes, names: Sequence[tuple[str, Spot]], points: Sequence[Spot], line: Sequence[Spot]
) -> None:
    """Write names where they hide little; all is measured in points of 1/72 inch."""
    figure = plot.get_figure(root=True)
    assert figure is not None
    with _quiet():
        figure.draw_without_rendering()  # the layout settles where things are
    scale = 72 / DPI

    def to_points(spot: Spot) -> Spot:
        x, y = plot.transData.transform(spot)
        return float(x) * scale, float(y) * scale

    anchors = [to_points(spot) for _, spot in names]
    sizes = [(0.65 * SIZE * len(text), 1.4 * SIZE) for text, _ in names]
    area = plot.get_window_extent()
    bounds = (area.x0 * scale, area.y0 * scale + 8, area.x1 * scale, area.y1 * scale)
    hidden = [*map(to_points, points), *axes.along([to_points(p) for p in line])]
    centres = axes.place(anchors, sizes, hidden, bounds)
    for (text, spot), (x, y), (ax, ay) in zip(names, centres, anchors, strict=True):
        offset = (x - ax, y - ay)
        width, height = 0.65 * SIZE * len(text), 1.4 * SIZE
        far = max(abs(offset[0]) - width / 2, abs(offset[1]) - height / 2) > 16
        plot.annotate(
            text,
            spot,
            offset,
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=SIZE,
            fontweight="bold",
            color=LINE,
            zorder=7,
            annotation_clip=False,
            parse_math=False,
            bbox={"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 1},
            arrowprops={"arrowstyle": "-", "color": SOFT, "lw": 0.8} if far else None,
        )


def _save(figure: Figure, path: Path) -> None:
    with _quiet():
        figure.savefig(path, format="png")


@contextmanager
def _quiet() -> Iterator[None]:
    """Let a name be in a script that the font does not have: it shows boxes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield


def _cut(text: str, most: int) -> str:
    return cut(" ".join("".join(c if c.isprintable() else " " for c in text).split()), most)
