"""Random search: the random baseline that every other strategy is measured against."""

from __future__ import annotations

import random
from collections.abc import Sequence

from yolo_nas_ext.space.choices import ChoiceSpace, Point
from yolo_nas_ext.strategies.history import Past
from yolo_nas_ext.study.objectives import Goal
from yolo_nas_ext.study.trial import Trial


class RandomSearch:
    """Draws points from the space.

    Args:
        space: Where to look.
        goal: Objectives and limits; they change nothing here.
    """

    def __init__(self, space: ChoiceSpace, *, goal: Goal | None = None) -> None:
        self.space = space
        self._past = Past(space)

    def propose(self, history: Sequence[Trial], n: int, rng: random.Random) -> list[Point]:
        """Return `n` points drawn from the space that are not in the history, fewer at its end."""
        return self._past.read(history).fill(n, lambda: self.space.sample(rng), rng)
