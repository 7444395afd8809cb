"""Random search: the control that every other strategy is measured against."""

from __future__ import annotations

import random
from collections.abc import Sequence

from yolo_nas_ext.space.choices import ChoiceSpace, Point
from yolo_nas_ext.strategies.history import identities
from yolo_nas_ext.study import Trial


class RandomSearch:
    """Draws points from the space.

    Args:
        space: Where to look.
    """

    def __init__(self, space: ChoiceSpace) -> None:
        self.space = space

    def propose(self, history: Sequence[Trial], n: int, rng: random.Random) -> list[Point]:
        """Return `n` points drawn from the space that are not in the history, fewer at its end."""
        seen = identities(self.space, history)
        found: list[Point] = []
        for _ in range(n):
            point = self.space.unseen(lambda: self.space.sample(rng), seen, rng)
            if point is None:
                break
            found.append(point)
        return found
