"""One trial after the other in this process."""

from __future__ import annotations

from yolo_nas_ext.executors.run_trial import Estimate, Prune, run_trial
from yolo_nas_ext.study.trial import Trial


class Inline:
    """Evaluates a trial when it is waited for.

    Args:
        estimate: Evaluates one trial.
    """

    slots = 1

    def __init__(self, estimate: Estimate) -> None:
        self._estimate = estimate
        self._waiting: list[Trial] = []

    @property
    def running(self) -> int:
        """Number of trials submitted and not yet returned."""
        return len(self._waiting)

    def submit(self, trial: Trial) -> None:
        """Keep the trial until it is waited for."""
        self._waiting.append(trial)

    def wait(self, prune: Prune) -> Trial:
        """Evaluate and return the trial."""
        return run_trial(self._waiting.pop(), self._estimate, prune)

    def close(self) -> None:
        """Forget what was submitted."""
        self._waiting.clear()
