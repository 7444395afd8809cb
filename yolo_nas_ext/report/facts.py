"""Facts: what a record says, once, for the table, the plots and the page.

Fitness is what was measured here, under whatever name the record has for it. Where a projection of
it ranks networks, that says which comes first, see `study.measure`.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import NamedTuple

import numpy as np

from yolo_nas_ext.console import number, short
from yolo_nas_ext.study.measure import PROJECTED
from yolo_nas_ext.study.objectives import hypervolume
from yolo_nas_ext.study.study import Study, front_of
from yolo_nas_ext.study.trial import Trial

TRAINED = "trained_fitness"
FIRST = 10  # candidates whose median stands for what chance finds


class Place(NamedTuple):
    """The place of a trial by what the search ranks by, from 1, of so many."""

    rank: int
    of: int


class Facts:
    """A record seen by its reader.

    A trial without a finite fitness counts as failed here, whatever its state says.

    Args:
        study: The record.

    Attributes:
        study: A copy in which fitness is what was measured.
        measure: What that is.
        trials: Its trials.
        complete: Those that are complete.
        baselines: Trials with a name that have ended.
        found: Complete proposals.
        failed: Trials that failed.
        pruned: Trials that were ended early.
    """

    def __init__(self, study: Study) -> None:
        self._ranked = _cleaned(study)
        self.measure = study.measure
        self.study = _copy(study, [study.measure.restated(t) for t in self._ranked.results])
        self.trials = self.study.trials
        self.complete = self.study.complete
        self.baselines = [t for t in self.trials if t.name and t.state != "running"]
        self.found = [t for t in self.complete if not t.name]
        self.failed = [t for t in self.trials if t.state == "failed"]
        self.pruned = [t for t in self.trials if t.state == "pruned"]
        self.repeated = bool(study.repeats)

    def _shown(self, trial: Trial | None) -> Trial | None:
        """Return a trial as it was measured."""
        return next((t for t in self.trials if trial and t.number == trial.number), None)

    @cached_property
    def _kept(self) -> list[Trial]:
        """Candidates that keep the limits of the goal, as the search sees them."""
        return self._ranked.candidates

    @cached_property
    def candidates(self) -> list[Trial]:
        """Complete trials in the space that keep the limits of the goal."""
        kept = {t.number for t in self._kept}
        return [t for t in self.complete if t.number in kept]

    @cached_property
    def best(self) -> Trial | None:
        """The answer of the search, if there is one."""
        return self._shown(self._ranked.best) if self._kept else None

    @cached_property
    def best_found(self) -> Trial | None:
        """The first of the complete proposals that keep the limits of the goal."""
        own = [t for t in self._ranked.trials if not t.name]
        alone = _copy(self._ranked, own)
        return self._shown(alone.best) if alone.candidates else None

    @cached_property
    def places(self) -> Mapping[int, Place]:
        """Places of the complete trials by their numbers, where a projection ranks them."""
        if not any(PROJECTED in t.metrics for t in self.complete):
            return {}
        values = {t.number: t.fitness for t in self._ranked.complete}
        return {
            number: Place(1 + sum(v > value for v in values.values()), len(values))
            for number, value in values.items()
        }

    @cached_property
    def best_baseline(self) -> Trial | None:
        """The complete baseline of the highest fitness, in the space or not."""
        return highest([t for t in self.baselines if t.state == "complete"])

    @cached_property
    def reference(self) -> Trial | None:
        """What others are compared with: the parent, else the best complete baseline."""
        named = (t for t in self.complete if t.name and t.name == self.study.parent)
        return next(named, None) or self.best_baseline

    @cached_property
    def best_pencil(self) -> Trial | None:
        """The best complete pencil that keeps the limits of the goal."""
        kept = {t.number for t in self._ranked.known_pencils}
        return highest([t for t in self.complete if t.number in kept])

    @cached_property
    def pair(self) -> tuple[Trial | None, Trial | None]:
        """The best proposal and the reference by the measure that both have; see `trained`."""
        found, baseline = self.best_found, self.reference
        if found and self.confirms:
            return found.trained, baseline and baseline.trained
        return found, baseline

    @cached_property
    def confirms(self) -> bool:
        """Whether the `pair` is compared by trainings that confirm it."""
        found, baseline = self.best_found, self.reference
        known = found is not None and TRAINED in found.metrics
        return known and (baseline is None or TRAINED in baseline.metrics)

    @cached_property
    def compared(self) -> list[Trial]:
        """All complete trials by the measure of the `pair`, as far as they have it."""
        if self.confirms:
            return [t.trained for t in self.complete if TRAINED in t.metrics]
        return self.complete

    @property
    def name(self) -> str:
        """Of the measure of the `pair`."""
        return self.measure.confirmed if self.confirms else self.measure.name

    @cached_property
    def trained(self) -> list[Trial]:
        """Candidates that a training of their own has confirmed, the best first."""
        own = [t for t in self.candidates if TRAINED in t.metrics]
        return sorted(own, key=_rank, reverse=True)

    @cached_property
    def front(self) -> list[Trial]:
        """The front of the candidates, by what was measured; see `study.study.front_of`."""
        return front_of(self.candidates, self.study.goal) or ([self.best] if self.best else [])

    @cached_property
    def volumes(self) -> list[tuple[int, float]]:
        """Hypervolume of the candidates after each trial that enlarged it: (number, volume).

        Objectives are scaled so that the worst candidate of the record is at 0 and the best at 1 in
        each; the reference is a tenth below 0, so that the ends of the front count too. Empty for
        one objective.
        """
        goal = self.study.goal
        known = {t.number: goal.values(t.metrics) for t in self.candidates}
        known = {n: v for n, v in known.items() if all(map(math.isfinite, v))}
        if len(goal.objectives) < 2 or not known:
            return []
        values = np.array(list(known.values()))
        span = np.ptp(values, axis=0)
        values = (values - values.min(axis=0)) / np.where(span > 0, span, 1.0) + 0.1
        found: list[tuple[int, float]] = []
        best = np.zeros((0, values.shape[1]))
        for trial, value in zip(known, values, strict=True):
            if not (best >= value).all(axis=1).any():
                best = np.vstack([best[~(best <= value).all(axis=1)], value])
                found.append((trial, hypervolume(best, [0.0] * len(value))))
        return found

    @cached_property
    def has_flops(self) -> bool:
        """Whether fitness can be shown against FLOPs."""
        inside = [t for t in self.complete if t.point is not None] or self.complete
        return bool(inside) and all("flops" in t.cost for t in inside)

    def facts(self, trial: Trial) -> list[str]:
        """Return what is to be known of a trial in short: what was measured, rank and costs."""
        said = f"{trial.state}: {trial.error}" if trial.error else trial.state
        if trial.state == "complete":
            said = f"{self.measure.name} {number(trial.fitness)}"
        found = [said]
        if trial.number in self.places:
            place = self.places[trial.number]
            found.append(f"rank {place.rank} of {place.of}")
        names = {"params": "parameters", "flops": "FLOPs"}
        return found + [f"{short(trial.cost[n])} {t}" for n, t in names.items() if n in trial.cost]

    @cached_property
    def first(self) -> list[Trial]:
        """The first complete proposals."""
        return self.found[:FIRST]

    @cached_property
    def failures(self) -> dict[str, list[Trial]]:
        """Failed trials by the kind of their error, the most frequent kind first."""
        kinds = defaultdict(list)
        for trial in self.failed:
            kind, colon, _ = trial.error.partition(":")
            kinds[kind if colon and kind else "error"].append(trial)
        return dict(sorted(kinds.items(), key=lambda item: -len(item[1])))


def label(trial: Trial) -> str:
    """Return the name of a baseline, ``nas-<key>``, or the trial's place from 1."""
    if trial.name:
        return trial.name
    if trial.architecture is None:
        return f"trial {trial.number + 1}"
    return f"nas-{trial.architecture.key}"


