"""What every strategy asks of a history."""

from __future__ import annotations

import math
import random
from array import array
from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from itertools import islice
from operator import is_

import numpy as np

from yolo_nas_ext.space.choices import ChoiceSpace, Point
from yolo_nas_ext.study.objectives import Goal, fronts
from yolo_nas_ext.study.trial import Trial


class Past:
    """A history as strategies see it; each trial is looked at once.

    A strategy keeps one and shows it the whole history at every proposal. Trials are values, so
    what was found of the first ones holds as long as they are the same. The trials behind the first
    running one are looked at again. Another history starts afresh.

    Args:
        space: Where the strategy looks.
        goal: Objectives and limits; without one only `seen` is told.

    Attributes:
        trials: Complete trials that are points of the space, oldest first. A baseline outside the
            space stands at the point that is near it, see `ChoiceSpace.near`. Without one it is
            left out, as are points of a wider budget and trials without a value for one of the
            goal's objectives.
        values: Their objectives, all to be maximised, of shape (trials, objectives).
        excess: By how much they break the limits, of shape (trials,).
        failed: Points of the space whose trials failed.
        pruned: Trials that were pruned.
        waiting: Points whose trials run.
    """

    def __init__(self, space: ChoiceSpace, goal: Goal | None = None) -> None:
        self.space = space
        self.goal = goal
        self._forget()

    def _forget(self) -> None:
        self._settled: list[Trial] = []
        self._seen: set[Hashable] = set()
        self._objectives, self._excess = array("d"), array("d")
        self.trials: list[Trial] = []
        self.failed: list[Point] = []
        self.pruned: list[Trial] = []
        self._marks = (0,) * len(self._growing)

    @property
    def _growing(self) -> tuple[list | array, ...]:
        return self.trials, self._objectives, self._excess, self.failed, self.pruned

    def read(self, history: Sequence[Trial]) -> Past:
        """Return this past, of a history now."""
        known = len(self._settled)
        if len(history) < known or not all(map(is_, self._settled, history)):
            self._forget()
            known = 0
        for growing, mark in zip(self._growing, self._marks, strict=True):
            del growing[mark:]
        self.waiting: list[Point] = []
        self._open: set[Hashable] = set()
        settled = True
        for trial in islice(history, known, None):
            if settled and trial.state == "running":
                settled = False
                self._marks = tuple(map(len, self._growing))
            if settled:
                self._settled.append(trial)
            self._add(trial, self._seen if settled else self._open)
        if settled:
            self._marks = tuple(map(len, self._growing))
        width = len(self.goal.objectives) if self.goal else 1
        self.values = np.array(self._objectives).reshape(-1, width)
        self.excess = np.array(self._excess)
        return self

    def _add(self, trial: Trial, seen: set[Hashable]) -> None:
        point, architecture = trial.point, trial.architecture
        if point is None:
            point = None if architecture is None else self.space.near(architecture)
            if point is None:
                return
            trial = replace(trial, point=point)
        seen.add(self.space.identity(point) if architecture is None else architecture.key)
        if self.goal is None:
            return
        if trial.state == "running":
            self.waiting.append(point)
        elif trial.state == "failed":
            self.failed.append(point)
        elif trial.state == "pruned":
            self.pruned.append(trial)
        elif self.space.feasible(point):
            values = self.goal.values(trial.metrics)
            if all(map(math.isfinite, values)):
                self.trials.append(trial)
                self._objectives.extend(values)
                self._excess.append(self.goal.excess(trial.metrics))

    @property
    def seen(self) -> set[Hashable]:
        """What may not be proposed again: every trial's identity, whatever became of it."""
        return self._seen | self._open

    def fill(self, n: int, propose: Callable[[], Point], rng: random.Random) -> list[Point]:
        """Return `n` new points from `propose`, fewer where the space ends.

        Args:
            n: Number of points.
            propose: Returns a feasible point, new or not.
            rng: Generator of the draws where it returns known points only.
        """
        seen = self.seen
        found: list[Point] = []
        for _ in range(n):
            point = self.space.unseen(propose, seen, rng)
            if point is None:
                break
            found.append(point)
        return found


