"""One trial after the other in this process."""

from __future__ import annotations

from yolo_nas_ext.errors import THEN, RunError
from yolo_nas_ext.executors.run_trial import STICKY, Estimate, Prune, run_trial
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
        self._broken = ""  # the error after which this process can use its GPU no more

    @property
    def running(self) -> int:
        """Number of trials submitted and not yet returned."""
        return len(self._waiting)

    def submit(self, trial: Trial) -> None:
        """Keep the trial until it is waited for."""
        self._waiting.append(trial)

    def wait(self, prune: Prune) -> Trial:
        """Evaluate and return the trial.

        Raises:
            RunError: After a trial that left the GPU without use for this process.
        """
        if self._broken:
            raise RunError(f"{self._broken}; this process can use the GPU no more: {THEN}")
        trial = run_trial(self._waiting.pop(), self._estimate, prune)
        self._broken = trial.error if trial.error.startswith(STICKY) else ""
        return trial

    def close(self) -> None:
        """Forget what was submitted."""
        self._waiting.clear()
