"""A comparison from its first line on the terminal to the verdict, on its own or after a search."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import yaml

from yolo_nas_ext.compare import latency, outputs
from yolo_nas_ext.compare.comparison import Comparison
from yolo_nas_ext.console import quoted, say
from yolo_nas_ext.files import write_text
from yolo_nas_ext.report.verdict import sentences
from yolo_nas_ext.study.leaderboard import Evaluation


def announce(comparison: Comparison, resume: Path) -> None:
    """Say what is going to be trained.

    Args:
        comparison: With its folder.
        resume: The folder that ``resume=`` goes on with.
    """
    config = comparison.config
    train, measured = comparison.training.split
    said = (
        f"comparing {', '.join(model.name for model in comparison.models)} on {config.data}: "
        f"{len(comparison.turns)} trainings of {config.epochs} epochs at {config.imgsz} px on "
        f"{len(train)} images, measured on the {len(measured)} of {config.part}\n"
        f"results go to {comparison.folder}; after a stop go on with "
        f"resume={quoted(resume)}"
    )
    say(said)
    data = comparison.training.data
    for line in (*data.said, *data.notes):
        say(f"note: {line}")
    if comparison.leak:
        say(f"warning: {comparison.leak}")
    if data.skipped:
        text = "".join(f"{line}\n" for line in data.skipped)
        write_text(comparison.folder / "skipped.txt", text)


def write_definitions(comparison: Comparison) -> None:
    """Keep the model definitions as they were trained."""
    (comparison.folder / "models").mkdir(exist_ok=True)
    for model in comparison.models:
        text = yaml.safe_dump(dict(model.definition), sort_keys=False)
        write_text(comparison.definition(model.name), text)


def run(
    comparison: Comparison, on_evaluation: Callable[[Evaluation], None] = lambda _: None
) -> tuple[Comparison, bool]:
    """Measure latencies, train what is left, write the results each time and say the verdict.

    Args:
        comparison: With its folder.
        on_evaluation: Called with a training once it is recorded and the results are written.

    Returns:
        The comparison with the latencies, and whether Ctrl-C ended it.
    """
    interrupted = False
    try:
        if protocol := latency.protocol(comparison.config):
            comparison = latency.measured(comparison, protocol)
        outputs.write(comparison)

        def on_recorded(evaluation: Evaluation) -> None:
            outputs.write(comparison)
            on_evaluation(evaluation)

        comparison.train(on_recorded)
    except KeyboardInterrupt:
        interrupted = True
    leaderboard = comparison.leaderboard()
    say("\n" + outputs.table(leaderboard) + "\n\n" + "\n".join(sentences(leaderboard)))
    say(f"\nreport: {comparison.folder / 'comparison.html'}")
    return comparison, interrupted
