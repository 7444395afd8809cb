"""Confirmation: the best candidates get a training of their own before a winner is named.

Where the search measures cheaply, with shared weights or after a few epochs, a training is more to
be trusted.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

from yolo_nas_ext.config.names import CONFIRM_AGAIN, CONFIRM_FULL, CONFIRM_TUNED
from yolo_nas_ext.config.rules import way
from yolo_nas_ext.config.search import FULL, SearchSettings
from yolo_nas_ext.estimators.base import Context
from yolo_nas_ext.estimators.factory import training_options
from yolo_nas_ext.estimators.training import (
    PROJECTED,
    FineTuning,
    FullTraining,
    ShortTraining,
    Training,
)
from yolo_nas_ext.executors import Executor
from yolo_nas_ext.executors.inline import Inline
from yolo_nas_ext.executors.run_trial import Estimate
from yolo_nas_ext.executors.spread import spread
from yolo_nas_ext.network.architecture import Architecture
from yolo_nas_ext.pipeline.reevaluate import PART, fittest
from yolo_nas_ext.study.study import Study
from yolo_nas_ext.study.trial import Trial


def confirm(
    study: Study,
    train: Estimate,
    *,
    n: int,
    executor: Callable[[Estimate], Executor] = Inline,
    on_confirmed: Callable[[Trial], None] = lambda trial: None,
) -> None:
    """Train the `n` best trials, and what they are compared with.

    That is the baselines, a parent as well, and the best of its pencils. The winner is the best of
    them by their own trainings, see `Study.best`. What is recorded is not trained again.

    Args:
        study: A finished search; the trainings are recorded in it.
        train: Returns metrics with ``fitness`` of a trial after a training of its own.
        n: Number of best candidates, see `Study.candidates`; at most a quarter of them are.
        executor: Makes what trains; this process, one after the other, unless given.
        on_confirmed: Called with a trial once its training is recorded.
    """
    study.refresh()
    order = fittest(study)
    n = min(n, len(order) // PART)
    kept = {"fitness", *study.goal.objectives, *study.goal.limits}
    pencil = sorted(study.known_pencils, key=lambda t: (-t.fitness, t.number))[:1]
    others = [t for t in order[n:] if t.name and t.name not in study.pencils]
    chosen = list({t.number: t for t in (*order[:n], *pencil, *others)}.values()) if n else []
    # Costs are known, and are none of what is measured.
    left = iter([replace(t, cost={}) for t in chosen if t.number not in study.confirmed])
    for ended in spread(lambda: executor(train), lambda: next(left, None)):
        metrics = {name: v for name, v in ended.metrics.items() if name in kept}
        trained = ended.state == "complete"
        own = {**metrics, "seconds": ended.seconds} if trained else {}
        study.record_confirmation(ended.number, own)
        on_confirmed(next(t for t in study.results if t.number == ended.number))


WAYS: dict[str, type[Training] | None] = {
    CONFIRM_AGAIN: None,
    CONFIRM_TUNED: ShortTraining,
    "short": ShortTraining,
    CONFIRM_FULL: FullTraining,
}
SHARE = 0.2  # of the supernet's epochs, for a network that starts from its weights


class ConfirmTraining:
    """Trains networks alone, or on from their weights in a supernet.

    Args:
        config: Settings of the search, see `config.search`; its way is not ``again``.
        data: The data set.
        estimator: What evaluated the networks; of ``tuned`` the one with the shared weights.
        context: Where decoded images are kept; in memory alone without one.

    Raises:
        NASError: For settings that no training can have.
    """

    def __init__(
        self, config: SearchSettings, data: Any, estimator: Any, context: Context | None = None
    ) -> None:
        kind = WAYS[way(config)]
        if kind is None:
            raise ValueError("a re-evaluation is the estimator's own")
        if config.model:
            kind = FineTuning
        given = {**training_options(config), "epochs": epochs_of(config), "teacher": config.teacher}
        self.tuned = way(config) == CONFIRM_TUNED
        if not self.tuned and config.estimator != "supernet":
            if way(config) == CONFIRM_FULL and "batch" not in config.given:
                given["batch"] = config.final_batch if config.model else FULL["batch"]
            if config.fitness in ("auto", PROJECTED):  # which foretells what is measured here
                given["fitness"] = "host"
        self._supernet, self._training = estimator, kind(data, **given)
        self._folds = config.folds
        # Weights have seen the images that another seed would hold out; alone, nothing has.
        self._seed = config.seed + (not self.tuned)
        self._training.use_context(context or Context())

    def train(
        self,
        network: Architecture | Mapping[str, Any],
        weights: Path,
        inherit: Path | None = None,
    ) -> Mapping[str, float]:
        """Return the metrics of a network after its training.

        Args:
            network: A network of the space, or a model definition.
            weights: Where its checkpoint goes.
            inherit: What it starts from, where that is something else than `config` says.

        Raises:
            TrialError: For a network that cannot be trained.
        """
        fidelity = {"seed": self._seed}
        if not self.tuned:
            return self._folded(network, fidelity, weights, inherit)
        with tempfile.TemporaryDirectory() as folder:
            start = Path(folder) / "extracted.pt"
            self._supernet.estimate(network, weights=start)
            return self._training.estimate(network, fidelity, weights=weights, inherit=start)

    def _folded(
        self,
        network: Architecture | Mapping[str, Any],
        fidelity: Mapping[str, float],
        weights: Path,
        inherit: Path | None,
    ) -> Mapping[str, float]:
        """Return the mean over the parts that are held out in turn; weights are of the first."""
        parts = [
            {"fold": i, "folds": self._folds} if self._folds > 1 else {} for i in range(self._folds)
        ]
        found = [
            self._training.estimate(
                network,
                {**fidelity, **part},
                weights=None if index else weights,
                inherit=inherit,
            )
            for index, part in enumerate(parts)
        ]
        return {name: fmean(metrics[name] for metrics in found) for name in found[0]}


def epochs_of(config: SearchSettings) -> int:
    """Return the epochs of the training that confirms a network."""
    if config.confirm_epochs:
        return config.confirm_epochs
    if way(config) == CONFIRM_TUNED:
        return max(1, round(SHARE * config.epochs))
    if config.estimator in ("supernet", way(config)):
        return config.epochs
    if way(config) == CONFIRM_FULL and config.model:
        return config.final_epochs
    return FULL["epochs"] if way(config) == CONFIRM_FULL else SearchSettings().epochs


def how(config: SearchSettings) -> str:
    """Return how the best are trained, in words."""
    epochs = epochs_of(config)
    parts = f", mean of {config.folds} parts held out in turn" if config.folds > 1 else ""
    if way(config) == CONFIRM_TUNED:
        return f"trained on from the supernet's weights for {epochs} epochs"
    if config.model:
        return f"fine-tuned from {config.model}, for {epochs} epochs{parts}"
    return f"trained alone, {way(config)}, for {epochs} epochs{parts}"
