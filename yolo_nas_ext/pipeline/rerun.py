"""One trial of a run once more, from its record alone: is what was measured measured again?"""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from yolo_nas_ext import run_dir
from yolo_nas_ext.config.search import PARENT, TRAININGS, SearchSettings
from yolo_nas_ext.console import say
from yolo_nas_ext.errors import NASError
from yolo_nas_ext.estimators.base import Context, hand_over
from yolo_nas_ext.pipeline import plan as plans
from yolo_nas_ext.pipeline.evaluation import evaluation
from yolo_nas_ext.pipeline.plan import Plan
from yolo_nas_ext.study.study import Study
from yolo_nas_ext.study.trial import Trial

RECORD = "study.db"


def rerun(given: Mapping[str, Any]) -> bool:
    """Evaluate a trial of a run once more, beside the run, and say how it compares.

    Args:
        given: Keys and raw values: ``rerun``, ``trial``, and what allows a folder of somebody
            else's, as for ``resume``.

    Returns:
        Whether every metric is the one that was recorded, to the last digit.

    Raises:
        NASError: For a folder of no run, or a trial that cannot be evaluated once more.
        TrialError: For a trial that fails, as it may have done before.
    """
    place = Path(str(given["rerun"]))
    as_resumed = {name: value for name, value in given.items() if name not in ("rerun", "trial")}
    try:
        config, _ = run_dir.settings({**as_resumed, "resume": str(place)})
    except NASError as error:
        raise NASError(str(error).replace(f"resume={place}", f"rerun={place}")) from error
    _check(config, place)
    plan = plans.make(config)
    changed = "data" in given
    try:
        run_dir.check_data(place, plan.data, changed, keep_new=False)
    except NASError as error:
        raise NASError(str(error).replace(f"resume={place}", f"rerun={place}")) from error
    with tempfile.TemporaryDirectory(prefix="nas-rerun-") as folder:
        return _again(plan, place, Path(folder), int(given["trial"]))


def _check(config: SearchSettings, place: Path) -> None:
    """Refuse a run whose trials depend on more than their record."""
    if config.storage or not (place / RECORD).is_file():
        raise NASError(f"rerun={place}: no record in it ({RECORD}); give the folder of a search")
    if config.inherit == PARENT:
        raise NASError(
            f"rerun={place}: searched with inherit={PARENT}, where a trial starts from the weights "
            "of one before it, which are deleted; yolo nas-compare trains its networks"
        )
    if config.estimator == "supernet":
        raise NASError(
            f"rerun={place}: searched with estimator=supernet, whose networks share weights; "
            f"yolo nas-extract run={place} key=<key> takes one out and measures it"
        )


def _again(plan: Plan, place: Path, folder: Path, number: int) -> bool:
    shutil.copyfile(place / RECORD, folder / RECORD)
    study = Study(
        plan.space,
        folder / RECORD,
        plan.goal,
        parent=plan.parent.name if plan.parent else "",
        pencils=plan.first.pencils,
        measure=plan.measure,
    )
    trial = next((t for t in study.trials if t.number == number), None)
    if trial is None:
        known = f"0 to {len(study.trials) - 1}" if study.trials else "none"
        raise NASError(f"trial={number}: not in the record of {place}; it has {known}")
    say(
        f"trial {number} of {place}: {trial.name or trial.network.key}, "
        + ", ".join(f"{name} {value:g}" for name, value in trial.fidelity.items())
    )
    hand_over(Context(folder), plan.estimator)
    found = evaluation(plan, folder, study)(replace(trial, metrics={}, curve={}))
    return _compared(trial, found, trains=plan.config.estimator in TRAININGS)


def _compared(trial: Trial, found: Mapping[str, float], *, trains: bool) -> bool:
    """Print what was measured then and now, and return whether it is the same."""
    names = [n for n in trial.metrics if n in found and not n.startswith("latency")]
    if trial.state != "complete" or not names:
        said = f" ({trial.error})" if trial.error else ""
        say(f"it was {trial.state} then{said}; now fitness is {found['fitness']:.17g}")
        return False
    differ = [n for n in names if not _same(trial.metrics[n], found[n])]
    for name in names if len(names) < 8 else ["fitness", *(n for n in differ if n != "fitness")]:
        say(f"{name:<20} then {trial.metrics[name]:.17g}  now {found[name]:.17g}")
    if differ:
        why = "; another machine, number of threads or version may give other digits" * trains
        say(f"{len(differ)} of {len(names)} metrics differ{why}")
    else:
        say(f"the same to the last digit, all {len(names)} metrics")
    return not differ


def _same(then: float, now: float) -> bool:
    return then == now or (math.isnan(then) and math.isnan(now))
