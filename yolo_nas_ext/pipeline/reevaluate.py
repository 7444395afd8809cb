"""Re-evaluation: the estimator again, under another seed, before a winner is named.

The best of many noisy measurements is flattered by its luck, the winner's curse; a second
measurement is not.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from yolo_nas_ext.executors import Executor
from yolo_nas_ext.executors.inline import Inline
from yolo_nas_ext.executors.run_trial import Estimate
from yolo_nas_ext.executors.spread import spread
from yolo_nas_ext.study.study import Study
from yolo_nas_ext.study.trial import Trial

PART = 4  # at most one trial of so many, times two where the order changes


def reevaluate(
    study: Study,
    evaluate: Estimate,
    *,
    n: int,
    executor: Callable[[Estimate], Executor] = Inline,
    on_reevaluated: Callable[[Trial, Trial], None] = lambda before, after: None,
    deadline: float | None = None,
) -> None:
    """Evaluate the `n` best trials again, and then who is among the `n` best by it.

    Fitness of a re-evaluated trial is the mean of both measurements, so that others may overtake
    it. Those are re-evaluated too, up to `2 n` trials in all. What is recorded is not done again.
    Last comes what the winner is compared with, the parent or the best baseline, so that both are
    means of as many measurements.

    Args:
        study: A finished search; the second measurements are recorded in it.
        evaluate: Returns metrics with ``fitness`` of a trial under another seed: the search's and
            one.
        n: Number of best candidates, see `Study.candidates`; at most a quarter of them are.
        executor: Makes what evaluates; this process, one after the other, unless given.
        on_reevaluated: Called with a trial as it was and as it is thereafter.
        deadline: `time.perf_counter` after which none is started.
    """
    study.refresh()  # other processes that share the record re-evaluate too
    n = min(n, len(study.candidates) // PART)

    def late() -> bool:
        return deadline is not None and time.perf_counter() > deadline

    running: dict[int, Trial] = {}

    def wanted() -> Trial | None:
        """Return who is to be evaluated next; others may be among the best after each."""
        if late():
            return None
        known = {*study.repeats, *running}
        best = next((t for t in fittest(study)[:n] if t.number not in known), None)
        if len(known) >= 2 * n or best is None:
            # The best baseline may be another one once all of these are known.
            other = beside(study) if study.repeats and not running else None
            best = other if other and other.number not in known else None
        if best is not None:
            running[best.number] = best
            return replace(best, cost={})  # which is known, and no second measurement
        return None

    for ended in spread(lambda: executor(evaluate), wanted):
        before = running.pop(ended.number)
        # Of one that failed the first measurement stays alone.
        study.record_repeat(before.number, [ended.metrics] if ended.state == "complete" else [])
        on_reevaluated(before, next(t for t in study.results if t.number == before.number))
        study.refresh()


def beside(study: Study) -> Trial | None:
    """Return the trial that the winner is compared with: the parent, else the best baseline."""
    named = [t for t in study.complete if t.name]
    parent = next((t for t in named if t.name == study.parent), None)
    shown = [study.measure.restated(t) for t in named]
    return parent or max(shown, key=lambda t: (t.fitness, -t.number), default=None)


def fittest(study: Study) -> list[Trial]:
    """Return the candidates of the study, the fittest first."""
    return sorted(study.candidates, key=lambda t: (-t.fitness, t.number))
