"""The default: a strategy chosen by budget, objectives and size of the space."""

from __future__ import annotations

import random
from collections.abc import Sequence

from yolo_nas_ext.space.choices import ChoiceSpace, Point
from yolo_nas_ext.strategies.bayes import USUAL, Bayes, Features, Prior, first_points
from yolo_nas_ext.strategies.evolution import Evolution
from yolo_nas_ext.strategies.nsga2 import Nsga2
from yolo_nas_ext.strategies.random import RandomSearch
from yolo_nas_ext.study.objectives import Goal
from yolo_nas_ext.study.trial import Trial

MANY = 2000  # trials from which evolution's breadth is worth more than a model of a few hundred


class Auto:
    """One of the other strategies, chosen once before the search.

    Args:
        space: Where to look.
        goal: Objectives and limits.
        trials: Number of trials that the search may take; 50 unless given.
        features: Free numbers about a point for `bayes`.
        prior: Ranks points for free, for `bayes`.
    """

    def __init__(
        self,
        space: ChoiceSpace,
        *,
        goal: Goal | None = None,
        trials: int | None = None,
        features: Features | None = None,
        prior: Prior | None = None,
    ) -> None:
        goal = goal or Goal()
        trials = USUAL if trials is None else trials
        if space.size <= trials:
            self.name = "random"
            self.reason = f"{trials} trials cover all {space.size} points of the space"
            self._chosen = RandomSearch(space, goal=goal)
        elif trials <= MANY:
            several = len(goal.objectives) > 1
            self.name = "bayes"
            self.reason = f"at {trials} trials a model of the space saves the most trainings" + (
                ", with other weights of the objectives at each" if several else ""
            )
            if trials <= first_points(
                space, trials
            ):  # the same first points as of a search that goes on from here
                self.reason = f"{trials} trials are too few to learn from: only its first points"
            self._chosen = Bayes(space, goal=goal, features=features, prior=prior, trials=trials)
        elif len(goal.objectives) > 1:
            self.name = "nsga2"
            self.reason = f"{trials} trials and several objectives: a front evolves"
            self._chosen = Nsga2(space, goal=goal, population=50)
        else:
            self.name = "evolution"
            self.reason = f"{trials} trials are more than a model makes use of"
            self._chosen = Evolution(space, goal=goal, population=50, sample=10)

    def propose(self, history: Sequence[Trial], n: int, rng: random.Random) -> list[Point]:
        """Return `n` new points of the chosen strategy."""
        return self._chosen.propose(history, n, rng)
