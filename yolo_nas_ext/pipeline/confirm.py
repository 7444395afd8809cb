"""Repeats: the best candidates are judged again before a winner is named.

The best of many noisy measurements is flattered by its luck, the winner's curse; a second
measurement is not. Where the measurement is a cheap one, with shared weights or a few epochs, the
second one may be a training that is more to be trusted.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from yolo_nas_ext.config.names import AGAIN, ALONE, TUNED
from yolo_nas_ext.config.rules import way
from yolo_nas_ext.config.search import FULL, SearchSettings
from yolo_nas_ext.errors import TrialError
from yolo_nas_ext.estimators.factory import training_options
from yolo_nas_ext.estimators.training import PROJECTED, FullTraining, ShortTraining, Training
from yolo_nas_ext.network.architecture import Architecture
from yolo_nas_ext.study.study import Study
from yolo_nas_ext.study.trial import Trial

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


WAYS: dict[str, type[Training] | None] = {
    AGAIN: None,
    TUNED: ShortTraining,
    "short": ShortTraining,
    ALONE: FullTraining,
}
SHARE = 0.2  # of the supernet's epochs, for a network that starts from its weights


class ConfirmTraining:
    """Trains networks alone, or on from their weights in a supernet.

    Args:
        config: Settings of the search, see `config.search`; its way is not ``again``.
        data: The data set.
        estimator: What judged the networks; of ``tuned`` the one with the shared weights.

    Raises:
        NASError: For settings that no training can have.
    """

    def __init__(self, config: SearchSettings, data: Any, estimator: Any) -> None:
        kind = WAYS[way(config)]
        if kind is None:
            raise ValueError("judging again is the estimator's own")
        given = {**training_options(config), "epochs": epochs_of(config), "teacher": config.teacher}
        self.tuned = way(config) == TUNED
        if not self.tuned and config.estimator != "supernet":
            if kind is FullTraining and "batch" not in config.given:
                given["batch"] = FULL["batch"]
            if config.fitness in ("auto", PROJECTED):  # which foretells what is measured here
                given["fitness"] = "host"
        self._supernet, self._training = estimator, kind(data, **given)
        # Weights have seen the images that another seed would hold out; alone, nothing has.
        self._seed = config.seed + (not self.tuned)
        self._training.images = estimator.images

    def train(self, network: Architecture, weights: Path) -> Mapping[str, float]:
        """Return the metrics of a network after its training.

        Args:
            network: A network of the space.
            weights: Where its checkpoint goes.

        Raises:
            TrialError: For a network that cannot be trained.
        """
        fidelity = {"seed": self._seed}
        if not self.tuned:
            return self._training.estimate(network, fidelity, weights=weights)
        with tempfile.TemporaryDirectory() as folder:
            start = Path(folder) / "extracted.pt"
            self._supernet.estimate(network, weights=start)
            return self._training.estimate(network, fidelity, weights=weights, inherit=start)


def epochs_of(config: SearchSettings) -> int:
    """Return the epochs of a finalist's training."""
    if config.confirm_epochs:
        return config.confirm_epochs
    if way(config) == TUNED:
        return max(1, round(SHARE * config.epochs))
    if config.estimator in ("supernet", way(config)):
        return config.epochs
    return FULL["epochs"] if way(config) == ALONE else SearchSettings().epochs


def how(config: SearchSettings) -> str:
    """Return how finalists are trained, in words."""
    epochs = epochs_of(config)
    if way(config) == TUNED:
        return f"trained on from the supernet's weights for {epochs} epochs"
    return f"trained alone, {way(config)}, for {epochs} epochs"
