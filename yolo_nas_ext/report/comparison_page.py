"""A comparison of trained models on a page: the verdict, a table, a plot, every training."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from yolo_nas_ext.console import cut, duration, number, short, signed
from yolo_nas_ext.report import axes, html
from yolo_nas_ext.report.charts import Chart, Point, Tick, named, spot, ticks
from yolo_nas_ext.report.html import Cell, Row, Table, pairs, table, wide
from yolo_nas_ext.report.verdict import COSTS, sentences
from yolo_nas_ext.study.differences import LEVEL
from yolo_nas_ext.study.leaderboard import Leaderboard, Model

WIDTH, LEFT, RIGHT, TOP, PITCH = 560, 16, 544, 12, 46
NOTE = (
    "A row is a model: small dots are its trainings, one a seed; the large one is their mean and "
    f"the line its {LEVEL:.0%} interval."
)


def page(
    leaderboard: Leaderboard,
    *,
    title: str,
    protocol: Mapping[str, object],
    command: str = "",
    next_command: str = "",
) -> str:
    """Return a comparison as one HTML page; see `html.page` for what it may do.

    Args:
        leaderboard: What the trainings say.
        title: Heading.
        protocol: How models were trained and measured, by name.
        command: What was run, to repeat it.
        next_command: What to run next.
    """
    done = f"{len(leaderboard.evaluations)} trainings of {len(leaderboard.models)} models"
    spent = sum(result.seconds for result in leaderboard.evaluations)
    return html.page(
        "comparison.html",
        title=title,
        counts=f"{done} · {duration(spent)}",
        verdict=sentences(leaderboard),
        section=section(leaderboard),
        protocol=pairs(protocol),
        command=command,
        next_command=next_command,
    )


class ModelRow(NamedTuple):
    """A row of the dot plot: a model, its trainings and their mean, in pixels."""

    name: str
    y: float
    interval: tuple[float, float] | None
    points: list[Point]


@dataclass(frozen=True, slots=True)
class Dots:
    """A dot plot, one row per model."""

    title: str
    ticks: list[Tick]
    rows: list[ModelRow]
    bottom: float

    width: ClassVar = WIDTH
    left: ClassVar = LEFT
    top: ClassVar = TOP


@dataclass(frozen=True, slots=True)
class Section:
    """What a page shows of a comparison.

    Attributes:
        table: A row a model.
        trainings: A row a training.
        metric: What is compared, and where it was measured.
        dots: The trainings and means as a plot; None where none has ended well.
        against: The means against what the models cost; None where that is not known.
        note: How to read the plot.
    """

    table: Table
    trainings: Table
    metric: str
    dots: Dots | None
    against: Chart | None
    note: str = NOTE


def section(leaderboard: Leaderboard) -> Section | None:
    """Return the table, the plot and the list of all trainings; None before the first one."""
    if not leaderboard.evaluations:
        return None
    return Section(
        _models(leaderboard),
        _trainings(leaderboard),
        f"{leaderboard.metric} on {leaderboard.part}",
        _dots(leaderboard) if leaderboard.ranking else None,
        _against_cost(leaderboard) if leaderboard.ranking else None,
    )


def cells(leaderboard: Leaderboard) -> tuple[list[str], list[list[str]]]:
    """Return the heads and rows of the table as text, the best model first.

    A difference is that to the reference.
    """
    baseline = leaderboard.reference
    heads = [
        "model",
        "params",
        "FLOPs",
        "latency",
        leaderboard.metric,
        f"{LEVEL:.0%} interval",
        "n",
    ]
    heads += [f"over {baseline.name}", "p"] if baseline else []
    precision = leaderboard.precision
    heads += [f"{precision}", "retained"] if precision else []
    heads += ["a training", "search"]
    rows = []
    for model in _order(leaderboard):
        mean = leaderboard.mean(model.name)
        row = [
            model.name,
            *_cost(model),
            number(mean.mean) if mean.n else "failed" if leaderboard.failed(model.name) else "-",
            f"{number(mean.low)} to {number(mean.high)}" if mean.n > 1 else "-",
            str(mean.n),
        ]
        if baseline:
            pair = leaderboard.difference(model.name, baseline.name)
            nothing = model is baseline or not pair.n
            row += ["-"] * 2 if nothing else [signed(pair.mean), _p(pair.p)]
        if precision:
            value = leaderboard.mean_of(model.name, f"{precision}_fitness")
            share = leaderboard.mean_of(model.name, f"{precision}_retained")
            row += ["-" if math.isnan(value) else number(value)]
            row += ["-" if math.isnan(share) else f"{share:.1%}"]
        spent = leaderboard.seconds(model.name)
        row.append(duration(spent) if math.isfinite(spent) else "-")
        row.append("-" if model.search_seconds is None else duration(model.search_seconds))
        rows.append(row)
    keep = [i for i in range(len(heads)) if i < 1 or any(row[i] != "-" for row in rows)]
    return [heads[i] for i in keep], [[row[i] for i in keep] for row in rows]


def _p(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3g}"


def _cost(model: Model) -> list[str]:
    counts = [short(v) if v else "-" for v in (model.params, model.flops)]
    return [*counts, latency(model)]


def latency(model: Model) -> str:
    """Return a latency with its interquartile range, ``2.31 ms (IQR 0.08)``."""
    if not model.latency_ms:
        return "-"
    spread = f" (IQR {model.latency_iqr_ms:.2g})" if model.latency_iqr_ms is not None else ""
    return f"{model.latency_ms:.3g} ms{spread}"


def _order(leaderboard: Leaderboard) -> list[Model]:
    ranked = leaderboard.ranking
    return [*ranked, *(e for e in leaderboard.models if e not in ranked)]


def _models(leaderboard: Leaderboard) -> Table:
    heads, rows = cells(leaderboard)
    lines = []
    for model, row in zip(_order(leaderboard), rows, strict=True):
        first = leaderboard.ranking and model is leaderboard.ranking[0]
        kind = "best-row" if first else "baseline-row" if model.baseline else ""
        shown = [Cell(text, None if i == 0 else text) for i, text in enumerate(row)]
        lines.append(Row(shown, kind))
    return table(heads, lines, "leaderboard")


def _trainings(leaderboard: Leaderboard) -> Table:
    heads = ["Model", "Seed", leaderboard.metric, "Seconds", "Error"]
    failed = bool(leaderboard.failed())
    rows = []
    for result in sorted(leaderboard.evaluations, key=lambda r: (r.seed, r.name)):
        fine = math.isfinite(result.fitness)
        shown = [
            Cell(result.name),
            Cell(result.seed, result.seed),
            Cell(number(result.fitness), result.fitness) if fine else Cell("", ""),
            Cell(f"{result.seconds:.1f}", result.seconds),
        ]
        rows.append(Row([*shown, wide(result.error)] if failed else shown))
    return table(heads if failed else heads[:-1], rows, "sortable")


def _dots(leaderboard: Leaderboard) -> Dots:
    """Return a dot plot, one row per model."""
    ranked = leaderboard.ranking
    everything = [v for e in ranked for v in leaderboard.values(e.name).values()]
    axis = axes.linear_axis(everything, margin=0.18)

    def at(value: float) -> float:
        return LEFT + min(max(axis.at(value), 0.0), 1.0) * (RIGHT - LEFT)

    rows = []
    for index, model in enumerate(ranked):
        y = TOP + PITCH * index
        mean = leaderboard.mean(model.name)
        points = [
            Point(at(v), y + 30, "o4", f"{model.name}, seed {seed}: {number(v)}", r=3.5)
            for seed, v in leaderboard.values(model.name).items()
        ]
        kind = "baseline" if model.baseline else "best"
        note = f"{model.name}: mean {number(mean.mean)}"
        points.append(Point(at(mean.mean), y + 30, kind, note, r=6))
        interval = (at(mean.low), at(mean.high)) if mean.n > 1 else None
        rows.append(ModelRow(cut(model.name, 40), y, interval, points))
    title = f"{leaderboard.metric} of all models with intervals"
    marks = [Tick(at(v), text) for v, text in zip(axis.ticks, axis.texts, strict=True)]
    return Dots(title, marks, rows, TOP + PITCH * len(ranked))


def _against_cost(leaderboard: Leaderboard) -> Chart | None:
    """Return the means against what the models cost; None where fewer than two costs are known."""
    known = [e for e in leaderboard.ranking if getattr(e, leaderboard.cost)]
    if len(known) < 2:
        return None
    costs = {e.name: float(getattr(e, leaderboard.cost)) for e in known}
    means = {e.name: leaderboard.mean(e.name).mean for e in known}
    x, y = axes.log_axis(list(costs.values())), axes.linear_axis(list(means.values()), margin=0.2)
    spots = {name: spot(x, y, costs[name], means[name]) for name in costs}
    latencies = leaderboard.cost == "latency_ms"
    points = []
    for model in known:
        shown = latency(model) if latencies else f"{short(costs[model.name])} FLOPs"
        note = f"{model.name}: {number(means[model.name])}, {shown}"
        kind = "baseline" if model.baseline else "best"
        points.append(Point(*spots[model.name], kind, note, r=7))
    return Chart(
        f"{leaderboard.metric} against {COSTS[leaderboard.cost]}",
        "ms an image" if latencies else "FLOPs of one image",
        leaderboard.metric,
        *ticks(x, y),
        points=points,
        names=named([(e.name, spots[e.name]) for e in known], list(spots.values())),
    )
