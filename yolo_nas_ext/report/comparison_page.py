"""A comparison of trained models on a page: the verdict, a table, a plot, every training."""

from __future__ import annotations

import math
from collections.abc import Mapping

from yolo_nas_ext import __version__
from yolo_nas_ext.console import cut, duration, number, short, signed
from yolo_nas_ext.report import axes
from yolo_nas_ext.report.charts import frame, named, spot, svg
from yolo_nas_ext.report.html import (
    Cell,
    Markup,
    command_block,
    document,
    element,
    join,
    pairs,
    table,
    wide,
)
from yolo_nas_ext.report.verdict import COSTS, sentences
from yolo_nas_ext.study.leaderboard import LEVEL, Leaderboard, Model

WIDTH, LEFT, RIGHT, TOP, PITCH = 560, 16, 544, 12, 46
NOTE = (
    "A row is a model: small dots are its trainings, one a seed; the large one is their mean and "
    f"the line its {LEVEL:.0%} interval."
)


def page(
    standings: Leaderboard,
    *,
    title: str,
    protocol: Mapping[str, object],
    command: str = "",
    next_command: str = "",
) -> str:
    """Return a comparison as one HTML page; see `document` for what it may do.

    Args:
        standings: What the trainings say.
        title: Heading.
        protocol: How models were trained and measured, by name.
        command: What was run, to repeat it.
        next_command: What to run next.
    """
    done = f"{len(standings.evaluations)} trainings of {len(standings.models)} models"
    spent = sum(result.seconds for result in standings.evaluations)
    body = join(
        element("h1", title),
        element("p", f"{done} · {duration(spent)}", class_="soft"),
        verdict(standings),
        section(standings),
        pairs("Protocol", protocol),
        command_block("Compare them again", command),
        command_block("Next", next_command),
        element("footer", element("p", f"Written by yolo_nas_ext {__version__}")),
    )
    return document(title, body)


def verdict(standings: Leaderboard) -> Markup:
    """Return the verdict, its first sentence large."""
    return element("div", *(element("p", s) for s in sentences(standings)), class_="verdict")


def section(standings: Leaderboard, heading: str = "The comparison") -> Markup:
    """Return the table, the plot and the list of all trainings."""
    if not standings.evaluations:
        return Markup()
    return join(
        element("h2", heading),
        _standings(standings),
        element(
            "div",
            element(
                "figure",
                element("h3", f"{standings.metric} on {standings.part}"),
                _chart(standings),
                element("figcaption", NOTE),
            ),
            _against_cost(standings),
            class_="pair",
        )
        if standings.ranking
        else "",
        element("details", element("summary", "Every training"), _trainings(standings)),
    )


def cells(standings: Leaderboard) -> tuple[list[str], list[list[str]]]:
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


def _cost(entrant: Model) -> list[str]:
    counts = [short(v) if v else "-" for v in (entrant.params, entrant.flops)]
    return [*counts, latency(entrant)]


def latency(entrant: Model) -> str:
    """Return a latency with its interquartile range, ``2.31 ms (IQR 0.08)``."""
    if not entrant.latency_ms:
        return "-"
    spread = f" (IQR {entrant.latency_iqr_ms:.2g})" if entrant.latency_iqr_ms is not None else ""
    return f"{entrant.latency_ms:.3g} ms{spread}"


def _order(standings: Leaderboard) -> list[Model]:
    ranked = standings.ranking
    return [*ranked, *(e for e in standings.models if e not in ranked)]


def _standings(standings: Leaderboard) -> Markup:
    heads, rows = cells(standings)
    lines = []
    for entrant, row in zip(_order(standings), rows, strict=True):
        first = standings.ranking and entrant is standings.ranking[0]
        kind = "best-row" if first else "hand" if entrant.baseline else ""
        shown: list[Cell] = [(text, None if i == 0 else text) for i, text in enumerate(row)]
        lines.append((kind, None, shown))
    return table(heads, lines, "standings")