def worths(
    values: np.ndarray, excess: np.ndarray, weights: Sequence[float] | None = None
) -> np.ndarray:
    """Return one number a trial by which trials can be compared with one another.

    One objective stands for itself. Several are scaled to [0, 1] over the trials and joined by the
    augmented Chebyshev function (Knowles 2006, ParEGO). So every point of the front is best for
    some weights. A trial that breaks limits is below all that keep them, by how much it does.

    Args:
        values: Objectives of complete trials, see `Past.values`.
        excess: By how much they break the limits; 0 everywhere to look past these.
        weights: Of the objectives; equal ones unless given.
    """
    if not len(values):
        return np.zeros(0)
    if values.shape[1] == 1:
        joined = values[:, 0]
    else:
        span = np.ptp(values, axis=0)
        losses = (values.max(axis=0) - values) / np.where(span > 0, span, 1.0)
        losses *= np.ones(values.shape[1]) / values.shape[1] if weights is None else weights
        joined = -losses.max(axis=1) - 0.05 * losses.sum(axis=1)
    worst = float(joined[excess == 0].min()) if (excess == 0).any() else 0.0
    scale = float(np.ptp(joined)) or 1.0
    bounded = np.minimum(excess, 1e6)  # a missing metric is infinitely far from its limit
    return np.where(excess == 0, joined, worst - scale * (0.01 + bounded))


def expected_worths(
    trials: Sequence[Trial], worth: Sequence[float] | np.ndarray, pruned: Sequence[Trial]
) -> list[float]:
    """Return what pruned trials would have been worth, by where they fell behind.

    At its last step a pruned trial was better than a part of the complete ones at that step; it is
    worth the same quantile of their worths. Without any to compare with it is worth the least.

    Args:
        trials: Complete trials.
        worth: Theirs, see `worths`.
        pruned: Trials that were pruned.
    """
    found = []
    for trial in pruned:
        step = max(trial.curve, default=0)
        peers = [(t.curve[step], w) for t, w in zip(trials, worth, strict=True) if step in t.curve]
        if not peers:
            found.append(float(min(worth)))
            continue
        below = sum(value < trial.curve[step] for value, _ in peers) / len(peers)
        found.append(float(np.quantile([w for _, w in peers], below)))
    return found


def thinned(values: np.ndarray, n: int) -> np.ndarray:
    """Return at most `n` indices: the highest values and an even part of the others, in order."""
    if len(values) <= n:
        return np.arange(len(values))
    order = np.argsort(-values, kind="stable")
    top, rest = order[: n // 2], np.sort(order[n // 2 :])
    even = rest[np.linspace(0, len(rest) - 1, n - n // 2).astype(int)]
    return np.sort(np.r_[top, even])


def survivors(values: np.ndarray, excess: np.ndarray, n: int) -> list[tuple[int, int, float]]:
    """Return the `n` best trials by front and crowding (Deb et al. 2002, NSGA-II).

    Trials that keep the limits come first, in fronts; the others follow by how much they break
    them.

    Args:
        values: Objectives of complete trials, see `Past.values`.
        excess: By how much they break the limits.
        n: Number of trials.

    Returns:
        Places of trials with the number of their front, from 0, and their crowding distance, best
        first.
    """
    found: list[tuple[int, int, float]] = []
    kept = np.flatnonzero(excess == 0)
    rank = 0
    for members in fronts(values[kept]):
        indices = kept[members]
        crowd = _crowding(values[indices])
        order = sorted(range(len(indices)), key=lambda i: (-crowd[i], indices[i]))
        found += [(int(indices[i]), rank, crowd[i]) for i in order]
        rank += 1
        if len(found) >= n:
            return found[:n]
    beyond = np.flatnonzero(excess > 0)
    for i in beyond[np.argsort(excess[beyond], kind="stable")][: n - len(found)]:
        found.append((int(i), rank, 0.0))
        rank += 1
    return found


def _crowding(values: np.ndarray) -> list[float]:
    """Return for each point of a front the gap between its neighbours, summed over objectives."""
    distance = np.zeros(len(values))
    for column in values.T:
        order = np.argsort(column, kind="stable")
        span = float(np.ptp(column)) or 1.0
        distance[order[[0, -1]]] = math.inf
        distance[order[1:-1]] += (column[order[2:]] - column[order[:-2]]) / span
    return [float(d) for d in distance]
