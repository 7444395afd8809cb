"""The state of a search as its steps see it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from yolo_nas_ext.compare.comparison import Comparison
from yolo_nas_ext.config.search import PARENT, SearchSettings
from yolo_nas_ext.errors import NASError
from yolo_nas_ext.host.dataset import DataSet
from yolo_nas_ext.pipeline import final_comparison, warm_start
from yolo_nas_ext.pipeline.evaluation import Evaluation
from yolo_nas_ext.pipeline.parent import trial_of
from yolo_nas_ext.pipeline.plan import Plan
from yolo_nas_ext.pipeline.progress import Progress
from yolo_nas_ext.study.leaderboard import Evaluation as Training
from yolo_nas_ext.study.study import Study
from yolo_nas_ext.study.trial import Trial


class Observer:
    """Is told what a search does: in the search's own process, of what is recorded already.

    The methods here take no notice. What one raises ends the search as Python's errors do, and the
    record is kept; who reports to somebody else catches what that raises.
    """

    def start(self, job: Job) -> None:
        """Take notice that the search begins, or goes on: its folder and its record are there."""

    def begun(self, job: Job, trial: Trial) -> None:
        """Take notice that a trial has started."""

    def trial(self, job: Job, trial: Trial) -> None:
        """Take notice that a trial has ended, whatever became of it."""

    def confirmed(self, job: Job, trial: Trial) -> None:
        """Take notice that a trial has been evaluated again, or confirmed by a training."""

    def final(self, job: Job, training: Training) -> None:
        """Take notice that a training of the final comparison has ended."""

    def end(self, job: Job) -> None:
        """Take notice that the results are written, also of an interrupted search."""


@dataclass
class Job:
    """A search with all it needs, and its folder: what its steps read and write.

    Attributes:
        plan: What is going to be done.
        folder: The run folder.
        study: The record.
        evaluate: Evaluates a trial.
        progress: Says how far it is.
        asked: The final comparison that was asked for, with its baselines alone, if any.
        interrupted: Whether Ctrl-C ended it.
        notes: What the user should know: skipped images, baselines left out.
        entered: The final comparison with the finalists in it, once the search has them.
        finals: The same while it is held and thereafter, when it names the best.
        observers: Who is told what happens.
    """

    plan: Plan
    folder: Path
    study: Study
    evaluate: Evaluation
    progress: Progress
    asked: Comparison | None = None
    interrupted: bool = False
    notes: list[str] = field(default_factory=list)
    entered: Comparison | None = None
    finals: Comparison | None = None
    observers: Sequence[Observer] = ()

    def tell(self, say: Callable[[Observer], None]) -> None:
        """Tell every observer, in their order."""
        for observer in self.observers:
            say(observer)

    @property
    def config(self) -> SearchSettings:
        """The settings."""
        return self.plan.config

    @property
    def data(self) -> DataSet:
        """The data set."""
        return self.plan.data

    @property
    def latency(self) -> str:
        """How latency is known, in words; nothing where it is not."""
        return self.plan.timing.text if self.plan.timing else ""

    @property
    def warm(self) -> bool:
        """Whether each candidate starts from the weights of a trial before it."""
        return self.config.inherit == warm_start.PARENT

    @property
    def parent(self) -> Trial | None:
        """The trial that fine-tuned the parent, in a search that has one."""
        return trial_of(self.study, self.plan.parent)

    @property
    def teacher(self) -> Path | None:
        """The weights of the fine-tuned parent, where it teaches and they are there."""
        if self.config.teacher != PARENT or self.parent is None:
            return None
        weights = warm_start.weights_of(self.folder, self.parent)
        return weights if weights.is_file() else None

    @property
    def best(self) -> Trial | None:
        """The best network: of the finals where they are over, else of the search."""
        return self.winner or next(iter(best_of(self.study)), None)

    @property
    def winner(self) -> Trial | None:
        """The answer of the finals; None where they are not over."""
        return final_comparison.winner(self.finals, self.study) if self.finals else None

    @property
    def partial(self) -> bool:
        """Whether something is left to do, or was left out, and that was said."""
        finals = self.finals
        left_out = finals is not None and bool(finals.training.data.skipped)
        failed = finals is not None and not finals.leaderboard().ranking
        return self.interrupted or bool(self.data.skipped) or left_out or failed


def best_of(study: Study) -> list[Trial]:
    """Return the best trial of a study, or nothing where no trial is complete."""
    try:
        return [study.best]
    except NASError:
        return []
