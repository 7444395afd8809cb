"""The trials as CSV and as JSON lines, and the summary of a search as plain text."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping
from numbers import Real
from typing import Any

from yolo_nas_ext.console import number, short, signed
from yolo_nas_ext.report.devices import LATENCY
from yolo_nas_ext.report.facts import label, metric_names, pixels, quantised, sized
from yolo_nas_ext.report.summary import Findings
from yolo_nas_ext.study.study import Study
from yolo_nas_ext.study.trial import Trial

COSTS = ("params", "flops", "memory_bytes", "layers")
FIXED: tuple[str, ...] = ("number", "key", "name", "state", "fitness", "seconds", "error", *COSTS)


def trials_csv(study: Study) -> str:
    """Return all trials as CSV (RFC 4180), one row per trial, in the order of their numbers.

    Columns: ``number`` (from 0), ``key``, ``name``, ``state``, ``fitness``, the other metrics,
    ``params``, ``flops``, ``memory_bytes``, ``layers``, ``seconds``, ``error``, the fidelity and
    ``choice.<name>`` for every choice of the space. A name that occurs twice carries its group, for
    example ``metric.seconds``. What does not apply, or is not finite, is empty. Text that a
    spreadsheet would run as a formula starts with an apostrophe.
    """
    trials = [study.measure.restated(trial) for trial in study.results]
    taken = set(FIXED)
    metrics = _columns("metric", metric_names(trials), taken)
    others = {name for trial in trials for name in trial.cost} - set(COSTS)
    cost = {**{name: name for name in COSTS}, **_columns("cost", sorted(others), taken)}
    fidelity = _columns("fidelity", sorted({n for t in trials for n in t.fidelity}), taken)
    choices = {name: f"choice.{name}" for name in study.space.choices}
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(
        _cell(name)
        for name in (
            "number",
            "key",
            "name",
            "state",
            "fitness",
            *metrics.values(),
            *cost.values(),
            "seconds",
            "error",
            *fidelity.values(),
            *choices.values(),
        )
    )
    for trial in trials:
        row = [
            trial.number,
            trial.architecture.key if trial.architecture else "",
            trial.name,
            trial.state,
            trial.metrics.get("fitness"),
            *_pick(trial.metrics, metrics),
            *map(_whole, _pick(trial.cost, cost)),
            trial.seconds,
            trial.error,
            *_pick(trial.fidelity, fidelity),
            *_pick(trial.point or {}, choices),
        ]
        writer.writerow(_cell(value) for value in row)
    return file.getvalue()


def trials_jsonl(study: Study) -> str:
    """Return all trials as JSON lines, one object per trial, in the order of their numbers.

    Each has the fields of `Trial` that JSON knows, as they were measured: ``point`` by choice,
    ``architecture`` as `Architecture.from_dict` reads it, and ``key``. What is not finite is null.
    """
    return "".join(f"{json.dumps(_plain(_fields(trial)))}\n" for trial in study.results)


def _fields(trial: Trial) -> dict[str, Any]:
    network = trial.architecture
    return {
        "number": trial.number,
        "key": network.key if network else None,
        "name": trial.name,
        "state": trial.state,
        "metrics": dict(trial.metrics),
        "cost": dict(trial.cost),
        "fidelity": dict(trial.fidelity),
        "seconds": trial.seconds,
        "error": trial.error,
        "curve": {str(epoch): value for epoch, value in trial.curve.items()},
        "point": dict(trial.point) if trial.point is not None else None,
        "architecture": network.to_dict() if network else None,
    }


def _plain(value: Any) -> Any:
    """Return a value with null for numbers that JSON has not."""
    if isinstance(value, Mapping):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, Real) and not isinstance(value, int):  # numpy's too
        return float(value) if math.isfinite(value) else None
    return value


def _columns(group: str, names: Iterable[str], taken: set[str]) -> dict[str, str]:
    """Return a column name for each name, with its group where the name alone is taken."""
    columns = {name: f"{group}.{name}" if name in taken else name for name in names}
    taken |= set(columns.values())
    return columns


def _pick(values: Mapping[str, Any], columns: Mapping[str, str]) -> list[Any]:
    return [values.get(name) for name in columns]


def _whole(value: float | None) -> float | None:
    """Return a count that was kept as 3.0 as 3."""
    return int(value) if value is not None and float(value).is_integer() else value


def _cell(value: Any) -> str:
    """Return what stands in the file for a value."""
    if value is None or (isinstance(value, Real) and not math.isfinite(value)):
        return ""
    if isinstance(value, Real):
        return str(value)
    text = str(value).replace("\0", "").encode(errors="backslashreplace").decode()
    # Spreadsheets run cells that start so, also behind blanks and in the full-width forms.
    return f"'{text}" if text.lstrip(" ")[:1] in tuple("=+-@\t\r\n＝＋－＠") else text  # noqa: RUF001


def summary_table(study: Study, top: int = 5) -> str:
    """Return the summary of a search as plain aligned text.

    Args:
        study: The record.
        top: Number of proposals to list; baselines with a trial are always listed.

    Returns:
        Lines without a newline at the end: a heading, one row per network by fitness, and how far
        the search got above its first candidates.
    """
    findings = Findings(study)
    listed = sorted(findings.found, key=lambda t: (-t.fitness, t.number))[: max(top, 0)]
    shown = {t.number: t for t in [*listed, *findings.baselines, *findings.trained]}
    if findings.best:
        shown[findings.best.number] = findings.best
    if not shown:
        return findings.verdict()[0]
    order = sorted(shown.values(), key=lambda t: (-t.fitness, t.number))
    rows = [("network", "parameters", "FLOPs", findings.measure.name, "")]
    kinds = {study.parent: "parent"} | dict.fromkeys(study.pencils, "pencil")
    rows += [_row(trial, findings, kinds.get(trial.name, "baseline")) for trial in order]
    if findings.places:
        ranks = ["rank", *(str(_rank(findings, trial)) for trial in order)]
        rows = [(*rest, rank, note) for (*rest, note), rank in zip(rows, ranks, strict=True)]
    if sized(study):
        sizes = ["px", *(str(pixels(trial) or "-") for trial in order)]
        rows = [(name, size, *rest) for (name, *rest), size in zip(rows, sizes, strict=True)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)][:-1]
    lines = [
        "  ".join(
            [f"{name:<{widths[0]}}"]
            + [f"{cell:>{width}}" for cell, width in zip(cells, widths[1:], strict=True)]
            + [note]
        ).rstrip()
        for name, *cells, note in rows
    ]
    lines += _better(findings)
    if ranked := findings.ranked():
        lines.append(ranked)
    if said := findings.pencil():
        lines.append(said)
    if lead := findings.lead():
        lines.append(lead)
    if findings.failed:
        kinds = ", ".join(f"{len(t)} {_clean(kind, 20)}" for kind, t in findings.failures.items())
        lines.append(f"{len(findings.failed)} of {len(findings.trials)} trials failed ({kinds})")
    return "\n".join(lines)


def _better(findings: Findings) -> list[str]:
    """Say where the parent, or a baseline, is above the network that was found."""
    best, baseline = findings.pair
    if best is None or baseline is None or baseline.fitness <= best.fitness:
        return []
    if findings.study.goal.objectives[0] != "fitness":
        return []
    first = "network ranked first of those" if findings.places else "best network"
    parent, top = baseline.name == findings.study.parent, max(t.fitness for t in findings.compared)
    kind = "the parent" if parent else "a baseline"
    beats = "is better than what was found" if parent else "is best"
    if baseline.fitness < top:
        beats = "is above what was found" if parent else "is above what is ranked first"
    return [
        f"{kind} {beats}: {_clean(baseline.name, 40)} "
        f"({signed(baseline.fitness - best.fitness)} over the {first} found)"
    ]


def _rank(findings: Findings, trial: Trial) -> str:
    return str(findings.places[trial.number].rank) if trial.number in findings.places else "-"


def _row(trial: Trial, findings: Findings, kind: str) -> tuple[str, str, str, str, str]:
    best = findings.best
    notes = [findings.mark()] if best is not None and trial.number == best.number else []
    if "fitness_again" in trial.metrics:
        notes.append("mean of 2")
    if (own := trial.trained) is not trial:
        name = findings.measure.trained
        notes.append(f"trained{name and f': {name}'} {number(own.fitness)}")
    notes += _latencies(trial) + quantised(own.metrics, findings.measure.name)
    if trial.name:
        notes.append(kind if trial.point is not None else f"{kind}, not in the space")
    if trial.state == "failed":
        notes.append(f"failed ({_clean(trial.error, 60)})")
    params, flops = (
        short(trial.cost[name]) if name in trial.cost else "-" for name in ("params", "flops")
    )
    fitness = number(trial.fitness) if trial.state == "complete" else "-"
    return _clean(label(trial), 40), params, flops, fitness, ", ".join(filter(None, notes))


def _latencies(trial: Trial) -> list[str]:
    """Return what a network takes on each device, as it was predicted and measured."""
    found = []
    for name, ms in sorted(trial.metrics.items()):
        match = LATENCY.fullmatch(name)
        device = match["device"] if match else ""
        if match is None or match["what"] or (device or "").startswith("on_"):
            continue
        measured = trial.metrics.get(f"{name.removesuffix('_ms')}_measured_ms")
        more = "" if measured is None else f" predicted, {measured:.2f} ms measured"
        found.append(f"{f'{device} ' if device else ''}{ms:.2f} ms{more}")
    return found


def _clean(text: str, most: int) -> str:
    """Return text on one line without what a terminal would obey."""
    text = "".join(c if c.isprintable() else " " for c in text)
    text = " ".join(text.split())
    return text if len(text) <= most else text[: most - 3] + "..."
