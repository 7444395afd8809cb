"""What every strategy asks of a history."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from yolo_nas_ext.space.choices import ChoiceSpace
from yolo_nas_ext.study import Trial


def identities(space: ChoiceSpace, history: Sequence[Trial]) -> set[Hashable]:
    """Return what may not be proposed again: every trial's identity, whatever became of it."""
    return {space.identity(trial.point) for trial in history if trial.point is not None}


def members(space: ChoiceSpace, history: Sequence[Trial]) -> list[Trial]:
    """Return the complete trials that are points of the space, oldest first.

    Reference networks outside the space and points of a wider budget are left out.
    """
    return [
        trial
        for trial in history
        if trial.state == "complete" and trial.point is not None and space.feasible(trial.point)
    ]
