"""How the best of a search are trained once more: each from what it began with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from yolo_nas_ext.config.search import SearchSettings
from yolo_nas_ext.estimators.base import Context
from yolo_nas_ext.executors.run_trial import Report
from yolo_nas_ext.host import devices
from yolo_nas_ext.pipeline import warm_start
from yolo_nas_ext.pipeline.baselines import Begin
from yolo_nas_ext.pipeline.confirm import ConfirmTraining
from yolo_nas_ext.study.trial import Trial


@dataclass
class Confirmation:
    """Trains the best of a search from what each began with; copied to other processes.

    Attributes:
        config: How candidates are trained.
        data: The data set.
        estimator: What evaluated them.
        folder: The run folder.
        begins: How baselines begin that do not as candidates do, by name.
        changed: Settings that all have in place of their own.
    """

    config: SearchSettings
    data: Any
    estimator: Any
    folder: Path
    begins: Mapping[str, Begin] = field(default_factory=dict)
    changed: Mapping[str, Any] = field(default_factory=dict)
    _made: dict[str, ConfirmTraining] = field(default_factory=dict, repr=False)

    def __call__(self, trial: Trial, report: Report) -> Mapping[str, float]:
        """Return the metrics of a trial's network after a training of its own."""
        begin = self.begins.get(trial.name, Begin())
        weights = warm_start.weights_of(self.folder, trial)
        how = self._training(trial.name if begin.config else "")
        return how.train(begin.definition or trial.network, weights, begin.inherit)

    def use_device(self, device: str) -> None:
        """Train on that device from now on, in this process."""
        devices.use(device)

    def _training(self, name: str) -> ConfirmTraining:
        """Return how the trial of a name is trained, all without one alike.

        Made once, as one reads the parent and looks at what matters in it.
        """
        if name not in self._made:
            config = self.begins.get(name, Begin()).config or self.config
            self._made[name] = ConfirmTraining(
                replace(config, **self.changed), self.data, self.estimator, Context(self.folder)
            )
        return self._made[name]
