"""The bar of a search in a notebook, beside the lines that a search prints everywhere."""

from __future__ import annotations

import sys
import warnings
from typing import Any

from yolo_nas_ext.pipeline.state import Job, Observer
from yolo_nas_ext.report.facts import label
from yolo_nas_ext.study.leaderboard import Evaluation
from yolo_nas_ext.study.trial import Trial

SHELL = "ZMQInteractiveShell"  # of Jupyter and what is built on it


def in_notebook() -> bool:
    """Say whether this process is the kernel of a notebook; loads nothing."""
    python = sys.modules.get("IPython")
    shell = python.get_ipython() if python is not None else None
    return type(shell).__name__ == SHELL


class Bar(Observer):
    """A bar over the trials, and one over the trainings of the final comparison, by `tqdm.auto`."""

    def __init__(self) -> None:
        self._bar: Any = None

    def start(self, job: Job) -> None:
        """Show what is recorded already."""
        ended = sum(t.state != "running" for t in job.study.trials)
        self._open(max(job.plan.trials, ended), "search", "trial", ended)

    def begun(self, job: Job, trial: Trial) -> None:
        """Show what runs."""
        self._bar.set_postfix_str(f"{label(trial)} runs{_best(job)}")

    def trial(self, job: Job, trial: Trial) -> None:
        """Go on by one."""
        self._bar.set_postfix_str(_best(job).removeprefix(", "), refresh=False)
        self._bar.update()

    def confirmed(self, job: Job, trial: Trial) -> None:
        """Show who was measured again."""
        self._bar.set_postfix_str(f"{label(trial)} measured again")

    def final(self, job: Job, training: Evaluation) -> None:
        """Go on in a bar of its own."""
        finals = job.finals
        if finals is None:
            return
        ended = len(finals.leaderboard().evaluations)
        if self._bar.unit != "training":
            self._bar.close()
            self._open(len(finals.turns), "finals", "training", ended - 1)
        self._bar.set_postfix_str(training.name, refresh=False)
        self._bar.update()

    def end(self, job: Job) -> None:
        """Leave the bar as it is."""
        self._bar.close()

    def _open(self, total: int, name: str, unit: str, ended: int) -> None:
        with warnings.catch_warnings():  # of a notebook without widgets, whose bar is of text
            warnings.simplefilter("ignore")
            from tqdm.auto import tqdm

            self._bar = tqdm(total=total, desc=name, unit=unit, initial=ended)


def _best(job: Job) -> str:
    """Return the highest measurement so far, in words."""
    measure = job.study.measure
    values = [measure.restated(t).fitness for t in job.study.complete]
    return f", best {measure.name} {max(values):.4f}" if values else ""
