"""A supernet that starts from a trained parent: its first weights, its teacher, its image sizes.

The parent is the largest network, and it is fixed as a teacher before the others learn, as in
progressive shrinking (Cai et al. 2020). So what "the largest" predicts is the same at every step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn
from ultralytics.utils.torch_utils import unwrap_model

from yolo_nas_ext.host.supernet.model import Apart, Supernet, fill
from yolo_nas_ext.host.supernet.trainer import SupernetTrainer
from yolo_nas_ext.host.training.distillation import HEADS
from yolo_nas_ext.host.training.teaching import Gains, Teacher, branches, difference
from yolo_nas_ext.host.transfer.weights import Source, load, transfer, unset
from yolo_nas_ext.network.architecture import Architecture


@dataclass(frozen=True, slots=True)
class Beginning:
    """Writes a parent's weights into a supernet.

    Attributes:
        source: The parent, its channels in the order of their importance; see `prepared`.
        networks: Networks of the space among which every branch is as large as it gets, see
            `space.supernet.slots.corners`. What the parent has not takes what is of its purpose.
    """

    source: Source
    networks: Sequence[Architecture]

    def __call__(self, model: Any, names: Mapping[int, str]) -> None:
        """Fill a supernet, the parent's own weights last."""
        source = replace(self.source, images=None)  # shared weights are fitted to no one network
        parent = replace(source.architecture, imgsz=0)
        others = [n for n in self.networks if replace(n, imgsz=0) != parent]
        for network in (*others, source.architecture):
            made = unset(network, replace(model.head.task, nc=len(names)), model.channels)
            transfer(made, network, source, names)
            fill(model, network, made)


class Guidance:
    """A fixed teacher of all networks of a supernet.

    Args:
        teacher: Predicts.
        gains: Weights of the parts of the distance.
        weight: Of the distance.
    """

    def __init__(self, teacher: Teacher, gains: Gains, weight: float) -> None:
        self._teacher, self._gains, self._weight = teacher, gains, weight

    def __deepcopy__(self, memo: Any) -> Guidance:
        """Return itself: averaged weights have no teacher of their own."""
        return self

    def __call__(self, images: torch.Tensor) -> Apart:
        """Return what measures predictions of images against the teacher's."""
        theirs = self._teacher.predict(images)

        def apart(preds: Any, supernet: Supernet) -> torch.Tensor:
            head = supernet.head
            mine = branches(preds, head)
            shares = {"one2many": 1.0}
            if "one2one" in mine:  # as Ultralytics weighs the two
                shares = {"one2many": supernet.criterion.o2m, "one2one": supernet.criterion.o2o}
            rotated = head.task.name == "obb"
            found = [
                difference(mine[name], theirs[name], self._gains, rotated=rotated) * shares[name]
                for name in mine.keys() & theirs.keys()
            ]
            return self._weight * torch.stack(found).sum()

        return apart


class ClassGuidance:
    """A fixed teacher of all classifiers of a supernet: cross-entropy with its probabilities.

    Args:
        model: Ultralytics' classifier.
        weight: Of the distance.
    """

    def __init__(self, model: nn.Module, weight: float) -> None:
        self._model, self._weight = model.eval().requires_grad_(False), weight

    def __deepcopy__(self, memo: Any) -> ClassGuidance:
        """Return itself: averaged weights have no teacher of their own."""
        return self

    def __call__(self, images: torch.Tensor) -> Apart:
        """Return what measures predictions of images against the teacher's."""
        with torch.no_grad():
            found: Any = self._model(images)
        theirs = found[0] if isinstance(found, tuple) else found  # probabilities

        def apart(preds: Any, supernet: Supernet) -> torch.Tensor:
            return self._weight * nn.functional.cross_entropy(preds, theirs)

        return apart


class FamilyTrainer(SupernetTrainer):
    """Trains a supernet whose networks learn from a parent that is fine-tuned already.

    Args:
        *args: As of `SupernetTrainer`.
        parent: The fine-tuned parent's checkpoint.
        **more: As of `SupernetTrainer`; ``distill`` is the weight of the parent as a teacher.
            With 0 all networks learn from the labels alone.
    """

    def __init__(self, *args: Any, parent: Path, **more: Any) -> None:
        super().__init__(*args, **more)
        self._parent = parent

    def _setup_train(self) -> None:
        """Set up, and let the supernet learn from the parent if that teaches."""
        super()._setup_train()
        model: Any = unwrap_model(self.model)
        if self._distill:
            model.distill = 0.0
            model.guide = self._guidance(model.head.task.name)

    def _guidance(self, task: str) -> Guidance | ClassGuidance:
        model = load(self._parent).model.to(self.device)
        if self.device.type == "cpu":
            model = model.to(memory_format=torch.channels_last)
        if task not in HEADS:
            return ClassGuidance(model, self._distill)
        gains = Gains(cls=self.args.cls, box=self.args.box, dfl=self.args.dfl)
        return Guidance(Teacher(model, half=self._halves()), gains, self._distill)

    def preprocess_batch(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Prepare a batch at the image size of the step's networks."""
        batch = super().preprocess_batch(batch)
        model: Any = unwrap_model(self.model)
        size = model.paths[0].imgsz if model.paths else 0
        images = batch["img"]
        if size and size != images.shape[-1]:
            images = nn.functional.interpolate(
                images, size=(size, size), mode="bilinear", antialias=True
            )
            if self.device.type == "cpu":
                images = images.contiguous(memory_format=torch.channels_last)
            batch["img"] = images
        return batch
