"""WHERE to look next: pure strategies, history in, proposals out.

A strategy is one file and one entry in `STRATEGIES`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Protocol

from yolo_nas_ext.errors import NASError, did_you_mean
from yolo_nas_ext.space.choices import ChoiceSpace, Point
from yolo_nas_ext.strategies.evolution import Evolution
from yolo_nas_ext.strategies.random import RandomSearch
from yolo_nas_ext.study import Trial


class Strategy(Protocol):
    """Proposes points; the same history and generator give the same proposals."""

    def propose(self, history: Sequence[Trial], n: int, rng: random.Random) -> list[Point]:
        """Return `n` feasible points that are not in the history, fewer if there are no more."""
        ...


STRATEGIES: dict[str, Callable[..., Strategy]] = {"random": RandomSearch, "evolution": Evolution}


def make(name: str, space: ChoiceSpace, **options: int) -> Strategy:
    """Return the strategy of that name for a space.

    Args:
        name: A key of `STRATEGIES`.
        space: Where it looks.
        **options: Arguments of the strategy.

    Raises:
        NASError: For an unknown name.
    """
    if name not in STRATEGIES:
        raise NASError(
            f"strategy={name}: no such strategy.{did_you_mean(name, STRATEGIES)} Allowed: "
            f"{', '.join(STRATEGIES)}"
        )
    return STRATEGIES[name](space, **options)
