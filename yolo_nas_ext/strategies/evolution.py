"""Aging evolution (Real et al. 2019, arXiv:1802.01548)."""

from __future__ import annotations

import random
from collections.abc import Sequence

from yolo_nas_ext.space.choices import ChoiceSpace, Point
from yolo_nas_ext.strategies.history import identities, members
from yolo_nas_ext.study import Trial


class Evolution:
    """A population of the newest trials; each child is a mutation of the best of a random few.

    The oldest leave, not the worst, so that a lucky measurement does not rule for ever. Hand-made
    networks that are points of the space belong to the first population.

    Args:
        space: Where to look.
        population: Number of newest complete trials that may have children. Until there are as
        many,
            points are drawn at random.
        sample: Number of them that compete to be the parent.
    """

    def __init__(self, space: ChoiceSpace, population: int = 10, sample: int = 4) -> None:
        self.space = space
        self.population = population
        self.sample = sample

    def propose(self, history: Sequence[Trial], n: int, rng: random.Random) -> list[Point]:
        """Return `n` new points: children, or random ones while the population fills."""
        seen = identities(self.space, history)
        living = members(self.space, history)[-self.population :]

        def candidate() -> Point:
            if len(living) < self.population:
                return self.space.sample(rng)
            rivals = rng.sample(living, min(self.sample, len(living)))
            parent = max(rivals, key=lambda trial: (trial.fitness, trial.number))
            assert parent.point is not None
            return self.space.mutate(parent.point, rng)

        found: list[Point] = []
        for _ in range(n):
            point = self.space.unseen(candidate, seen, rng)
            if point is None:
                break
            found.append(point)
        return found
