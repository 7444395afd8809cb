"""Weights & Biases: the search and its trials as runs of one group."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from yolo_nas_ext.trackers.base import Entry, Run


class WandB:
    """Runs of a group, which is how Weights & Biases has parents and children."""

    def start(self, run: Run, known: str) -> str:
        """Begin the search's run, or go on with a known one, and return its id."""
        self._project = re.sub(r"[/\\#?%:]", "-", run.project)[-128:]
        self._group, self._folder = run.name, str(run.folder)
        self._run = self._open(run.name, "search", config=dict(run.parameters), id=known or None)
        return str(self._run.id)

    def add(self, entry: Entry) -> str:
        """Add a run to the group and return its id."""
        config = {**entry.parameters, "state": entry.state, "error": entry.error}
        child = self._open(entry.name, entry.kind, config=config)
        for epoch, value in entry.curve.items():
            child.log({"curve": value, "epoch": epoch})
        child.summary.update(dict(entry.metrics))
        child.finish(exit_code=int(entry.state == "failed"))
        return str(child.id)

    def update(self, known: str, metrics: Mapping[str, float]) -> None:
        """Add metrics to a run of the group."""
        child = self._open(None, None, id=known)
        child.summary.update(dict(metrics))
        child.finish()

    def progress(self, metrics: Mapping[str, float], step: int) -> None:
        """Show the best so far."""
        self._run.log({**metrics, "trial": step})

    def end(self, metrics: Mapping[str, float], files: Sequence[Path], state: str) -> None:
        """End the search's run with its results and files."""
        self._run.summary.update(dict(metrics))
        for file in files:
            self._run.save(str(file), base_path=self._folder, policy="now")
        self._run.finish(exit_code=int(state != "complete"))

    def _open(self, name: str | None, kind: str | None, **more: Any) -> Any:
        import wandb  # pyright: ignore[reportMissingImports]

        return wandb.init(
            project=self._project,
            group=self._group,
            name=name,
            job_type=kind,
            dir=self._folder,
            resume="allow" if more.get("id") else None,
            reinit="create_new",  # beside the search's own run, which stays open
            **more,
        )
