"""Architecture parameters: logits of every choice, learned by Adam."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

import torch
from torch import nn

RATE = 0.01  # of Adam
BETAS = (0.5, 0.999)  # as in DARTS: every step is of other networks
EPSILON = 1e-3  # of Adam: differences of less than some thousandths of mAP are taken for noise
ENTROPY = 0.02  # weight of the mean relative entropy at the end of the search


class Distribution(nn.Module):
    """A categorical distribution for every choice with more than one option.

    Args:
        choices: Options by choice.
        rate: Learning rate of Adam; there is no weight decay.
    """

    def __init__(self, choices: Mapping[str, Sequence[Any]], rate: float = RATE) -> None:
        super().__init__()
        self.options = {name: tuple(o) for name, o in choices.items() if len(o) > 1}
        self.logits = {n: nn.Parameter(torch.zeros(len(o))) for n, o in self.options.items()}
        self.optimizer = torch.optim.Adam(
            list(self.logits.values()), lr=rate, betas=BETAS, eps=EPSILON
        )

    def probabilities(self, temperature: float = 1.0) -> dict[str, list[float]]:
        """Return the probabilities of each choice's options at a temperature."""
        return {
            name: (logits.detach() / temperature).softmax(0).tolist()
            for name, logits in self.logits.items()
        }

    def gates(
        self,
        names: Sequence[str],
        one: Mapping[str, Any],
        other: Mapping[str, Any],
        temperature: float,
    ) -> tuple[torch.Tensor, torch.Tensor] | None:
        """Return straight-through gates of two points at a place; None where they are the same.

        The values are 1 for the first and 0 for the second, so that the first one is computed; the
        gradients are those of the probabilities of the two, among the two (Gumbel straight-through
        of GDAS, Dong & Yang 2019, with the two paths of ProxylessNAS, Cai et al. 2019: of one path
        alone the gradient vanishes wherever a batch norm follows).

        Args:
            names: Choices that make up the place.
            one: The point that is computed.
            other: The one that it is compared with.
            temperature: Of the softmax.
        """
        differing = [n for n in names if n in self.logits and one[n] != other[n]]
        if not differing:
            return None
        lead = sum(self._logit(n, one[n]) - self._logit(n, other[n]) for n in differing)
        chance = torch.sigmoid(torch.as_tensor(lead) / temperature)
        through = chance - chance.detach()
        return 1 + through, -through

    def log_chance(self, name: str, option: Any) -> torch.Tensor:
        """Return the logarithm of an option's probability."""
        return self.logits[name].log_softmax(0)[self.options[name].index(option)]

    def shares(
        self,
        names: Sequence[str],
        points: Sequence[Mapping[str, Any]],
        of: Sequence[frozenset[str]],
        temperature: float,
    ) -> list[torch.Tensor | None] | None:
        """Return how much of a place each point has; None where all are the same there.

        Args:
            names: Choices that make up the place.
            points: The points.
            of: Choices that matter in each of them.
            temperature: Of the softmax over the points.

        Returns:
            Numbers that add up to 1, None for a point that is there already. The logarithms of
            probabilities are relative to the uniform one's, so that a place with fewer choices that
            matter is not preferred.
        """
        known = [name for name in names if name in self.logits]
        there = [tuple(p[n] for n in known if n in own) for p, own in zip(points, of, strict=True)]
        first = [there.index(options) == place for place, options in enumerate(there)]
        if sum(first) == 1:
            return None
        leads = []
        for point, own, new in zip(points, of, first, strict=True):
            if new:
                mine = [n for n in known if n in own]
                uniform = sum(math.log(len(self.options[n])) for n in mine)
                chance = sum((self.log_chance(n, point[n]) for n in mine), torch.zeros(()))
                leads.append(chance + uniform)
        shares = iter((torch.stack(leads) / temperature).softmax(0))
        return [next(shares) if new else None for new in first]

    def become(self, probabilities: Mapping[str, Sequence[float]]) -> None:
        """Take the probabilities of the options of each choice."""
        for name, values in probabilities.items():
            self.logits[name].data.copy_(torch.tensor(values).log())

    def away_from_worse(
        self, drawn: Sequence[Mapping[str, Any]], scores: Sequence[float]
    ) -> torch.Tensor:
        """Return a term whose gradient is on average minus that of the expected score.

        The score function, each score against the mean of the others (Kool et al. 2019, "Buy 4
        REINFORCE samples, get a baseline for free!").

        Args:
            drawn: Values of all choices, drawn from this distribution; two or more.
            scores: Of each, higher is better.
        """
        mean, term = sum(scores) / len(scores), torch.zeros(())
        for values, score in zip(drawn, scores, strict=True):
            chance = sum(self.log_chance(name, values[name]) for name in self.logits)
            term = term - (score - mean) / (len(scores) - 1) * chance
        return term

    def _logit(self, name: str, option: Any) -> torch.Tensor:
        return self.logits[name][self.options[name].index(option)]

    def uncertainty(self) -> torch.Tensor:
        """Return the mean entropy of the choices, each relative to that of the uniform one."""
        found = []
        for logits in self.logits.values():
            log = logits.log_softmax(0)
            uniform = torch.tensor(float(len(logits))).log()
            found.append(-(log.exp() * log).sum() / uniform)
        return torch.stack(found).mean()

    def step(self, loss: torch.Tensor) -> None:
        """Follow the gradient of a loss; gradients of anything else are left alone."""
        parameters = list(self.logits.values())
        grads = torch.autograd.grad(loss, parameters, allow_unused=True)
        for parameter, grad in zip(parameters, grads, strict=True):
            parameter.grad = torch.zeros_like(parameter) if grad is None else grad
        self.optimizer.step()

    def state(self) -> dict[str, Any]:
        """Return everything that `restore` takes."""
        logits = {name: value.detach().clone() for name, value in self.logits.items()}
        return {"logits": logits, "optimizer": deepcopy(self.optimizer.state_dict())}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        for name, value in state["logits"].items():
            self.logits[name].data.copy_(value)
        self.optimizer.load_state_dict(state["optimizer"])
