"""What a search returns in Python: the best network, the front, the verdict, the record."""

from __future__ import annotations

import io
from functools import cached_property
from pathlib import Path
from typing import Any

from yolo_nas_ext.console import duration, number, short
from yolo_nas_ext.errors import NASError
from yolo_nas_ext.host.predict import yolo
from yolo_nas_ext.pipeline.state import Job
from yolo_nas_ext.report.facts import label
from yolo_nas_ext.report.summary import Findings
from yolo_nas_ext.report.tables import trials_csv
from yolo_nas_ext.report.verdict import sentences
from yolo_nas_ext.study.study import Study
from yolo_nas_ext.study.trial import Trial


class SearchResult:
    """What a search found, and where it is.

    Args:
        job: The search, finished or interrupted.
    """

    def __init__(self, job: Job) -> None:
        self._job = job

    @property
    def folder(self) -> Path:
        """The run folder; ``report.html`` is in it."""
        return self._job.folder

    @property
    def study(self) -> Study:
        """The record: ``study.trials``, ``study.best`` and more."""
        return self._job.study

    @property
    def front(self) -> list[Trial]:
        """The trials that nothing else in the space beats in every objective."""
        return self.study.front

    @property
    def partial(self) -> bool:
        """Whether something is left to do; ``nas_search(resume=result.folder)`` goes on."""
        return self._job.partial

    @property
    def verdict(self) -> str:
        """What came of it in plain sentences: of the final comparison where one was held."""
        finals = self._job.finals
        said = sentences(finals.leaderboard()) if finals else Findings(self.study).verdict()
        return "\n".join(said)

    @cached_property
    def best(self) -> Any:
        """The best network as a loaded ``YOLO``; untrained where the estimator trains nothing.

        Raises:
            NASError: Where no candidate could be evaluated.
        """
        for name in ("best.pt", "best.yaml"):
            if (file := self.folder / name).is_file():
                return yolo(file, self._job.config.task)
        raise NASError(
            f"{self.folder}: there is no best network, as no candidate could be evaluated; "
            "trials.csv says why"
        )

    def to_dataframe(self) -> Any:
        """Return a row a trial as a ``pandas.DataFrame``, with the columns of ``trials.csv``.

        Raises:
            NASError: Where pandas is not installed; this package does without.
        """
        try:
            import pandas  # pyright: ignore[reportMissingImports]
        except ImportError as error:
            raise NASError(
                "to_dataframe(): needs pandas, which is not installed; pip install pandas, or read "
                f"{self.folder / 'trials.csv'}"
            ) from error
        return pandas.read_csv(io.StringIO(trials_csv(self.study)))

    def __repr__(self) -> str:
        """Say what was found, and where it is."""
        ended = [t for t in self.study.trials if t.state != "running"]
        seconds = duration(sum(trial.seconds for trial in ended))
        said = f"{len(ended)} trials in {seconds}, {self._found()}"
        if self._job.interrupted:
            said += ", interrupted"
        return f"SearchResult({said}, in {self.folder})"

    def _found(self) -> str:
        best = self._job.best
        if best is None:
            return "nothing found"
        finals, measure = self._job.finals, self.study.measure
        if finals is not None and (winner := self._job.winner) is not None:
            board = finals.leaderboard()
            value = f"{board.metric} {number(board.mean(label(winner)).mean)} on {board.part}"
        else:
            value = f"{measure.name} {number(measure.restated(best).fitness)}"
        params = best.cost.get("params")
        size = f" with {short(params)} parameters" if params else ""
        return f"best {label(best)}: {value}{size}"
