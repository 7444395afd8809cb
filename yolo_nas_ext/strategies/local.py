"""Local search with restarts (White et al. 2021, arXiv:2005.02960)."""

from __future__ import annotations

import random
from collections.abc import Sequence

from yolo_nas_ext.space.choices import ChoiceSpace, Point
from yolo_nas_ext.strategies.history import Past, worths
from yolo_nas_ext.study.objectives import Goal
from yolo_nas_ext.study.trial import Trial

DRAWS = 8  # random points; a climb starts from the best of them
PATIENCE = 30  # trials without a better one after which a climb ends


class LocalSearch:
    """Climbs from neighbour to neighbour; when no neighbour is better it starts again elsewhere.

    Where the climb stands is read from the history: the best trial since the last restart. A climb
    ends after as many trials without a better one as a point has neighbours, 30 at most.

    Args:
        space: Where to look.
        goal: Objectives and limits.
        draws: Number of random points; a climb starts from the best of them.
    """

    def __init__(self, space: ChoiceSpace, *, goal: Goal | None = None, draws: int = DRAWS) -> None:
        self.space = space
        self.goal = goal or Goal()
        self._past = Past(space, self.goal)
        self.draws = draws
        moves = sum(len(options) - 1 for options in space.choices.values())
        self.patience = max(1, min(moves, PATIENCE))

    def propose(self, history: Sequence[Trial], n: int, rng: random.Random) -> list[Point]:
        """Return `n` new points: neighbours of where the climb stands, or random ones to start."""
        past = self._past.read(history)
        climb, left = self._climb(past)
        fresh: list[Point] = []
        if climb is not None and left <= 0:
            assert climb.point is not None
            seen = past.seen
            fresh = [
                p for p in self.space.neighbours(climb.point) if self.space.identity(p) not in seen
            ]
            rng.shuffle(fresh)

        def candidate() -> Point:
            return fresh.pop() if fresh else self.space.sample(rng)

        return past.fill(n, candidate, rng)

    def _climb(self, past: Past) -> tuple[Trial | None, int]:
        """Return the best trial of the present climb, and how many random draws it still wants."""
        worth = worths(past.values, past.excess).tolist()
        best, since, stale, left = None, -float("inf"), 0, self.draws
        for trial, value in zip(past.trials, worth, strict=True):
            if best is not None and left <= 0 and stale >= self.patience:
                best, since, stale, left = None, -float("inf"), 0, self.draws
            left -= 1
            stale += 1
            if value > since:
                best, since, stale = trial, value, 0
        if left <= 0 and stale >= self.patience:
            return None, self.draws
        return best, left
