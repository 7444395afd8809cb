"""search(): propose, gate by cost, estimate, record, until the trials or the hours are used up."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from yolo_nas_ext import config
from yolo_nas_ext.cost.budget import Budget
from yolo_nas_ext.errors import NASError
from yolo_nas_ext.executors import Executor
from yolo_nas_ext.executors import check as check_executor
from yolo_nas_ext.executors import make as make_executor
from yolo_nas_ext.executors.inline import Inline
from yolo_nas_ext.executors.judge import Estimate, Report
from yolo_nas_ext.objectives import Goal
from yolo_nas_ext.pruning import Pruning
from yolo_nas_ext.shared import SharedStudy
from yolo_nas_ext.space.architecture import Architecture
from yolo_nas_ext.space.choices import ChoiceSpace, Point
from yolo_nas_ext.space.detector import DetectorSpace
from yolo_nas_ext.strategies import Strategy, make
from yolo_nas_ext.study import Study, Trial

# Keys of a search on Ray, and what the executor calls them.
RAY_KEYS = {"ray_address": "address", "cpus_per_trial": "cpus", "gpus_per_trial": "gpus"}
POLL = 1.0  # seconds between looks at what other processes do


def run(
    study: Study,
    strategy: Strategy,
    estimate: Estimate,
    *,
    trials: int,
    seed: int = 0,
    seeds: Sequence[Trial] = (),
    hours: float = math.inf,
    cost_of: Callable[[Architecture], dict[str, float]] | None = None,
    fidelity: Mapping[str, float] | None = None,
    pruner: str = "none",
    on_trial: Callable[[Trial], None] = lambda trial: None,
    executor: Executor | None = None,
) -> bool:
    """Add trials to a study until it has `trials` of them.

    The generator of trial n derives from (seed, n), and where one trial runs at a time strategies
    see finished ones only, so a resumed search proposes what an uninterrupted one would have. With
    several at a time, or several processes on one record, nothing is lost and nothing tried twice.

    Args:
        study: The record; its finished trials are kept, a running one is run again.
        strategy: Where to look.
        estimate: Returns metrics with ``fitness`` for a trial; what it raises fails that trial. It
            may report the learning curve meanwhile.
        trials: Number of trials in all.
        seed: Of the proposals.
        seeds: Networks to try before the strategy proposes, in order: hand-made ones.
        hours: No trial starts once the trials have taken this long.
        cost_of: Analytic costs to record with a trial.
        fidelity: Recorded with a trial, with the network's own image size where it has one.
        pruner: Gives up trials whose learning curve falls behind; see `pruning.PRUNERS`.
        on_trial: Called when a trial starts and when it has ended.
        executor: Judges the trials; this process, one after the other, unless given.

    Returns:
        Whether the search ended because the space or the hours are exhausted.
    """
    executor = executor or Inline(estimate)
    pruning = Pruning(pruner, [t for t in study.trials if t.state != "running"])
    again = [t for t in study.trials if t.state == "running"] if study.mine else []
    ended = False
    try:
        while True:
            while not ended and executor.running < executor.slots:
                study.refresh()
                spent = sum(trial.seconds for trial in study.trials) / executor.slots
                if not again and len(study.trials) >= trials:
                    break
                candidate = again.pop(0) if again else _candidate(study, strategy, seed, seeds)
                if spent >= 3600 * hours or candidate is None:
                    ended = True
                    break
                cost = cost_of(candidate.architecture) if cost_of and candidate.architecture else {}
                claim = replace(candidate, fidelity=_fidelity(candidate, fidelity), cost=cost)
                trial = study.start(claim, most=trials)
                if trial is None:  # another process was first
                    continue
                on_trial(trial)
                pruning.start(trial)
                executor.submit(trial)
            if executor.running:
                trial = executor.wait(pruning.prune)
                pruning.end(trial)
                study.finish(trial)
                on_trial(trial)
            elif not ended and study.others:
                time.sleep(POLL)  # a trial of a process that died comes back
            else:
                return ended
    finally:
        executor.close()


def _fidelity(trial: Trial, fidelity: Mapping[str, float] | None) -> dict[str, float]:
    """Return how a trial is judged; a network that has an image size of its own is at that."""
    found = dict(fidelity or {})
    if "imgsz" in found and trial.architecture and trial.architecture.imgsz:
        found["imgsz"] = trial.architecture.imgsz
    return found


def _candidate(study: Study, strategy: Strategy, seed: int, seeds: Sequence[Trial]) -> Trial | None:
    """Return what to try next, or None when there is nothing left."""
    if (lost := study.lost()) is not None:
        return lost
    number = len(study.trials)
    if number < len(seeds):
        return replace(seeds[number], number=number)
    points = strategy.propose(study.trials, 1, random.Random(f"{seed}/{number}"))
    if not points:
        return None
    space = study.space
    architecture = space.architecture(points[0]) if isinstance(space, DetectorSpace) else None
    return Trial(number, points[0], architecture)


def search(
    space: ChoiceSpace | str | None = None,
    estimator: Callable[[Any], Mapping[str, float]] | str | None = None,
    *,
    strategy: str | None = None,
    trials: int | None = None,
    seed: int | None = None,
    project: str | Path | None = None,
    objectives: str | Sequence[str] | None = None,
    limits: Mapping[str, float] | None = None,
    features: Callable[[Point], Sequence[float]] | None = None,
    jobs: int | None = None,
    executor: str | None = None,
    storage: str | None = None,
    **settings: Any,
) -> Study:
    """Search, and return the record.

    With a callable as estimator: judge the points of any `ChoiceSpace` by it; the record is kept in
    memory unless `project` names a folder. Otherwise: the whole job of ``yolo nas-search`` with the
    same keys, for example ``search(data="cells.yaml", trials=20)``.

    Args:
        space: A space, or for the whole job the name of a shipped one or a YAML.
        estimator: A function from a point to metrics with ``fitness``, which is maximised; or the
            name of an estimator.
        strategy: A name in `strategies.STRATEGIES` or ``optuna:`` and a sampler's; ``auto`` unless
            given.
        trials: Number of trials; 50 with a callable.
        seed: Of the proposals; 0 unless given.
        project: Folder for the record; of the whole job, the folder of runs.
        objectives: Names of metrics, ``fitness`` alone unless given; see `objectives.sign` for
            their directions.
        limits: Bounds that the answer must keep, by name of a metric: the most a cost may be, the
            least a score may be.
        features: With a callable: free numbers about a point that a model may learn from.
        jobs: Number of trials at a time, each in a process of its own; 1 unless given.
        executor: ``local``, or ``ray`` for tasks of a Ray cluster; see `executors.cluster.Cluster`.
        storage: URL of an Optuna storage that several processes may share; see `shared`.
        **settings: Further keys of the command, for the whole job only. With a callable, of Ray:
            ``ray_address``, ``cpus_per_trial`` and ``gpus_per_trial``.

    Raises:
        NASError: For bad input.

    Example:
        >>> space = ChoiceSpace({"a": (1, 2, 3), "b": (1, 2, 3)})
        >>> search(space, lambda p: {"fitness": p["a"] * p["b"]}, trials=9).best.point["a"]
        3
    """
    if not callable(estimator):
        from yolo_nas_ext import job  # loads torch and Ultralytics, which a table does not need

        given = {
            "space": space, "estimator": estimator, "strategy": strategy, "trials": trials,
            "seed": seed, "project": project, "objectives": objectives, "limits": limits,
            "jobs": jobs, "executor": executor, "storage": storage, **settings,
        }  # fmt: skip
        return job.search({n: v for n, v in given.items() if v is not None}, run).study
    if not isinstance(space, ChoiceSpace):
        raise NASError(f"space={space!r}: with a callable estimator, give a ChoiceSpace")
    if unknown := set(settings) - RAY_KEYS.keys():
        raise NASError(f"{min(unknown)}: not a key of a search with a callable estimator")
    n = config.value("trials", 50 if trials is None else trials)
    base = config.value("seed", seed or 0)
    path = None
    if project is not None:
        path = Path(project) / "study.db"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise NASError(
                f"project={project}: cannot write there ({error.strerror}); give a folder that can "
                "be written"
            ) from error
    names = objectives.split(",") if isinstance(objectives, str) else objectives or ("fitness",)
    goal = Goal(tuple(names), dict(limits or {}))
    check_executor(executor or "local")
    study = SharedStudy(space, storage, goal) if storage else Study(space, path, goal)
    look = make(strategy or "auto", space, goal=goal, trials=n, features=features)

    def estimate(trial: Trial, report: Report) -> Mapping[str, float]:
        return estimator(trial.point)

    options = {RAY_KEYS[name]: value for name, value in settings.items()}
    run(
        study, look, estimate, trials=n, seed=base, cost_of=Budget().record,
        executor=make_executor(executor or "local", estimate, jobs, **options),
    )  # fmt: skip
    return study
