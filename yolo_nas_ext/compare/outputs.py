"""What a comparison leaves: a page, a table, a plot and the verdict, each of them whole."""

from __future__ import annotations

import csv
import io
import shlex
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from yolo_nas_ext.compare.runner import Contest
from yolo_nas_ext.config.compare import CompareSettings
from yolo_nas_ext.console import aligned
from yolo_nas_ext.files import write_text
from yolo_nas_ext.report import comparison_page as page
from yolo_nas_ext.report.plots import comparison_png
from yolo_nas_ext.report.verdict import better, sentences
from yolo_nas_ext.study.leaderboard import Standings


def write(contest: Contest, config: CompareSettings, again: str) -> None:
    """Write ``comparison.html``, ``.csv``, ``.png`` and ``verdict.md``, each of them whole."""
    standings, folder = contest.standings(), contest.folder
    title = f"{len(standings.entrants)} models on {Path(str(config.data)).name}"
    write_text(
        folder / "comparison.html",
        page.page(
            standings,
            title=title,
            protocol=protocol(contest, config),
            command=again,
            next_command=following(contest),
        ),
    )
    write_text(folder / "comparison.csv", _csv(standings))
    write_text(folder / "verdict.md", _markdown(standings, title, protocol(contest, config)))
    temporary = folder / ".comparison.tmp"
    comparison_png(standings, temporary, title)
    temporary.replace(folder / "comparison.png")


def following(contest: Contest) -> str:
    """Return what to run with the weights of the best model; nothing while there are none."""
    best = better(contest.standings())
    weights = contest.weights(best.name) if best else None
    if weights is None or not weights.is_file():
        return ""
    return f"yolo export model={shlex.quote(str(weights))} format=onnx"


def protocol(contest: Contest, config: CompareSettings) -> dict[str, Any]:
    """Return how models were trained and measured, for the reader."""
    train, measured = contest.training.split
    own = [f"{c.entrant.name} at {c.imgsz}" for c in contest.contestants if c.imgsz]
    return {
        "trained on": f"all {len(train)} images of train, from "
        + (config.inherit or "random weights"),
        "measured on": f"{len(measured)} images of {contest.part}, which no search looks at",
        "schedule": "the host's complete one, averaged weights of the last epoch",
        "epochs": config.epochs,
        "batch": config.batch,
        "imgsz": "; ".join([str(config.imgsz), *own]),
        "seeds": ", ".join(map(str, contest.seeds)),
        "order": "every model with one seed before any with the next",
        "interval": "95 %, Student's t over seeds; differences are paired by seed",
        "latency": contest.timed or "not measured",
        **{name: value for name, value in config.host.items()},
        **({"augment": config.augment} if config.augment else {}),
        **{name: version(name) for name in ("ultralytics", "torch")},
    }


def table(standings: Standings) -> str:
    """Return the standings as a table for people."""
    heads, rows = page.cells(standings)
    return aligned([heads, *([row[0][-60:], *row[1:]] for row in rows)])


def _csv(standings: Standings) -> str:
    """Return all trainings as CSV, a row a training."""
    names = sorted({name for r in standings.results for name in r.metrics} - {"fitness"})
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
    for result in standings.results:
        entrant = standings.entrant(result.name)
        writer.writerow(
            [
                entrant.name,
                entrant.baseline,
                result.seed,
                result.fitness,
                result.seconds,
                result.error,
                entrant.params,
                entrant.flops,
                entrant.latency_ms,
                entrant.latency_iqr_ms,
                entrant.search_seconds,
                *(result.metrics.get(name) for name in names),
            ]
        )
    return file.getvalue()


def _markdown(standings: Standings, title: str, protocol: Mapping[str, Any]) -> str:
    """Return the verdict, the table and the protocol as Markdown."""
    heads, rows = page.cells(standings)

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    table = [line(heads), line(["---"] * len(heads)), *map(line, rows)]
    said = "\n\n".join(sentences(standings))
    how = "\n".join(f"- {name}: {value}" for name, value in protocol.items())
    return f"# {title}\n\n{said}\n\n" + "\n".join(table) + f"\n\n## Protocol\n\n{how}\n"
