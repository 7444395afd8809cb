"""Re-evaluation: the estimator again, under another seed, before a winner is named.

The best of many noisy measurements is flattered by its luck, the winner's curse; a second
measurement is not.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping

from yolo_nas_ext.errors import TrialError
from yolo_nas_ext.study.study import Study
from yolo_nas_ext.study.trial import Trial

PART = 4  # at most one trial of so many, times two where the order changes


def reevaluate(
    study: Study,
    evaluate: Callable[[Trial, int], Mapping[str, float]],
    *,
    n: int,
    seed: int,
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
        evaluate: Returns metrics with ``fitness`` of a trial under another seed.
        n: Number of best candidates, see `Study.candidates`; at most a quarter of them are.
        seed: The search's; the second measurement takes the next one.
        on_reevaluated: Called with a trial as it was and as it is thereafter.
        deadline: `time.perf_counter` after which none is started.
    """
    study.refresh()  # other processes that share the record re-evaluate too
    n = min(n, len(study.candidates) // PART)

    def late() -> bool:
        return deadline is not None and time.perf_counter() > deadline

    def again(trial: Trial) -> None:
        try:
            found = evaluate(trial, seed + 1)
            metrics = [{name: float(v) for name, v in found.items() if math.isfinite(v)}]
        except TrialError:
            metrics = []  # measured once: there is nothing to average
        study.record_repeat(trial.number, metrics)
        on_reevaluated(trial, next(t for t in study.results if t.number == trial.number))
        study.refresh()

    while len(study.repeats) < 2 * n and not late():
        trial = next((t for t in fittest(study)[:n] if t.number not in study.repeats), None)
        if trial is None:
            break
        again(trial)
    while study.repeats and not late():  # the best baseline may be another one thereafter
        other = beside(study)
        if other is None or other.number in study.repeats:
            break
        again(other)


def beside(study: Study) -> Trial | None:
    """Return the trial that the winner is compared with: the parent, else the best baseline."""
    named = [t for t in study.complete if t.name]
    parent = next((t for t in named if t.name == study.parent), None)
    shown = [study.measure.restated(t) for t in named]
    return parent or max(shown, key=lambda t: (t.fitness, -t.number), default=None)


def fittest(study: Study) -> list[Trial]:
    """Return the candidates of the study, the fittest first."""
    return sorted(study.candidates, key=lambda t: (-t.fitness, t.number))
