"""search(): propose, gate by cost, estimate, record, until the trials or the hours are used up."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from yolo_nas_ext.cost.budget import Budget
from yolo_nas_ext.errors import NASError, TrialError
from yolo_nas_ext.objectives import Goal
from yolo_nas_ext.pruning import Pruning
from yolo_nas_ext.space.architecture import Architecture
from yolo_nas_ext.space.choices import ChoiceSpace, Point
from yolo_nas_ext.space.detector import DetectorSpace
from yolo_nas_ext.strategies import Strategy, make
from yolo_nas_ext.study import Study, Trial

Report = Callable[[int, float], None]  # an epoch from 1, and how good the network is after it
Estimate = Callable[[Trial, Report], Mapping[str, float]]


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
) -> bool:
    """Add trials to a study until it has `trials` of them.

    The generator of trial n derives from (seed, n), and strategies see finished trials only, so a
    resumed search proposes what an uninterrupted one would have.

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
        fidelity: Recorded with a trial.
        pruner: Gives up trials whose learning curve falls behind; see `pruning.PRUNERS`.
        on_trial: Called when a trial starts and when it has ended.

    Returns:
        Whether the search ended because the space or the hours are exhausted.
    """
    finished = [t for t in study.trials if t.state != "running"]
    pruning = Pruning(pruner, finished)
    for number in range(len(finished), trials):
        spent = sum(trial.seconds for trial in study.trials)
        if spent >= 3600 * hours:
            return True
        candidate = _candidate(study, strategy, number, seed, seeds)
        if candidate is None:
            return True
        cost = cost_of(candidate.architecture) if cost_of and candidate.architecture else {}
        trial = study.start(
            replace(candidate, number=number, fidelity=dict(fidelity or {}), cost=cost)
        )
        on_trial(trial)
        pruning.start()
        trial = _judge(trial, estimate, pruning.prune)
        pruning.end(trial)
        study.finish(trial)
        on_trial(trial)
    return False


def _candidate(
    study: Study, strategy: Strategy, number: int, seed: int, seeds: Sequence[Trial]
) -> Trial | None:
    """Return what to try as trial `number`, or None when there is nothing left."""
    if number < len(study.trials):  # was in flight when the run was killed
        return study.trials[number]
    if number < len(seeds):
        return seeds[number]
    points = strategy.propose(study.trials, 1, random.Random(f"{seed}/{number}"))
    if not points:
        return None
    space = study.space
    architecture = space.architecture(points[0]) if isinstance(space, DetectorSpace) else None
    return Trial(number, points[0], architecture)


def _judge(trial: Trial, estimate: Estimate, prune: Callable[[int, float], bool]) -> Trial:
    """Return the trial with its outcome; only an interrupt and bad input get past.

    The analytic costs join the metrics in the units of objectives: millions of parameters, GFLOPs,
    MB of activations.
    """
    begin = time.perf_counter()
    metrics: dict[str, float] = {}
    curve: dict[int, float] = {}
    error = ""

    def report(epoch: int, value: float) -> None:
        curve[epoch] = value
        if prune(epoch, value):
            raise TrialError("pruned", f"fell behind after epoch {epoch}")

    try:
        metrics = {name: float(value) for name, value in estimate(trial, report).items()}
        if not math.isfinite(metrics.get("fitness", math.nan)):
            error = f"nan: fitness is {metrics.get('fitness', 'missing')}"
    except TrialError as failure:
        error = f"{failure.kind}: {failure}"
    except NASError:
        raise
    except MemoryError:
        error = "memory: out of memory"
    except Exception as failure:
        error = f"error: {type(failure).__name__}: {' '.join(str(failure).split())[:300]}"
    return replace(
        trial,
        state="pruned" if error.startswith("pruned: ") else "failed" if error else "complete",
        metrics={n: v for n, v in {**units(trial.cost), **metrics}.items() if math.isfinite(v)},
        seconds=time.perf_counter() - begin,
        error=error,
        curve=curve,
    )


def units(cost: Mapping[str, float]) -> dict[str, float]:
    """Return analytic costs under the names of objectives, which carry their unit."""
    scale = {
        "params": ("params_m", 1e6),
        "flops": ("flops_g", 1e9),
        "memory_bytes": ("memory_mb", 1e6),
    }
    return {scale[n][0]: v / scale[n][1] for n, v in cost.items() if n in scale}


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
        **settings: Further keys of the command, for the whole job only.

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
            **settings,
        }  # fmt: skip
        return job.search({n: v for n, v in given.items() if v is not None}, run).study
    if not isinstance(space, ChoiceSpace):
        raise NASError(f"space={space!r}: with a callable estimator, give a ChoiceSpace")
    if settings:
        raise NASError(f"{next(iter(settings))}: not a key of a search with a callable estimator")
    path = None
    if project is not None:
        Path(project).mkdir(parents=True, exist_ok=True)
        path = Path(project) / "study.db"
    names = objectives.split(",") if isinstance(objectives, str) else objectives or ("fitness",)
    goal = Goal(tuple(names), dict(limits or {}))
    study = Study(space, path, goal)
    trials = 50 if trials is None else trials
    look = make(strategy or "auto", space, goal=goal, trials=trials, features=features)

    def estimate(trial: Trial, report: Report) -> Mapping[str, float]:
        return estimator(trial.point)

    run(study, look, estimate, trials=trials, seed=seed or 0, cost_of=Budget().record)
    return study
