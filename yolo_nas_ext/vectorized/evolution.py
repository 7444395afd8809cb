"""Evolution over an analytic score in batches: half a million networks in seconds.

No network is recorded: only the population, the history of the best and counts are. The same seed
gives the same population in every process and on every Python.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from yolo_nas_ext.cost.budget import LIMITS, SIZE, Budget
from yolo_nas_ext.errors import NASError
from yolo_nas_ext.estimators.zero_cost.entropy import SCORES
from yolo_nas_ext.network.architecture import Architecture
from yolo_nas_ext.space.detector import DetectorSpace
from yolo_nas_ext.space.point import Point
from yolo_nas_ext.vectorized.encoding import Draw, Mask
from yolo_nas_ext.vectorized.evaluator import BatchCosts, VectorizedSpace
from yolo_nas_ext.vectorized.latency_tables import Floats, Ints

POPULATION = 512  # as TinyNAS
FIRST = 64  # points drawn from the space to begin with
BATCH = 1024  # children at once
IDLE = 64  # batches without a child in the space after which it is exhausted
SUMS = {"params": "params", "flops": "flops", "layers": "layers"}  # limits that are sums over parts

Progress = Callable[[int, float], None]


class Member(NamedTuple):
    """A member of the final population."""

    point: Point
    architecture: Architecture
    score: float


@dataclass(frozen=True)
class EvolutionResult:
    """The result of a vectorized search.

    Attributes:
        population: Best first.
        history: (number of networks evaluated, best score) whenever the best rose.
        counts: ``evaluated`` networks of the space, of them ``over_<limit>`` and ``within`` all
            limits; ``against_rules``: children outside the space, which are not among them.
        seconds: Wall time.
        interrupted: Whether Ctrl-C ended it.
    """

    population: list[Member]
    history: list[tuple[int, float]]
    counts: dict[str, int]
    seconds: float
    interrupted: bool = False


@dataclass
class Check:
    """A bound on something that is no sum over the parts, looked at on the network itself.

    It is asked of the few that would join the population only. The peak of memory is one.

    Attributes:
        name: Of the limit.
        value: Returns what is bounded.
        bound: Upper bound.
    """

    name: str
    value: Callable[[Architecture], float]
    bound: float


@dataclass
class _Population:
    """The best distinct networks so far, best first."""

    most: int
    networks: Ints
    scores: Floats = field(default_factory=lambda: np.zeros(0))

    def __post_init__(self) -> None:
        raw = np.random.PCG64(0).random_raw(self.networks.shape[1])
        self._odd = raw | np.uint64(1)

    def worst(self) -> float:
        """Return the score above which a network joins."""
        return float(self.scores[-1]) if len(self.scores) == self.most else -np.inf

    def join(self, networks: Ints, scores: Floats) -> None:
        """Add networks; the best distinct ones stay."""
        networks = np.concatenate([self.networks, networks])
        scores = np.concatenate([self.scores, scores])
        keys = (networks.astype(np.uint64) * self._odd).sum(axis=1, dtype=np.uint64)
        order = np.lexsort((keys, -scores))
        keys = keys[order]
        first = np.ones(len(keys), bool)
        first[1:] = keys[1:] != keys[:-1]  # equal networks have equal scores: they are neighbours
        order = order[first][: self.most]
        self.networks, self.scores = networks[order], scores[order]


def evolve(
    space: DetectorSpace,
    budget: Budget,
    *,
    score: str = "madnas",
    trials: int = 500_000,
    population: int = POPULATION,
    seed: int = 0,
    seeds: Sequence[Point] = (),
    checks: Sequence[Check] = (),
    progress: Progress = lambda evaluated, best: None,
) -> EvolutionResult:
    """Search a space for the networks of highest score within a budget.

    Parents are drawn uniformly from the population, each child is made by the space's own moves,
    and the best distinct networks stay.

    Args:
        space: The space, within the budget.
        budget: Limits, and the data set's classes and image size.
        score: A key of `entropy.SCORES`.
        trials: Networks to evaluate: children that are points of the space, whether within the
            limits or not.
        population: Most members.
        seed: Of the search.
        seeds: Points to begin with, besides drawn ones.
        checks: Further bounds.
        progress: Called now and then with the networks evaluated and the best score.

    Raises:
        NASError: If nothing in the space is within the limits.
    """
    begin = time.perf_counter()
    search = _Search(space, budget, score, checks)
    rng, draw = random.Random(seed), Draw(seed)
    points = [p for p in seeds if space.feasible(p)]
    points += [space.sample(rng) for _ in range(min(FIRST, trials, population))]
    members = _Population(population, np.empty((0, len(space.choices)), np.int64))
    history: list[tuple[int, float]] = []
    interrupted = False

    def step(children: Ints) -> None:
        search.evaluate(children, members)
        if len(members.scores) and (not history or members.scores[0] > history[-1][1]):
            history.append((search.counts["evaluated"], float(members.scores[0])))

    try:
        step(np.stack([search.vectorized.encode(p) for p in points])[:trials])
        idle = 0
        while (left := trials - search.counts["evaluated"]) > 0 and idle < IDLE:
            if not len(members.scores):  # nothing drawn has passed the further checks
                idle += 1
                points = [space.sample(rng) for _ in range(min(FIRST, left))]
                step(np.stack([search.vectorized.encode(p) for p in points]))
                continue
            children = search.children(members.networks, draw)[:left]
            idle = 0 if len(children) else idle + 1
            step(children)
            progress(search.counts["evaluated"], float(members.scores[0]))
    except KeyboardInterrupt:
        interrupted = True
    if not len(members.scores) and not interrupted:
        names = ", ".join(f"{check.name}={check.bound:g}" for check in search.checks)
        raise NASError(
            f"none of {search.counts['evaluated']} networks drawn is within {names or score}; "
            "raise a limit or use a smaller space"
        )
    best = [search.member(network) for network in members.networks]
    best.sort(key=lambda member: -member.score)
    return EvolutionResult(best, history, search.counts, time.perf_counter() - begin, interrupted)


class _Search:
    """The state of a search: its evaluator, its limits and its counts."""

    def __init__(
        self, space: DetectorSpace, budget: Budget, score: str, checks: Sequence[Check]
    ) -> None:
        self.space, self.budget = space, budget
        self.vectorized = VectorizedSpace(
            space,
            nc=budget.nc,
            imgsz=budget.imgsz,
            channels=budget.channels,
            profile=budget.profile,
        )
        self._exact = SCORES[score]
        self._score: Callable[[BatchCosts], Floats] = getattr(self.vectorized, score)
        self.checks = list(checks)
        self._bounds: dict[str, tuple[str, float]] = {}
        for name, bound in budget.limits.items():
            attribute = LIMITS[name][0]
            if attribute in BatchCosts._fields:
                margin = budget.margin if name == "max_latency" else 0.0
                self._bounds[name] = attribute, bound / (1 + margin)
            else:
                self.checks.append(Check(name, self._cost(attribute), bound))
        names = [*self._bounds, *(check.name for check in self.checks)]
        self.counts = dict.fromkeys(
            ["evaluated", "against_rules", "within", *(f"over_{name}" for name in names)], 0
        )

    def _cost(self, attribute: str) -> Callable[[Architecture], float]:
        if attribute == LIMITS[SIZE][0]:
            return self.budget.size
        return lambda architecture: getattr(self.budget.costs(architecture), attribute)

    def children(self, parents: Ints, draw: Draw) -> Ints:
        """Return mutants of parents drawn from `parents` that keep the space's rules."""
        chosen = parents[draw.below(np.full(BATCH, len(parents), np.int64))]
        children = self.vectorized.mutate(chosen, draw)
        allowed = self.vectorized.allowed(children)
        self.counts["against_rules"] += int((~allowed).sum())
        return children[allowed & (children != chosen).any(axis=1)]

    def evaluate(self, networks: Ints, members: _Population) -> None:
        """Evaluate networks and let the best within all limits join."""
        found = self.vectorized.evaluate(networks)
        scores = self._score(found)
        good: Mask = np.isfinite(scores)
        for name, (attribute, bound) in self._bounds.items():
            inside = getattr(found, attribute) <= bound
            self.counts[f"over_{name}"] += int((~inside).sum())
            good &= inside
        self.counts["evaluated"] += len(networks)
        if self.checks:
            for index in np.flatnonzero(good & (scores > members.worst())).tolist():
                good[index] = self._passes(networks[index])
        self.counts["within"] += int(good.sum())
        good &= scores > members.worst()
        members.join(networks[good], scores[good])

    def _passes(self, network: Ints) -> bool:
        architecture = self.space.architecture(self.vectorized.decode(network))
        for check in self.checks:
            if check.value(architecture) > check.bound:
                self.counts[f"over_{check.name}"] += 1
                return False
        return True

    def member(self, network: Ints) -> Member:
        """Return a member with its exact score."""
        point = self.vectorized.decode(network)
        architecture = self.space.architecture(point)
        budget = self.budget
        return Member(point, architecture, self._exact(architecture, budget.imgsz, budget.channels))
