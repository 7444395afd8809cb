"""Bayesian optimisation over choices: a Gaussian process, expected improvement, mutations."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy.special import log_ndtr

from yolo_nas_ext.space.choices import ChoiceSpace, Point
from yolo_nas_ext.strategies.gaussian_process import (
    FITTED,
    Code,
    Process,
    log_improvement,
    normalised,
    numeric,
)
from yolo_nas_ext.strategies.history import Past, expected_worths, thinned, worths
from yolo_nas_ext.strategies.threads import one_thread
from yolo_nas_ext.study.objectives import Goal
from yolo_nas_ext.study.trial import Trial

Features = Callable[[Point], Sequence[float]]
Prior = Callable[[Sequence[Point]], Sequence[float]]

DRAWS = 32  # random points; the prior's favourite among them is a first point
START = 4  # first points at least; in small spaces more of them cost more than they teach
CHOICES, SHARE = 2, 4  # in large ones one for so many choices, up to such a part of the trials
USUAL = 50  # trials, where their number is not known
MODELLED = 500  # trials in the model: of more, the best half of these and an even part of the rest
PARENTS = 8  # best points whose mutations are candidates
CHILDREN = 60  # a parent
STRANGERS = 200  # candidates from everywhere, where features have to be asked of each
WORK = 500_000  # times trials in the model, where not: all points of a small space
APART = 24  # further candidates, within the space's limits by construction; half are fresh draws
CHECKED = 160  # candidates whose feasibility is asked, the most promising first


@dataclass(frozen=True)
class Model:
    """The knowledge after some trials.

    Attributes:
        process: Of the goal's targets.
        gaps: For every limit the process of how far a metric is beyond it, and where 0 is.
        best: Highest target that keeps the limits; None while there is none.
        parents: Places of the best points, of shape (parents, choices).
        centre: Mean of the features.
        scale: Deviation of the features.
    """

    process: Process
    gaps: tuple[tuple[Process, float], ...]
    best: float | None
    parents: np.ndarray
    centre: np.ndarray
    scale: np.ndarray


class Bayes:
    """Proposes where a surrogate expects the greatest improvement.

    The surrogate is `gaussian_process.Process`. Its expected improvement, times the probability
    that the limits are kept (Gardner et al. 2014), is maximised over mutations of the best points,
    as in BANANAS (White et al. 2021, arXiv:1910.11858), and random ones. Several objectives are
    joined by weights drawn anew for each proposal (Knowles 2006, ParEGO). The points of a batch,
    and trials that run, count as if they had been measured at their prediction, which keeps a batch
    diverse. A failed trial counts as the worst one, a pruned one as `history.expected_worths` says.

    Args:
        space: Where to look.
        goal: Objectives and limits.
        features: Free numbers about a point, for example its parameters and FLOPs.
        start: Number of first points before the model proposes; see `first_points` if None.
        prior: Ranks points for free, higher is better; every other first point is its favourite.
        trials: Number of trials that the search may take.
    """

    def __init__(
        self,
        space: ChoiceSpace,
        *,
        goal: Goal | None = None,
        features: Features | None = None,
        start: int | None = None,
        prior: Prior | None = None,
        trials: int | None = None,
    ) -> None:
        self.space = space
        self.goal = goal or Goal()
        self._past = Past(space, self.goal)
        self.features = features
        self.start = first_points(space, trials) if start is None else start
        self.prior = prior
        self._code = Code(space.choices)
        self._names = list(self._code.choices)
        self._options = list(self._code.choices.values())
        self._sizes = np.array([len(options) for options in self._options], dtype=int)
        self._ordered = np.array([numeric(options) for options in self._options], dtype=bool)
        self._fixed = {name: options[0] for name, options in space.choices.items()}

    def propose(self, history: Sequence[Trial], n: int, rng: random.Random) -> list[Point]:
        """Return `n` new points, random ones while there is little to learn from."""
        with one_thread():
            return self._propose(history, n, rng)

    def _propose(self, history: Sequence[Trial], n: int, rng: random.Random) -> list[Point]:
        past = self._past.read(history)
        if len(past.trials) < self.start or not self._names:
            return past.fill(n, partial(self._first_point, history, rng), rng)
        seen = past.seen
        found: list[Point] = []
        model = None
        for _ in range(n):
            if model is None or len(self.goal.objectives) > 1:
                model = self.model(past, [*past.waiting, *found], rng)
            point = self._best(model, seen, rng)
            if point is None:
                break
            found.append(point)
            model = self._believe(model, [point])
        return found

    def _first_point(self, history: Sequence[Trial], rng: random.Random) -> Point:
        """Return the favourite of the prior or, beyond the first few, what tries something new."""
        prior = None if len(history) % 2 else self.prior
        if prior is None and len(history) < START:
            return self.space.sample(rng)
        drawn = [self.space.sample(rng) for _ in range(DRAWS)]
        if prior is not None:
            return drawn[int(np.argmax(prior(drawn)))]
        tried = Counter(
            item for t in history if t.point is not None for item in self._open(t.point)
        )
        return min(drawn, key=lambda point: self._met(point, tried))

    def _open(self, point: Point) -> list[tuple[str, Hashable]]:
        return [(name, point[name]) for name in self.space.active(point)]

    def _met(self, point: Point, tried: Mapping[tuple[str, Hashable], int]) -> float:
        """Return how often the options of a point were tried, in the mean of its choices.

        One of two options counts as much as two of four.
        """
        choices, items = self.space.choices, self._open(point)
        met = sum(len(choices[name]) * tried.get((name, value), 0) for name, value in items)
        return met / max(len(items), 1)

    def foretold(self, history: Sequence[Trial], points: Sequence[Point]) -> np.ndarray:
        """Return the fitness that the model expects of points, of shape (points,).

        The goal has one objective, and no limit of it counts.
        """
        with one_thread():
            past = self._past.read(history)
            model = self.model(past, [], random.Random(0))
            places = self._code.places(points)
            found, _ = model.process.predict(places, self._features(model, points, places))
            known = [t.point for t in past.trials if t.point is not None]
            seen = self._code.places(known)
            own, _ = model.process.predict(seen, self._features(model, known, seen))
        fitness = past.values[:, 0]
        if not np.ptp(own):
            return np.full(len(points), fitness.mean())
        slope, level = np.polyfit(own, fitness, 1)  # from normalised targets back
        return level + slope * found

    # The model

    def model(self, past: Past, waiting: Sequence[Point], rng: random.Random) -> Model:
        """Return the surrogate after some trials; waiting points count at their prediction."""
        weights = [rng.expovariate(1.0) for _ in self.goal.objectives]
        total = sum(weights)
        worth = worths(past.values, np.zeros(len(past.trials)), [w / total for w in weights])
        chosen = thinned(worth, MODELLED)
        trials, worth = [past.trials[i] for i in chosen], worth[chosen]
        kept = past.excess[chosen] == 0
        pruned, failed = past.pruned[-(MODELLED // 2) :], past.failed[-(MODELLED // 4) :]
        points = [t.point for t in (*trials, *pruned) if t.point is not None]
        points += failed
        behind = expected_worths(trials, worth, pruned)
        targets = normalised(np.r_[worth, behind, np.full(len(failed), worth.min())])
        places = self._code.places(points)
        features = self._raw_features(points, places)
        centre, scale = features.mean(axis=0), features.std(axis=0)
        counts = self._code.counts(places).shape[1]
        scale[:counts] = 1.0  # one choice more or less is a step whatever was tried so far
        scale[scale == 0] = 1.0
        scaled = (features - centre) / scale
        process = Process(places, scaled, targets, self._code, thinned(targets, FITTED))
        measured = slice(0, len(trials))
        gaps = []
        for column in np.array([self.goal.gaps(t.metrics) for t in trials]).T:
            column = np.clip(column, -10, 10)  # a metric that is missing is infinitely far
            middle, spread = column.mean(), column.std() or 1.0
            values = (column - middle) / spread
            gap = Process(
                places[measured], scaled[measured], values, self._code, thinned(-values, FITTED)
            )
            gaps.append((gap, -middle / spread))
        order = np.lexsort((-targets[measured], ~kept))
        best = float(targets[measured][kept].max()) if kept.any() else None
        model = Model(process, tuple(gaps), best, places[order[:PARENTS]], centre, scale)
        return self._believe(model, waiting)

    def _believe(self, model: Model, points: Sequence[Point]) -> Model:
        """Return the model as if points had been measured at their prediction."""
        process = model.process
        for point in points:
            places = self._code.places([point])
            features = self._features(model, [point], places)
            mean, _ = process.predict(places, features)
            process = process.with_point(places[0], features[0], float(mean[0]))
        return Model(process, model.gaps, model.best, model.parents, model.centre, model.scale)

    def _raw_features(self, points: Sequence[Point], places: np.ndarray) -> np.ndarray:
        counts = self._code.counts(places)
        if self.features is None:
            return counts
        given = np.array([list(self.features(point)) for point in points], dtype=float)
        return np.hstack([counts, given.reshape(len(points), -1)])

    def _features(self, model: Model, points: Sequence[Point], places: np.ndarray) -> np.ndarray:
        return (self._raw_features(points, places) - model.centre) / model.scale

    # The acquisition

    def _best(self, model: Model, seen: set[Hashable], rng: random.Random) -> Point | None:
        """Return the feasible new candidate of the highest acquisition, or any new point."""
        places = self._candidates(model, rng)
        if self.features is None:
            scores = _acquisition(model, places, self._features(model, [], places))
            most = CHECKED + len(seen)  # what was measured may look best
            points = (self._point(places[i]) for i in np.argsort(-scores, kind="stable")[:most])
            allowed = (p for p in points if self._is_new(p, seen))
            chosen = next(allowed, None)
        else:  # features cost as much as feasibility: of fewer candidates, both are asked
            some = [self._point(row) for row in places[:CHECKED]]
            some = [p for p in some if self._is_new(p, seen)]
            if self.space.limited:
                some += [p for p in self.apart(model, rng) if self._is_new(p, seen)]
            chosen = self._first(model, some)
        if chosen is None:
            near = [self.space.mutate(self._point(row), rng) for row in model.parents]
            chosen = self._first(model, [p for p in near if self._is_new(p, seen)])
        if chosen is not None:
            seen.add(self.space.identity(chosen))
            return chosen
        return self.space.unseen(lambda: self.space.sample(rng), seen, rng)

    def apart(self, model: Model, rng: random.Random) -> list[Point]:
        """Return points within the limits that no few changes of the best points lead to.

        The best points are as large as the limits let them be. So a choice that costs more, of a
        further level or of larger images, is beyond them unless others make room for it.
        """
        found = [self.space.sample(rng) for _ in range(APART // 2)]
        for _ in range(APART - len(found)):
            point = self._point(rng.choice(list(model.parents)))
            name = rng.choice(self.space.active(point))
            others = [option for option in self.space.choices[name] if option != point[name]]
            moved = self.space.canonical({**point, name: rng.choice(others)})
            repaired = self.space.repair(moved, name, rng)
            found += [repaired] if repaired is not None else []
        return found

    def _first(self, model: Model, points: Sequence[Point]) -> Point | None:
        """Return the point of the highest acquisition."""
        if not points:
            return None
        places = self._code.places(points)
        return points[
            int(_acquisition(model, places, self._features(model, points, places)).argmax())
        ]

    def _is_new(self, point: Point, seen: set[Hashable]) -> bool:
        return self.space.feasible(point) and self.space.identity(point) not in seen

    def _point(self, places: np.ndarray) -> Point:
        chosen = {n: o[i] for n, o, i in zip(self._names, self._options, places, strict=True)}
        return self.space.canonical({**self._fixed, **chosen})

    def _candidates(self, model: Model, rng: random.Random) -> np.ndarray:
        """Return places of mutated parents and random points, or of all of a small space."""
        draw = np.random.default_rng(rng.getrandbits(64))
        strange, parents = STRANGERS, model.parents
        if self.features is None:
            strange = max(strange, WORK // len(model.process.targets))
            if math.prod(self._sizes.tolist()) <= strange:
                return np.indices(tuple(self._sizes)).reshape(len(self._sizes), -1).T
        children = np.repeat(parents, CHILDREN, axis=0)
        changes = 1 + (draw.random(len(children)) < 0.5) + (draw.random(len(children)) < 0.2)
        active = [np.array(self._active(row)) for row in parents]
        for i, row in enumerate(children):
            open_to_change = active[i // CHILDREN]
            if len(open_to_change):
                for j in draw.choice(open_to_change, int(changes[i])):
                    row[j] = self._moved(int(row[j]), int(j), draw)
        strangers = draw.integers(0, self._sizes, (strange, len(self._sizes)))
        places = np.unique(np.vstack([children, strangers]), axis=0)
        return draw.permutation(places, axis=0)

    def _active(self, places: np.ndarray) -> list[int]:
        names = set(self.space.active(self._point(places)))
        return [i for i, name in enumerate(self._names) if name in names]

    def _moved(self, place: int, choice: int, draw: np.random.Generator) -> int:
        """Return another option's place: of an ordered choice as often the next as any."""
        size = int(self._sizes[choice])
        if self._ordered[choice] and draw.random() < 0.5:
            step = 1 if draw.random() < 0.5 else -1
            return place + step if 0 <= place + step < size else place - step
        other = int(draw.integers(size - 1))
        return other + (other >= place)


def first_points(space: ChoiceSpace, trials: int | None = None) -> int:
    """Return how many points are tried before a model is made of them.

    Args:
        space: Where to look; the more choices, the more points.
        trials: Number of trials that the search may take; the first points are a part of them.
    """
    choices = sum(len(options) > 1 for options in space.choices.values())
    return max(START, min(choices // CHOICES, (trials or USUAL) // SHARE))


def _acquisition(model: Model, places: np.ndarray, features: np.ndarray) -> np.ndarray:
    """Return the log of expected improvement times the probability that all limits are kept."""
    if model.best is None:
        score = np.zeros(len(places))
    else:
        mean, deviation = model.process.predict(places, features)
        score = np.log(deviation) + log_improvement((mean - model.best) / deviation)
    for gap, zero in model.gaps:
        mean, deviation = gap.predict(places, features)
        score = score + log_ndtr((zero - mean) / deviation)
    return score
