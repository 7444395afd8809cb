"""Early stopping: a candidate whose learning curve falls behind is pruned."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import optuna
from optuna.pruners import BasePruner, MedianPruner, SuccessiveHalvingPruner
from optuna.storages import InMemoryStorage
from optuna.trial import TrialState

from yolo_nas_ext.errors import NASError, did_you_mean
from yolo_nas_ext.study.coder import STATES
from yolo_nas_ext.study.trial import Trial

REDUCTION = 3  # of so many candidates one goes on
FIRST = 5  # trials that always run to their end, for the median to mean something

PRUNERS: dict[str, Callable[[], BasePruner | None]] = {
    "none": lambda: None,
    # Below the median of the others at the same epoch.
    "median": lambda: MedianPruner(n_startup_trials=FIRST),
    # Not among the best third at epochs 1, 3, 9, ... (Li et al. 2020, arXiv:1810.05934)
    "asha": lambda: SuccessiveHalvingPruner(min_resource=1, reduction_factor=REDUCTION),
}


class Pruning:
    """Decides epoch by epoch whether a trial is worth going on with.

    Optuna's pruner works on a study in memory that mirrors the record's learning curves; made from
    the same history it decides the same, so a resumed search prunes the trials that an
    uninterrupted one would have pruned.

    Args:
        name: A key of `PRUNERS`.
        history: Trials that have ended, in order.

    Raises:
        NASError: For an unknown name.
    """

    def __init__(self, name: str, history: Sequence[Trial] = ()) -> None:
        if name not in PRUNERS:
            raise NASError(
                f"pruner={name}: no such pruner.{did_you_mean(name, PRUNERS)} Allowed: "
                f"{', '.join(PRUNERS)}"
            )
        self._pruner = PRUNERS[name]()
        self._storage = InMemoryStorage()
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.study = optuna.create_study(storage=self._storage, direction="maximize")
        self._ids: dict[int, int] = {}
        for trial in history if self._pruner else ():
            self._recall(trial)

    def _recall(self, trial: Trial) -> None:
        """Note a trial that has ended.

        Asking the pruner again what it said would take as long as the history is, for each of its
        trials. The pruner would keep only a trial's values at the epochs that count.
        """
        self.start(trial)
        trial_id, rung = self._ids[trial.number], 0
        for step, value in sorted(trial.curve.items()):
            self._storage.set_trial_intermediate_value(trial_id, step, value)
            counts = isinstance(self._pruner, SuccessiveHalvingPruner) and not math.isnan(value)
            while counts and step >= REDUCTION**rung:
                self._storage.set_trial_system_attr(trial_id, f"completed_rung_{rung}", value)
                rung += 1
        self.end(trial)

    def start(self, trial: Trial) -> None:
        """Begin a trial."""
        if self._pruner is not None:
            self._ids[trial.number] = self._storage.create_new_trial(self.study._study_id)

    def prune(self, trial: Trial, step: int, value: float) -> bool:
        """Say whether to prune a running trial; a baseline never is.

        Nor is a trial at its last epoch, where nothing is left to save. The values of both at the
        epochs that count are noted all the same, as the other trials are compared with them.

        Args:
            trial: The trial; ``epochs`` of its fidelity is the last one.
            step: Epoch, from 1.
            value: How good the network is by then; higher is better, and comparable between
                networks at the same epoch.
        """
        if self._pruner is None:
            return False
        trial_id = self._ids[trial.number]
        self._storage.set_trial_intermediate_value(trial_id, step, value)
        behind = self._pruner.prune(self.study, self._storage.get_trial(trial_id))
        spared = trial.name or step >= trial.fidelity.get("epochs", math.inf)
        return behind and not spared

    def end(self, trial: Trial) -> None:
        """Note what became of a running trial."""
        if self._pruner is None:
            return
        state = STATES[trial.state]
        values = [trial.fitness] if state == TrialState.COMPLETE else None
        self._storage.set_trial_state_values(self._ids[trial.number], state, values)
