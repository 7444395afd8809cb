"""Teaching by predictions: a detector learns from another's, whose levels and head may differ.

Ultralytics distils features, level by level, for which both heads must read as many levels. Here
the student's scores and boxes are held to those that the teacher predicts of the same place: by the
level of the same stride where there is one, else by the nearest. What a teacher sees at a level
that the student lacks is taught at the student's nearest level, or its large objects would be
taught as background.

The scores' part is a binary cross-entropy (less the teacher's own entropy) weighted by how sure
either is, as in CrossKD (Wang et al. 2024). The boxes' part follows localization distillation
(Zheng et al. 2022) where both predict the same bins at the same level: the divergence of their
distributions. Elsewhere it is 1 - CIoU. Both are divided by the teacher's sureness in all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn import functional
from ultralytics.nn.modules import OBB
from ultralytics.utils.metrics import bbox_iou

# Weight of the teacher beside the labels; docs/evidence.md tells what 1 and 3 did.
WEIGHT = 1.0
SURE = 0.05  # score of a teacher from which its box is taught
GREY = 114 / 255  # what Ultralytics fills images up with


class Level(NamedTuple):
    """A level of a head: its stride in pixels, and its rows and columns."""

    stride: int
    height: int
    width: int


@dataclass(frozen=True)
class Predictions:
    """What one branch of a head predicts, level after level, before it is decoded.

    Attributes:
        scores: Logits, images x classes x cells.
        boxes: Images x (4 x bins) x cells: distributions of the distances from a cell's centre to
            the four sides, or the distances where there is one bin.
        levels: Whose cells they are, in their order.
    """

    scores: torch.Tensor
    boxes: torch.Tensor
    levels: tuple[Level, ...]

    @property
    def bins(self) -> int:
        """Bins of a distance."""
        return self.boxes.shape[1] // 4

    @cached_property
    def anchors(self) -> torch.Tensor:
        """Of each cell the centre in pixels and the stride: cells x (x, y, stride)."""
        found = []
        for stride, height, width in self.levels:
            y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
            cells = torch.stack((x + 0.5, y + 0.5, torch.ones(height, width)), -1)
            found.append(cells.flatten(0, 1) * stride)
        return torch.cat(found).to(self.scores.device)

    def at(self, image: torch.Tensor, cell: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the raw boxes of some cells, n x 4 x bins, and their corners in pixels, n x 4."""
        raw = self.boxes[image, :, cell].unflatten(1, (4, self.bins)).float()
        sides = raw.squeeze(2)
        if self.bins > 1:
            sides = raw.softmax(2) @ torch.arange(self.bins, dtype=raw.dtype, device=raw.device)
        centres, stride = self.anchors[cell].split((2, 1), 1)
        before, after = (sides * stride).chunk(2, 1)
        return raw, torch.cat((centres - before, centres + after), 1)


@dataclass(frozen=True, kw_only=True)
class Gains:
    """Weights of the parts of the loss, those of Ultralytics' arguments of these names.

    Attributes:
        cls: Of the scores.
        box: Of boxes by their overlap.
        dfl: Of boxes by their distributions.
    """

    cls: float = 0.5
    box: float = 7.5
    dfl: float = 1.5


class Teacher:
    """A trained detector that predicts, and never learns.

    Args:
        model: Ultralytics' model.
        order: The teacher's class for each of the student's; the same ones without.
        half: Whether its convolutions are computed in bfloat16 on a CPU.
    """

    def __init__(
        self, model: Any, order: Sequence[int] | None = None, *, half: bool = False
    ) -> None:
        self.model = model.eval().requires_grad_(False)
        self._order, self._half = order, half
        self._stride = int(max(model.model[-1].stride))

    @torch.no_grad()
    def predict(self, images: torch.Tensor) -> dict[str, Predictions]:
        """Return the predictions of each branch of the head, see `branches`.

        Args:
            images: Images x channels x height x width, from 0 to 1; filled up for a teacher with a
                larger stride than the images are multiples of.
        """
        right, below = (-size % self._stride for size in (images.shape[3], images.shape[2]))
        if right or below:
            images = functional.pad(images, (0, right, 0, below), value=GREY)
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self._half):
            found = branches(self.model(images), self.model.model[-1])
        if self._order is None:
            return found
        order = list(self._order)
        return {
            name: Predictions(one.scores[:, order], one.boxes, one.levels)
            for name, one in found.items()
        }


