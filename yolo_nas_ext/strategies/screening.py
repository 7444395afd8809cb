"""Screening: what a strategy draws from the space is the best of many draws by a cheap score."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from yolo_nas_ext.space.choices import ChoiceSpace, Point
from yolo_nas_ext.study.trial import Trial

TRIES = 16  # proposals too near to another of their batch before one is taken as it is


class Proposes(Protocol):
    """Any strategy."""

    def propose(self, history: Sequence[Trial], n: int, rng: random.Random) -> list[Point]:
        """Return `n` points that are not in the history."""
        ...


class Screened:
    """A strategy over a space whose draws are screened, with batches that are spread out.

    Draws come from the space, not from the strategy's model: random search proposes nothing else,
    other strategies begin with them (the warm-up of Abdelfattah et al. 2021, arXiv:2101.08134).

    Args:
        inner: The strategy, made for the `ChoiceSpace.preferring` space.
        space: The space.
    """

    def __init__(self, inner: Proposes, space: ChoiceSpace) -> None:
        self.inner, self.space = inner, space

    def propose(self, history: Sequence[Trial], n: int, rng: random.Random) -> list[Point]:
        """Return `n` points; no two within one choice of each other unless nothing else is left."""
        chosen: list[Point] = []
        near: list[Point] = []
        while len(chosen) < n:
            given = [*chosen, *near]
            waiting = [Trial(len(history) + i, point) for i, point in enumerate(given)]
            found = self.inner.propose((*history, *waiting), 1, rng)
            if found and all(distance(found[0], point) > 1 for point in chosen):
                chosen.append(found[0])
            elif found and len(near) < TRIES * n:
                near.append(found[0])
            elif near:
                chosen.append(near.pop(0))
            else:
                break
        return chosen


def distance(a: Mapping[str, Any], b: Mapping[str, Any]) -> int:
    """Return the number of choices in which two points differ."""
    return sum(a[name] != b[name] for name in a)
