"""NSGA-II (Deb et al. 2002, doi:10.1109/4235.996017)."""

from __future__ import annotations

import random
from collections.abc import Sequence

from yolo_nas_ext.space.choices import ChoiceSpace, Point
from yolo_nas_ext.strategies.history import Past, survivors
from yolo_nas_ext.study.objectives import Goal
from yolo_nas_ext.study.trial import Trial


class Nsga2:
    """Children of two parents from the best by front, then by crowding.

    The population is chosen anew from the whole history at every proposal instead of once a
    generation, so that no evaluation waits for a generation to fill.

    Args:
        space: Where to look.
        goal: Objectives and limits.
        population: Number of best trials that may have children. Until there are as many, points
            are drawn at random.
        crossover: Probability that a child has two parents.
    """

    def __init__(
        self,
        space: ChoiceSpace,
        *,
        goal: Goal | None = None,
        population: int = 20,
        crossover: float = 0.9,
    ) -> None:
        self.space = space
        self.goal = goal or Goal()
        self._past = Past(space, self.goal)
        self.population = population
        self.crossover = crossover

    def propose(self, history: Sequence[Trial], n: int, rng: random.Random) -> list[Point]:
        """Return `n` new points: children of the best, or random ones while there are too few."""
        past = self._past.read(history)
        alive = len(past.trials) >= self.population
        living = survivors(past.values, past.excess, self.population) if alive else []

        def parent() -> Point:
            rivals = [rng.randrange(len(living)) for _ in range(2)]
            best, _, _ = living[min(rivals, key=lambda i: (living[i][1], -living[i][2]))]
            point = past.trials[best].point
            assert point is not None
            return point

        def candidate() -> Point:
            if not living:
                return self.space.sample(rng)
            child = parent()
            if rng.random() < self.crossover:
                child = self.space.crossover(child, parent(), rng)
            return self.space.mutate(child, rng)

        return past.fill(n, candidate, rng)
