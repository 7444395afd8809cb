"""What an estimator is, and what a search tells it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from yolo_nas_ext.network.architecture import Architecture


@dataclass(frozen=True, slots=True)
class Context:
    """Where an estimator works; a search knows it once its run folder is there.

    Attributes:
        folder: The run folder; None outside of a run.
        shared: Whether other processes of this machine evaluate networks in that folder too.
    """

    folder: Path | None = None
    shared: bool = False

    @property
    def images(self) -> Path | None:
        """Folder for decoded images that do not fit into memory."""
        return self.folder / "images" if self.folder else None


class Estimator(Protocol):
    """Evaluates networks; metrics carry their unit in the name, and ``fitness`` is maximised."""

    seeded: bool
    """Whether another ``seed`` in the fidelity gives another measurement of the same network."""

    @property
    def fidelity(self) -> Mapping[str, float]:
        """How it evaluates, for example ``{"epochs": 10, "imgsz": 128}``."""
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

        `inherit` is a checkpoint to start from, where the estimator trains.

        Raises:
            TrialError: For a candidate that cannot be evaluated.
        """
        ...


@runtime_checkable
class UsesContext(Protocol):
    """What an estimator may have besides, where it keeps files of its own."""

    def use_context(self, context: Context) -> None:
        """Work there from now on; called once, before the first network is evaluated."""
        ...


def hand_over(context: Context, estimator: Any) -> None:
    """Tell an estimator where it works, if it wants to know."""
    if isinstance(estimator, UsesContext):
        estimator.use_context(context)
