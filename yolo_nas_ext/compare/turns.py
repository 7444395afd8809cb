"""The trainings of a comparison as processes are given them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yolo_nas_ext.estimators.training import Training
from yolo_nas_ext.executors.run_trial import Report
from yolo_nas_ext.host import devices
from yolo_nas_ext.study.trial import Trial


@dataclass(frozen=True)
class Turn:
    """One model with one seed.

    Attributes:
        training: How it is trained and measured.
        definition: What is trained.
        fidelity: The seed, and an image size of its own.
        weights: Where its checkpoint goes, if anywhere.
    """

    training: Training
    definition: Mapping[str, Any]
    fidelity: Mapping[str, float]
    weights: Path | None

    def train(self, on_epoch: Callable[[int, Mapping[str, float]], None]) -> dict[str, float]:
        """Return the metrics.

        Raises:
            TrialError: For a model that cannot be trained.
        """
        return self.training.estimate(
            self.definition, self.fidelity, on_epoch, weights=self.weights
        )


@dataclass(frozen=True)
class Turns:
    """Trains the turn that a trial's number says; copied to every process.

    Attributes:
        turns: All that are left, of which those of one training share its data.
    """

    turns: Sequence[Turn]

    def __call__(self, trial: Trial, report: Report) -> Mapping[str, float]:
        """Return the metrics of a turn."""
        return self.turns[trial.number].train(lambda epoch, metrics: report(epoch, 0.0))

    def use_device(self, device: str) -> None:
        """Train on that device from now on, in this process."""
        devices.use(device)