def sized(study: Study) -> bool:
    """Say whether the image size is a choice of a search."""
    return "imgsz" in study.space.choices


def pixels(trial: Trial) -> int:
    """Return the image size of a network: its own, or that it was evaluated at; 0 without."""
    own = trial.architecture.imgsz if trial.architecture else 0
    return own or int(trial.fidelity.get("imgsz", 0))


def quantised(metrics: Mapping[str, float], name: str) -> list[str]:
    """Return what a network measures in other precisions, and what of its accuracy that retains.

    Args:
        metrics: Of a trial or a training.
        name: What is measured, in words.
    """
    found = []
    for precision in ("int8", "fp16"):
        if (share := metrics.get(f"{precision}_retained")) is None:
            continue
        kinds = ("map50_95", "accuracy_top1", "fitness")
        value = next(metrics[k] for n in kinds if (k := f"{precision}_{n}") in metrics)
        what = next(n for n in kinds if f"{precision}_{n}" in metrics)
        what = {"map50_95": "mAP50-95", "accuracy_top1": "top-1 accuracy"}.get(what, name)
        found.append(f"{precision}: {what} {number(value)}, {share:.1%} retained")
    return found


def size(trial: Trial) -> str:
    """Return ``" (1.2M parameters, 3.4G FLOPs)"``, or nothing without costs."""
    names = {"params": "parameters", "flops": "FLOPs"}
    parts = [f"{short(trial.cost[n])} {text}" for n, text in names.items() if n in trial.cost]
    return f" ({', '.join(parts)})" if parts else ""


def metric_names(trials: Sequence[Trial]) -> list[str]:
    """Return the names of all metrics but the fitness: detection's first, the others sorted."""
    known = ("map50_95", "map50", "precision", "recall")
    names = {name for trial in trials for name in trial.metrics} - {"fitness"}
    return [n for n in known if n in names] + sorted(names - set(known))


def highest(trials: Sequence[Trial]) -> Trial | None:
    """Return the trial of the highest fitness; a training of its own counts more."""
    return max(trials, key=_rank) if trials else None


def _rank(trial: Trial) -> tuple[float, float, int]:
    """Return a key by which what was confirmed by a training is ahead of what was not."""
    return trial.metrics.get(TRAINED, -math.inf), trial.fitness, -trial.number


def _copy(study: Study, trials: Sequence[Trial]) -> Study:
    """Return a record in memory of the same goal with these trials."""
    copy = Study(
        study.space,
        goal=study.goal,
        parent=study.parent,
        pencils=study.pencils,
        measure=study.measure,
    )
    for trial in trials:  # numbers of a record that several processes share have gaps
        copy.finish(trial)  # or it still runs, as there
    return copy


def _cleaned(study: Study) -> Study:
    """Return a copy in memory where what cannot be compared has failed or is left out."""
    cleaned = []
    for trial in study.results:
        if trial.state == "complete" and not math.isfinite(trial.fitness):
            value = trial.metrics.get("fitness", "missing")
            trial = replace(trial, state="failed", error=trial.error or f"nan: fitness is {value}")
        cost = {n: v for n, v in _finite(trial.cost).items() if v > 0}
        seconds = trial.seconds if math.isfinite(trial.seconds) else 0.0
        metrics = _finite(trial.metrics)
        cleaned.append(replace(trial, metrics=metrics, cost=cost, seconds=seconds))
    return _copy(study, cleaned)


def _finite(values: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in values.items() if math.isfinite(value)}
