"""ClearML: a task with a child task for each trial."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from yolo_nas_ext.trackers.base import Entry, Run

TAGS = ["Ultralytics", "yolo_nas_ext"]


class ClearML:
    """Tasks of ClearML; what is trained in this process is not recorded by it on its own."""

    def start(self, run: Run, known: str) -> str:
        """Begin the search's task, or go on with a known one, and return its id."""
        from clearml import Task  # pyright: ignore[reportMissingImports]

        self._kind: Any = Task
        self._project = run.project.lstrip("/") or "Ultralytics"
        self._task = Task.init(
            project_name=self._project,
            task_name=run.name,
            tags=TAGS,
            reuse_last_task_id=False,
            continue_last_task=known or False,
            auto_connect_frameworks=False,
        )
        if not known:
            self._task.connect(dict(run.parameters), name="Search")
        return str(self._task.id)

    def add(self, entry: Entry) -> str:
        """Add a child task and return its id."""
        child = self._kind.create(project_name=self._project, task_name=entry.name)
        child.set_parent(self._task.id)
        child.set_tags([*TAGS, entry.kind])
        child.mark_started()
        child.set_parameters({f"Choices/{name}": v for name, v in entry.parameters.items()})
        logger = child.get_logger()
        for epoch, value in entry.curve.items():
            logger.report_scalar("curve", "curve", value, iteration=epoch)
        _report(logger, entry.metrics)
        if entry.state == "failed":
            child.mark_failed(status_reason=entry.error)
        else:
            child.mark_completed()
        return str(child.id)

    def update(self, known: str, metrics: Mapping[str, float]) -> None:
        """Add metrics to a child task."""
        _report(self._kind.get_task(task_id=known).get_logger(), metrics)

    def progress(self, metrics: Mapping[str, float], step: int) -> None:
        """Show the best so far."""
        for name, value in metrics.items():
            self._task.get_logger().report_scalar("search", name, value, iteration=step)

    def end(self, metrics: Mapping[str, float], files: Sequence[Path], state: str) -> None:
        """End the search's task with its results and files."""
        _report(self._task.get_logger(), metrics)
        for file in files:
            self._task.upload_artifact(file.name, artifact_object=str(file))
        if state != "complete":
            self._task.mark_stopped()
        self._task.close()


def _report(logger: Any, metrics: Mapping[str, float]) -> None:
    for name, value in metrics.items():
        logger.report_single_value(name, value)
