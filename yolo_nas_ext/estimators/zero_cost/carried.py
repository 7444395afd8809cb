"""The score `carried`: how near a network comes to its parent before any training.

The parent's weights are carried over and fitted by least squares, see `host.transfer`. What the
network then predicts on images of train is compared with what the parent predicts. Classes are the
parent's, so that the layer of the classes has a say whatever the data set's are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from yolo_nas_ext.errors import NASError
from yolo_nas_ext.estimators.training import Training
from yolo_nas_ext.host.training.teaching import Teacher, distance
from yolo_nas_ext.host.transfer.convolutions import task_of
from yolo_nas_ext.host.transfer.weights import Source, transfer, unset
from yolo_nas_ext.network.architecture import Architecture

# Images that networks are fitted on and compared on, as there are many networks: so many of a side
# in pixels, fewer of larger ones.
SEEN, SIDE, LEAST = 8, 224, 4
TASKS = ("detect", "segment", "obb", "pose")  # whose heads predict scores and boxes


class Carried:
    """Fitness is the negated distance of a network's predictions from its parent's.

    Args:
        tuning: Trainings from the parent, which know its weights and the images.
        parent: Other weights of the parent, such as tuned ones.

    Raises:
        NASError: For trainings without a parent, or a task without boxes.
    """

    seeded = False

    def __init__(self, tuning: Training, parent: Source | None = None) -> None:
        if tuning.source is None:
            raise NASError("changes of a parent are scored against it; give model=<its .pt>")
        if tuning.task not in TASKS:
            raise NASError(
                f"changes of a parent are scored by its boxes, and task={tuning.task} has none; "
                f"give a parent of task={', '.join(TASKS)}"
            )
        self._tuning, self._weights = tuning, parent
        self.fidelity = {"imgsz": tuning.imgsz}

    def estimate(
        self,
        architecture: Architecture,
        fidelity: Mapping[str, float] | None = None,
        report: Any = None,
        weights: Path | None = None,
        inherit: Path | None = None,
    ) -> Mapping[str, float]:
        """Return ``fitness``, and ``inherited_percent`` of the parameters."""
        apart, percent = apart_from(architecture, self._parent)
        return {"fitness": -apart, "inherited_percent": percent}

    @cached_property
    def _parent(self) -> Source:
        """The parent made ready, with few images."""
        own = self._weights
        return for_scores(self._tuning.prepared(own) if own else self._tuning.parent())


def for_scores(ready: Source) -> Source:
    """Return a parent that was made ready with the few images of a score, and a memory of them."""
    assert ready.images is not None
    count = max(LEAST, round(SEEN * (SIDE / ready.images.shape[-1]) ** 2))
    return replace(ready, images=ready.images[:count], memory={})


@torch.no_grad()
def apart_from(architecture: Architecture, parent: Source) -> tuple[float, float]:
    """Return how far a network's predictions are from its parent's, and the percent it took.

    Args:
        architecture: The network.
        parent: Made ready, see `host.transfer.prepare`.

    Raises:
        TrialError: For a network that cannot be built.
    """
    seen = parent.images_at(architecture.imgsz)
    names: dict[int, str] = parent.model.names  # pyright: ignore[reportAssignmentType]
    model = unset(architecture, task_of(parent.model), seen.shape[1])
    taken = transfer(model, architecture, parent, names)
    return distance(model.eval(), Teacher(parent.model), seen), taken.percent