class Taught:
    """A criterion of Ultralytics' to which a teacher's is added; it stands for it in all else.

    Args:
        criterion: Ultralytics'.
        head: The student's head.
        teacher: The teacher.
        gains: Weights of the parts.
        weight: Of the teacher beside the labels.

    Attributes:
        noted: The teacher's part of each call, an image's share of it.
    """

    def __init__(
        self,
        criterion: Any,
        head: nn.Module,
        teacher: Teacher,
        gains: Gains | None = None,
        *,
        weight: float = WEIGHT,
    ) -> None:
        self._criterion, self._head, self._teacher = criterion, head, teacher
        self._gains, self._weight = gains or Gains(), weight
        self.noted: list[torch.Tensor] = []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # which a copy in the making is asked for
            raise AttributeError(name)
        return getattr(self._criterion, name)

    def __call__(
        self, preds: Any, batch: Mapping[str, Any]
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Return Ultralytics' losses and one more, which its dictionary of losses leaves out."""
        losses, items = self._criterion(preds, batch)
        images = batch["img"]
        mine, theirs = branches(preds, self._head), self._teacher.predict(images)
        shares = {"one2many": 1.0}
        if "one2one" in mine:  # as Ultralytics weighs the two
            shares = {"one2many": self._criterion.o2m, "one2one": self._criterion.o2o}
        rotated = isinstance(self._head, OBB)
        total = losses.new_zeros(())
        for name in mine.keys() & theirs.keys():
            apart = difference(mine[name], theirs[name], self._gains, rotated=rotated)
            total = total + apart * shares[name] * self._weight
        self.noted.append(total.detach())
        return torch.cat((losses.reshape(-1), (total * len(images)).reshape(1))), items


@torch.no_grad()
def distance(model: Any, teacher: Teacher, images: torch.Tensor) -> float:
    """Return how far a model in its present mode predicts from a teacher, by its usual branch.

    Args:
        model: Ultralytics' model, on the teacher's device.
        teacher: The teacher.
        images: Images x channels x height x width, from 0 to 1.
    """
    head = model.model[-1]
    mine, theirs = branches(model(images), head), teacher.predict(images)
    name = "one2one" if head.end2end and "one2one" in theirs else "one2many"
    return float(difference(mine[name], theirs[name], rotated=isinstance(head, OBB)))


def branches(preds: Any, head: Any) -> dict[str, Predictions]:
    """Return the predictions of each branch: ``one2many``, and ``one2one`` of an end-to-end head.

    Args:
        preds: What a model of Ultralytics' returns, in training or not.
        head: Its head.
    """
    found = preds[1] if isinstance(preds, tuple) else preds
    if "one2many" not in found:
        found = {"one2many": found}
    strides = [int(stride) for stride in head.stride]
    return {
        name: Predictions(
            one["scores"].float(),
            one["boxes"].float(),
            tuple(Level(s, *f.shape[2:]) for s, f in zip(strides, one["feats"], strict=True)),
        )
        for name, one in found.items()
        if one
    }


def difference(
    student: Predictions,
    teacher: Predictions,
    gains: Gains | None = None,
    *,
    rotated: bool = False,
) -> torch.Tensor:
    """Return how far a student's predictions are from its teacher's: 0 where they are the same.

    Args:
        student: Its predictions.
        teacher: The teacher's, of the same images and classes.
        gains: Weights of the parts.
        rotated: Whether boxes are oriented. Distances to their sides mean the same only at the same
            cell, so that boxes of other levels are left to the labels.
    """
    gains = gains or Gains()
    index, same = cells(student, teacher)
    logits = teacher.scores.gather(2, index[:, None].expand(-1, teacher.scores.shape[1], -1))
    true, mine = logits.sigmoid(), student.scores
    focus = torch.maximum(mine.detach().sigmoid(), true)
    entropy = functional.binary_cross_entropy_with_logits(logits, true, reduction="none")
    cross = functional.binary_cross_entropy_with_logits(mine, true, reduction="none")
    total = gains.cls * ((cross - entropy) * focus).sum()
    sure = true.amax(1)
    scale = sure[sure > SURE].sum().clamp(min=1.0)
    chosen = sure > SURE
    image, cell = (chosen & same if rotated else chosen).nonzero(as_tuple=True)
    weight = sure[image, cell]
    raw, corners = student.at(image, cell)
    theirs, goal = teacher.at(image, index[image, cell])
    alike = same[image, cell] & (student.bins == teacher.bins > 1)
    if alike.any():
        log, target = raw[alike].log_softmax(2), theirs[alike].log_softmax(2)
        apart = functional.kl_div(log, target, reduction="none", log_target=True).sum(2).mean(1)
        total = total + gains.dfl * (apart * weight[alike]).sum()
    if not alike.all():
        other = ~alike
        iou = bbox_iou(corners[other], goal[other], xywh=False, CIoU=True).squeeze(1)
        total = total + gains.box * ((1 - iou) * weight[other]).sum()
    return total / scale


@torch.no_grad()
def cells(student: Predictions, teacher: Predictions) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the teacher's cell that each of a student's cells learns from.

    Of several that lie at its place, at a finer level or at several ones, it is the surest.

    Returns:
        The numbers of the teacher's cells, and whether they are of the same stride; images x cells
        of the student, both.
    """
    sure = teacher.scores.amax(1)
    starts, start = {}, 0
    for level in teacher.levels:
        starts[level] = start
        start += level.height * level.width
    index, same = [], []
    for level, sources in zip(student.levels, _sources(student, teacher), strict=True):
        there = [_at(sure, source, starts[source], level) for source in sources]
        best = torch.stack([sure.gather(1, one) for one in there]).argmax(0, keepdim=True)
        index.append(torch.stack(there).gather(0, best)[0])
        is_same = torch.tensor([source.stride == level.stride for source in sources])
        same.append(is_same.to(best.device)[best[0]])
    return torch.cat(index, 1), torch.cat(same, 1)


def _sources(student: Predictions, teacher: Predictions) -> list[list[Level]]:
    """Return the teacher's levels that each of a student's levels learns from."""

    def nearest(level: Level, levels: Sequence[Level]) -> int:
        ratios = [max(o.stride / level.stride, level.stride / o.stride) for o in levels]
        return ratios.index(min(ratios))

    taught = [nearest(level, student.levels) for level in teacher.levels]
    found = []
    for number, level in enumerate(student.levels):
        own = [one for one, at in zip(teacher.levels, taught, strict=True) if at == number]
        found.append(own or [teacher.levels[nearest(level, teacher.levels)]])
    return found


def _at(sure: torch.Tensor, source: Level, start: int, level: Level) -> torch.Tensor:
    """Return, for each cell of a level, the number of the surest cell of another level there."""
    count = source.height * source.width
    if source.stride >= level.stride:
        factor = source.stride // level.stride
        rows = torch.arange(level.height, device=sure.device) // factor
        columns = torch.arange(level.width, device=sure.device) // factor
        found = (rows[:, None] * source.width + columns).flatten().expand(len(sure), -1)
    else:
        grid = sure[:, None, start : start + count].unflatten(2, (source.height, source.width))
        factor = level.stride // source.stride
        pooled = functional.max_pool2d(grid, factor, ceil_mode=True, return_indices=True)[1]
        found = pooled[:, 0, : level.height, : level.width].flatten(1)
    return found + start
