"""A supernet is a model of Ultralytics' whose rows are choice blocks; one network is active."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from typing import Any, cast

import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy
from ultralytics.nn import tasks
from ultralytics.nn.tasks import DetectionModel
from ultralytics.utils.loss import E2ELoss, PoseLoss26, SegmentLoss26

from yolo_nas_ext.errors import NASError
from yolo_nas_ext.host import models
from yolo_nas_ext.host.meta_modules import FLOW
from yolo_nas_ext.host.plugin import register
from yolo_nas_ext.host.supernet.elastic import (
    ROWS,
    ElasticBlock,
    ElasticHead,
    ElasticJoin,
    Heads,
    Mixture,
)
from yolo_nas_ext.host.supernet.slices import Wiring
from yolo_nas_ext.network.architecture import Architecture
from yolo_nas_ext.network.emit import emit
from yolo_nas_ext.network.roles import total
from yolo_nas_ext.space.supernet.mixture import Mixed, mix
from yolo_nas_ext.space.supernet.slots import path

# Distance of a network's predictions, given with the supernet, from a teacher's: the mean an image.
Apart = Callable[[Any, Any], torch.Tensor]
# A fixed teacher: what it makes of images.
Guide = Callable[[torch.Tensor], Apart]
# Ultralytics' losses of YOLO26's own heads, where these have one.
LOSSES: dict[str, Any] = {"segment": SegmentLoss26, "pose": PoseLoss26}
CHANNELS = 64  # of which a mask is asked for where its mean alone counts


class Supernet(DetectionModel):
    """All networks of a space, sharing weights.

    Args:
        definition: See `space.supernet.slots.definition`.
        ch: Channels of the image.
        nc: Number of classes.
        verbose: Whether Ultralytics lists the rows.
    """

    def __init__(
        self,
        definition: Mapping[str, Any],
        ch: int = 3,
        nc: int | None = None,
        verbose: bool = False,
    ) -> None:
        register.register(tasks, ROWS)
        rows: Any = deepcopy(dict(definition))
        super().__init__(rows, ch=ch, nc=nc, verbose=verbose)
        for row in self.rows:  # Ultralytics' parser takes one source of a plugin module
            row.f = row.sources[0] if len(row.sources) == 1 else row.sources
        self.save = sorted({s for row in self.rows for s in row.sources if s != -1})
        self.channels = ch
        self.head = cast(ElasticHead, self.rows[-1])
        for row in self.rows:
            if isinstance(row, ElasticBlock):
                row.task = self.head.task.name
        self.stride = torch.tensor([2.0 ** max(self.head.levels)])
        self.head.start_biases(640)
        self.active: Architecture | None = None
        self.paths: Sequence[Architecture] = ()
        self.distill = 0.0
        self.guide: Guide | None = None
        self.backward: Callable[[torch.Tensor], None] = torch.Tensor.backward

    @property
    def rows(self) -> list[Any]:
        """The elastic rows in order."""
        return list(cast(Any, self.model))

    def activate(self, architecture: Architecture) -> None:
        """Compute this network from now on.

        Raises:
            NASError: For a network that is none of the space.
        """
        if architecture == self.active:
            return
        one = path(architecture, self.channels)
        rows = self.rows
        names = {row.slot for row in rows}
        if missing := one.slots.keys() - names:
            raise NASError(
                f"nas-{architecture.key}: the supernet has no {min(missing)}; give a network of "
                "its space"
            )
        head = one.head
        if head.yolo26 != self.head.active[0].yolo26:
            which = "YOLO26's own" if head.yolo26 else "none of YOLO26's own"
            raise NASError(
                f"nas-{architecture.key}: its head is {which}, the supernet's is not; give a "
                "network of its space"
            )
        if (head.reg_max, head.end2end) != (self.head.reg_max, self.head.end2end):
            raise NASError(
                f"nas-{architecture.key}: its head has reg_max {head.reg_max} and end2end "
                f"{head.end2end}, the supernet's {self.head.reg_max} and {self.head.end2end}"
            )
        for row in rows:
            if isinstance(row, ElasticBlock):
                row.active = one.slots.get(row.slot)
            elif isinstance(row, ElasticJoin):
                row.active = row.slot.replace(".join", ".block") in one.slots
        self.head.activate(head, one.inputs, one.legacy)
        for row in rows:  # says now what is missing
            if isinstance(row, ElasticHead):
                row.wiring()
            elif isinstance(row, ElasticBlock) and row.active:
                row.wiring(row.active)
        self.active = architecture
        self._aim()

    @contextmanager
    def mixed(
        self,
        networks: Sequence[Architecture],
        gates: Callable[[str], Sequence[torch.Tensor | float | None] | None],
        mask: Callable[[int], torch.Tensor] | None = None,
    ) -> Iterator[None]:
        """Compute networks that read the same levels added up, slot by slot.

        Args:
            networks: The first one has the loss.
            gates: Weights of them in a slot; None where the first one stands alone. Of heads, where
                they differ: the slot ``head.width`` where that is in what they read, ``head`` where
                some are Ultralytics' older ones.
            mask: From a number of channels, which of them are added up, see `Mixture`; unless
                given all are. Outputs of heads, which are not alike as channels are, are mixed
                to that share.

        With a weight of 1 for one of them it is that network that is computed. In training alone:
        predictions that are decoded cannot be added up.
        """
        self.activate(networks[0])
        mixed = mix(networks, self.channels)
        blocks = {row.slot: row for row in self.rows if isinstance(row, ElasticBlock)}
        for slot, several in mixed.slots.items():
            weights = gates(slot)
            some = mask(total(several.out)) if mask and weights else None
            blocks[slot].mixture = Mixture(several, weights or (1.0,), some)
        self.head.mixture = self._mixed_heads(mixed, gates, mask)
        try:
            yield
        finally:
            self.head.mixture = None
            for slot in mixed.slots:
                blocks[slot].mixture = None

    def _mixed_heads(
        self,
        mixed: Mixed,
        gates: Callable[[str], Sequence[torch.Tensor | float | None] | None],
        mask: Callable[[int], torch.Tensor] | None,
    ) -> Heads:
        """Return the heads of a mixture; the first alone where they are all the same."""
        classes = self.head.task.name == "classify"
        heads = [(head, reads, legacy and not classes) for head, reads, legacy in mixed.heads]
        weights = None
        if len(set(heads)) > 1:
            kinds = len({legacy for *_, legacy in heads})
            weights = gates("head" if kinds > 1 else "head.width")
        share = float(mask(CHANNELS).mean()) if mask and weights else 1.0
        return Heads(heads, weights or (1.0,), mixed.rooms, share)

    def loss(self, batch: Mapping[str, Any], preds: Any = None) -> tuple[torch.Tensor, Any]:
        """Return the mean loss of the networks of this step, in `paths`.

        Of several, all but the last are differentiated here, one after the other, so that memory
        holds one network's activations at a time. With `distill` the first one teaches the others.
        With a `guide` that does: the first network learns from labels and guide, the others from
        the guide alone.
        """
        if preds is not None or not self.paths:
            return super().loss(batch, preds)
        if self.guide is not None:
            return self._guided(batch, self.guide)
        taught: Any = None
        items: dict[str, torch.Tensor] = {}
        share = 1 / len(self.paths)
        loss = torch.zeros(())
        for index, architecture in enumerate(self.paths):
            self.activate(architecture)
            preds = self.forward(batch["img"])
            loss, own = super().loss(batch, preds)
            loss = loss.sum() * share
            if index == 0 and self.distill:
                taught = _logits(preds, detach=True)
            elif taught is not None:
                mine = _logits(preds)
                if mine["scores"].shape == taught["scores"].shape:
                    weight = self.distill * share * self._images(batch)
                    loss = loss + weight * distance(mine, taught, self.head.reg_max)
            if index + 1 < len(self.paths):
                self.backward(loss)
            items = {n: items.get(n, 0) + share * v for n, v in own.items()}
        return loss, items

    def _guided(self, batch: Mapping[str, Any], guide: Guide) -> tuple[torch.Tensor, Any]:
        """Return the mean loss of the networks of this step, who learn from a fixed teacher."""
        apart = guide(batch["img"])
        share = 1 / len(self.paths)
        items: Any = {}
        loss = torch.zeros(())
        for index, architecture in enumerate(self.paths):
            self.activate(architecture)
            preds = self.forward(batch["img"])
            loss = apart(preds, self) * self._images(batch) * share
            if index == 0:
                hard, items = super().loss(batch, preds)
                loss = loss + hard.sum() * share
            if index + 1 < len(self.paths):
                self.backward(loss)
        return loss, items

    def mean_loss(self, batch: Mapping[str, Any]) -> torch.Tensor:
        """Return the loss of `loss` an image."""
        return self.loss(batch)[0].sum() / self._images(batch)

    def _images(self, batch: Mapping[str, Any]) -> int:
        """Return how many images Ultralytics' loss is a sum over: 1 of a classifier's, a mean."""
        return 1 if self.head.task.name == "classify" else len(batch["img"])

    def init_criterion(self) -> Any:
        """Return Ultralytics' loss of the task, of the active network's strides."""
        own = LOSSES.get(self.head.task.name) if self.head.active[0].yolo26 else None
        if own is None:
            self.criterion = models.BUILT[self.head.task.name].init_criterion(self)
        else:  # which Ultralytics takes by the head's class
            self.criterion = E2ELoss(self, own) if self.head.end2end else own(self)
        self._aim()
        return self.criterion

    def _aim(self) -> None:
        """Tell the loss the strides of the active network."""
        criterion = getattr(self, "criterion", None)
        for name in ("", "one2many", "one2one"):
            loss: Any = getattr(criterion, name, None) if name else criterion
            if (assigner := getattr(loss, "assigner", None)) is not None:
                strides = self.head.stride.tolist()
                loss.stride = self.head.stride.to(loss.device)
                assigner.stride = strides
                assigner.stride_val = strides[1] if len(strides) > 1 else strides[0]


def _logits(preds: Any, detach: bool = False) -> dict[str, torch.Tensor]:
    """Return boxes and scores of a head of Ultralytics'; of a classifier its scores alone."""
    many = preds.get("one2many", preds) if isinstance(preds, Mapping) else {"scores": preds}
    found = {name: many[name] for name in ("boxes", "scores") if name in many}
    return {n: x.detach() for n, x in found.items()} if detach else found


