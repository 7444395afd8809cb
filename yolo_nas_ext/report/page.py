"""The page of a search: what was found first, then the plots, the networks, the trials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from yolo_nas_ext.console import duration, number, short, signed
from yolo_nas_ext.network.architecture import Architecture
from yolo_nas_ext.report import html
from yolo_nas_ext.report.charts import (
    MARKERS,
    SO_FAR,
    STAR,
    pareto_chart,
    progress_chart,
    tooltip,
    volume_chart,
)
from yolo_nas_ext.report.comparison_page import section
from yolo_nas_ext.report.devices import EQUAL, Device, devices_table
from yolo_nas_ext.report.devices import title as device_title
from yolo_nas_ext.report.drawing import drawing, previewed, previews
from yolo_nas_ext.report.facts import label, metric_names, pixels, sized
from yolo_nas_ext.report.html import Cell, Row, Table, embedded, pairs, table, wide
from yolo_nas_ext.report.importances import importance_section
from yolo_nas_ext.report.summary import Findings
from yolo_nas_ext.report.verdict import sentences
from yolo_nas_ext.study.leaderboard import Leaderboard
from yolo_nas_ext.study.measure import PROJECTED
from yolo_nas_ext.study.study import Study
from yolo_nas_ext.study.trial import Trial

# Metrics that repeat a cost in another unit.
REPEATED = {"params_m", "flops_g", "memory_mb"}
POINT = (
    "Point at a network, or tap it, to see its drawing; other marks lead to their row in the table."
)
TITLES = {
    "map50_95": "mAP50-95",
    "map50": "mAP50",
    "miou": "mIoU",
    "froc_cpm": "FROC CPM",
    "dice": "Dice",
    PROJECTED: "Projected",
    "latency_ms": "Latency (ms)",
    "latency_measured_ms": "Latency measured (ms)",
    "latency_iqr_ms": "Its quartiles apart (ms)",
    "energy_mj": "Energy of an image (mJ)",
}
ENERGY = "energy_mj"
LATENCY = ("latency_ms", "latency_measured_ms")
RELOAD = 10  # seconds after which the page of a search that runs is loaded again


def page(
    study: Study,
    *,
    title: str,
    settings: Mapping[str, object],
    notes: Sequence[str] = (),
    command: str = "",
    next_command: str = "",
    data_name: str = "",
    protocol: Mapping[str, object] = MappingProxyType({}),
    pictures: Mapping[str, Path] = MappingProxyType({}),
    finals: Leaderboard | None = None,
    finals_protocol: Mapping[str, object] = MappingProxyType({}),
    finals_command: str = "",
    beside: Mapping[str, Architecture] = MappingProxyType({}),
    changes: Sequence[Any] = (),
    running: str = "",
    devices: Sequence[Device] = (),
) -> str:
    """Return the report of a search as one HTML page for any screen and for paper.

    Nothing is loaded from anywhere. A content security policy with the digests of the page's own
    style and script keeps a browser from running anything else.

    Args:
        study: The record; any number of complete trials, none included.
        title: Heading.
        settings: Settings of the search by name.
        notes: What the reader should know, for example of skipped images.
        command: What was run, to repeat it.
        next_command: What to run next.
        data_name: Name of the data set.
        protocol: How candidates were evaluated, by name.
        pictures: PNG files by their headings; a file that does not exist is left out.
        finals: What complete trainings at the end said; their verdict comes first then.
        finals_protocol: How they were trained and measured, by name.
        finals_command: What repeats them.
        beside: Baselines to draw beside the best one, by name.
        changes: What single changes of a parent cost and give; see `strategies.additive.Change`.
        running: How far a search is that still runs: the page then reloads itself.
        devices: The devices, where a search is for several.
    """
    findings = Findings(study)
    return html.page(
        "search.html",
        title=title,
        running=running,
        reload=RELOAD,
        counts=" · ".join(_counts(findings, finals, data_name)),
        finals={"verdict": sentences(finals), "section": section(finals)} if finals else None,
        verdict=_verdict(findings),
        notes=notes,
        devices=devices_table(findings, devices),
        equal=f"{EQUAL:.0%}",
        front=_front(findings, finals),
        networks=_networks(findings, finals, beside),
        importances=importance_section(findings),
        changes=_changes(changes, findings.measure.name) if changes else None,
        progress=_progress(findings) if findings.trials else None,
        trials=_trials(findings) if findings.trials else None,
        failures=_failures(findings) if findings.failed else None,
        pictures=[(name, embedded(path)) for name, path in pictures.items() if path.is_file()],
        protocol=pairs(protocol),
        finals_protocol=pairs(finals_protocol),
        settings=pairs(settings),
        command=command,
        finals_command=finals_command,
        next_command=next_command,
    )


def _counts(findings: Findings, finals: Leaderboard | None, data_name: str) -> list[str]:
    """Return what was done and what it took, in short."""
    counts = [f"{len(findings.trials)} trials", f"{len(findings.complete)} complete"]
    for state, trials in (("pruned", findings.pruned), ("failed", findings.failed)):
        counts += [f"{len(trials)} {state}"] if trials else []
    counts.append(duration(sum(t.seconds for t in findings.trials)))
    if finals:
        spent = duration(sum(result.seconds for result in finals.evaluations))
        counts.append(f"finals: {len(finals.evaluations)} trainings, {spent}")
    return counts + ([f"data: {data_name}"] if data_name else [])


def _verdict(findings: Findings) -> list[str]:
    said = findings.verdict()
    if lead := findings.lead():
        said.insert(1, f"{lead[0].upper()}{lead[1:]}.")
    return said


def _front(findings: Findings, finals: Leaderboard | None) -> dict[str, Any]:
    """Return the front: its chart, the drawing of the network that is pointed at, its table."""
    shown: dict[str, Any] = {"chart": None, "table": None, "note": POINT}
    if findings.trials and findings.has_flops:
        trials = previewed(findings)
        said = _said_of(finals) if finals else {}
        shown["chart"] = pareto_chart(findings, {t.number for t in trials})
        shown["legend"] = _legend(findings, "Pareto front")
        shown["drawings"] = previews(findings, trials, said)
        shown["heading"] = f"{findings.measure.name} against FLOPs"
    if findings.front:
        shown["meaning"], shown["table"] = _meaning(findings), _front_table(findings)
        if ranked := findings.ranked():
            shown["meaning"] += f" {ranked[0].upper()}{ranked[1:]}."
    return shown


def _said_of(finals: Leaderboard) -> dict[str, str]:
    """Return what the final comparison says of each network, by its name."""
    return {
        e.name: f"{number(finals.mean(e.name).mean)} {finals.metric} in the finals"
        for e in finals.ranking
    }


def _progress(findings: Findings) -> dict[str, Any]:
    shown = {
        "chart": progress_chart(findings),
        "legend": _legend(findings, SO_FAR),
        "volume": None,
    }
    if findings.volumes:
        names = ", ".join(findings.study.goal.objectives)
        shown["volume"] = volume_chart(findings)
        shown["volume_note"] = (
            f"What the front dominates of {names}, each scaled to 0 for the worst candidate and 1 "
            "for the best, above a tenth below the worst: "
            f"{number(findings.volumes[-1][1])} at the end."
        )
    return shown


def _legend(findings: Findings, line: str) -> list[dict[str, str]]:
    items = [{"mark": "shades", "text": "first to last trial"}] if line != SO_FAR else []
    items += [
        {"mark": "line", "text": line},
    ]
    if findings.best is not None:
        text = "rank 1" if findings.places else "best"
        items.append({"mark": "best", "text": text, "outline": STAR})
    if findings.baselines:
        items.append({"mark": "baseline", "text": "baseline", "outline": MARKERS[0]})
    if findings.failed and line == SO_FAR:
        items.append({"mark": "failed", "text": "failed"})
    return items


# Tables


def _front_table(findings: Findings) -> Table:
    baseline = findings.reference
    known = [n for n in (*LATENCY, ENERGY) if any(n in trial.metrics for trial in findings.front)]
    named = {n for trial in findings.front for n in trial.metrics if device_title(n)}
    known += sorted(n for n in named if not n.endswith("_iqr_ms"))
    others = dict.fromkeys([*findings.study.goal.objectives, *known])
    others = [n for n in others if n not in {"fitness", *REPEATED}]
    name, ranks = findings.measure.name, bool(findings.places)
    heads = [_noun(findings), name, *["Rank"] * ranks, *(_title(findings, n) for n in others)]
    heads += ["px"] * sized(findings.study) + ["Parameters", "FLOPs"]
    heads += [f"{name} over {baseline.name}", f"FLOPs over {baseline.name}"] if baseline else []
    rows = []
    for trial in findings.front:
        more = [_value(trial.metrics.get(name)) for name in others]
        cells = [_network(findings, trial), _fitness(trial), *_rank(findings, trial), *more]
        cells += [_pixels(trial)] * sized(findings.study) + _costs(trial)
        if baseline:
            gain = trial.fitness - baseline.fitness
            cells.append(Cell(signed(gain), gain))
            flops = [t.cost.get("flops", 0.0) for t in (trial, baseline)]
            ratio = flops[0] / flops[1] if all(flops) else None
            cells.append(Cell(f"{ratio:.2f} times", ratio) if ratio else Cell("", ""))
        rows.append(Row(cells, _kind(findings, trial)))
    return table(heads, rows, "front-table")


def _meaning(findings: Findings) -> str:
    """Return what it means to be on the front."""
    goal = findings.study.goal.objectives
    if len(goal) > 1:
        return (
            f"Nothing that was evaluated is at least as good as one of these in {', '.join(goal)}."
        )
    if findings.has_flops:
        return (
            "Nothing else in the space that was evaluated within the limits is both cheaper and "
            f"at least as good in {findings.measure.name}."
        )
    return "Without costs, the front is the best candidate."


def _trials(findings: Findings) -> Table:
    trials = findings.trials
    name = findings.measure.name
    metrics = [m for m in metric_names(trials) if m not in REPEATED and TITLES.get(m) != name]
    generic = [t for t in trials if t.architecture is None and t.point is not None]
    heads = ["Trial", _noun(findings), "State", name, *["Rank"] * bool(findings.places)]
    heads += [_title(findings, m) for m in metrics]
    heads += ["px"] * sized(findings.study) + ["Parameters", "FLOPs", "Memory", "Layers", "Seconds"]
    heads += ["Choices"] * bool(generic) + ["Error"] * bool(findings.failed)
    rows = []
    for trial in trials:
        cells = [
            Cell(trial.number + 1, trial.number + 1),
            Cell(label(trial)),
            Cell(trial.state),
            _fitness(trial),
            *_rank(findings, trial),
            *(_value(trial.metrics.get(m)) for m in metrics),
            *[_pixels(trial)] * sized(findings.study),
            *_costs(trial),
            _cost(trial, "memory_bytes", "B"),
            _cost(trial, "layers"),
            Cell(f"{trial.seconds:.1f}", trial.seconds),
        ]
        if generic:
            cells.append(wide(", ".join(f"{n}={v}" for n, v in (trial.point or {}).items())))
        if findings.failed:
            cells.append(wide(trial.error))
        rows.append(Row(cells, _kind(findings, trial), f"trial-{trial.number}"))
    return table(heads, rows, "sortable", tall=True)


def _changes(changes: Sequence[Any], name: str) -> Table:
    """Return a row for each change, those that give the most first."""
    known = sorted(changes, key=lambda c: -(c.gain if c.gain is not None else c.score or 0.0))
    rows = []
    for change in known:
        cells = [Cell(change.choice), Cell(str(change.option))]
        cells += [_value(change.score), Cell("", "")]
        if change.cost is not None:
            cells[-1] = Cell(_added(change.cost), change.cost)
        cells += [_value(change.gain), _value(change.deviation)]
        rows.append(Row(cells))
    heads = ["Choice", "Option", "Score", "Cost added", f"Gain in {name}", "Its deviation"]
    return table(heads, rows, "sortable", tall=True)


def _added(cost: float) -> str:
    size = abs(cost)
    return ("+" if cost >= 0 else "-") + (short(size) if size >= 1e3 else f"{size:.3g}")


def _failures(findings: Findings) -> Table:
    rows = []
    for kind, trials in findings.failures.items():
        error = trials[0].error.removeprefix(f"{kind}:").strip()
        rows.append(Row([Cell(kind), Cell(len(trials), len(trials)), wide(error)]))
    return table(["Kind", "Trials", "First message"], rows)


def _noun(findings: Findings) -> str:
    return "Network" if any(t.architecture for t in findings.trials) else "Candidate"


def _kind(findings: Findings, trial: Trial) -> str:
    if findings.best is not None and trial.number == findings.best.number:
        return "best-row"
    return "baseline-row" if trial.name else ""


def _network(findings: Findings, trial: Trial) -> Cell:
    tip = tooltip(findings, trial)
    return Cell(label(trial), href=f"#trial-{trial.number}", tip=tip)


def _rank(findings: Findings, trial: Trial) -> list[Cell]:
    """Return the cell of the rank, where networks are ranked by a projection."""
    if not findings.places:
        return []
    place = findings.places.get(trial.number)
    return [Cell(place.rank, place.rank) if place else Cell("", "")]


def _title(findings: Findings, metric: str) -> str:
    """Return the heading of a metric; those of fitness bear the name of what was measured."""
    name = findings.measure.name
    own = {
        "fitness_first": f"{name}, first",
        "fitness_again": f"{name}, again",
        "trained_fitness": f"{findings.measure.confirmed}, trained alone",
    }
    precision, _, of = metric.removeprefix("trained_").partition("_")
    if precision in ("int8", "fp16"):
        what = "retained" if of == "retained" else TITLES.get(of, of)
        return f"{precision} {what}{', trained alone' * metric.startswith('trained_')}"
    return own.get(metric) or TITLES.get(metric) or device_title(metric) or metric


def _fitness(trial: Trial) -> Cell:
    complete = trial.state == "complete"
    return Cell(number(trial.fitness), trial.fitness) if complete else Cell("", "")


def _value(value: float | None) -> Cell:
    return Cell("", "") if value is None else Cell(number(value), value)


def _pixels(trial: Trial) -> Cell:
    size = pixels(trial)
    return Cell(size, size) if size else Cell("", "")


def _costs(trial: Trial) -> list[Cell]:
    return [_cost(trial, "params"), _cost(trial, "flops")]


def _cost(trial: Trial, name: str, unit: str = "") -> Cell:
    value = trial.cost.get(name)
    return Cell("", "") if value is None else Cell(short(value) + unit, value)


# The rest


def _networks(
    findings: Findings, finals: Leaderboard | None, beside: Mapping[str, Architecture]
) -> dict[str, str]:
    """Return the drawings of the answer and of the baselines it is to be seen beside."""
    best = _answer(findings, finals)
    shown: dict[str, Architecture] = {}
    if best is not None and best.architecture is not None:
        shown[f"{label(best)}, best found"] = best.network
    baseline = findings.reference
    baselines = {**beside}
    if baseline is not None and baseline.architecture is not None:
        baselines.setdefault(baseline.name, baseline.network)
    shown |= {f"{name}, baseline": network for name, network in baselines.items()}
    return {text: drawing(network, text) for text, network in shown.items()}


def _answer(findings: Findings, finals: Leaderboard | None) -> Trial | None:
    """Return the best found network: by the finals where they know one, else by the search."""
    best = finals.best_other if finals else None
    named = (t for t in findings.found if best and label(t) == best.name)
    return next(named, findings.best_found)
