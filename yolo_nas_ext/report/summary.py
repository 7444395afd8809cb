"""Findings: what a record says, once, for the table, the plots and the page."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from statistics import mean, median

import numpy as np

from yolo_nas_ext.console import number, short, signed
from yolo_nas_ext.study.objectives import hypervolume
from yolo_nas_ext.study.study import Study
from yolo_nas_ext.study.trial import Trial

TRAINED = "trained_fitness"
FIRST = 10  # candidates whose median stands for what chance finds


class Findings:
    """A record seen by its reader.

    A trial without a finite fitness counts as failed here, whatever its state says.

    Args:
        study: The record.
    """

    def __init__(self, study: Study) -> None:
        self.study = _measured(study)
        self.trials = self.study.trials
        self.complete = self.study.complete
        self.baselines = [t for t in self.trials if t.name and t.state != "running"]
        self.found = [t for t in self.complete if not t.name]
        self.failed = [t for t in self.trials if t.state == "failed"]
        self.pruned = [t for t in self.trials if t.state == "pruned"]

    @cached_property
    def best(self) -> Trial | None:
        """The best candidate, if there is one."""
        return self.study.best if self.study.candidates else None

    @cached_property
    def best_found(self) -> Trial | None:
        """The best complete proposal that keeps the limits of the goal."""
        return _highest([t for t in self.study.candidates if not t.name])

    @cached_property
    def best_baseline(self) -> Trial | None:
        """The best complete baseline, in the space or not."""
        return _highest([t for t in self.baselines if t.state == "complete"])

    @cached_property
    def reference(self) -> Trial | None:
        """What others are compared with: the parent, else the best complete baseline."""
        named = (t for t in self.complete if t.name and t.name == self.study.parent)
        return next(named, None) or self.best_baseline

    @cached_property
    def best_pencil(self) -> Trial | None:
        """The best complete pencil that keeps the limits of the goal."""
        return _highest(self.study.known_pencils)

    @cached_property
    def pair(self) -> tuple[Trial | None, Trial | None]:
        """The best proposal and the reference by the measure that both have; see `trained`."""
        found, baseline = self.best_found, self.reference
        if found and (baseline is None or TRAINED in baseline.metrics):
            return found.trained, baseline and baseline.trained
        return found, baseline

    @cached_property
    def trained(self) -> list[Trial]:
        """Candidates that a training of their own has confirmed, the best first."""
        own = [t for t in self.study.candidates if TRAINED in t.metrics]
        return sorted(own, key=_rank, reverse=True)

    @cached_property
    def front(self) -> list[Trial]:
        """The front of the study."""
        return self.study.front

    @cached_property
    def volumes(self) -> list[tuple[int, float]]:
        """Hypervolume of the candidates after each trial that enlarged it: (number, volume).

        Objectives are scaled so that the worst candidate of the record is at 0 and the best at 1 in
        each; the reference is a tenth below 0, so that the ends of the front count too. Empty for
        one objective.
        """
        goal = self.study.goal
        known = {t.number: goal.values(t.metrics) for t in self.study.candidates}
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

    def lead(self) -> str:
        """Return how far the best proposal is above the median of the first ones, or nothing."""
        if self.best_found is None or len(self.first) < 3:
            return ""
        gain = self.best_found.fitness - median(t.fitness for t in self.first)
        return (
            f"best found {number(self.best_found.fitness)}, {signed(gain)} over the median of the "
            f"first {len(self.first)} candidates"
        )

    def verdict(self) -> list[str]:
        """Return what was found in plain sentences, the most important one first."""
        found, baseline = self.pair
        if found is None:
            nothing = [self._nothing_kept()] if self.found else []
            if baseline is None:
                return nothing or [self._nothing()]
            evaluated = "" if nothing else "No candidate of the search was evaluated. "
            best = self.best_baseline or baseline
            said = f"{best.name} is best with fitness {number(best.fitness)}"
            return [*nothing, f"{evaluated}Of the baselines {said}."]
        if baseline is None:
            sentence = (
                f"{label(found)} is the best of {_count(len(self.found), 'candidate')} evaluated: "
                f"fitness {number(found.fitness)}{size(found)}."
            )
            if found.architecture is not None:
                sentence += " No baseline was measured beside it."
            return [sentence, *self._caveat()]
        called = "the parent" if baseline.name == self.study.parent else "the best baseline"
        said = self.pencil()
        pencil = [f"{said[0].upper()}{said[1:]}."] if said else []
        behind = self._over_pencil <= 0  # which is said first then
        return [
            *(pencil if behind else ()),
            _compare(found, baseline, called, "has" if behind else "is best:"),
            *(() if behind else pencil),
            *self._cheaper(found, baseline),
            *self._caveat(),
        ]

    @cached_property
    def _pencil_pair(self) -> tuple[Trial, Trial] | None:
        """The best proposal and the best pencil by the measure that both have."""
        found, pencil = self.best_found, self.best_pencil
        if found is None or pencil is None:
            return None
        both = TRAINED in found.metrics and TRAINED in pencil.metrics
        return (found.trained, pencil.trained) if both else (found, pencil)

    @property
    def _over_pencil(self) -> float:
        """How much the best proposal is above the best pencil; infinite without both."""
        pair = self._pencil_pair
        return pair[0].fitness - pair[1].fitness if pair else math.inf

    def pencil(self) -> str:
        """Return whether the best proposal beats the best pencil; nothing without both."""
        if self._pencil_pair is None:
            return ""
        found, pencil = self._pencil_pair
        difference = self._over_pencil
        if difference > 0:
            return (
                f"{label(found)} is {number(difference)} above the best that a hand would try, "
                f"{pencil.name} ({number(pencil.fitness)})"
            )
        return (
            f"nothing that was found beats the best that a hand would try: {pencil.name} has "
            f"fitness {number(pencil.fitness)}, and {label(found)} is {number(-difference)} below "
            "it"
        )

    def _nothing_kept(self) -> str:
        bounds = self.study.goal.limits.items()
        limits = ", ".join(f"{name} {bound:g}" for name, bound in bounds)
        evaluated = _count(len(self.found), "candidate")
        return f"None of {evaluated} keeps the limits ({limits}): widen them, or search on."

    def _nothing(self) -> str:
        if not self.failed:
            return "No trial has ended yet: there is nothing to compare."
        kind, trials = next(iter(self.failures.items()))
        return (
            f"No candidate could be evaluated: all {_count(len(self.failed), 'trial')} failed, "
            f"{len(trials)} of them by '{kind}' ({' '.join(trials[0].error.split())[:200]})."
        )

    def _cheaper(self, found: Trial, baseline: Trial) -> list[str]:
        """Name the cheapest proposal that is no worse than the best baseline."""
        if self.trained or found.fitness < baseline.fitness or not self.has_flops:
            return []
        if "flops" not in baseline.cost:
            return []
        good = [t for t in self.front if t.fitness >= baseline.fitness and not t.name]
        if not good or good[0] is found or good[0].cost["flops"] >= baseline.cost["flops"]:
            return []
        return [
            f"The cheapest network that is no worse than {baseline.name} is {label(good[0])}: "
            f"fitness {number(good[0].fitness)} with {_ratios(good[0], baseline)}."
        ]

    def _caveat(self) -> list[str]:
        if len(self.complete) < 2:
            return []
        if self.trained:
            return [self._confirmed()]
        lucky = [t for t in self.complete if "fitness_again" in t.metrics]
        if lucky:
            before, after = (
                mean(t.metrics[f"fitness_{part}"] for t in lucky) for part in ("first", "again")
            )
            return [
                f"The best {len(lucky)} were trained again with another seed and count with the "
                f"mean of both. In the search they had scored {number(before)} on average, the "
                f"second time {number(after)}: being picked had flattered them by "
                f"{signed(before - after)}."
            ]
        return [
            f"Every candidate was evaluated once and the best of {len(self.complete)} was picked, "
            "so its fitness is a little flattered and a small difference may be chance."
        ]

    def _confirmed(self) -> str:
        """Say what became of the best of the search when they were trained alone."""
        own = self.trained
        before, after = mean(t.fitness for t in own), mean(t.trained.fitness for t in own)
        leader = max(own, key=lambda t: (t.fitness, -t.number))
        place = own.index(leader) + 1
        of = "the best of them" if place == 1 else f"number {place} of them"
        return (
            f"{_count(len(own), 'network')} had a training of their own before the winner was "
            f"named: {number(after)} on average, {number(before)} in the search. The first of the "
            f"search, {label(leader)}, is {of} once trained."
        )


def first_random_median(study: Study) -> float | None:
    """Return the median fitness of the first 10 complete proposals, or of as many as there are.

    Strategies start with random candidates, so this is what chance finds. None without proposals.
    """
    first = Findings(study).first
    return median(t.fitness for t in first) if first else None


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


def _compare(found: Trial, baseline: Trial, called: str, verb: str) -> str:
    difference = found.fitness - baseline.fitness
    ratios = _ratios(found, baseline)
    costs = f", with {ratios}" if ratios else ""
    outside = "" if baseline.point is not None else ", which is not in the search space,"
    if difference > 0:
        return (
            f"{label(found)} {verb} fitness {number(found.fitness)}, {number(difference)} above "
            f"{baseline.name} ({number(baseline.fitness)}), {called}{costs}."
        )
    if difference == 0:
        return (
            f"{label(found)} equals {baseline.name}, {called}: fitness "
            f"{number(found.fitness)}{costs}."
        )
    return (
        f"{_kind(called)} is best: {baseline.name}{outside} has fitness {number(baseline.fitness)}"
        f"{size(baseline)}. The best network found, {label(found)}, is {number(-difference)} below "
        f"it ({number(found.fitness)}){costs}."
    )


def _kind(called: str) -> str:
    return "The parent" if called == "the parent" else "A baseline"


def _ratios(trial: Trial, other: Trial) -> str:
    """Return ``"0.62 times its FLOPs and 0.48 times its parameters"``."""
    parts = []
    for name, text in (("flops", "FLOPs"), ("params", "parameters")):
        if trial.cost.get(name) and other.cost.get(name):
            ratio = trial.cost[name] / other.cost[name]
            parts.append(f"{ratio:.2f} times its {text}")
    return " and ".join(parts)


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}" + ("" if n == 1 else "s")


def _highest(trials: Sequence[Trial]) -> Trial | None:
    return max(trials, key=_rank) if trials else None


def _rank(trial: Trial) -> tuple[float, float, int]:
    """Return a key by which what was confirmed by a training is ahead of what was not."""
    return trial.metrics.get(TRAINED, -math.inf), trial.fitness, -trial.number


def _measured(study: Study) -> Study:
    """Return a copy in memory where what cannot be compared has failed or is left out."""
    copy = Study(study.space, goal=study.goal, parent=study.parent, pencils=study.pencils)
    for trial in study.results:
        if trial.state == "complete" and not math.isfinite(trial.fitness):
            value = trial.metrics.get("fitness", "missing")
            trial = replace(trial, state="failed", error=trial.error or f"nan: fitness is {value}")
        cost = {n: v for n, v in _finite(trial.cost).items() if v > 0}
        seconds = trial.seconds if math.isfinite(trial.seconds) else 0.0
        trial = replace(trial, metrics=_finite(trial.metrics), cost=cost, seconds=seconds)
        copy.add([trial])  # numbers of a record that several processes share have gaps
    return copy


def _finite(values: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in values.items() if math.isfinite(value)}
