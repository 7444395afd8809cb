"""Aging evolution (Real et al. 2019, arXiv:1802.01548)."""

from __future__ import annotations

import random
from collections.abc import Sequence

from yolo_nas_ext.space.choices import ChoiceSpace, Point
from yolo_nas_ext.strategies.history import Past, worths
from yolo_nas_ext.study.objectives import Goal
from yolo_nas_ext.study.trial import Trial


class Evolution:
    """A population of the newest trials; each child is a mutation of the best of a random few.

    The oldest leave, not the worst, so that a lucky measurement does not rule for ever. Baselines
    that are points of the space belong to the first population.

    Args:
        space: Where to look.
        goal: Objectives and limits; with several objectives each child draws its own weights.
        population: Number of newest complete trials that may have children. Until there are as
            many, points are drawn at random.
        sample: Number of them that compete to be the parent.
    """

    def __init__(
        self,
        space: ChoiceSpace,
        *,
        goal: Goal | None = None,
        population: int = 10,
        sample: int = 4,
    ) -> None:
        self.space = space
        self.goal = goal or Goal()
        self._past = Past(space, self.goal)
        self.population = population
        self.sample = sample

    def propose(self, history: Sequence[Trial], n: int, rng: random.Random) -> list[Point]:
        """Return `n` new points: children, or random ones while the population fills."""
        past = self._past.read(history)
        newest = slice(-self.population, None)
        living, values, excess = past.trials[newest], past.values[newest], past.excess[newest]
        objectives = len(self.goal.objectives)
        worth = worths(values, excess)

        def candidate() -> Point:
            if len(living) < self.population:
                return self.space.sample(rng)
            ranked = worth
            if objectives > 1:
                weights = [rng.expovariate(1.0) for _ in range(objectives)]
                ranked = worths(values, excess, weights)
            rivals = rng.sample(range(len(living)), min(self.sample, len(living)))
            parent = living[max(rivals, key=lambda i: (ranked[i], living[i].number))]
            assert parent.point is not None
            return self.space.mutate(parent.point, rng)

        return past.fill(n, candidate, rng)
