"""Differentiable search: proposals from a distribution that was learned with a supernet."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from yolo_nas_ext.space.choices import ChoiceSpace, Point
from yolo_nas_ext.space.supernet.distribution import Probabilities, draw
from yolo_nas_ext.strategies.history import Past
from yolo_nas_ext.study.objectives import Goal
from yolo_nas_ext.study.trial import Trial

Learned = Callable[[], Probabilities]


class Darts:
    """Samples of the newest distribution (DARTS, Liu et al. 2019; GDAS, Dong & Yang 2019).

    The distribution is learned while the supernet trains, see `host.supernet.darts`. Networks
    are drawn from it and evaluated; the likeliest option of each choice is never taken as such.

    Args:
        space: Where it looks.
        goal: Taken no notice of: the distribution was learned from the loss.
        learned: Returns the distribution; asked for at the first proposal. Uniform without.
    """

    def __init__(
        self, space: ChoiceSpace, *, goal: Goal | None = None, learned: Learned = dict
    ) -> None:
        self.space = space
        self._past = Past(space)
        self._learned = learned

    def propose(self, history: Sequence[Trial], n: int, rng: random.Random) -> list[Point]:
        """Return `n` feasible points that are not in the history, fewer if there are no more."""
        probabilities = self._learned()
        past = self._past.read(history)
        return past.fill(n, lambda: draw(self.space, probabilities, rng), rng)
