"""The checkpoint of a teacher: what it must be like, and the teacher out of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from yolo_nas_ext.errors import NASError
from yolo_nas_ext.host import restricted
from yolo_nas_ext.host.dataset import DataSet
from yolo_nas_ext.host.training.teaching import WEIGHT, Teacher

# Ultralytics' heads of the tasks whose classes and boxes can be taught.
HEADS = {
    "detect": ("Detect", "v10Detect"),
    "segment": ("Segment", "Segment26"),
    "pose": ("Pose", "Pose26"),
    "obb": ("OBB", "OBB26"),
}


@dataclass(frozen=True, slots=True)
class TeacherFile:
    """A trained network that others learn from beside the labels, by its predictions.

    Its levels, its widths and the make of its head may be others than the student's.

    Attributes:
        path: The checkpoint.
        names: Its class names by number.
        channels: Channels of its images.
        key: The user's key, for messages.
        weight: Of the teacher beside the labels.
    """

    path: Path
    names: Mapping[int, str]
    channels: int
    key: str = "teacher"
    weight: float = WEIGHT

    def check(self, data: DataSet, *, single_cls: bool = False) -> None:
        """Refuse a data set of another number of classes, or with other images.

        Args:
            data: What the students are trained on.
            single_cls: Whether its classes are taken for one.

        Raises:
            NASError: As above.
        """
        nc, known, where = 1 if single_cls else data.nc, len(self.names), f"{self.key}={self.path}"
        if known != nc:
            raise NASError(
                f"{where}: it knows {_count(known)}, and data={data.source} has {nc}; give a "
                "teacher that was trained on these classes"
            )
        if self.channels != data.channels:
            raise NASError(
                f"{where}: it reads images of {self.channels} channels, and those of "
                f"data={data.source} have {data.channels}; give a teacher of such images"
            )

    def load(
        self, data: Mapping[str, Any], device: torch.device | str = "cpu", *, half: bool = False
    ) -> Teacher:
        """Return the teacher of a training.

        Args:
            data: Ultralytics' data dictionary; classes go by its ``names`` where both have the same
                ones, and else by their numbers.
            device: Where it runs.
            half: Whether its convolutions are computed in bfloat16 on a CPU.

        Raises:
            NASError: For a file that can no longer be read.
        """
        model = _model(self.path, f"{self.key}={self.path}").float().to(device)
        if torch.device(device).type == "cpu":
            model = model.to(memory_format=torch.channels_last)
        mine = [data["names"][number] for number in sorted(data["names"])]
        theirs = [self.names[number] for number in sorted(self.names)]
        alike = len(set(mine)) == len(mine) and sorted(mine) == sorted(theirs) and mine != theirs
        return Teacher(model, [theirs.index(name) for name in mine] if alike else None, half=half)


def load(path: str | Path, task: str = "detect", key: str = "teacher") -> TeacherFile:
    """Return a teacher's checkpoint; nothing that it holds is run.

    Args:
        path: A ``.pt`` of Ultralytics'.
        task: What its students do.
        key: The user's key, for messages.

    Raises:
        NASError: For a file that is missing or damaged, a network of another task or one without
            the branch that teaches, or a task whose predictions cannot be taught.
    """
    where = f"{key}={path}"
    if task not in HEADS:
        raise NASError(
            f"{where}: teaches classes and boxes, which task={task} does not predict; leave it out "
            f"or give task={', '.join(HEADS)}"
        )
    model = _model(path, where)
    head, names = model.model[-1], dict(model.names)
    if (kind := type(head).__name__) not in HEADS[task]:
        raise NASError(f"{where}: its head is {kind}; give a checkpoint of task={task}")
    if head.cv2 is None:
        raise NASError(
            f"{where}: it was fused, and its one-to-many branch is gone; give the .pt that "
            "`yolo train` wrote"
        )
    return TeacherFile(Path(path), names, int(model.yaml.get("channels") or 3), key)


def _model(path: str | Path, where: str) -> Any:
    """Return the model of a checkpoint, with the averaged weights if it has both.

    Raises:
        NASError: For one that cannot be read.
    """
    content = restricted.content(path, where)
    try:
        model: Any = content.get("ema") or content["model"]
        assert len(model.names) == model.model[-1].nc and len(model.yaml)
    except Exception as error:  # whatever holds no network runs into
        raise NASError(
            f"{where}: not a detector's checkpoint that can be read ({type(error).__name__}); give "
            "a .pt that `yolo train` wrote"
        ) from error
    return model


def _count(classes: int) -> str:
    return "1 class" if classes == 1 else f"{classes} classes"
