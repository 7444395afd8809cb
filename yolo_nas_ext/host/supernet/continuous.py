"""Continuous relaxation: the loss of a mixture of all options, and how sharp it has become."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from ultralytics.utils.torch_utils import unwrap_model

from yolo_nas_ext.host.supernet.darts import DartsTrainer
from yolo_nas_ext.host.supernet.model import Supernet
from yolo_nas_ext.space.choices import Point
from yolo_nas_ext.space.supernet.distribution import choices_of, cover, matters, names_for

PARTIAL = 4  # one channel of so many is a mixture (PC-DARTS, Xu et al. 2020)
POWER, STEP = 6, 0.05  # iterations for the eigenvalue, and the step of its differences
# R-DARTS (Zela et al. 2020): the search ends when the eigenvalue, averaged over a window of epochs,
# has risen by so much since a window before; what was learned by then is taken.
WINDOW, RISE = 5, 1 / 0.75


class ContinuousTrainer(DartsTrainer):
    """First-order DARTS (Liu et al. 2019) with partial channels, for spaces with few options.

    After the warm-up every slot computes several networks at a time, as many as the choice with
    most options has, and adds them up by their probabilities; so each option of a slot that is one
    choice takes part in every step. Weights learn in the mixture on the training part and the
    architecture parameters on the held-out part, both by the gradient of the loss. In a slot one
    channel of `PARTIAL`, drawn anew for every step, is mixed; the others are those of a network
    drawn from the distribution. The levels, in which networks cannot be added up, follow the score
    function of the loss.

    The largest eigenvalue of the Hessian of the held-out loss in the architecture parameters is
    recorded after each epoch: where it rises, what the mixture has learned is no longer true of the
    networks in it.

    Args:
        *args: As of `DartsTrainer`.
        **more: As of `DartsTrainer`.
    """

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._entered = ExitStack()
        self.stopped: int | None = None  # epoch whose distribution is final

    def _choose(self) -> None:
        self._entered.close()
        if self.searching and self.stopped is None:
            model: Any = unwrap_model(self.model)
            model.paths = ()
            points = self._points(self._random("weights"))
            self._entered.enter_context(self._mixed(model, points, learn=False))
            self._step += 1
        else:
            super()._choose()

    def _learn(self) -> None:
        self._entered.close()
        if self.stopped is None:
            super()._learn()

    def _points(self, rng: random.Random) -> list[Point]:
        known = self.distribution.probabilities(self.temperature)
        return cover(self.space, known, rng)

    def _mixed(self, model: Supernet, points: Sequence[Point], *, learn: bool) -> Any:
        """Return a context in which a model computes the mixture of points."""
        places = choices_of(self.space, points[0])
        of = [matters(self.space, point) for point in points]
        seed = self._random("channels").getrandbits(31)
        generator = torch.Generator().manual_seed(seed)

        def gates(slot: str) -> Sequence[torch.Tensor | None] | None:
            names = [n for n in names_for(slot, places) if n != "levels"]
            shares = self.distribution.shares(names, points, of, self.temperature)
            return shares and [s if s is None or learn else s.detach() for s in shares]

        def mask(channels: int) -> torch.Tensor:
            chosen = torch.randperm(channels, generator=generator)[: -(-channels // PARTIAL)]
            return torch.zeros(channels, 1, 1).index_fill(0, chosen, 1.0).to(self.device)

        return model.mixed([self.space.architecture(point) for point in points], gates, mask)

    def _gated(
        self, model: Supernet, batch: dict[str, Any], rng: random.Random
    ) -> tuple[torch.Tensor, float, Point]:
        """Return the loss of the mixture, its value, and the first network in it."""
        points = self._points(rng)
        loss = self._mixture_loss(model, batch, points)
        value = float(loss.detach())
        return loss + self._levels(points[0], value), value, points[0]

    def _mixture_loss(
        self, model: Supernet, batch: dict[str, Any], points: Sequence[Point]
    ) -> torch.Tensor:
        with self._mixed(model, points, learn=True):
            return model.mean_loss(batch)

    def more_to_record(self) -> dict[str, Any]:
        """Return the eigenvalue, after ending the search where it has risen too far."""
        if self.stopped is not None:
            return {"eigenvalue": None, "stopped": self.stopped}
        value = self._eigenvalue()
        values = [row["eigenvalue"] for row in self.history] + [value]
        if rising(values):
            kept = self.history[-WINDOW]
            self.stopped = kept["epoch"]
            self.distribution.become(kept["probabilities"])
        return {"eigenvalue": value, "stopped": self.stopped}

    def _eigenvalue(self) -> float:
        """Return the dominant eigenvalue of the held-out loss's Hessian at the distribution."""
        rng, noted = self._random("eigenvalue"), len(self._many[""])
        model: Any = unwrap_model(self.model)
        self._entered.close()
        model.paths = ()
        batch, points = self._held_out_batch(rng), self._points(rng)
        logits = list(self.distribution.logits.values())
        sizes = [len(parameter) for parameter in logits]

        def gradient(shift: torch.Tensor) -> torch.Tensor:
            before = [parameter.detach().clone() for parameter in logits]
            for parameter, part in zip(logits, shift.split(sizes), strict=True):
                parameter.data += part
            loss = self._mixture_loss(model, batch, points)
            grads = torch.autograd.grad(loss, logits, allow_unused=True)
            for parameter, old in zip(logits, before, strict=True):
                parameter.data.copy_(old)
            pairs = zip(logits, grads, strict=True)
            return torch.cat([torch.zeros_like(p) if g is None else g for p, g in pairs])

        generator = torch.Generator().manual_seed(rng.getrandbits(31))
        value = dominant(gradient, torch.randn(sum(sizes), generator=generator))
        del self._many[""][noted:]
        return value

    def more_to_keep(self) -> dict[str, Any]:
        """Return the distribution, how it came to be, and whether it is final."""
        return {**super().more_to_keep(), "stopped": self.stopped}

    def go_on(self, saved: Mapping[str, Any]) -> None:
        """Go on with a distribution."""
        super().go_on(saved)
        self.stopped = saved["stopped"]


def dominant(
    gradient: Callable[[torch.Tensor], torch.Tensor],
    start: torch.Tensor,
    iterations: int = POWER,
    step: float = STEP,
) -> float:
    """Return the eigenvalue of largest magnitude of a Hessian, by power iteration.

    Args:
        gradient: The gradient of the function, of shape (n,), at a shift of that shape.
        start: Where the iteration begins, of shape (n,); not orthogonal to the eigenvector.
        iterations: Products with the Hessian, each the difference of two gradients.
        step: Length of the shifts.
    """
    vector, value = start / start.norm(), 0.0
    for _ in range(iterations):
        product = (gradient(step * vector) - gradient(-step * vector)) / (2 * step)
        value = float(vector @ product)
        length = product.norm()
        if length == 0:
            return 0.0
        vector = product / length
    return value


def rising(values: Sequence[float]) -> bool:
    """Say whether eigenvalues, an epoch each, have risen too far; see `RISE`."""
    if len(values) < 2 * WINDOW:
        return False
    now, before = (
        sum(abs(v) for v in part) / WINDOW
        for part in (values[-WINDOW:], values[-2 * WINDOW : -WINDOW])
    )
    return now > RISE * before
