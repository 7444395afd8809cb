"""Ultralytics' distillation: what a teacher must be like, and the student out of it again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn
from ultralytics.nn.distill_model import DistillationModel
from ultralytics.nn.modules import Detect
from ultralytics.nn.tasks import torch_safe_load

from yolo_nas_ext.errors import NASError, TrialError


@dataclass(frozen=True, slots=True)
class Teacher:
    """A trained detector that others learn from, beside the labels.

    Ultralytics adds to the loss how far a student's features before its head are from the
    teacher's, weighted by where the teacher is sure. Its argument for it is ``distill_model``, the
    weight is ``dis``.

    Attributes:
        path: The checkpoint.
        levels: Levels that its head reads; a student's head has to read as many.
    """

    path: Path
    levels: int

    def check(self, levels: int, who: str, error: type[NASError | TrialError] = NASError) -> None:
        """Refuse a student whose head reads another number of levels.

        Args:
            levels: Of the student's head.
            who: What to call it.
            error: What to raise.

        Raises:
            NASError: As above, or a TrialError of kind ``teacher`` where that is wanted.
        """
        if levels == self.levels:
            return
        text = (
            f"teacher={self.path}: its head reads {self.levels} levels, that of {who} {levels}; "
            f"Ultralytics' distillation needs as many: give a teacher of {levels}, or a space "
            f"whose levels are {self.levels} (fix=levels:...)"
        )
        raise TrialError("teacher", text) if error is TrialError else NASError(text)


def load(path: str | Path, task: str = "detect", key: str = "teacher") -> Teacher:
    """Return a teacher; like Ultralytics, this runs what a checkpoint holds.

    Args:
        path: A ``.pt`` of Ultralytics'.
        task: What its students do.
        key: The user's key, for messages.

    Raises:
        NASError: For a file that is missing or damaged, a network that is no detector, or another
            task than detection.
    """
    where = f"{key}={path}"
    if task != "detect":
        raise NASError(f"{where}: Ultralytics distils detectors; with task={task} leave it out")
    if not Path(path).is_file():
        raise NASError(f"{where}: no such file; give the path of a .pt that `yolo train` wrote")
    try:
        content, _ = torch_safe_load(str(path))
        head: Any = (content.get("ema") or content["model"]).model[-1]
    except Exception as error:  # whatever unpickling runs into
        raise NASError(
            f"{where}: not a checkpoint that can be read ({type(error).__name__}); give a .pt that "
            "`yolo train` wrote"
        ) from error
    if type(head) is not Detect:
        raise NASError(f"{where}: its head is {type(head).__name__}; give a detector's checkpoint")
    return Teacher(Path(path), int(head.nl))


def student(model: nn.Module) -> Any:
    """Return the student of a distillation, or the model where it is none."""
    return model.student_model if isinstance(model, DistillationModel) else model
