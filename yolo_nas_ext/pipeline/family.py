"""The family that a supernet of a parent hands over: measured once on val, and listed."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

from yolo_nas_ext.console import Progress, number, quoted, say
from yolo_nas_ext.errors import NASError, TrialError
from yolo_nas_ext.files import write_text
from yolo_nas_ext.host import dataset
from yolo_nas_ext.pipeline.state import Job
from yolo_nas_ext.strategies.held_out import held_out_tau
from yolo_nas_ext.study.trial import Trial

ON_VAL = "val_fitness"  # of the metrics of a trial
FILE = "family.csv"
COLUMNS = "key file name imgsz params flops latency_ms held_out val".split()


def hand_over(job: Job) -> None:
    """Measure the front's networks on val, as far as they are not, and list them."""
    if job.config.estimator != "supernet" or not job.config.model or job.interrupted:
        return
    try:
        _measure(job)
    except (NASError, TrialError) as error:
        job.notes.append(f"the family is not measured on val: {error}")
        say(f"note: {job.notes[-1]}")
    members = sorted(job.study.front, key=_cost)
    if not members:
        return
    paths = [trial for trial in job.study.complete if not trial.name]
    if (tau := held_out_tau(job.plan.space, paths)) is not None:
        job.notes.append(
            f"a model of the {len(paths)} measured paths orders those that it has not seen by tau "
            f"{tau:.2f} (five parts, each foretold from the others)"
        )
        say(f"note: {job.notes[-1]}")
    write_text(job.folder / FILE, _listed(job, members))
    say(f"\n{table(job, members)}")


def _measure(job: Job) -> None:
    """Measure on val what is not measured there yet.

    Raises:
        NASError: For data without a val that can be read.
        TrialError: Where Ultralytics cannot measure a network.
    """
    left = [trial for trial in job.study.front if ON_VAL not in trial.metrics]
    if not left:
        return
    config, estimator = job.config, job.plan.estimator
    val = dataset.read(config.data, config.task, part="val", group=config.group)
    progress = Progress(len(left), "family on val: {done}/{total}  {left} left")
    try:
        for done, trial in enumerate(left, 1):
            file = job.folder / "pareto" / f"nas-{trial.network.key}.pt"
            found = estimator.measured(val, file, trial.network.imgsz or config.imgsz)  # pyright: ignore[reportAttributeAccessIssue]
            job.study.record_measurement(trial.number, {ON_VAL: found["fitness"]})
            progress(done)
    finally:
        progress.close()


def _listed(job: Job, members: Sequence[Trial]) -> str:
    """Return the family as CSV, the cheapest first."""
    text = io.StringIO()
    rows = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    rows.writeheader()
    for trial in members:
        key = trial.network.key
        rows.writerow(
            {
                "key": key,
                "file": f"pareto/nas-{key}.pt",
                "name": trial.name,
                "imgsz": trial.network.imgsz or job.config.imgsz,
                "params": trial.cost.get("params", ""),
                "flops": trial.cost.get("flops", ""),
                "latency_ms": trial.metrics.get("latency_ms", ""),
                "held_out": trial.fitness,
                "val": trial.metrics.get(ON_VAL, ""),
            }
        )
    return text.getvalue()


def table(job: Job, members: Sequence[Trial]) -> str:
    """Return what the family has to offer, a line a network, and how to take one out."""
    timed = "latency_ms" in members[0].metrics
    name, unit = job.study.measure.name, "ms" if timed else "GFLOPs"
    lines = [f"the family: {len(members)} finished networks in {job.folder / 'pareto'}"]
    lines.append(f"  {unit:>9}  {'imgsz':>5}  {name + ' held out':>18}  {'on val':>7}  file")
    for trial in members:
        val: Any = trial.metrics.get(ON_VAL)
        lines.append(
            f"  {_cost(trial):9.3f}  {trial.network.imgsz or job.config.imgsz:5d}  "
            f"{number(trial.fitness):>18}  {'' if val is None else number(val):>7}  "
            f"nas-{trial.network.key}.pt{f'  ({trial.name})' if trial.name else ''}"
        )
    limit = "max_latency=<ms>" if timed else "max_flops=<FLOPs>"
    lines.append(f"the best within a limit: yolo nas-extract run={quoted(job.folder)} {limit}")
    return "\n".join(lines)


def _cost(trial: Trial) -> float:
    """Return the latency in ms, or the GFLOPs where none is known."""
    return trial.metrics.get("latency_ms", trial.cost.get("flops", 0.0) / 1e9)
