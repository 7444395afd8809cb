"""The state of a search as its steps see it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from yolo_nas_ext.compare.comparison import Comparison
from yolo_nas_ext.config.search import SearchSettings
from yolo_nas_ext.errors import NASError
from yolo_nas_ext.host.dataset import DataSet
from yolo_nas_ext.pipeline import final_comparison
from yolo_nas_ext.study.study import Study
from yolo_nas_ext.study.trial import Trial


@dataclass
class Job:
    """A search with all it needs, and its folder.

    Attributes:
        config: Its settings.
        folder: The run folder.
        study: The record.
        data: The data set.
        interrupted: Whether Ctrl-C ended it.
        notes: What the user should know: skipped images, baselines left out.
        finals: What was trained in full at the end.
        latency: How latency is known, in words.
    """

    config: SearchSettings
    folder: Path
    study: Study
    data: DataSet
    interrupted: bool = False
    notes: list[str] = field(default_factory=list)
    finals: Comparison | None = None
    latency: str = ""

    @property
    def best(self) -> Trial | None:
        """The best network: of the finals where they are over, else of the search."""
        return self.winner or next(iter(best_of(self.study)), None)

    @property
    def winner(self) -> Trial | None:
        """The best found network of the finals; None where they are not over."""
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
