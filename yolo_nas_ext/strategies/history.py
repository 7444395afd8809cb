"""What every strategy asks of a history."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Hashable, Sequence
from weakref import WeakKeyDictionary

import numpy as np

from yolo_nas_ext.objectives import Goal, front
from yolo_nas_ext.space.choices import ChoiceSpace, Point
from yolo_nas_ext.study import Trial

# A history is read at every proposal; whether a point of it is feasible is asked once.
_FEASIBLE: WeakKeyDictionary[ChoiceSpace, dict[Point, bool]] = WeakKeyDictionary()


def identities(space: ChoiceSpace, history: Sequence[Trial]) -> set[Hashable]:
    """Return what may not be proposed again: every trial's identity, whatever became of it."""
    return {
        space.identity(trial.point) if trial.architecture is None else trial.architecture.key
        for trial in history
        if trial.point is not None
    }


def members(space: ChoiceSpace, history: Sequence[Trial], goal: Goal | None = None) -> list[Trial]:
    """Return the complete trials that are points of the space, oldest first.

    Reference networks outside the space, points of a wider budget and trials without a value for
    one of the goal's objectives are left out.
    """
    known = _FEASIBLE.setdefault(space, {})
    found = []
    for trial in history:
        point = trial.point
        if trial.state != "complete" or point is None:
            continue
        if (feasible := known.get(point)) is None:
            feasible = known[point] = space.feasible(point)
        if feasible and (goal is None or all(map(math.isfinite, goal.values(trial.metrics)))):
            found.append(trial)
    return found


def worths(
    goal: Goal, trials: Sequence[Trial], weights: Sequence[float] | None = None
) -> list[float]:
    """Return one number a trial by which trials can be compared with one another.

    One objective stands for itself. Several are scaled to [0, 1] over the trials and joined by the
    augmented Chebyshev function (Knowles 2006, ParEGO), so that every point of the front is best
    for some weights. A trial that breaks limits is below all that keep them, by how much it does.

    Args:
        goal: Objectives and limits.
        trials: Complete trials with all objectives.
        weights: Of the objectives; equal ones unless given.
    """
    if not trials:
        return []
    values = np.array([goal.values(trial.metrics) for trial in trials])
    if values.shape[1] == 1:
        joined = values[:, 0]
    else:
        span = np.ptp(values, axis=0)
        losses = (values.max(axis=0) - values) / np.where(span > 0, span, 1.0)
        losses *= np.ones(values.shape[1]) / values.shape[1] if weights is None else weights
        joined = -losses.max(axis=1) - 0.05 * losses.sum(axis=1)
    excess = np.array([goal.excess(trial.metrics) for trial in trials])
    worst = float(joined[excess == 0].min()) if (excess == 0).any() else 0.0
    scale = float(np.ptp(joined)) or 1.0
    bounded = np.minimum(excess, 1e6)  # a missing metric is infinitely far from its limit
    return list(np.where(excess == 0, joined, worst - scale * (0.01 + bounded)).tolist())


def expected_worths(
    trials: Sequence[Trial], worth: Sequence[float] | np.ndarray, pruned: Sequence[Trial]
) -> list[float]:
    """Return what trials that were given up would have been worth, by where they fell behind.

    At its last step a pruned trial was better than a part of the complete ones at that step; it is
    worth the same quantile of their worths. Without any to compare with it is worth the least.

    Args:
        trials: Complete trials.
        worth: Theirs, see `worths`.
        pruned: Trials that were given up.
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


def survivors(goal: Goal, trials: Sequence[Trial], n: int) -> list[tuple[Trial, int, float]]:
    """Return the `n` best trials by front and crowding (Deb et al. 2002, NSGA-II).

    Trials that keep the limits come first, in fronts; the others follow by how much they break
    them.

    Returns:
        Trials with the number of their front, from 0, and their crowding distance, best first.
    """
    excess = [goal.excess(trial.metrics) for trial in trials]
    left = [i for i, value in enumerate(excess) if value == 0]
    values = np.array([goal.values(trial.metrics) for trial in trials]).reshape(len(trials), -1)
    found: list[tuple[Trial, int, float]] = []
    rank = 0
    while left and len(found) < n:
        indices = [left[i] for i in front(values[left])]
        crowd = _crowding(values[indices])
        order = sorted(range(len(indices)), key=lambda i: (-crowd[i], trials[indices[i]].number))
        found += [(trials[indices[i]], rank, crowd[i]) for i in order]
        taken = set(indices)
        left = [i for i in left if i not in taken]
        rank += 1
    for i in sorted((i for i, value in enumerate(excess) if value > 0), key=excess.__getitem__):
        if len(found) >= n:
            break
        found.append((trials[i], rank, 0.0))
        rank += 1
    return found[:n]


def _crowding(values: np.ndarray) -> list[float]:
    """Return for each point of a front the gap between its neighbours, summed over objectives."""
    distance = np.zeros(len(values))
    for column in values.T:
        order = np.argsort(column, kind="stable")
        span = float(np.ptp(column)) or 1.0
        distance[order[[0, -1]]] = math.inf
        distance[order[1:-1]] += (column[order[2:]] - column[order[:-2]]) / span
    return [float(d) for d in distance]


def fill(
    space: ChoiceSpace,
    history: Sequence[Trial],
    n: int,
    propose: Callable[[], Point],
    rng: random.Random,
) -> list[Point]:
    """Return `n` new points from `propose`, fewer where the space ends.

    Args:
        space: Where they are.
        history: Trials whose points may not come again.
        n: Number of points.
        propose: Returns a feasible point, new or not.
        rng: Generator of the draws where it returns known points only.
    """
    seen = identities(space, history)
    found: list[Point] = []
    for _ in range(n):
        point = space.unseen(propose, seen, rng)
        if point is None:
            break
        found.append(point)
    return found
