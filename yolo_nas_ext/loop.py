"""The loop of a search: propose, estimate, record, until the trials or the hours are used up."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from yolo_nas_ext.executors import Executor
from yolo_nas_ext.executors.inline import Inline
from yolo_nas_ext.executors.run_trial import Estimate
from yolo_nas_ext.network.architecture import Architecture
from yolo_nas_ext.space.networks import NetworkSpace
from yolo_nas_ext.strategies import Strategy
from yolo_nas_ext.study.pruning import Pruning
from yolo_nas_ext.study.study import Study
from yolo_nas_ext.study.trial import Trial

HOURS, NOTHING = "hours", "nothing proposed"  # why a search ends before its trials
POLL = 1.0  # seconds between looks at what other processes do


def nothing_left(ended: str, study: Study, trials: int, whose: str = "strategy") -> str:
    """Return what to say of a search that `run` ended with `NOTHING`; nothing of others."""
    if ended != NOTHING or len(study.trials) >= trials:
        return ""
    return f"the {whose} proposed nothing after {len(study.trials)} of {trials} trials"


def run(
    study: Study,
    strategy: Strategy,
    estimate: Estimate,
    *,
    trials: int,
    seed: int = 0,
    baselines: Sequence[Trial] = (),
    hours: float = math.inf,
    cost_of: Callable[[Architecture], dict[str, float]] | None = None,
    fidelity: Mapping[str, float] | None = None,
    pruner: str = "none",
    on_trial: Callable[[Trial], None] = lambda trial: None,
    executor: Executor | None = None,
) -> str:
    """Add trials to a study until it has `trials` of them.

    The generator of trial n derives from (seed, n). Where one trial runs at a time, strategies see
    finished ones only. So a resumed search proposes what an uninterrupted one would have. With
    several at a time, or several processes on one record, nothing is lost and nothing tried twice.

    Args:
        study: The record; its finished trials are kept, a running one is run again.
        strategy: Where to look.
        estimate: Returns metrics with ``fitness`` for a trial; what it raises fails that trial. It
            may report the learning curve meanwhile.
        trials: Number of trials in all.
        seed: Of the proposals.
        baselines: Networks to try before the strategy proposes, in order: the baselines.
        hours: No trial starts once the trials have taken this long.
        cost_of: Analytic costs to record with a trial.
        fidelity: Recorded with a trial, with the network's own image size where it has one.
        pruner: Stops trials whose learning curve falls behind; see `study.pruning.PRUNERS`.
        on_trial: Called when a trial starts and when it has ended.
        executor: Evaluates the trials; this process, one after the other, unless given.

    Returns:
        Why the search ended before its trials: `HOURS`, or `NOTHING` where the strategy had nothing
        more to propose; empty where it did not.
    """
    executor = executor or Inline(estimate)
    pruning = Pruning(pruner, [t for t in study.trials if t.state != "running"])
    ended = ""
    try:
        while True:
            while not ended and executor.running < executor.slots:
                study.refresh()
                spent = sum(trial.seconds for trial in study.trials) / executor.slots
                lost = study.lost(trials)
                if lost is None and len(study.trials) >= trials:
                    break
                candidate = lost or _candidate(study, strategy, seed, baselines)
                if spent >= 3600 * hours or candidate is None:
                    ended = NOTHING if candidate is None else HOURS
                    break
                cost = candidate.cost
                if cost_of and candidate.architecture:
                    cost = cost_of(candidate.architecture)
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
            elif not ended and (study.others or study.lost(trials)):
                time.sleep(POLL)  # a trial of a process that died comes back
            else:
                return ended
    finally:
        executor.close()
        study.abandon()


def _fidelity(trial: Trial, fidelity: Mapping[str, float] | None) -> dict[str, float]:
    """Return the fidelity of a trial; a network with an image size of its own is at that size."""
    found = dict(fidelity or {})
    if "imgsz" in found and trial.architecture and trial.architecture.imgsz:
        found["imgsz"] = trial.architecture.imgsz
    return found


def _candidate(
    study: Study, strategy: Strategy, seed: int, baselines: Sequence[Trial]
) -> Trial | None:
    """Return what to try next, or None when there is nothing left."""
    number = len(study.trials)
    if number < len(baselines):
        return replace(baselines[number], number=number)
    points = strategy.propose(study.trials, 1, random.Random(f"{seed}/{number}"))
    if not points:
        return None
    space = study.space
    architecture = space.architecture(points[0]) if isinstance(space, NetworkSpace) else None
    return Trial(number, points[0], architecture)
