"""The leaderboard: what trainings of the same schedule and seeds say about models."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from scipy.special import stdtrit

from yolo_nas_ext.metrics.noise import jackknife
from yolo_nas_ext.study.differences import LEVEL, Difference, differences

# What a model of a final comparison is beside a found network.
PARENT, STOCK, PENCIL = "parent", "stock", "pencil"
EQUAL = 0.005  # of fitness: half a point of mAP, within which models count as equally good


@dataclass(frozen=True, slots=True)
class Model:
    """A model that is compared with others.

    Attributes:
        name: What it is called; no two are called the same.
        definition: Ultralytics' model definition, which is trained.
        baseline: Whether the others are compared with it.
        trial: Number of the trial that found it, of a final comparison.
        role: What it is of a search from trained weights: `PARENT`, the parent by our recipe;
            `STOCK`, the parent by Ultralytics' own; `PENCIL`, what a hand would make of it.
        weights: The checkpoint that it starts from; empty for random weights.
        recipe: How it is trained: as `compare.comparison` says.
        digest: Of the checkpoint's bytes.
        params: Number of parameters, unfused.
        flops: FLOPs of one image, 2 x multiply-adds.
        latency_ms: Measured milliseconds of one image; None where it was not measured.
        latency_iqr_ms: Interquartile range of the latency's runs, in milliseconds.
        search_seconds: What the search that found it took; None where it was not searched for.
    """

    name: str
    _: KW_ONLY
    definition: Mapping[str, Any] = field(default_factory=dict)
    baseline: bool = False
    trial: int | None = None
    role: str = ""
    weights: str = ""
    recipe: str = ""
    digest: str = ""
    params: float | None = None
    flops: float | None = None
    latency_ms: float | None = None
    latency_iqr_ms: float | None = None
    search_seconds: float | None = None

    @property
    def imgsz(self) -> int:
        """Image size in pixels that the definition is meant for; 0 where it names none."""
        return int(self.definition.get("imgsz") or 0)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A model after its training with one seed.

    Attributes:
        name: Of the model.
        seed: Of its weights, order of images and augmentation.
        fitness: On the part that was measured; nan where the training failed.
        seconds: Wall time.
        error: ``kind: message`` of a training that failed.
        metrics: All that was measured.
        without: Fitness without each part of the images; empty where that was not measured.
    """

    name: str
    seed: int
    fitness: float
    seconds: float = 0.0
    error: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    without: Sequence[float] = ()


class Interval(NamedTuple):
    """A mean with the ends of its confidence interval, infinite for a single value."""

    mean: float
    low: float
    high: float
    n: int


def interval(values: Sequence[float], level: float = LEVEL) -> Interval:
    """Return the mean and its interval by Student's t; nan without values."""
    n = len(values)
    if not n:
        return Interval(math.nan, -math.inf, math.inf, 0)
    mean = float(np.mean(values))
    if n == 1:
        return Interval(mean, -math.inf, math.inf, 1)
    half = float(stdtrit(n - 1, (1 + level) / 2) * np.std(values, ddof=1) / math.sqrt(n))
    return Interval(mean, mean - half, mean + half, n)


