"""MLflow: a run with nested runs, where `MLFLOW_TRACKING_URI` says, as Ultralytics has it."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from yolo_nas_ext.trackers.base import Entry, Run

MOST = 90  # parameters of a call, of which MLflow takes 100
LONGEST = 500  # characters of a parameter that every store takes
ENDS = {"complete": "FINISHED", "failed": "FAILED", "pruned": "KILLED", "interrupted": "KILLED"}


class MLflow:
    """Runs of MLflow by its client, which leaves the user's active run alone.

    The experiment is ``MLFLOW_EXPERIMENT_NAME`` or the project, and the run is called
    ``MLFLOW_RUN`` or as the search is.
    """

    def start(self, run: Run, known: str) -> str:
        """Begin the parent's run, or go on with a known one, and return its id."""
        import mlflow  # pyright: ignore[reportMissingImports]

        self._client: Any = mlflow.MlflowClient()  # honours MLFLOW_TRACKING_URI
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or run.project
        found = self._client.get_experiment_by_name(name)
        self._experiment = found.experiment_id if found else self._client.create_experiment(name)
        if known:
            self._client.update_run(known, status="RUNNING")
            self._run = known
            return known
        called = os.environ.get("MLFLOW_RUN") or run.name
        self._run = self._create(called, {"yolo_nas_ext.folder": str(run.folder)})
        self._log(self._run, run.parameters, {})
        return self._run

    def add(self, entry: Entry) -> str:
        """Add a nested run and return its id."""
        tags = {"mlflow.parentRunId": self._run, "yolo_nas_ext.kind": entry.kind}
        if entry.error:
            tags["yolo_nas_ext.error"] = entry.error
        run = self._create(entry.name, tags)
        self._log(run, entry.parameters, entry.metrics, entry.curve)
        self._client.set_terminated(run, status=ENDS[entry.state])
        return run

    def update(self, known: str, metrics: Mapping[str, float]) -> None:
        """Add metrics to a nested run."""
        self._log(known, {}, metrics)

    def progress(self, metrics: Mapping[str, float], step: int) -> None:
        """Show the best so far in the parent's run."""
        self._log(self._run, {}, metrics, step=step)

    def end(self, metrics: Mapping[str, float], files: Sequence[Path], state: str) -> None:
        """End the parent's run with its results and files."""
        self._log(self._run, {}, metrics)
        for file in files:
            self._client.log_artifact(self._run, str(file))
        self._client.set_terminated(self._run, status=ENDS[state])

    def _create(self, name: str, tags: Mapping[str, str]) -> str:
        made = self._client.create_run(self._experiment, tags=dict(tags), run_name=name)
        return str(made.info.run_id)

    def _log(
        self,
        run: str,
        parameters: Mapping[str, str],
        metrics: Mapping[str, float],
        curve: Mapping[int, float] | None = None,
        step: int = 0,
    ) -> None:
        from mlflow import entities  # pyright: ignore[reportMissingImports]

        now = int(1000 * time.time())
        params = [entities.Param(name, value[:LONGEST]) for name, value in parameters.items()]
        values = [entities.Metric(name, value, now, step) for name, value in metrics.items()]
        values += [entities.Metric("curve", v, now, epoch) for epoch, v in (curve or {}).items()]
        for first in range(0, max(len(params), len(values)), MOST):
            part = slice(first, first + MOST)
            self._client.log_batch(run, metrics=values[part], params=params[part])
