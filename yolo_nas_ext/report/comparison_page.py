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
from yolo_nas_ext.study.leaderboard import LEVEL, Entrant, Standings

WIDTH, LEFT, RIGHT, TOP, PITCH = 560, 16, 544, 12, 46
NOTE = (
    "A row is a model: small dots are its trainings, one a seed; the large one is their mean and "
    f"the line its {LEVEL:.0%} interval."
)


def page(
    standings: Standings,
    *,
    title: str,
    protocol: Mapping[str, object],
    command: str = "",
    next_command: str = "",
) -> str:
    """Return a comparison as one HTML page; see `html.page` for what it may do.

    Args:
        standings: What the trainings say.
        title: Heading.
        protocol: How models were trained and measured, by name.
        command: What was run, to repeat it.
        next_command: What to run next.
    """
    done = f"{len(standings.results)} trainings of {len(standings.entrants)} models"
    spent = sum(result.seconds for result in standings.results)
    return html.page(
        "comparison.html",
        title=title,
        counts=f"{done} · {duration(spent)}",
        verdict=sentences(standings),
        section=section(standings),
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
    """A dot plot, a row a model."""

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


def section(standings: Standings) -> Section | None:
    """Return the table, the plot and the list of all trainings; None before the first one."""
    if not standings.results:
        return None
    return Section(
        _standings(standings),
        _trainings(standings),
        f"{standings.metric} on {standings.part}",
        _dots(standings) if standings.ranking else None,
        _against_cost(standings) if standings.ranking else None,
    )


def cells(standings: Standings) -> tuple[list[str], list[list[str]]]:
    """Return the heads and rows of the table as text, the best model first.

    A difference is that to the best baseline, over the seeds that both have.
    """
    hand = standings.best_baseline
    heads = ["model", "params", "FLOPs", "latency", standings.metric, f"{LEVEL:.0%} interval", "n"]
    heads += [f"over {hand.name}", "p (t)", "p (Wilcoxon)"] if hand else []
    heads += ["a training", "search"]
    rows = []
    for entrant in _order(standings):
        mean = standings.mean(entrant.name)
        row = [
            entrant.name,
            *_cost(entrant),
            number(mean.mean) if mean.n else "failed" if standings.failed(entrant.name) else "-",
            f"{number(mean.low)} to {number(mean.high)}" if mean.n > 1 else "-",
            str(mean.n),
        ]
        if hand:
            pair = standings.pair(entrant.name, hand.name)
            nothing = entrant is hand or not pair.n
            row += ["-"] * 3 if nothing else [signed(pair.mean), _p(pair.t), _p(pair.wilcoxon)]
        spent = standings.seconds(entrant.name)
        row.append(duration(spent) if math.isfinite(spent) else "-")
        row.append("-" if entrant.search_seconds is None else duration(entrant.search_seconds))
        rows.append(row)
    keep = [i for i in range(len(heads)) if i < 1 or any(row[i] != "-" for row in rows)]
    return [heads[i] for i in keep], [[row[i] for i in keep] for row in rows]


def _p(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3g}"


def _cost(entrant: Entrant) -> list[str]:
    counts = [short(v) if v else "-" for v in (entrant.params, entrant.flops)]
    return [*counts, latency(entrant)]


def latency(entrant: Entrant) -> str:
    """Return a latency with its interquartile range, ``2.31 ms (IQR 0.08)``."""
    if not entrant.latency_ms:
        return "-"
    spread = f" (IQR {entrant.latency_iqr_ms:.2g})" if entrant.latency_iqr_ms is not None else ""
    return f"{entrant.latency_ms:.3g} ms{spread}"


def _order(standings: Standings) -> list[Entrant]:
    ranked = standings.ranking
    return [*ranked, *(e for e in standings.entrants if e not in ranked)]


def _standings(standings: Standings) -> Table:
    heads, rows = cells(standings)
    lines = []
    for entrant, row in zip(_order(standings), rows, strict=True):
        first = standings.ranking and entrant is standings.ranking[0]
        kind = "best-row" if first else "hand" if entrant.baseline else ""
        shown = [Cell(text, None if i == 0 else text) for i, text in enumerate(row)]
        lines.append(Row(shown, kind))
    return table(heads, lines, "standings")


def _trainings(standings: Standings) -> Table:
    heads = ["Model", "Seed", standings.metric, "Seconds", "Error"]
    failed = bool(standings.failed())
    rows = []
    for result in sorted(standings.results, key=lambda r: (r.seed, r.name)):
        fine = math.isfinite(result.fitness)
        shown = [
            Cell(result.name),
            Cell(result.seed, result.seed),
            Cell(number(result.fitness), result.fitness) if fine else Cell("", ""),
            Cell(f"{result.seconds:.1f}", result.seconds),
        ]
        rows.append(Row([*shown, wide(result.error)] if failed else shown))
    return table(heads if failed else heads[:-1], rows, "sortable")


def _dots(standings: Standings) -> Dots:
    """Return a dot plot, a row a model."""
    ranked = standings.ranking
    everything = [v for e in ranked for v in standings.values(e.name).values()]
    axis = axes.linear_axis(everything, margin=0.18)

    def at(value: float) -> float:
        return LEFT + min(max(axis.at(value), 0.0), 1.0) * (RIGHT - LEFT)

    rows = []
    for index, entrant in enumerate(ranked):
        y = TOP + PITCH * index
        mean = standings.mean(entrant.name)
        points = [
            Point(at(v), y + 30, "o4", f"{entrant.name}, seed {seed}: {number(v)}", r=3.5)
            for seed, v in standings.values(entrant.name).items()
        ]
        kind = "baseline" if entrant.baseline else "best"
        note = f"{entrant.name}: mean {number(mean.mean)}"
        points.append(Point(at(mean.mean), y + 30, kind, note, r=6))
        interval = (at(mean.low), at(mean.high)) if mean.n > 1 else None
        rows.append(ModelRow(cut(entrant.name, 40), y, interval, points))
    title = f"{standings.metric} of all models with intervals"
    marks = [Tick(at(v), text) for v, text in zip(axis.ticks, axis.texts, strict=True)]
    return Dots(title, marks, rows, TOP + PITCH * len(ranked))


def _against_cost(standings: Standings) -> Chart | None:
    """Return the means against what the models cost; None where fewer than two costs are known."""
    known = [e for e in standings.ranking if getattr(e, standings.cost)]
    if len(known) < 2:
        return None
    costs = {e.name: float(getattr(e, standings.cost)) for e in known}
    means = {e.name: standings.mean(e.name).mean for e in known}
    x, y = axes.log_axis(list(costs.values())), axes.linear_axis(list(means.values()), margin=0.2)
    spots = {name: spot(x, y, costs[name], means[name]) for name in costs}
    latencies = standings.cost == "latency_ms"
    points = []
    for entrant in known:
        shown = latency(entrant) if latencies else f"{short(costs[entrant.name])} FLOPs"
        note = f"{entrant.name}: {number(means[entrant.name])}, {shown}"
        kind = "baseline" if entrant.baseline else "best"
        points.append(Point(*spots[entrant.name], kind, note, r=7))
    return Chart(
        f"{standings.metric} against {COSTS[standings.cost]}",
        "ms an image" if latencies else "FLOPs of one image",
        standings.metric,
        *ticks(x, y),
        points=points,
        names=named([(e.name, spots[e.name]) for e in known], list(spots.values())),
    )
