"""Comet: an experiment for the search and one for each trial, which names it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from yolo_nas_ext.trackers.base import Entry, Run

# What Comet would gather by itself of this process is not of the trial.
NOTHING = {
    "auto_metric_logging": False,
    "auto_param_logging": False,
    "log_code": False,
    "log_graph": False,
    "log_env_details": False,
    "parse_args": False,
    "display_summary_level": 0,
}


class Comet:
    """Experiments of Comet, in the project ``COMET_PROJECT_NAME`` or the search's."""

    def start(self, run: Run, known: str) -> str:
        """Begin the search's experiment, or go on with a known one, and return its key."""
        self._project = os.environ.get("COMET_PROJECT_NAME") or run.project
        self._run = self._open(known)
        if not known:
            self._run.set_name(run.name)
            self._run.log_parameters(dict(run.parameters))
        return str(self._run.get_key())

    def add(self, entry: Entry) -> str:
        """Add an experiment and return its key."""
        child = self._open()
        child.set_name(entry.name)
        child.add_tags([entry.kind, entry.state])
        child.log_other("search", self._run.get_key())
        if entry.error:
            child.log_other("error", entry.error)
        child.log_parameters(dict(entry.parameters))
        for epoch, value in entry.curve.items():
            child.log_metric("curve", value, epoch=epoch)
        child.log_metrics(dict(entry.metrics))
        child.end()
        return str(child.get_key())

    def update(self, known: str, metrics: Mapping[str, float]) -> None:
        """Add metrics to an experiment."""
        child = self._open(known)
        child.log_metrics(dict(metrics))
        child.end()

    def progress(self, metrics: Mapping[str, float], step: int) -> None:
        """Show the best so far."""
        self._run.log_metrics(dict(metrics), step=step)

    def end(self, metrics: Mapping[str, float], files: Sequence[Path], state: str) -> None:
        """End the search's experiment with its results and files."""
        self._run.log_metrics(dict(metrics))
        self._run.add_tag(state)
        for file in files:
            self._run.log_asset(str(file), file_name=file.name)
        self._run.end()

    def _open(self, known: str = "") -> Any:
        import comet_ml  # pyright: ignore[reportMissingImports]

        if known:
            return comet_ml.ExistingExperiment(previous_experiment=known, **NOTHING)
        return comet_ml.Experiment(project_name=self._project, **NOTHING)