class Leaderboard:
    """What the trainings so far say.

    Args:
        models: The compared models.
        evaluations: Of these models, as far as their trainings have ended.
        metric: What fitness is, in words.
        part: The part of the data set that it was measured on.
        leak: What that part shares with the training images, in words; nothing where it is new.
    """

    def __init__(
        self,
        models: Sequence[Model],
        evaluations: Iterable[Evaluation],
        *,
        metric: str = "fitness",
        part: str = "val",
        leak: str = "",
    ) -> None:
        self.models = tuple(models)
        self.evaluations = tuple(evaluations)
        self.metric = metric
        self.part = part
        self.leak = leak
        self._by_name = {model.name: model for model in self.models}
        self._differences: dict[str, dict[str, Difference]] = {}  # by what is compared with

    def model(self, name: str) -> Model:
        """Return the model of a name."""
        return self._by_name[name]

    def values(self, name: str) -> dict[int, float]:
        """Return the fitness of a model by seed, of trainings that did not fail."""
        found = [e for e in self.evaluations if e.name == name and math.isfinite(e.fitness)]
        return {e.seed: e.fitness for e in found}

    def failed(self, name: str = "") -> list[Evaluation]:
        """Return the trainings that failed, of a model or of all."""
        return [e for e in self.evaluations if e.error and name in ("", e.name)]

    def mean(self, name: str) -> Interval:
        """Return the mean fitness of a model over its seeds."""
        return interval(list(self.values(name).values()))

    @property
    def precision(self) -> str:
        """The precision that models were measured in besides: int8, fp16 or none."""
        known = {name for e in self.evaluations for name in e.metrics}
        return next((p for p in ("int8", "fp16") if f"{p}_fitness" in known), "")

    def mean_of(self, name: str, metric: str) -> float:
        """Return the mean of another metric of a model over its seeds; nan without one."""
        own = [e for e in self.evaluations if e.name == name and not e.error]
        found = [e.metrics[metric] for e in own if metric in e.metrics]
        return float(np.mean(found)) if found else math.nan

    def seconds(self, name: str) -> float:
        """Return the mean wall time of a training of a model; nan without one."""
        found = [e.seconds for e in self.evaluations if e.name == name and not e.error]
        return float(np.mean(found)) if found else math.nan

    def difference(self, name: str, other: str) -> Difference:
        """Return how much a model is above another.

        Of a found model all found ones are allowed for, as the best of them is named afterwards.
        """
        if other not in self._differences:
            found = {m.name: self._fitness(m.name) for m in self._others if m.name != other}
            self._differences[other] = self._between(found, other)
        known = self._differences[other]
        if name in known:
            return known[name]
        return self._between({name: self._fitness(name)}, other)[name]

    def _between(self, found: Mapping[str, list[float]], other: str) -> dict[str, Difference]:
        """Return how much models are above another, by seeds and images."""
        errors = {name: error for name in found if (error := self._of_images(name, other))}
        return differences(found, self._fitness(other), images=errors)

    def _of_images(self, name: str, other: str) -> tuple[float, int] | None:
        """Return the error of a difference by images, and of how many parts it is, if known."""
        both = [
            [e.without for e in self.evaluations if e.name == one and math.isfinite(e.fitness)]
            for one in (name, other)
        ]
        lengths = {len(without) for own in both for without in own}
        if not all(both) or len(lengths) != 1 or min(lengths) < 2:
            return None
        mine, theirs = (np.mean(own, axis=0) for own in both)
        return jackknife((mine - theirs).tolist()), min(lengths)

    def _fitness(self, name: str) -> list[float]:
        return list(self.values(name).values())

    @cached_property
    def ranking(self) -> list[Model]:
        """Models with a finished training, the highest mean first."""
        known = [model for model in self.models if self.values(model.name)]
        return sorted(known, key=lambda model: -self.mean(model.name).mean)

    @cached_property
    def best_baseline(self) -> Model | None:
        """The baseline of the highest mean."""
        return next((model for model in self.ranking if model.baseline), None)

    def of_role(self, role: str) -> Model | None:
        """Return the model of a role, as far as it has been trained."""
        return next((model for model in self.ranking if model.role == role), None)

    @cached_property
    def reference(self) -> Model | None:
        """The model that differences are to: the parent by our recipe, else the best baseline."""
        return self.of_role(PARENT) or self.best_baseline

    @cached_property
    def best_other(self) -> Model | None:
        """The model of the highest mean that is no baseline."""
        return next(iter(self._others), None)

    @property
    def _others(self) -> list[Model]:
        """Models of the ranking that are no baselines."""
        return [model for model in self.ranking if not model.baseline]

    @cached_property
    def cost(self) -> str:
        """What models cost: ``latency_ms`` where it was measured of all, else ``flops``."""
        measured = all(model.latency_ms for model in self.models)
        return "latency_ms" if measured and self.models else "flops"

    def ratio(self, model: Model, other: Model) -> float:
        """Return how many times a model costs what another does; nan where it is not known."""
        mine, theirs = getattr(model, self.cost), getattr(other, self.cost)
        return mine / theirs if mine and theirs else math.nan

    def cheaper(self) -> Model | None:
        """Return the cheapest model that may be as good as the reference at half its cost.

        As good is a mean of at most `EQUAL` less. Whether that is more than chance the difference
        says, by its lower end.
        """
        baseline = self.reference
        if baseline is None:
            return None
        least = self.mean(baseline.name).mean - EQUAL
        as_good = [model for model in self._others if self.mean(model.name).mean >= least]
        costs = [(self.ratio(model, baseline), model.name) for model in as_good]
        found = [(ratio, name) for ratio, name in costs if ratio <= 0.5]
        return self.model(min(found)[1]) if found else None

    def within(self) -> Model | None:
        """Return the best model, no baseline, that costs no more than the reference."""
        baseline = self.reference
        if baseline is None:
            return None
        return next((m for m in self._others if self.ratio(m, baseline) <= 1), None)
