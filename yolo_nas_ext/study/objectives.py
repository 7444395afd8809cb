"""What a search wants: objectives with a direction, and limits on metrics."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from yolo_nas_ext.errors import NASError

# A metric whose name ends so, or begins so, is a cost: less is better. All others are scores.
COST_ENDS = ("_ms", "_s", "_mb", "_gb", "_bytes", "_mj", "_j", "_w", "_loss", "seconds", "loss")
COST_STARTS = ("latency", "params", "flops", "memory", "energy", "layers", "loss")
BLOCK = 256  # points compared with one another at once


def sign(name: str) -> int:
    """Return 1 for a metric that is maximised, -1 for a cost, which is minimised."""
    lower = name.lower()
    return -1 if lower.endswith(COST_ENDS) or lower.startswith(COST_STARTS) else 1


@dataclass(frozen=True)
class Goal:
    """Objectives, and limits that a final answer must keep.

    Args:
        objectives: Names of metrics, the most important first. `sign` gives their directions.
        limits: Bounds by name of a metric: the most a cost may be, the least a score may be.
        confirmed: Further bounds, which count where the metric is known: what only the best are
            measured for.

    Raises:
        NASError: For no objective, or one named twice, or a limit that is no number, or of a cost
            that nothing can keep.
    """

    objectives: tuple[str, ...] = ("fitness",)
    limits: Mapping[str, float] = field(default_factory=dict)
    confirmed: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = self.objectives
        if not names or len(set(names)) != len(names) or not all(names):
            raise NASError(
                f"objectives={','.join(names)}: give different metrics, for example "
                "fitness or fitness,latency_ms"
            )
        for name, bound in self.limits.items():
            if not math.isfinite(bound):
                raise NASError(f"limit {name}={bound}: give a number")
            if sign(name) < 0 and bound <= 0 and "loss" not in name.lower():
                raise NASError(
                    f"limits={name}:{bound:g}: every network costs more; give a number above 0, or "
                    "leave it out"
                )

    def values(self, metrics: Mapping[str, float]) -> tuple[float, ...]:
        """Return the objectives, all of them to be maximised; nan for one that is missing."""
        return tuple(sign(name) * metrics.get(name, math.nan) for name in self.objectives)

    def gaps(self, metrics: Mapping[str, float]) -> tuple[float, ...]:
        """Return for every limit how far a metric is beyond it, relative to the bound.

        At most 0 where it is kept; infinity for a metric that is missing.
        """
        return _gaps(self.limits, metrics)

    def excess(self, metrics: Mapping[str, float]) -> float:
        """Return by how much the limits are broken in all, relative to them; 0 if they are kept."""
        known = {name: bound for name, bound in self.confirmed.items() if name in metrics}
        gaps = (*self.gaps(metrics), *_gaps(known, metrics))
        return sum(max(0.0, gap) for gap in gaps)


def _gaps(limits: Mapping[str, float], metrics: Mapping[str, float]) -> tuple[float, ...]:
    return tuple(
        sign(name) * (bound - metrics.get(name, -sign(name) * math.inf)) / (abs(bound) or 1.0)
        for name, bound in limits.items()
    )


def front(values: Sequence[Sequence[float]] | np.ndarray) -> list[int]:
    """Return the indices of points that no other dominates, the highest first objective first.

    Of equal points the first one is kept.

    Args:
        values: Points of shape (n, objectives), all objectives maximised.
    """
    return next(fronts(values), [])


def fronts(values: Sequence[Sequence[float]] | np.ndarray) -> Iterator[list[int]]:
    """Yield the `front`, then that of the other points, and so on until there are none left."""
    array = np.asarray(values, dtype=float)
    left = np.lexsort(-array.T[::-1]) if len(array) else np.zeros(0, dtype=int)
    while len(left):
        best = _undominated(array[left])
        yield left[best].tolist()
        left = left[~best]


def _undominated(array: np.ndarray) -> np.ndarray:
    """Return which points no other dominates; they are sorted, the highest first."""
    best = np.zeros(len(array), dtype=bool)
    if array.shape[1] <= 2:  # a sweep
        last = array[:, -1]
        best[0] = True
        best[1:] = last[1:] > np.maximum.accumulate(last)[:-1]
        return best
    for start in range(0, len(array), BLOCK):  # only points before a point can dominate it
        block = array[start : start + BLOCK]
        beaten = _covers(array[:start][best[:start]], block).any(axis=0)
        beaten |= np.triu(_covers(block, block), 1).any(axis=0)
        best[start : start + BLOCK] = ~beaten
    return best


def _covers(some: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return for some points, a row each, which of the others they are as good as in everything."""
    found = np.ones((len(some), len(others)), dtype=bool)
    for mine, theirs in zip(some.T, others.T, strict=True):
        found &= mine[:, None] >= theirs
    return found


def hypervolume(
    values: Sequence[Sequence[float]] | np.ndarray, reference: Sequence[float]
) -> float:
    """Return the volume that points dominate above a reference point (Zitzler & Thiele 1999).

    Args:
        values: Points of shape (n, objectives), all objectives maximised.
        reference: Of every objective the value that is worth nothing.
    """
    array = np.asarray(values, dtype=float).reshape(-1, len(reference)) - np.asarray(reference)
    return _volume(array[(array > 0).all(axis=1)])


def _volume(array: np.ndarray) -> float:
    """Return the volume between the origin and points, by slices along the first objective."""
    if not len(array):
        return 0.0
    if array.shape[1] == 1:
        return float(array.max())
    array = array[front(array)]
    heights = array[:, 0] - np.append(array[1:, 0], 0.0)
    return float(sum(h * _volume(array[: i + 1, 1:]) for i, h in enumerate(heights) if h > 0))
