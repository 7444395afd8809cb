"""What an estimator is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from yolo_nas_ext.network.architecture import Architecture


class Estimator(Protocol):
    """Judges architectures; metrics carry their unit in the name, and ``fitness`` is maximised."""

    seeded: bool
    """Whether another ``seed`` in the fidelity gives another measurement of the same network."""

    images: Path | None
    """Folder for decoded images that do not fit into memory; who runs the search sets it."""

    shared: bool
    """Whether other processes judge on this machine too, and use that folder; set likewise."""

    @property
    def fidelity(self) -> Mapping[str, float]:
        """How it judges, for example ``{"epochs": 10, "imgsz": 128}``."""
        ...

    def estimate(
        self,
        architecture: Architecture,
        fidelity: Mapping[str, float] | None = None,
        report: Any = None,
        weights: Path | None = None,
        inherit: Path | None = None,
    ) -> Mapping[str, float]:
        """Return metrics; `weights` is where a stock checkpoint goes, if there is one.

        `inherit` is a checkpoint to start from, for those that train.

        Raises:
            TrialError: For a candidate that cannot be judged.
        """
        ...
