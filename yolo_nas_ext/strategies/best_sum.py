"""The point with the highest sum of effects that is new and within the limits of its space."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from yolo_nas_ext.space.choices import Point
from yolo_nas_ext.strategies.changes import Changes, Frame
from yolo_nas_ext.strategies.integer_programme import Row
from yolo_nas_ext.strategies.screening import distance

LISTED = 1000  # up to this many points they are all looked at, without a programme
FRAMES = 5  # combinations of structural choices that are looked into, the most promising first
ROUNDS = 8  # anchors of the linear costs in each
TRIES = 24  # programmes that are solved in each
TIE = 1e-6  # of the largest effect: what a change has to give more than none
REMEMBERED = 2000  # anchors whose costs are kept


@dataclass(frozen=True)
class Sought:
    """What a search for the best sum is to find.

    Attributes:
        effects: Of the changes, of shape (effects,).
        seen: Identities of points that it may not be.
        apart: Points with the number of choices in which it has to differ from each.
        bounds: Further conditions: effects on a metric, and the most that they may sum to.
        near: A point, with the number of choices in which it may differ from it at most.
    """

    effects: np.ndarray
    seen: set[Hashable]
    apart: Sequence[tuple[Point, int]] = ()
    bounds: Sequence[tuple[np.ndarray, float]] = field(default_factory=list)
    near: tuple[Point, int] | None = None


class BestSum:
    """Finds the best sum of changes under limits on costs that do not quite add up.

    For each combination of the structural choices there is a programme, whose costs are linear:
    what every single change costs at an anchor, at first the parent. A solution that exceeds a
    limit is the anchor of a further row, which excludes it. One that keeps them all is the anchor
    of the next programme, by which better ones are found near the limit.

    Args:
        changes: The points as changes of a parent.
    """

    def __init__(self, changes: Changes) -> None:
        self.changes = changes
        self.space = changes.space
        self._rows: dict[Point, list[Row]] = {}

    def find(self, sought: Sought) -> Point | None:
        """Return the best point that is sought, or None where none is found."""
        effects = sought.effects - TIE * (float(np.abs(sought.effects).max(initial=0.0)) or 1.0)
        effects[: len(self.changes.items)][self.changes.own] = 0.0
        if self.space.size <= LISTED:
            return self._listed(effects, sought)
        programme, order = self.changes.programme, []
        values = effects[: len(programme.items)]
        for frame in self.changes.frames:
            rows = [*self._costs(frame.base), *self._bounds(frame, sought)]
            outer = float(effects[frame.effects].sum())
            order.append((outer + programme.most(values, rows, frame.allowed), outer, frame))
        order.sort(key=lambda entry: -entry[0])
        found, best = None, -math.inf
        for i, (most, outer, frame) in enumerate(order):
            if most <= best or (found is not None and i >= FRAMES):
                break
            point, value = self._within(frame, effects, sought, best, outer)
            if point is not None:
                found, best = point, value
        return found

    @cached_property
    def _all(self) -> tuple[list[Point], np.ndarray]:
        """All feasible points, and which effects they have."""
        points = list(self.space.enumerate())
        return points, self.changes.rows(points)

    def _listed(self, effects: np.ndarray, sought: Sought) -> Point | None:
        """Return the best of all points."""
        points, rows = self._all
        kept = np.ones(len(points), dtype=bool)
        for own, bound in sought.bounds:
            kept &= rows @ own <= bound
        for i in np.argsort(-(rows @ effects), kind="stable"):
            point = points[i]
            if (
                kept[i]
                and self.space.identity(point) not in sought.seen
                and all(distance(point, other) >= least for other, least in sought.apart)
                and (sought.near is None or distance(point, sought.near[0]) <= sought.near[1])
            ):
                return point
        return None

    def _within(
        self, frame: Frame, effects: np.ndarray, sought: Sought, best: float, outer: float
    ) -> tuple[Point | None, float]:
        """Return the best point of a frame and its value, if that is above `best`."""
        programme = self.changes.programme
        values = effects[: len(programme.items)]
        fixed = [*self.changes.conflicts, *self._bounds(frame, sought), *self._away(frame, sought)]
        fixed += self._near(frame, sought)
        rows, rounds, found = self._costs(frame.base), 0, None
        for _ in range(TRIES):
            chosen = programme.solve(values, [*rows, *fixed], frame.allowed)
            if chosen is None or outer + values[programme.places(chosen)].sum() <= best:
                break
            fixed.append(programme.away(chosen, 1))
            point = self.space.canonical({**frame.base, **chosen})
            if self._beyond(point):
                rows = [*rows, *self._costs(point)]
            elif not self.space.feasible(point) or self.space.identity(point) in sought.seen:
                continue
            else:
                value = float(effects[self.changes.of(point)].sum())
                if value > best:
                    found, best = point, value
                if not self.space.limited:
                    break
                rows = self._costs(point)
            rounds += 1
            if rounds == ROUNDS:
                break
        return found, best

    def _beyond(self, point: Point) -> bool:
        return any(value > bound for value, bound in self.space.limit_values(point).values())

    def _away(self, frame: Frame, sought: Sought) -> list[Row]:
        """Return the rows by which solutions differ from points in enough choices."""
        found = []
        for point, least in sought.apart:
            outer = sum(point[name] != frame.base[name] for name in self.changes.structural)
            if least > outer:
                found.append(self.changes.programme.away(point, least - outer))
        return found

    def _near(self, frame: Frame, sought: Sought) -> list[Row]:
        """Return the row by which solutions differ from a point in few enough choices.

        A choice that has not the point's option in a frame counts for nothing there.
        """
        if sought.near is None:
            return []
        point, most = sought.near
        outer = sum(point[name] != frame.base[name] for name in self.changes.structural)
        alike = self.changes.programme.away(point, 0).weights * frame.allowed
        return [Row(-alike, float(most - outer - alike.sum()))]

    def _bounds(self, frame: Frame, sought: Sought) -> list[Row]:
        """Return the conditions on metrics in a frame."""
        n = len(self.changes.programme.items)
        own = self.changes.own[:n]
        return [
            Row(np.where(own, 0.0, effects[:n]), bound - float(effects[frame.effects].sum()))
            for effects, bound in sought.bounds
        ]

    def _costs(self, anchor: Point) -> list[Row]:
        """Return a row for every limit: what each single change costs at an anchor."""
        if not self.space.limited:
            return []
        if (known := self._rows.get(anchor)) is not None:
            return known
        if len(self._rows) >= REMEMBERED:
            self._rows.clear()
        base = _relative(self.space.limit_values(anchor))
        items = self.changes.programme.items
        weights = np.zeros((len(base), len(items)))
        for i, item in enumerate(items):
            moved = self.changes.moved(anchor, item)
            if moved != anchor:
                weights[:, i] = _relative(self.space.limit_values(moved)) - base
        rows = [Row(w, 1.0 - b) for w, b in zip(weights, base.tolist(), strict=True)]
        self._rows[anchor] = rows
        return rows


def _relative(limits: Mapping[str, tuple[float, float]]) -> np.ndarray:
    """Return what is used of each limit."""
    return np.array([value / bound for value, bound in limits.values()])
