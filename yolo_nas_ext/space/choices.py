"""ChoiceSpace: named categorical choices and a feasibility rule, and the ways to move in it."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from copy import copy
from typing import Any, TypeVar

from yolo_nas_ext.errors import NASError, did_you_mean
from yolo_nas_ext.space.constraints import Rule
from yolo_nas_ext.space.limits import Limit, descend, excess, why_empty
from yolo_nas_ext.space.point import Point

DRAWS = 64  # rejected draws before a sample is walked downhill into the feasible region
DESCENTS = 8  # such walks before the space is declared empty
ENUMERABLE = 20_000  # up to this many combinations "not tried yet" is decided by listing them all

SpaceT = TypeVar("SpaceT", bound="ChoiceSpace")


Prefer = Callable[[Sequence[Point]], Sequence[float]]


class ChoiceSpace:
    """Any categorical space.

    Args:
        choices: Options of every choice by its name. Options are hashable and differ from one
            another.
        feasible: Says whether a point may be built; every point may without it.
        rules: Relations between choices that sampling can repair as well as check.
        moves: For a choice, how a mutation changes it: ``("scale", factors)`` moves a number to the
            option nearest to itself times a factor, ``("step", offsets)`` along the list. Any
            other option is as likely where a choice has no moves.
        mutations: Number of moves a mutation makes.

    Raises:
        NASError: For a choice without options or with an option twice.

    Example:
        >>> space = ChoiceSpace({"l0": ("id", "mb3k3"), "l1": ("id", "mb3k3", "mb6k5")})
        >>> space.sample(random.Random(0))["l0"] in ("id", "mb3k3")
        True
    """

    def __init__(
        self,
        choices: Mapping[str, Iterable[Hashable]],
        *,
        feasible: Callable[[Point], bool] | None = None,
        rules: Sequence[Rule] = (),
        moves: Mapping[str, tuple[str, Sequence[float]]] | None = None,
        mutations: int = 1,
    ) -> None:
        self.choices: dict[str, tuple[Any, ...]] = {}
        for name, given in choices.items():
            try:
                options = self.choices[name] = tuple(given)
                hash(options)
            except TypeError as error:
                raise NASError(
                    f"choice '{name}' is {given!r}; give a list of numbers, names or other "
                    "hashable options"
                ) from error
            if not options:
                raise NASError(f"choice '{name}' has no options: give at least one")
            if len(set(options)) != len(options):
                raise NASError(f"choice '{name}' lists an option twice: {list(options)}")
        self.rules = tuple(rules)
        self.moves = dict(moves or {})
        self.mutations = mutations
        self._feasible = feasible
        self._limits: tuple[Limit, ...] = ()
        self._prefers: tuple[Prefer, int] | None = None

    # What is in the space

    @property
    def size(self) -> int:
        """Number of combinations, infeasible and equivalent ones included."""
        return math.prod(len(options) for options in self.choices.values())

    def point(self, values: Mapping[str, Any]) -> Point:
        """Return the canonical point of a complete assignment.

        Raises:
            NASError: For a missing or unknown choice, or a value that is not one of its options.
        """
        for name in values:
            if name not in self.choices:
                raise NASError(f"unknown choice '{name}'.{did_you_mean(name, self.choices)}")
        for name, options in self.choices.items():
            if name not in values:
                raise NASError(f"choice '{name}' has no value; allowed: {list(options)}")
            if values[name] not in options:
                raise NASError(f"choice '{name}' is {values[name]!r}; allowed: {list(options)}")
        return self.canonical({name: values[name] for name in self.choices})

    def canonical(self, values: Mapping[str, Any]) -> Point:
        """Return the one point that stands for all assignments which build the same thing."""
        return Point(values)

    def active(self, point: Mapping[str, Any]) -> list[str]:
        """Return the choices that have more than one option and matter at this point."""
        return [name for name, options in self.choices.items() if len(options) > 1]

    def identity(self, point: Point) -> Hashable:
        """Return what two points share exactly when they build the same thing."""
        return point

    def subject(self, point: Point) -> Any:
        """Return what the limits of `within` look at: the point itself."""
        return point

    def near(self, subject: Any) -> Point | None:
        """Return the point that tells most of a subject outside the space; None where none does."""
        return None

    @property
    def limited(self) -> bool:
        """Whether there are limits, see `within`."""
        return bool(self._limits)

    def within(self: SpaceT, limit: Limit) -> SpaceT:
        """Return this space with `limit` as a part of `feasible`."""
        space = copy(self)
        space._limits = (*self._limits, limit)
        return space

    def preferring(self: SpaceT, rank: Prefer, draws: int) -> SpaceT:
        """Return this space with `sample` as the best of some draws.

        Args:
            rank: Returns a number for each of some points, higher is better.
            draws: Number of points drawn for each sample.
        """
        space = copy(self)
        space._prefers = rank, draws
        return space

    def limit_values(self, point: Point) -> dict[str, tuple[float, float]]:
        """Return ``{limit: (value, bound)}`` of a point; of limits of one name the tighter."""
        found: dict[str, tuple[float, float]] = {}
        for limit in self._limits:
            for name, (value, bound) in limit.values(self.subject(point)).items():
                if name not in found or bound < found[name][1]:
                    found[name] = value, bound
        return found

    def allowed(self, point: Point) -> bool:
        """Say whether the point satisfies every rule of the space, whatever its limits say."""
        return self._allowed(point)

    def feasible(self, point: Point) -> bool:
        """Say whether the point satisfies every rule and limit of the space."""
        return self._allowed(point) and self._excess(point) == 0.0

    # Ways to move in it

    def sample(self, rng: random.Random) -> Point:
        """Draw a feasible point: choices uniformly, repaired by rules, rejected by limits.

        Raises:
            NASError: If nothing feasible is found; it says which limit binds and by how much.
        """
        if self._prefers is None:
            return self._sample(rng)
        rank, draws = self._prefers
        drawn = [self._sample(rng) for _ in range(min(draws, self.size))]
        points = list(dict.fromkeys(drawn))
        values = rank(points)
        return points[max(range(len(points)), key=lambda i: (values[i], -i))]

    def _sample(self, rng: random.Random) -> Point:
        for _ in range(DRAWS):
            point = self._draw(rng)
            if point is not None and self._excess(point) == 0.0:
                return point
        for _ in range(DESCENTS):  # a tight limit: walk from a random point towards it
            point = self._draw(rng)
            if point is not None:
                point, left = descend(point, self._excess, self._neighbours, rng)
                if left == 0.0:
                    return point
        starts = [p for p in (self._draw(rng) for _ in range(DESCENTS)) if p is not None]
        raise NASError(why_empty(self._limits, starts, self.subject, self._neighbours, rng))

    def mutate(self, point: Point, rng: random.Random) -> Point:
        """Return a feasible point that differs from `point` by at most `mutations` moves.

        Where no such point exists, a neighbour or, failing that, a fresh sample is returned; a
        space of one point returns that point.
        """
        for _ in range(DRAWS):
            values = dict(point)
            for _ in range(self.mutations):
                names = self.active(values)
                if not names:
                    return point
                name = rng.choice(names)
                values[name] = rng.choice(self.targets(name, values[name]))
            child = self.canonical(values)
            if child != point and self.feasible(child):
                return child
        neighbours = list(self.neighbours(point))
        return rng.choice(neighbours) if neighbours else self.sample(rng)

    def repair(self, point: Point, keep: str, rng: random.Random) -> Point | None:
        """Return a feasible point near one that may be beyond the limits, or None if none is found.

        Args:
            point: Where the walk begins.
            keep: Name of a choice that stays as it is.
            rng: Order of the steps.
        """
        if not self._allowed(point):
            return None

        def near(now: Point) -> list[Point]:
            return [other for other in self._neighbours(now) if other[keep] == now[keep]]

        point, left = descend(point, self._excess, near, rng)
        return point if left == 0.0 else None

    def crossover(self, a: Point, b: Point, rng: random.Random) -> Point:
        """Return a feasible point with every choice from one of two parents, or parent `a`."""
        for _ in range(DRAWS):
            child = self.canonical({name: rng.choice((a[name], b[name])) for name in self.choices})
            if self.feasible(child):
                return child
        return a

    def neighbours(self, point: Point) -> Iterator[Point]:
        """Yield every feasible point that differs in one choice."""
        for other in self._adjacent(point):
            if self.feasible(other):
                yield other

    def enumerate(self) -> Iterator[Point]:
        """Yield every feasible point once; meant for spaces of up to some ten thousand."""
        seen = set()
        for values in itertools.product(*self.choices.values()):
            point = self.canonical(dict(zip(self.choices, values, strict=True)))
            if point not in seen:
                seen.add(point)
                if self.feasible(point):
                    yield point

    def unseen(
        self, propose: Callable[[], Point], seen: set[Hashable], rng: random.Random
    ) -> Point | None:
        """Return a point whose identity is not in `seen`, from `propose` if it gives one soon.

        Args:
            propose: Called up to 64 times.
            seen: Identities that must not come again; the result's identity is added.
            rng: Source of the fall-back draws.

        Returns:
            The point, or None when the space is exhausted.
        """
        for attempt in range(2 * DRAWS):
            point = propose() if attempt < DRAWS else self.sample(rng)
            if (identity := self.identity(point)) not in seen:
                seen.add(identity)
                return point
        if self.size <= ENUMERABLE:
            left = [p for p in self.enumerate() if self.identity(p) not in seen]
            if left:
                point = rng.choice(left)
                seen.add(self.identity(point))
                return point
        return None

    def encode(self, point: Mapping[str, Any]) -> list[float]:
        """Return the point as numbers for a surrogate: one-hot, or a rank in [0, 1] for numbers."""
        code: list[float] = []
        for name, options in self.choices.items():
            value = point[name]
            if len(options) > 1 and all(_is_number(o) for o in options):
                code.append(sorted(options).index(value) / (len(options) - 1))
            else:
                code.extend(float(value == option) for option in options)
        return code

    # How it is done

    def _allowed(self, point: Point) -> bool:
        return all(rule.holds(point) for rule in self.rules) and (
            self._feasible is None or bool(self._feasible(point))
        )

    def _excess(self, point: Point) -> float:
        """Return how far, relatively, the point lies beyond the limits."""
        return excess(self._limits, self.subject(point)) if self._limits else 0.0

    def _neighbours(self, point: Point) -> list[Point]:
        """Return the adjacent points that the rules allow, whatever the limits say."""
        return [other for other in self._adjacent(point) if self._allowed(other)]

    def _draw(self, rng: random.Random) -> Point | None:
        """Return a point that satisfies the rules, or None where the draw could not be repaired."""
        values = {name: rng.choice(options) for name, options in self.choices.items()}
        for rule in self.rules:
            rule.repair(values, self.choices, rng)
        point = self.canonical(values)
        return point if self._allowed(point) else None

    def _adjacent(self, point: Point) -> Iterator[Point]:
        seen = {point}
        for name in self.active(point):
            for option in self.choices[name]:
                if option != point[name]:
                    other = self.canonical({**point, name: option})
                    if other not in seen:
                        seen.add(other)
                        yield other

    def targets(self, name: str, value: Any) -> list[Any]:
        """Return the options that one move of choice `name` can lead to from `value`."""
        options = self.choices[name]
        kind, amounts = self.moves.get(name, ("any", ()))
        if kind == "scale":
            near = [min(options, key=lambda o, to=value * a: (abs(o - to), o)) for a in amounts]
        elif kind == "step":
            at = options.index(value)
            near = [options[int(at + a)] for a in amounts if 0 <= at + a < len(options)]
        else:
            near = list(options)
        return [o for o in near if o != value] or [o for o in options if o != value]


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
