"""The callbacks of a search, as Ultralytics has them for a training."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yolo_nas_ext.errors import NASError, did_you_mean
from yolo_nas_ext.pipeline.state import Job, Observer
from yolo_nas_ext.python.result import SearchResult
from yolo_nas_ext.study.study import Study
from yolo_nas_ext.study.trial import Trial

EVENTS = ("on_trial_start", "on_trial_end", "on_search_end")
Callback = Callable[[Any], object]


@dataclass(frozen=True, slots=True)
class TrialEvent:
    """What a callback of a trial is given.

    Attributes:
        trial: The trial, running or ended.
        study: The record with all trials so far.
        folder: The run folder.
    """

    trial: Trial
    study: Study
    folder: Path


class Callbacks(Observer):
    """Calls functions of the user's when a trial starts, when one ends, and at the end.

    Args:
        functions: By event, see `EVENTS`. A function of a trial gets a `TrialEvent`, one of the end
            a `python.result.SearchResult`. What one raises ends the search; the record is kept.
    """

    def __init__(self, functions: Mapping[str, Iterable[Callback]]) -> None:
        self._functions = {event: tuple(found) for event, found in functions.items()}

    def begun(self, job: Job, trial: Trial) -> None:
        """Call the functions of ``on_trial_start``."""
        self._call("on_trial_start", TrialEvent(trial, job.study, job.folder))

    def trial(self, job: Job, trial: Trial) -> None:
        """Call the functions of ``on_trial_end``."""
        self._call("on_trial_end", TrialEvent(trial, job.study, job.folder))

    def end(self, job: Job) -> None:
        """Call the functions of ``on_search_end``."""
        self._call("on_search_end", SearchResult(job))

    def _call(self, event: str, given: object) -> None:
        for function in self._functions.get(event, ()):
            function(given)


def gathered(*given: Mapping[str, Any]) -> dict[str, list[Callback]]:
    """Return functions by event, of several mappings of which each value is one or several.

    Raises:
        NASError: For an event that a search has not, or what cannot be called.
    """
    found: dict[str, list[Callback]] = {}
    for mapping in given:
        for event, functions in mapping.items():
            several = functions if isinstance(functions, (list, tuple)) else [functions]
            if event not in EVENTS:
                raise NASError(
                    f"callbacks={event}: no such event of a search."
                    f"{did_you_mean(event, EVENTS)} Allowed: {', '.join(EVENTS)}"
                )
            if wrong := [f for f in several if not callable(f)]:
                raise NASError(
                    f"callbacks={event}: {wrong[0]!r} cannot be called; give a function of one "
                    "argument, or a list of some"
                )
            found.setdefault(event, []).extend(several)
    return found