def distance(
    preds: Mapping[str, torch.Tensor], taught: Mapping[str, torch.Tensor], bins: int
) -> torch.Tensor:
    """Return how far predictions are from those of a teacher.

    Args:
        preds: ``scores`` (images, classes, anchors) and ``boxes`` (images, 4 x bins, anchors), as
            Ultralytics' head gives them; of a classifier ``scores`` (images, classes) alone.
        taught: The teacher's.
        bins: Bins of the box distribution.

    Returns:
        Of a classifier the mean cross-entropy of the classes. Else the mean over images of two
        terms: the cross-entropy of the scores over all anchors and classes, and that of the boxes'
        distributions, or of their sides where they are regressed directly. Each anchor is weighted
        by how sure the teacher is, relative to its sureness in all.
    """
    if "boxes" not in preds:
        return cross_entropy(preds["scores"], taught["scores"].softmax(1))
    sure = taught["scores"].sigmoid()
    weight = sure.amax(1)
    scale = weight.sum().clamp(min=1.0)
    scores = binary_cross_entropy_with_logits(preds["scores"], sure, reduction="sum")
    mine, theirs = (p["boxes"].unflatten(1, (4, bins)) for p in (preds, taught))
    if bins > 1:
        boxes = -(theirs.softmax(2) * mine.log_softmax(2)).sum(2)
    else:
        boxes = (mine - theirs).abs().squeeze(2)
    return (scores + (boxes.mean(1) * weight).sum()) / scale


