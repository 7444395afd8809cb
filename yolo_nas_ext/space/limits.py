"""Limits on what a point may cost: how far a point is beyond them, and the walk towards them."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from yolo_nas_ext.space.point import Point

STRIDE = 16  # neighbours looked at together in a walk


class Limit(Protocol):
    """A bound on what a point may cost; `cost.budget.Budget` is one."""

    def values(self, subject: Any) -> Mapping[str, tuple[float, float]]:
        """Return ``{limit: (value, bound)}`` for a point (a detector space's architecture)."""
        ...

    def say(self, name: str, value: float) -> str:
        """Return a value of a limit as a person writes it, for example ``"2.6M parameters"``."""
        ...


def excess(limits: Sequence[Limit], subject: Any, only: str | None = None) -> float:
    """Return the sum over limits of how far, relatively, their subject lies beyond them.

    Args:
        limits: The limits.
        subject: What they look at.
        only: Name of the one that counts; all do without it.
    """
    beyond = 0.0
    for limit in limits:
        for name, (value, bound) in limit.values(subject).items():
            if value > bound and only in (None, name):
                beyond += value / bound - 1.0
    return beyond


def descend(
    point: Point,
    excess_of: Callable[[Point], float],
    neighbours: Callable[[Point], list[Point]],
    rng: random.Random,
) -> tuple[Point, float]:
    """Walk downhill until within the limits, or stuck; return the last point and its excess.

    Each step looks at neighbours in random order, a handful at a time, and takes the best of the
    first handful that holds a better one. That gives long strides while far away, and every
    neighbour is seen at the end.

    Args:
        point: Where the walk begins.
        excess_of: How far a point is beyond the limits.
        neighbours: Where a step may lead.
        rng: Order of the neighbours.
    """
    left = excess_of(point)
    while left > 0.0:
        others = neighbours(point)
        rng.shuffle(others)
        for start in range(0, len(others), STRIDE):
            handful = [(excess_of(other), other) for other in others[start : start + STRIDE]]
            lowest, best = min(handful, key=lambda pair: pair[0])
            if lowest < left:
                point, left = best, lowest
                break
        else:
            break
    return point, left


def why_empty(
    limits: Sequence[Limit],
    starts: Sequence[Point],
    subject: Callable[[Point], Any],
    neighbours: Callable[[Point], list[Point]],
    rng: random.Random,
) -> str:
    """Say which limit nothing can meet: walk downhill for each limit alone.

    Args:
        limits: The limits.
        starts: Where the walks begin; none where the rules alone leave nothing.
        subject: What the limits look at, of a point.
        neighbours: Where a step may lead.
        rng: Order of the neighbours.
    """
    if not starts:
        return "the space is empty: its rules contradict one another; drop or widen one"
    for limit in limits:
        for name, (_, bound) in limit.values(subject(starts[0])).items():

            def alone(point: Point, name: str = name) -> float:
                return excess(limits, subject(point), name)

            ends = [descend(start, alone, neighbours, rng)[0] for start in starts]
            best = min(ends, key=lambda p, of=limit, n=name: of.values(subject(p))[n][0])
            value = limit.values(subject(best))[name][0]
            if value > bound:
                return (
                    f"nothing in the space fits {name}={limit.say(name, bound)}: the smallest "
                    f"network found has {limit.say(name, value)}, {value / bound:.2f} times the "
                    f"limit; raise {name} to at least {limit.say(name, value)} or use a smaller "
                    "space"
                )
    return "no network found fits all limits together, though each alone can be met; raise one"