def _trainings(standings: Leaderboard) -> Markup:
    heads = ["Model", "Seed", standings.metric, "Seconds", "Error"]
    failed = bool(standings.failed())
    rows = []
    for result in sorted(standings.evaluations, key=lambda r: (r.seed, r.name)):
        fine = math.isfinite(result.fitness)
        shown: list[Cell] = [
            (result.name, None),
            (result.seed, result.seed),
            (number(result.fitness), result.fitness) if fine else ("", ""),
            (f"{result.seconds:.1f}", result.seconds),
        ]
        rows.append(("", None, [*shown, (wide(result.error), None)] if failed else shown))
    return table(heads if failed else heads[:-1], rows, "sortable")


def _chart(standings: Leaderboard) -> Markup:
    """Return a dot plot, a row a model, as SVG."""
    ranked = standings.ranking
    everything = [v for e in ranked for v in standings.values(e.name).values()]
    axis = axes.linear_axis(everything, margin=0.18)
    bottom = TOP + PITCH * len(ranked)

    def at(value: float) -> float:
        return LEFT + min(max(axis.at(value), 0.0), 1.0) * (RIGHT - LEFT)

    parts = []
    for value, text in zip(axis.ticks, axis.texts, strict=True):
        parts.append(element("path", d=f"M{at(value):.1f} {TOP}V{bottom}", class_="grid"))
        parts.append(element("text", text, x=at(value), y=bottom + 22, text_anchor="middle"))
    for index, entrant in enumerate(ranked):
        y = TOP + PITCH * index
        mean = standings.mean(entrant.name)
        kind = "baseline" if entrant.baseline else "best"
        parts.append(element("text", cut(entrant.name, 40), x=LEFT, y=y + 15, class_="name"))
        d = f"M{at(mean.low):.1f} {y + 30}H{at(mean.high):.1f}"
        parts.append(element("path", d=d, class_="front") if mean.n > 1 else "")
        for seed, value in standings.values(entrant.name).items():
            note = element("title", f"{entrant.name}, seed {seed}: {number(value)}")
            dot = element("circle", note, cx=at(value), cy=y + 30, r=3.5, class_="o4")
            parts.append(dot)
        note = element("title", f"{entrant.name}: mean {number(mean.mean)}")
        parts.append(element("circle", note, cx=at(mean.mean), cy=y + 30, r=6, class_=kind))
    return element(
        "svg",
        *parts,
        viewBox=f"0 0 {WIDTH} {bottom + 34}",
        role="img",
        class_="chart",
        aria_label=f"{standings.metric} of all models with intervals",
    )


def _against_cost(standings: Leaderboard) -> Markup:
    """Return the means against what the models cost, as SVG."""
    known = [e for e in standings.ranking if getattr(e, standings.cost)]
    if len(known) < 2:
        return Markup()
    costs = {e.name: float(getattr(e, standings.cost)) for e in known}
    means = {e.name: standings.mean(e.name).mean for e in known}
    x, y = axes.log_axis(list(costs.values())), axes.linear_axis(list(means.values()), margin=0.2)
    spots = {name: spot(x, y, costs[name], means[name]) for name in costs}
    latencies = standings.cost == "latency_ms"
    parts = [frame(x, y, "ms an image" if latencies else "FLOPs of one image", standings.metric)]
    for entrant in known:
        at = spots[entrant.name]
        shown = latency(entrant) if latencies else f"{short(costs[entrant.name])} FLOPs"
        note = element("title", f"{entrant.name}: {number(means[entrant.name])}, {shown}")
        kind = "baseline" if entrant.baseline else "best"
        parts.append(element("circle", note, cx=at[0], cy=at[1], r=7, class_=kind))
    parts += named([(e.name, spots[e.name]) for e in known], list(spots.values()))
    title = f"{standings.metric} against {COSTS[standings.cost]}"
    return element("figure", element("h3", title), svg(title, parts))
