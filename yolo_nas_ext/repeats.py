"""Repeats: the best candidates are judged again before a winner is named.

The best of many noisy measurements is flattered by its luck, the winner's curse; a second
measurement is not. Where the measurement is a cheap one, with shared weights or a few epochs, the
second one may be a training that is more to be trusted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from yolo_nas_ext.errors import TrialError
from yolo_nas_ext.study import Study, Trial

PART = 4  # at most one trial of so many is repeated, times two where repeats change the order


def repeat(
    study: Study,
    estimate: Callable[[Trial, int], Mapping[str, float]],
    *,
    n: int,
    seed: int,
    on_repeat: Callable[[Trial, Trial], None] = lambda before, after: None,
    deadline: float | None = None,
) -> None:
    """Judge the `n` best trials again, and those that are among the `n` best thereafter.

    Fitness of a repeated trial is the mean of both measurements, so that others may overtake it;
    these are repeated too, up to `2 n` trials in all. What is recorded is not judged again.

    Args:
        study: A finished search; repeats are recorded in it.
        estimate: Returns metrics with ``fitness`` of a trial under another seed.
        n: Number of best candidates, see `Study.candidates`; at most a quarter of them are.
        seed: The search's; repeats take the next one.
        on_repeat: Called with a trial as it was and as it is after its repeat.
        deadline: `time.perf_counter` after which none is started.
    """
    study.refresh()  # other processes that share the record repeat too
    n = min(n, len(study.candidates) // PART)
    while len(study.repeats) < 2 * n:
        trial = next((t for t in _best(study)[:n] if t.number not in study.repeats), None)
        if trial is None or (deadline is not None and time.perf_counter() > deadline):
            return
        try:
            again = [float(estimate(trial, seed + 1)["fitness"])]
        except TrialError:
            again = []  # judged once: there is nothing to average
        study.repeat(trial.number, again)
        on_repeat(trial, next(t for t in study.results if t.number == trial.number))
        study.refresh()


def confirm(
    study: Study,
    train: Callable[[Trial], Mapping[str, float]],
    *,
    n: int,
    on_confirmed: Callable[[Trial], None] = lambda trial: None,
) -> None:
    """Train the `n` best trials, and the hand-made ones to compare them with.

    The winner is the best of them by their own trainings, see `Study.best`. What is recorded is not
    trained again.

    Args:
        study: A finished search; the trainings are recorded in it.
        train: Returns metrics with ``fitness`` of a trial after a training of its own.
        n: Number of best candidates, see `Study.candidates`; at most a quarter of them are.
        on_confirmed: Called with a trial once its training is recorded.
    """
    study.refresh()
    order = _best(study)
    n = min(n, len(order) // PART)
    kept = {"fitness", *study.goal.objectives, *study.goal.limits}
    chosen = order[:n] + [t for t in order[n:] if t.name] if n else []
    for trial in chosen:
        if trial.number in study.confirmed:
            continue
        begin = time.perf_counter()
        try:
            metrics = {name: v for name, v in train(trial).items() if name in kept}
            study.confirm(trial.number, {**metrics, "seconds": time.perf_counter() - begin})
        except TrialError:
            study.confirm(trial.number, {})
        on_confirmed(next(t for t in study.results if t.number == trial.number))


def _best(study: Study) -> list[Trial]:
    """Return the candidates of the study, the fittest first."""
    return sorted(study.candidates, key=lambda t: (-t.fitness, t.number))
