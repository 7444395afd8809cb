"""The family that a supernet of a parent hands over: measured once on val, and listed."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Sequence
from typing import Any

from yolo_nas_ext.config.names import RETAINED
from yolo_nas_ext.console import Progress, number, quoted, say
from yolo_nas_ext.errors import NASError, TrialError
from yolo_nas_ext.estimators.factory import precision_of
from yolo_nas_ext.files import write_text
from yolo_nas_ext.host import dataset
from yolo_nas_ext.pipeline.state import Job
from yolo_nas_ext.strategies.held_out import held_out_tau
from yolo_nas_ext.study.trial import Trial

ON_VAL = "val_fitness"  # of the metrics of a trial
FILE = "family.csv"
QUANTISED = re.compile(rf"val_(int8|fp16)_(fitness|{RETAINED})")


def hand_over(job: Job) -> None:
    """Measure the front's networks on val, as far as they are not, and list them."""
    if job.config.estimator != "supernet" or not job.config.model or job.interrupted:
        return
    try:
        _measure(job)
    except (NASError, TrialError) as error:
        job.notes.append(f"the family is not measured on val: {error}")
        say(f"note: {job.notes[-1]}")
    first = (job.config.latencies or ["latency_ms"])[0]
    members = sorted(job.study.front, key=lambda trial: trial.metrics.get(first, _gflops(trial)))
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
    precision = precision_of(config)
    others = (f"{precision}_fitness", f"{precision}_{RETAINED}")
    progress = Progress(len(left), "family on val: {done}/{total}  {left} left")
    try:
        for done, trial in enumerate(left, 1):
            file = job.folder / "pareto" / f"nas-{trial.network.key}.pt"
            size = trial.network.imgsz or config.imgsz
            found = estimator.measured(val, file, size, precision)  # pyright: ignore[reportAttributeAccessIssue]
            more = {f"val_{name}": found[name] for name in others if name in found}
            job.study.record_measurement(trial.number, {ON_VAL: found["fitness"], **more})
            progress(done)
    finally:
        progress.close()


def _listed(job: Job, members: Sequence[Trial]) -> str:
    """Return the family as CSV, the cheapest first."""
    text = io.StringIO()
    more = sorted({n for t in members for n in t.metrics if QUANTISED.fullmatch(n)})
    timed = job.config.latencies or ["latency_ms"]
    columns = "key file name imgsz params flops".split()
    rows = csv.DictWriter(text, [*columns, *timed, "held_out", "val", *more], lineterminator="\n")
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
                **{name: trial.metrics.get(name, "") for name in timed},
                "held_out": trial.fitness,
                "val": trial.metrics.get(ON_VAL, ""),
                **{name: trial.metrics.get(name, "") for name in more},
            }
        )
    return text.getvalue()


def table(job: Job, members: Sequence[Trial]) -> str:
    """Return what the family has to offer, a line a network, and how to take one out."""
    name, timed = job.study.measure.name, [n for n in job.config.latencies if _has(members, n)]
    units = [_unit(metric) for metric in timed] or ["GFLOPs"]
    costs = "  ".join(f"{unit:>9}" for unit in units)
    lines = [f"the family: {len(members)} finished networks in {job.folder / 'pareto'}"]
    lines.append(f"  {costs}  {'imgsz':>5}  {name + ' held out':>18}  {'on val':>7}  file")
    for trial in members:
        val: Any = trial.metrics.get(ON_VAL)
        values = [trial.metrics[metric] for metric in timed] or [_gflops(trial)]
        costs = "  ".join(
            f"{value:{max(9, len(unit))}.3f}" for value, unit in zip(values, units, strict=True)
        )
        lines.append(
            f"  {costs}  {trial.network.imgsz or job.config.imgsz:5d}  "
            f"{number(trial.fitness):>18}  {'' if val is None else number(val):>7}  "
            f"nas-{trial.network.key}.pt{f'  ({trial.name})' if trial.name else ''}{_kept(trial)}"
        )
    limit = f"max_latency={','.join(['<ms>'] * len(timed))}" if timed else "max_flops=<FLOPs>"
    lines.append(f"the best within a limit: yolo nas-extract run={quoted(job.folder)} {limit}")
    return "\n".join(lines)


def _kept(trial: Trial) -> str:
    """Return what a network has on val in another precision, where that was measured."""
    for name, value in trial.metrics.items():
        if (match := QUANTISED.fullmatch(name)) and match[2] == "fitness":
            retained = trial.metrics.get(f"val_{match[1]}_{RETAINED}", math.nan)
            return f"  {match[1]} {number(value)} on val ({retained:.1%} retained)"
    return ""


def _has(members: Sequence[Trial], metric: str) -> bool:
    return all(metric in trial.metrics for trial in members)


def _unit(metric: str) -> str:
    """Return what a column of milliseconds is called: ms, or ms and the device of several."""
    return f"ms {metric.removeprefix('latency_').removesuffix('ms').rstrip('_')}".rstrip()


def _gflops(trial: Trial) -> float:
    return trial.cost.get("flops", 0.0) / 1e9
