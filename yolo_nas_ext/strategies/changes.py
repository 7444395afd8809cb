"""The points of a space as changes of one of them, the parent."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from yolo_nas_ext.space.choices import ChoiceSpace, Point
from yolo_nas_ext.strategies.gaussian_process import Code, numeric
from yolo_nas_ext.strategies.integer_programme import Programme, Row

Item = tuple[str, Any]  # a choice and one of its options


class Frame(NamedTuple):
    """One combination of the structural choices.

    Attributes:
        base: The parent with these.
        effects: Places of the effects that it has.
        allowed: Which options of the other choices may go with it, of shape (options,).
    """

    base: Point
    effects: list[int]
    allowed: np.ndarray


class Changes:
    """Points as sums of changes.

    A change is one option of a choice in place of the parent's, and an effect. Two or more
    structural choices that are changed together are an effect of their own beside.

    Args:
        space: The points.
        parent: The point that others are changes of.
        structural: Choices with which what others cost multiplies, such as the image size.

    Attributes:
        programme: Over the choices that are not structural.
        items: All options of all choices that have several, those of structural ones last.
        size: Number of effects: of `items`, and of the structural choices that change together.
    """

    def __init__(self, space: ChoiceSpace, parent: Point, structural: Sequence[str] = ()) -> None:
        self.space = space
        self.parent = parent
        several = {name: options for name, options in space.choices.items() if len(options) > 1}
        self.structural = tuple(name for name in several if name in structural)
        free = {name: options for name, options in several.items() if name not in structural}
        self.programme = Programme(free)
        self._choices = free | {name: several[name] for name in self.structural}
        self.items = [(name, o) for name, options in self._choices.items() for o in options]
        self._place = {item: i for i, item in enumerate(self.items)}
        self._combinations = list(itertools.product(*(several[n] for n in self.structural)))
        together = [c for c in self._combinations if len(self._outer_changes(c)) > 1]
        self._together = {c: len(self.items) + i for i, c in enumerate(together)}
        self.size = len(self.items) + len(together)

    def _outer_changes(self, combination: Sequence[Any]) -> list[Item]:
        pairs = zip(self.structural, combination, strict=True)
        return [(name, option) for name, option in pairs if option != self.parent[name]]

    def of(self, point: Point) -> list[int]:
        """Return the places of the effects that a point has."""
        active = self.space.active(point)
        found = [self._place[n, point[n]] for n in active if point[n] != self.parent[n]]
        together = self._together.get(tuple(point[name] for name in self.structural))
        return found if together is None else [*found, together]

    def rows(self, points: Sequence[Point]) -> np.ndarray:
        """Return which effects points have, of shape (points, effects)."""
        found = np.zeros((len(points), self.size))
        for row, point in zip(found, points, strict=True):
            row[self.of(point)] = 1.0
        return found

    def moved(self, point: Point, item: Item) -> Point:
        """Return a point with one option more."""
        return self.space.canonical({**point, item[0]: item[1]})

    @cached_property
    def singles(self) -> dict[Item, Point]:
        """The points that one change leads to, where it leads to another point."""
        points = {item: self.moved(self.parent, item) for item in self.items}
        return {item: point for item, point in points.items() if point != self.parent}

    @cached_property
    def own(self) -> np.ndarray:
        """Which items are the parent's own options, of shape (items,)."""
        return np.array([option == self.parent[name] for name, option in self.items], dtype=bool)

    @cached_property
    def outer(self) -> np.ndarray:
        """Which effects are of structural choices, of shape (effects,)."""
        found = np.ones(self.size, dtype=bool)
        found[: len(self.items)] = [name in self.structural for name, _ in self.items]
        return found

    @cached_property
    def covariances(self) -> list[np.ndarray]:
        """Covariances of the effects, with variances of 1 in the mean.

        In the first one, options of a choice are alike by what they are: of numbers, the nearer
        ones. In the second, choices with the same options are alike too, and so are those with
        equally many numbers.
        """
        columns = Code(self._choices).columns
        steps = np.zeros((self.size, max((c.shape[1] for c in columns), default=0)))
        owner, group = np.full(self.size, -1), np.full(self.size, -1)
        groups: dict[Any, int] = {}
        at = 0
        for i, ((name, options), column) in enumerate(
            zip(self._choices.items(), columns, strict=True)
        ):
            mine = slice(at, at + len(options))
            steps[mine, : column.shape[1]] = column - column[options.index(self.parent[name])]
            key = len(options) if numeric(options) else options
            key = name if name in self.structural else ("like", key)
            owner[mine], group[mine] = i, groups.setdefault(key, len(groups))
            at += len(options)
        alike = steps @ steps.T
        alike /= np.diag(alike)[: len(self.items)][~self.own].mean() if len(self.items) else 1.0
        together = np.diag((owner < 0).astype(float))
        first = alike * (owner[:, None] == owner) + together
        second = alike * (group[:, None] == group) + together
        return [first] if np.array_equal(first, second) else [first, second]

    # Programmes

    @cached_property
    def frames(self) -> list[Frame]:
        """The combinations of the structural choices that no rule forbids."""
        found = []
        for combination in self._combinations:
            outer = dict(zip(self.structural, combination, strict=True))
            if all(rule.holds(outer) for rule in self.space.rules):
                base = self.space.canonical({**self.parent, **outer})
                effects = [self._place[item] for item in self._outer_changes(combination)]
                if combination in self._together:
                    effects.append(self._together[combination])
                found.append(Frame(base, effects, self._live(base) & self._fitting(outer)))
        return found

    def _live(self, base: Point) -> np.ndarray:
        """Return which options may matter beside a base; of other choices only its own may."""
        near = [self.moved(base, item) for item in self.programme.items]
        live = {name for point in (base, *near) for name in self.space.active(point)}
        return np.array([n in live or o == base[n] for n, o in self.programme.items], dtype=bool)

    def _fitting(self, outer: Mapping[str, Any]) -> np.ndarray:
        """Return which options no rule forbids beside structural ones."""
        rules, items = self.space.rules, self.programme.items
        fits = [all(rule.holds({**outer, n: o}) for rule in rules) for n, o in items]
        return np.array(fits, dtype=bool)

    @cached_property
    def conflicts(self) -> list[Row]:
        """Rows that forbid every two options that a rule does not allow together."""
        items, found = self.programme.items, []
        for rule in self.space.rules:
            for i, (name, option) in enumerate(items):
                against: dict[str, list[int]] = {}
                for j, (other, value) in enumerate(items[i + 1 :], i + 1):
                    if other != name and not rule.holds({name: option, other: value}):
                        against.setdefault(other, []).append(j)
                for places in against.values():
                    weights = np.zeros(len(items))
                    weights[[i, *places]] = 1.0
                    found.append(Row(weights, 1.0))
        return found
