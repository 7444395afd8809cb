"""Differentiable search in a supernet: weights and architecture parameters by turns."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any

import torch
from ultralytics.utils.torch_utils import unwrap_model

from yolo_nas_ext.host.supernet.arch_parameters import ENTROPY, Distribution
from yolo_nas_ext.host.supernet.model import Supernet
from yolo_nas_ext.host.supernet.trainer import SupernetTrainer
from yolo_nas_ext.network.architecture import Architecture
from yolo_nas_ext.space.choices import Point
from yolo_nas_ext.space.detector import DetectorSpace
from yolo_nas_ext.space.supernet.distribution import (
    choices_of,
    draw,
    draw_values,
    entropy,
    leaning,
    names_for,
    partner,
)

WARM = 0.34  # part of the epochs in which only weights learn, on networks drawn uniformly
HOT, COLD = 2.0, 0.5  # temperature at the first and last epoch of the search
KEPT = 0.95  # of the mean loss, from one step to the next
DRAWS = 4  # networks that are compared in a step of the architecture parameters
RELAXATIONS = ("single", "gates", "continuous")


class DartsTrainer(SupernetTrainer):
    """Trains a supernet, and after a warm-up also which of its networks are drawn.

    After each step of the weights on the training part, one of the architecture parameters is made
    on held-out images:

    - ``single``: networks are drawn and run one at a time. Ultralytics' fitness of each on the
      batch, mAP50-95 of detectors, is compared with the mean of the others': the score function
      with a leave-one-out baseline (Kool et al. 2019). On average that is the gradient of the
      expected fitness, whatever blocks do. It compares levels, too: the loss is lowest at levels
      that no object is assigned to.
    - ``gates``: a network is computed with a second one added to it slot by slot, by
      straight-through gates (see `Distribution.gates`), which follow the gradient of the loss. It
      says whether a little of the second would help the first, which is not whether it is better in
      its place. The levels follow the score function of the loss, with its running mean as
      baseline.
    - ``continuous``: see `host.supernet.continuous`.

    Args:
        *args: As of `SupernetTrainer`.
        space: Where networks are drawn from.
        cost: FLOPs of a network.
        cost_weight: Weight of the logarithm of the expected FLOPs against the fitness or the loss.
        relaxation: One of `RELAXATIONS`.
        **more: As of `SupernetTrainer`; ``steps`` are those of the warm-up.
    """

    def __init__(
        self,
        *args: Any,
        space: DetectorSpace,
        cost: Callable[[Architecture], float],
        cost_weight: float = 0.0,
        relaxation: str = RELAXATIONS[0],
        **more: Any,
    ) -> None:
        super().__init__(*args, **more)
        self.space, self._cost, self._cost_weight = space, cost, cost_weight
        single = relaxation == "single"
        self._compare, self._measured = (self._drawn, "score") if single else (self._gated, "loss")
        self.distribution = Distribution(space.choices)
        self.history: list[dict[str, Any]] = []
        self._values: list[float] = []  # of this epoch: fitness, or losses
        self._baseline: float | None = None
        self._held_out: Any = None
        self.add_callback("on_train_batch_end", lambda trainer: trainer._learn())

    @property
    def searching(self) -> bool:
        """Whether the warm-up is over."""
        return self.epoch >= self._warm

    @property
    def _warm(self) -> int:
        return max(1, round(WARM * self.epochs))

    @property
    def temperature(self) -> float:
        """Temperature of this epoch."""
        through = (self.epoch - self._warm) / max(1, self.epochs - self._warm - 1)
        return HOT + (COLD - HOT) * min(1.0, max(0.0, through))

    def _choose(self) -> None:
        if not self.searching:
            super()._choose()
            return
        rng = self._random("weights")
        model: Any = unwrap_model(self.model)
        point = draw(self.space, self.distribution.probabilities(self.temperature), rng)
        model.paths = [self.space.architecture(point)]
        self._step += 1

    def _random(self, what: str) -> random.Random:
        return random.Random(f"{self.args.seed}/{self.epoch}/{self._step}/{what}")

    def _learn(self) -> None:
        """Make a step of the architecture parameters."""
        if not self.searching:
            return
        rng, noted = self._random("architecture"), len(self._many[""])
        model: Any = unwrap_model(self.model)
        model.paths = ()
        term, value, point = self._compare(model, self._held_out_batch(rng), rng)
        del self._many[""][noted:]  # which are for the training losses
        total = term + self._expected_cost(point, rng)
        ramp = (self.epoch - self._warm + 1) / (self.epochs - self._warm)
        total = total + ENTROPY * ramp * abs(value) * self.distribution.uncertainty()
        self.distribution.step(total)
        self._values.append(value)

    def _drawn(
        self, model: Supernet, batch: dict[str, Any], rng: random.Random
    ) -> tuple[torch.Tensor, float, Point]:
        """Return a term that falls as the expected fitness rises, its mean, and a network."""
        known = self.distribution.probabilities(self.temperature)
        drawn = [draw_values(self.space, known, rng) for _ in range(DRAWS)]
        scores = []
        for _, point in drawn:
            model.activate(self.space.architecture(point))
            scores.append(self._score(model, batch))
        term = self.distribution.away_from_worse([values for values, _ in drawn], scores)
        return term, sum(scores) / DRAWS, drawn[0][1]

    @torch.no_grad()
    def _score(self, model: Supernet, batch: dict[str, Any]) -> float:
        """Return the fitness of the active network on a batch, whose own statistics norms use."""
        validator: Any = self.validator
        validator.device, validator.data, validator.training = self.device, self.data, True
        validator.init_metrics(model)
        found = validator.postprocess(model.head.decoded(model(batch["img"])))
        validator.update_metrics(found, batch)
        validator.get_stats()
        return float(validator.metrics.fitness)

    def _gated(
        self, model: Supernet, batch: dict[str, Any], rng: random.Random
    ) -> tuple[torch.Tensor, float, Point]:
        """Return the loss of a network with another added to it, its value, and the network."""
        one = draw(self.space, self.distribution.probabilities(self.temperature), rng)
        # Uniform, so that what has become rare is still compared.
        other = partner(self.space, one, self.space.sample(rng))
        places = choices_of(self.space, one)
        temperature = self.temperature

        def gates(slot: str) -> tuple[torch.Tensor, torch.Tensor] | None:
            return self.distribution.gates(names_for(slot, places), one, other, temperature)

        first, second = (self.space.architecture(point) for point in (one, other))
        with model.mixed([first, second], gates):
            loss = model.mean_loss(batch)
        value = float(loss.detach())
        return loss + self._levels(one, value), value, one

    def _held_out_batch(self, rng: random.Random) -> dict[str, Any]:
        if self._held_out is None:
            labels = [self.data_set.labels[index] for index in self._split[1]]
            self._held_out = self.held(labels, augment=False, batch=self.batch_size)
        images = self._held_out
        chosen = rng.sample(range(len(images)), min(self.batch_size, len(images)))
        together: Any = self.test_loader.collate_fn
        return self.preprocess_batch(together([images[index] for index in chosen]))

    def _levels(self, point: Point, loss: float) -> torch.Tensor:
        """Return a term whose gradient is that of the expected loss in the levels' logits."""
        if self._baseline is None:
            self._baseline = loss
        lead = loss - self._baseline
        self._baseline = KEPT * self._baseline + (1 - KEPT) * loss
        if "levels" not in self.distribution.logits:
            return torch.zeros(())
        return lead * self.distribution.log_chance("levels", point["levels"])

    def _expected_cost(self, point: Point, rng: random.Random) -> torch.Tensor:
        """Return the logarithm of the expected FLOPs in one choice, the others as they are."""
        if not self._cost_weight:
            return torch.zeros(())
        names = list(self.distribution.logits)
        name = rng.choice(names)
        networks = [
            self.space.architecture(self.space.canonical({**point, name: option}))
            for option in self.space.choices[name]
        ]
        costs = torch.tensor([self._cost(network) for network in networks])
        expected = (self.distribution.logits[name].softmax(0) * costs).sum()
        return self._cost_weight * len(names) * expected.log()

    def _keep(self) -> None:
        if self.searching:
            probabilities = self.distribution.probabilities()
            self.history.append(
                {
                    "epoch": self.epoch + 1,
                    "temperature": self.temperature,
                    self._measured: sum(self._values) / max(1, len(self._values)),
                    "entropy": entropy(probabilities),
                    "leaning": leaning(self.space, probabilities),
                    "probabilities": probabilities,
                    **self.more_to_record(),
                }
            )
            self._values = []
        super()._keep()

    def more_to_record(self) -> dict[str, Any]:
        """Return what else is recorded after an epoch of the search."""
        return {}

    def more_to_keep(self) -> dict[str, Any]:
        """Return the distribution and how it came to be."""
        return {
            "distribution": self.distribution.state(),
            "history": self.history,
            "baseline": self._baseline,
        }

    def go_on(self, saved: Mapping[str, Any]) -> None:
        """Go on with a distribution."""
        self.distribution.restore(saved["distribution"])
        self.history = list(saved["history"])
        self._baseline = saved["baseline"]
