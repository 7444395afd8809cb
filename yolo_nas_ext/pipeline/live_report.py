"""The report of a search that still runs, written again after each trial."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress

from yolo_nas_ext.errors import RunError
from yolo_nas_ext.pipeline import outputs
from yolo_nas_ext.pipeline.state import Job, Observer
from yolo_nas_ext.study.leaderboard import Evaluation
from yolo_nas_ext.study.trial import Trial

SHARE = 0.05  # of a search's time, that its report may take


class LiveReport(Observer):
    """Writes ``report.html`` and ``trials.csv`` after each trial, whole or not at all.

    Where trials take less time than twenty reports do, some are left out: after a report comes a
    pause of twenty times what it took. The report at the end has all.

    Args:
        clock: Returns seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._next = -float("inf")

    def trial(self, job: Job, trial: Trial) -> None:
        """Write how the search stands."""
        ended = sum(t.state != "running" for t in job.study.trials)
        self._write(job, f"{ended} of {max(job.plan.trials, ended)} trials have ended")

    def confirmed(self, job: Job, trial: Trial) -> None:
        """Write what another measurement said."""
        self._write(job, "the best are measured again")

    def final(self, job: Job, training: Evaluation) -> None:
        """Write how the final comparison stands."""
        finals = job.finals
        if finals is not None:
            ended = len(finals.leaderboard().evaluations)
            said = f"{ended} of {len(finals.turns)} trainings of the final comparison have ended"
            self._write(job, said)

    def _write(self, job: Job, running: str) -> None:
        begin = self._clock()
        if begin < self._next:
            return
        with suppress(RunError):  # no room, for example: the report at the end says so then
            outputs.write_report(job, running=running)
        end = self._clock()
        self._next = end + (end - begin) / SHARE
