"""What a comparison leaves: a page, a table, a plot and the verdict, each of them whole."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from yolo_nas_ext.compare.comparison import Comparison
from yolo_nas_ext.console import aligned, quoted
from yolo_nas_ext.data.scans import recipe
from yolo_nas_ext.files import replacing, write_text
from yolo_nas_ext.report import comparison_page as page
from yolo_nas_ext.report.plots import comparison_png
from yolo_nas_ext.report.verdict import better, sentences
from yolo_nas_ext.study.leaderboard import Leaderboard


def write(comparison: Comparison) -> None:
    """Write ``comparison.html``, ``.csv``, ``.png`` and ``verdict.md``, each of them whole."""
    leaderboard, folder = comparison.leaderboard(), comparison.folder
    title = f"{len(leaderboard.models)} models on {Path(str(comparison.config.data)).name}"
    html = page.page(
        leaderboard,
        title=title,
        protocol=comparison.protocol,
        command=comparison.command,
        next_command=next_command(comparison),
    )
    write_text(folder / "comparison.html", html)
    write_text(folder / "comparison.csv", _csv(leaderboard))
    write_text(folder / "verdict.md", markdown(leaderboard, title, comparison.protocol))
    with replacing(folder / "comparison.png") as temporary:
        comparison_png(leaderboard, temporary, title)


def next_command(comparison: Comparison) -> str:
    """Return what to run with the weights of the best model; nothing while there are none."""
    best = better(comparison.leaderboard())
    weights = comparison.weights(best.name) if best else None
    if weights is None or not weights.is_file():
        return ""
    lines = [f"yolo export model={quoted(weights)} format=onnx"]
    if recipe.beside(str(comparison.config.data)):
        lines.append(f"yolo nas-predict model={quoted(weights)} source=<scans> out=found")
    return "\n".join(lines)


def table(leaderboard: Leaderboard) -> str:
    """Return the leaderboard as a table for people."""
    heads, rows = page.cells(leaderboard)
    return aligned([heads, *([row[0][-60:], *row[1:]] for row in rows)])


def _csv(leaderboard: Leaderboard) -> str:
    """Return all trainings as CSV, one row per training."""
    names = sorted({name for e in leaderboard.evaluations for name in e.metrics} - {"fitness"})
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(
        [
            "model",
            "baseline",
            "seed",
            "fitness",
            "seconds",
            "error",
            "params",
            "flops",
            "latency_ms",
            "latency_iqr_ms",
            "search_seconds",
            *names,
        ]
    )
    for evaluation in leaderboard.evaluations:
        model = leaderboard.model(evaluation.name)
        writer.writerow(
            [
                model.name,
                model.baseline,
                evaluation.seed,
                evaluation.fitness,
                evaluation.seconds,
                evaluation.error,
                model.params,
                model.flops,
                model.latency_ms,
                model.latency_iqr_ms,
                model.search_seconds,
                *(evaluation.metrics.get(name) for name in names),
            ]
        )
    return file.getvalue()


def markdown(leaderboard: Leaderboard, title: str, protocol: Mapping[str, Any]) -> str:
    """Return the verdict, the table and the protocol as Markdown."""
    heads, rows = page.cells(leaderboard)

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    table = [line(heads), line(["---"] * len(heads)), *map(line, rows)]
    said = "\n\n".join(sentences(leaderboard))
    how = "\n".join(f"- {name}: {value}" for name, value in protocol.items())
    return f"# {title}\n\n{said}\n\n" + "\n".join(table) + f"\n\n## Protocol\n\n{how}\n"
