"""What a tracker is told, and what it has to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, kw_only=True)
class Run:
    """The search as a tracker shows it: the parent of a run for each trial.

    Attributes:
        project: What several searches are gathered in.
        name: Of the search.
        parameters: Its settings, as texts.
        folder: The run folder.
    """

    project: str
    name: str
    parameters: Mapping[str, str]
    folder: Path


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A trial, or a training of the final comparison, that has ended.

    Attributes:
        name: For people.
        kind: ``trial`` or ``final``.
        number: Of the trial; of a final its place.
        parameters: The choices of the point and how it was evaluated, as texts.
        metrics: What was measured, and analytic costs under their own names; finite numbers.
        curve: Learning curve by epoch.
        state: ``complete``, ``failed`` or ``pruned``.
        error: Why it failed; empty otherwise.
    """

    name: str
    kind: str
    number: int
    parameters: Mapping[str, str]
    metrics: Mapping[str, float]
    curve: Mapping[int, float] = field(default_factory=dict)
    state: str = "complete"
    error: str = ""


class Tracker(Protocol):
    """Shows a search and its trials elsewhere. What goes wrong may raise anything."""

    def start(self, run: Run, known: str) -> str:
        """Begin the parent's run, or go on with a known one, and return its id."""
        ...

    def add(self, entry: Entry) -> str:
        """Add a run below the parent's, whole, and return its id."""
        ...

    def update(self, known: str, metrics: Mapping[str, float]) -> None:
        """Add metrics to the run of a trial that was measured again, by its id."""
        ...

    def progress(self, metrics: Mapping[str, float], step: int) -> None:
        """Show in the parent's run how far the search is after so many trials."""
        ...

    def end(self, metrics: Mapping[str, float], files: Sequence[Path], state: str) -> None:
        """End the parent's run with its results and files; ``complete`` or ``interrupted``."""
        ...
