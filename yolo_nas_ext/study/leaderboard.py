"""Standings: what trainings of the same schedule and seeds say about models. Numbers in, words out.

Models are compared pair by pair: both with the same seed, so that what the seed does to both drops
out of the difference.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

LEVEL = 0.95
EQUAL = 0.005  # of fitness: half a point of mAP, within which models count as equally good


@dataclass(frozen=True, slots=True)
class Entrant:
    """A model that takes part.

    Attributes:
        name: What it is called; no two are called the same.
        baseline: Whether it is one of those that the others are measured against.
        params: Number of parameters, unfused.
        flops: FLOPs of one image, 2 x multiply-adds.
        latency_ms: Measured milliseconds of one image; None where it was not measured.
        search_seconds: What the search that found it took; None where it was not searched for.
        latency_iqr_ms: Interquartile range of the runs that the latency is of, in milliseconds.
    """

    name: str
    baseline: bool = False
    params: float | None = None
    flops: float | None = None
    latency_ms: float | None = None
    search_seconds: float | None = None
    latency_iqr_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """A training that has ended.

    Attributes:
        name: Of the entrant.
        seed: Of its weights, order of images and augmentation.
        fitness: On the part that was measured; nan where the training failed.
        seconds: Wall time.
        error: ``kind: message`` of a training that failed.
        metrics: All that was measured.
    """

    name: str
    seed: int
    fitness: float
    seconds: float = 0.0
    error: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)


class Interval(NamedTuple):
    """A mean with the ends of its confidence interval, infinite for a single value."""

    mean: float
    low: float
    high: float
    n: int


class Pair(NamedTuple):
    """A paired difference: the ends of its confidence interval, and two tests that it is 0.

    `t` is the p-value of the paired t test; `wilcoxon` that of the signed-rank test, exact, which
    assumes no distribution and cannot fall below 2 / 2^n. Both are nan for a single pair.
    """

    mean: float
    low: float
    high: float
    n: int
    t: float
    wilcoxon: float


def interval(values: Sequence[float], level: float = LEVEL) -> Interval:
    """Return the mean and its interval by Student's t; nan without values."""
    n = len(values)
    if not n:
        return Interval(math.nan, -math.inf, math.inf, 0)
    mean = float(np.mean(values))
    if n == 1:
        return Interval(mean, -math.inf, math.inf, 1)
    half = float(stats.t.ppf((1 + level) / 2, n - 1) * np.std(values, ddof=1) / math.sqrt(n))
    return Interval(mean, mean - half, mean + half, n)


def paired(differences: Sequence[float], level: float = LEVEL) -> Pair:
    """Return the mean of paired differences, its interval and tests."""
    around = interval(differences, level)
    if around.n < 2:
        return Pair(*around, math.nan, math.nan)
    spread = np.ptp(differences) > 1e-12
    tests: Any = stats  # whose results are typed as tuples of objects
    t = float(tests.ttest_1samp(differences, 0)[1]) if spread else float(around.mean == 0)
    moved = [d for d in differences if d]  # the test leaves out pairs that are equal
    wilcoxon = float(tests.wilcoxon(moved, method="exact")[1]) if moved else 1.0
    return Pair(*around, t, wilcoxon)


class Standings:
    """What the trainings so far say.

    Args:
        entrants: Who takes part.
        results: Trainings that have ended, of entrants.
        metric: What fitness is, in words.
        part: The part of the data set that it was measured on.
        noun: What a baseline is.
    """

    def __init__(
        self,
        entrants: Sequence[Entrant],
        results: Iterable[Result],
        *,
        metric: str = "fitness",
        part: str = "val",
        noun: str = "hand-made model",
    ) -> None:
        self.entrants = tuple(entrants)
        self.results = tuple(results)
        self.metric = metric
        self.part = part
        self.noun = noun
        self._by_name = {entrant.name: entrant for entrant in self.entrants}

    def entrant(self, name: str) -> Entrant:
        """Return the entrant of a name."""
        return self._by_name[name]

    def values(self, name: str) -> dict[int, float]:
        """Return the fitness of an entrant by seed, of trainings that did not fail."""
        found = [r for r in self.results if r.name == name and math.isfinite(r.fitness)]
        return {r.seed: r.fitness for r in found}

    def failed(self, name: str = "") -> list[Result]:
        """Return the trainings that failed, of an entrant or of all."""
        return [r for r in self.results if r.error and name in ("", r.name)]

    def mean(self, name: str) -> Interval:
        """Return the mean fitness of an entrant over its seeds."""
        return interval(list(self.values(name).values()))

    def seconds(self, name: str) -> float:
        """Return the mean wall time of a training of an entrant; nan without one."""
        found = [r.seconds for r in self.results if r.name == name and not r.error]
        return float(np.mean(found)) if found else math.nan

    def pair(self, name: str, other: str) -> Pair:
        """Return how much an entrant is above another, over the seeds that both have."""
        mine, theirs = self.values(name), self.values(other)
        return paired([mine[seed] - theirs[seed] for seed in sorted(mine) if seed in theirs])

    @cached_property
    def ranking(self) -> list[Entrant]:
        """Entrants with a finished training, the highest mean first."""
        known = [e for e in self.entrants if self.values(e.name)]
        return sorted(known, key=lambda e: -self.mean(e.name).mean)

    @cached_property
    def best_baseline(self) -> Entrant | None:
        """The baseline of the highest mean."""
        return next((e for e in self.ranking if e.baseline), None)

    @cached_property
    def best_other(self) -> Entrant | None:
        """The entrant of the highest mean that is no baseline."""
        return next((e for e in self.ranking if not e.baseline), None)

    @cached_property
    def cost(self) -> str:
        """What entrants cost: ``latency_ms`` where it was measured of all, else ``flops``."""
        measured = all(e.latency_ms for e in self.entrants)
        return "latency_ms" if measured and self.entrants else "flops"

    def ratio(self, entrant: Entrant, other: Entrant) -> float:
        """Return how many times an entrant costs what another does; nan where it is not known."""
        mine, theirs = getattr(entrant, self.cost), getattr(other, self.cost)
        return mine / theirs if mine and theirs else math.nan

    def cheaper(self) -> Entrant | None:
        """Return the cheapest entrant that is equally good as the best baseline at half its cost.

        Equally good is a mean of at most `EQUAL` less.
        """
        hand = self.best_baseline
        if hand is None:
            return None
        least = self.mean(hand.name).mean - EQUAL
        others = [e for e in self.ranking if not e.baseline and self.mean(e.name).mean >= least]
        found = [(self.ratio(e, hand), e.name) for e in others if self.ratio(e, hand) <= 0.5]
        return self.entrant(min(found)[1]) if found else None

    def within(self) -> Entrant | None:
        """Return the best entrant, no baseline, that costs no more than the best baseline."""
        hand = self.best_baseline
        others = [e for e in self.ranking if not e.baseline and hand]
        return next((e for e in others if self.ratio(e, hand) <= 1), None) if hand else None
