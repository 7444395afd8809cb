"""Several devices: the network that is recommended for each, and what it takes on all of them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from yolo_nas_ext.console import aligned, number
from yolo_nas_ext.report.facts import TRAINED, label
from yolo_nas_ext.report.html import Cell, Row, Table, table
from yolo_nas_ext.report.summary import Findings
from yolo_nas_ext.study.trial import Trial

EQUAL = 0.01  # of the best fitness: networks within it count as equal, and the faster one is taken
LATENCY = re.compile(r"latency_(?:(?P<device>\w+?)_)?(?:(?P<what>measured|iqr)_)?ms")
WHATS = {None: "", "measured": " measured", "iqr": ", quartiles apart"}


class Device(NamedTuple):
    """A device of a search: its name and the most milliseconds, if there is a limit."""

    name: str
    limit: float | None


def title(metric: str) -> str:
    """Return the heading of a latency of one of several devices; nothing of other metrics."""
    match = LATENCY.fullmatch(metric)
    if match is None or match["device"] is None or match["device"].startswith("on_"):
        return ""
    return f"Latency {match['device']}{WHATS[match['what']]} (ms)"


def milliseconds(trial: Trial, device: str) -> float:
    """Return what a network takes on a device: measured, else predicted."""
    own = f"latency_{device}_measured_ms"
    return trial.metrics.get(own, trial.metrics[f"latency_{device}_ms"])


def recommended(findings: Findings, device: Device) -> Trial | None:
    """Return the network for a device: of those that are about as good as the best, the fastest.

    The best is that of the complete trials within the device's limit, whatever they take on the
    others. Where trainings of their own confirmed some of them, those alone are looked at.
    """
    known = [t for t in findings.complete if f"latency_{device.name}_ms" in t.metrics]
    limit = device.limit
    known = [t for t in known if limit is None or milliseconds(t, device.name) <= limit]
    known = [t.trained for t in known if TRAINED in t.metrics] or known
    if not known:
        return None
    best = max(t.fitness for t in known)
    equal = [t for t in known if t.fitness >= best - EQUAL * abs(best)]
    found = min(equal, key=lambda t: (milliseconds(t, device.name), -t.fitness, t.number))
    return next(t for t in findings.complete if t.number == found.number)


def chosen(findings: Findings, devices: Sequence[Device]) -> dict[Device, Trial]:
    """Return the recommended network of each device that has one."""
    found = {device: recommended(findings, device) for device in devices}
    return {device: trial for device, trial in found.items() if trial is not None}


def lines(findings: Findings, devices: Sequence[Device], files: Mapping[str, str]) -> list[str]:
    """Return a table for the terminal: a row a device, a column what its network takes on each.

    Args:
        findings: Of the record.
        devices: The devices.
        files: Where the network of a device is written, by its name.
    """
    found = chosen(findings, devices)
    if not found:
        return []
    heads = ["device", "limit", "network", findings.measure.name]
    rows = [[*heads, *(f"{device.name} ms" for device in devices), "file"]]
    for device, trial in found.items():
        limit = "-" if device.limit is None else f"{device.limit:g} ms"
        cells = [device.name, limit, label(trial), number(trial.fitness)]
        cells += [f"{milliseconds(trial, other.name):.2f}" for other in devices]
        rows.append([*cells, files.get(device.name, "")])
    return [f"for each device the fastest within {EQUAL:.0%} of the best:", aligned(rows)]


def devices_table(findings: Findings, devices: Sequence[Device]) -> Table | None:
    """Return the same for the page; None where no network is known for any."""
    found = chosen(findings, devices)
    if not found:
        return None
    heads = ["Device", "Limit (ms)", "Recommended", findings.measure.name]
    heads += [f"{device.name} (ms)" for device in devices]
    rows = []
    for device, trial in found.items():
        limit = device.limit
        cells = [Cell(device.name), Cell("", "") if limit is None else Cell(f"{limit:g}", limit)]
        cells += [Cell(label(trial), href=f"#trial-{trial.number}")]
        cells += [Cell(number(trial.fitness), trial.fitness)]
        for other in devices:
            ms = milliseconds(trial, other.name)
            cells.append(Cell(f"{ms:.2f}", ms))
        rows.append(Row(cells))
    return table(heads, rows)