@torch.no_grad()
def extract(supernet: Supernet, architecture: Architecture, names: Mapping[int, str]) -> Any:
    """Return a network of a supernet as a stock model with weights of its own.

    Args:
        supernet: Where the weights come from; its active network changes to this one.
        architecture: The network.
        names: Class names by number.

    Raises:
        NASError: For a network that is none of the space.
    """
    supernet.activate(architecture)
    task = supernet.head.task
    definition = emit(architecture, len(names), task.name, task.keypoints)
    model = models.build(definition, task=task.name, ch=supernet.channels)
    state = model.state_dict()
    for row, wiring, place in _placed(supernet):
        for loan in wiring.loans:
            state[place(loan.name)].copy_(loan.take(row.units))
        for name, value in _flow(row).items():
            state[place(f"{FLOW}.{name}")].copy_(value)
    model.names = dict(names)
    return model


@torch.no_grad()
def fill(supernet: Supernet, architecture: Architecture, model: nn.Module) -> None:
    """Write the weights of a stock model of a network into a supernet: the inverse of `extract`.

    Args:
        supernet: Where they go; its active network changes to this one.
        architecture: The network.
        model: Ultralytics' model of it.

    Raises:
        NASError: For a network that is none of the space.
    """
    supernet.activate(architecture)
    state = model.state_dict()
    for row, wiring, place in _placed(supernet):
        for loan in wiring.loans:
            loan.give(row.units, state[place(loan.name)])
        for name, value in _flow(row).items():
            value.copy_(state[place(f"{FLOW}.{name}")])


def _placed(supernet: Supernet) -> Iterator[tuple[Any, Wiring, Callable[[str], str]]]:
    """Yield the rows with weights of the active network, and what their tensors are called.

    The last is the name in Ultralytics' model from the name in the row's skeleton.
    """
    at = 0
    for row in supernet.rows:
        if isinstance(row, ElasticJoin):
            at += row.active * (1 + isinstance(row.up, nn.Upsample))
        elif isinstance(row, ElasticHead):
            yield row, row.wiring(), lambda name, at=at: f"model.{at}.{name}"
        elif row.active is not None:
            yield row, row.wiring(row.active), lambda name, at=at: _name(at, name)
            at += len(row.active.chain)


def _name(at: int, name: str) -> str:
    first, _, rest = name.partition(".")
    return f"model.{at + int(first)}.{rest}"


def _flow(row: Any) -> dict[str, torch.Tensor]:
    """Return the tensors of YOLO26's flow, which all networks have whole; few rows have it."""
    flow = getattr(row, FLOW, None)
    return dict(flow.state_dict()) if isinstance(flow, nn.Module) else {}
