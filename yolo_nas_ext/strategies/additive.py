"""One change at a time, then the best sum, as Puzzle does for language models.

(Bercovich et al. 2024, arXiv:2411.19146.)
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from yolo_nas_ext.space.choices import ChoiceSpace, Point
from yolo_nas_ext.strategies.best_sum import BestSum, Sought
from yolo_nas_ext.strategies.changes import Changes
from yolo_nas_ext.strategies.history import Past, expected_worths, thinned, worths
from yolo_nas_ext.strategies.linear_model import LinearModel
from yolo_nas_ext.strategies.threads import one_thread
from yolo_nas_ext.study.objectives import Goal
from yolo_nas_ext.study.trial import Trial

Score = Callable[[Sequence[Point]], Sequence[float]]
Cost = Callable[[Point], float]

STRUCTURAL = ("imgsz", "levels")
APART = 2  # choices in which points of a batch differ at least, where the space has such
MODELLED = 250  # trials in the model
DARING = 0.5  # of a draw from the posterior, beside its mean
RADIUS = 6  # choices in which a proposal differs from the best point so far at most
TAIL = 2.0  # deviations below the middle from which targets count less


@dataclass(frozen=True, slots=True)
class Change:
    """What one change of the parent costs and gives.

    Attributes:
        choice: Name of the choice.
        option: The option in place of the parent's.
        score: The cheap score relative to the parent's; None without one.
        cost: What it adds to the cost; None where nothing says what a point costs.
        gain: What it adds to the first objective by the model, a cost counted negative; None before
            anything was measured.
        deviation: Standard deviation of the gain.
    """

    choice: str
    option: Any
    score: float | None
    cost: float | None
    gain: float | None
    deviation: float | None


class Additive:
    """Scores every change of a parent once, and proposes the best sums of changes.

    Effects of changes are taken to add up. The scores are prior means, up to a factor, of a linear
    model that learns from the trials how far they can be trusted, and corrects them. Every other
    proposal is the best sum of the effects' means, every other one that of a cautious draw from
    their posterior (Thompson 1933). `BestSum` finds it under the limits of the space, a few changes
    from the point that is best by the means: many changes at once leave little of a parent's
    weights, which no single change foretells. Without scores all effects are 0 at first, and what
    is tried is the parent and then draws.

    Args:
        space: Where to look.
        goal: Objectives and limits; a limit on a metric is a linear model of that metric.
        parent: The point that is changed. Without one it is the point of the first complete trial,
            or that of all first options.
        score: Returns how good points are relative to the parent, higher is better, in any unit.
        cost: Returns what a point costs, for `table` alone; the first limit unless given.
        structural: Choices with which what others cost multiplies, such as the image size. Those
            that the space does not have do not count.
    """

    def __init__(
        self,
        space: ChoiceSpace,
        *,
        goal: Goal | None = None,
        parent: Point | None = None,
        score: Score | None = None,
        cost: Cost | None = None,
        structural: Sequence[str] = STRUCTURAL,
    ) -> None:
        self.space = space
        self.goal = goal or Goal()
        self.parent = None if parent is None else space.point(parent)
        self.score = score
        self.cost = cost
        self.structural = tuple(structural)
        self._past = Past(space, self.goal)
        self._known: tuple[BestSum, dict[Point, float]] | None = None  # of the present parent

    def propose(self, history: Sequence[Trial], n: int, rng: random.Random) -> list[Point]:
        """Return `n` new points: best sums of changes, random ones where there are no new ones."""
        with one_thread():
            return self._propose(history, n, rng)

    def _propose(self, history: Sequence[Trial], n: int, rng: random.Random) -> list[Point]:
        past = self._past.read(history)
        best_sum, scores = self._view(past)
        changes = best_sum.changes
        points, targets = self._measured(past, rng)
        rows = changes.rows(points)
        model = LinearModel(
            rows, targets, self._means(changes, scores), changes.covariances, changes.outer
        )
        bounds = self._bounds(changes, past)
        seen = past.seen
        near = self._centre(changes, points, model), RADIUS
        found: list[Point] = []
        proposed = sum(not trial.name for trial in history)  # baselines are nobody's proposals
        for i in range(n):
            effects = model.effects
            if (proposed + i) % 2:
                effects = effects + DARING * (model.draw(rng) - effects)
            point = None
            ways = ((APART, bounds, near), (1, bounds, near), (1, bounds, None), (1, [], None))
            for least, conditions, close in ways:
                apart = [(p, 1) for p in points] + [(p, least) for p in (*past.waiting, *found)]
                point = best_sum.find(Sought(effects, seen, apart, conditions, close))
                if point is not None:
                    seen.add(self.space.identity(point))
                    break
            else:
                point = self.space.unseen(lambda: self.space.sample(rng), seen, rng)
            if point is None:
                break
            found.append(point)
        return found

    def table(self, history: Sequence[Trial] = ()) -> list[Change]:
        """Return what each single change costs and gives, in the order of the choices.

        Args:
            history: The trials that the gains are learnt from.
        """
        with one_thread():
            past = self._past.read(history)
            best_sum, scores = self._view(past)
            changes = best_sum.changes
            model = None
            if len(past.trials) > 1:
                points = [t.point for t in past.trials if t.point is not None]
                means = self._means(changes, scores)
                first = soft(past.values[:, 0])
                model = LinearModel(
                    changes.rows(points), first, means, changes.covariances, changes.outer
                )
            base = self._cost(changes.parent)
            found = []
            for place, item in enumerate(changes.items):
                if (point := changes.singles.get(item)) is not None:
                    cost = self._cost(point)
                    found.append(
                        Change(
                            *item,
                            scores.get(point),
                            None if cost is None or base is None else cost - base,
                            None if model is None else float(model.effects[place]),
                            None if model is None else float(model.deviations[place]),
                        )
                    )
        order = {name: i for i, name in enumerate(self.space.choices)}
        return sorted(found, key=lambda change: order[change.choice])

    def _cost(self, point: Point) -> float | None:
        if self.cost is not None:
            return float(self.cost(point))
        return next((value for value, _ in self.space.limit_values(point).values()), None)

    # What is known

    def _view(self, past: Past) -> tuple[BestSum, dict[Point, float]]:
        """Return the space as changes of the parent, and the scores of the single changes."""
        parent = self.parent or next((t.point for t in past.trials if t.point is not None), None)
        if parent is None:
            first = {name: options[0] for name, options in self.space.choices.items()}
            parent = self.space.canonical(first)
        if self._known is None or self._known[0].changes.parent != parent:
            changes = Changes(self.space, parent, self.structural)
            self._known = BestSum(changes), self._scores(changes)
        return self._known

    def _scores(self, changes: Changes) -> dict[Point, float]:
        """Return the scores of the single changes that the rules allow, where they have one."""
        if self.score is None:
            return {}
        points = [p for p in dict.fromkeys(changes.singles.values()) if self.space.allowed(p)]
        scores = zip(points, map(float, self.score(points)), strict=True)
        return {point: score for point, score in scores if math.isfinite(score)}

    def _means(self, changes: Changes, scores: dict[Point, float]) -> np.ndarray:
        """Return the prior means of the effects; a change without a score is as bad as any."""
        found = np.zeros(changes.size)
        if scores:
            worst = min(0.0, *scores.values())
            for place, item in enumerate(changes.items):
                if (point := changes.singles.get(item)) is not None:
                    found[place] = scores.get(point, worst)
        return found

    def _measured(self, past: Past, rng: random.Random) -> tuple[list[Point], np.ndarray]:
        """Return the points that the model learns from, and its targets.

        Failed trials are as bad as the worst, pruned ones as `expected_worths` says.
        """
        weights = [rng.expovariate(1.0) for _ in self.goal.objectives]
        worth = worths(past.values, past.excess, [w / sum(weights) for w in weights])
        if not len(worth):
            return [], worth
        behind = expected_worths(past.trials, worth, past.pruned)
        targets = np.r_[worth, behind, np.full(len(past.failed), worth.min())]
        points = [t.point for t in (*past.trials, *past.pruned) if t.point is not None]
        points += past.failed
        chosen = thinned(targets, MODELLED)
        return [points[i] for i in chosen], soft(targets[chosen])

    def _centre(self, changes: Changes, points: Sequence[Point], model: LinearModel) -> Point:
        """Return the best measured point by the means of the model; the parent before there is one.

        By what was measured of it alone a point would be chosen for its luck.
        """
        inside = [point for point in points if self.space.feasible(point)]
        if not inside:
            return changes.parent
        return inside[int(np.argmax(changes.rows(inside) @ model.effects))]

    def _bounds(self, changes: Changes, past: Past) -> list[tuple[np.ndarray, float]]:
        """Return for each limit of the goal the effects on its metric, and what they may sum to."""
        if not self.goal.limits or len(past.trials) < 2:
            return []
        trials = past.trials[-MODELLED:]
        rows = changes.rows([t.point for t in trials if t.point is not None])
        found = []
        for column in np.array([self.goal.gaps(t.metrics) for t in trials]).T:
            column = np.clip(column, -10, 10)  # a metric that is missing is infinitely far
            model = LinearModel(
                rows, column, np.zeros(changes.size), changes.covariances, changes.outer
            )
            found.append((model.effects, -model.level))
        return found


def soft(targets: np.ndarray) -> np.ndarray:
    """Return targets of which those far below the others are drawn nearer.

    What has learnt nothing says little about the best ones.
    """
    low, middle, high = np.quantile(targets, [0.25, 0.5, 0.75])
    scale = (high - low) / 1.35
    if scale <= 0:
        return targets
    far = np.maximum((middle - targets) / scale - TAIL, 0.0)
    return targets + scale * (far - np.log1p(far))
