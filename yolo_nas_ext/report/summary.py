"""Findings: the facts of a record in plain sentences, each of them true of what it is said of."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from statistics import mean, median

from yolo_nas_ext.console import number, signed
from yolo_nas_ext.report.facts import FIRST, TRAINED, Facts, highest, label, size
from yolo_nas_ext.study.objectives import sign
from yolo_nas_ext.study.study import Study
from yolo_nas_ext.study.trial import Trial

LEAST = 3  # candidates whose median says something


class Findings(Facts):
    """Facts with what is to be said of them."""

    def verdict(self) -> list[str]:
        """Return what was found in plain sentences, the most important one first."""
        found, baseline = self.pair
        if found is None:
            return self._without(baseline)
        if all(t.fitness == 0 for t in self.compared):
            return [self._all_zero(), *([self._confirmed()] if self.trained else ())]
        if self.study.goal.objectives[0] != "fitness":
            return [self._by_objective(found, baseline), *self._several()]
        if baseline is None:
            return [*self._alone(found), *self._higher(found, None), *self._after(found, None)]
        said = self.pencil()
        pencil = [f"{said[0].upper()}{said[1:]}."] if said else []
        behind = self._over_pencil <= 0  # which is said first then
        return [
            *(pencil if behind else ()),
            self._compare(found, baseline),
            *(() if behind else pencil),
            *self._higher(found, baseline),
            *self._cheaper(found, baseline),
            *self._after(found, baseline),
        ]

    def lead(self) -> str:
        """Return how far the best proposal is above the median of the first ones, or nothing."""
        best = self.best_found
        if best is None or self.study.goal.objectives[0] != "fitness":
            return ""
        others = [t for t in self.first if t.number != best.number]
        if len(others) < LEAST:
            return ""
        gain = best.fitness - median(t.fitness for t in others)
        counted = f"the first {FIRST} candidates"
        if len(others) < len(self.first):
            counted = f"the {len(others)} other candidates"
            if len(self.found) > FIRST:
                counted = f"the {len(others)} others of the first {FIRST} candidates"
        first = "first by rank" if self.places else "best found"
        return f"{first} {number(best.fitness)}, {signed(gain)} over the median of {counted}"

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
        below = f"{number(-difference)} below it" if difference else "level with it"
        return (
            f"nothing that was found beats the best that a hand would try: {pencil.name} has "
            f"{self._value(pencil)}, and {label(found)} is {below}"
        )

    def mark(self) -> str:
        """Return what to write beside the best of the table."""
        best = self.best
        if best is None or all(t.fitness == 0 for t in self.complete):
            return ""
        name, *more = self.study.goal.objectives
        if name != "fitness":
            return f"<- best {name}"
        tuned = TRAINED in best.metrics
        others = [t for t in self.complete if t.number != best.number]
        values = [t.trained.fitness for t in others if TRAINED in t.metrics or not tuned]
        value = best.trained.fitness
        if self.places and not tuned:
            return "<- rank 1" if self.places[best.number].rank == 1 else "<- first in the space"
        if value > max(values, default=-math.inf):
            return f"<- best {name}" if more else "<- best"
        if value == max(values):
            return "<- first of equals"
        found = self.best_found
        return "<- best found" if found and found.number == best.number else "<- best in the space"

    def ranked(self) -> str:
        """Return what the rank is, where networks are ranked by a projection; else nothing."""
        return f"rank: place by {self.measure.rank}" if self.places else ""

    def _value(self, trial: Trial) -> str:
        return f"{self.name} {number(trial.fitness)}"

    def _called(self, baseline: Trial) -> str:
        return "the parent" if baseline.name == self.study.parent else "the best baseline"

    # Without a network that was found

    def _without(self, baseline: Trial | None) -> list[str]:
        """Say what there is where no candidate can be named."""
        nothing = [self._nothing_kept()] if self.found else []
        complete = [t for t in self.baselines if t.state == "complete"]
        if not complete or baseline is None:
            return nothing or [self._nothing()]
        if not nothing:
            own = [t for t in self.failed if not t.name]
            early = [t for t in self.pruned if not t.name]
            ended = {"failed": own, "ended early": early}
            why = " and ".join(f"{len(t)} {what}" for what, t in ended.items() if t)
            nothing = [f"No candidate of the search was evaluated{why and f': {why}'}."]
        return (
            [*nothing, self._baselines(complete)]
            if self.found
            else [f"{nothing[0]} {self._baselines(complete)}"]
        )

    def _baselines(self, complete: Sequence[Trial]) -> str:
        """Say which of the complete baselines is best."""
        best = highest(complete)
        assert best is not None
        equal = [t.name for t in complete if t.fitness == best.fitness]
        if all(t.fitness == 0 for t in complete):
            return self._all_zero()
        if len(complete) == 1:
            return f"{best.name}, the only baseline, has {self._value(best)}."
        if len(equal) > 1:
            return f"Of the baselines {_listed(equal)} are level: {self._value(best)}."
        return f"Of the baselines {best.name} is best with {self._value(best)}."

    def _nothing_kept(self) -> str:
        bounds = self.study.goal.limits.items()
        limits = ", ".join(f"{name} {bound:g}" for name, bound in bounds)
        evaluated = _count(len(self.found), "candidate")
        if not limits:  # those of what was measured after the search
            limits = ", ".join(f"{n} {b:g}" for n, b in self.study.goal.confirmed.items())
        if len(self.found) == 1:
            return f"The one candidate breaks the limits ({limits}): widen them, or search on."
        return f"None of {evaluated} keeps the limits ({limits}): widen them, or search on."

    def _nothing(self) -> str:
        if not self.failed:
            return "No trial has ended yet: there is nothing to compare."
        kind, trials = next(iter(self.failures.items()))
        reason = f"'{kind}' ({' '.join(trials[0].error.split())[:200]})"
        if len(self.failed) == 1:
            return f"No candidate could be evaluated: the one trial failed by {reason}."
        return (
            f"No candidate could be evaluated: all {len(self.failed)} trials failed, "
            f"{len(trials)} of them by {reason}."
        )

    def _all_zero(self) -> str:
        shown = self.compared
        exact = self.measure.exact and not self.confirms
        why = "" if exact else ": these trainings are too short to tell networks apart"
        if len(shown) == 1:
            return f"{label(shown[0])}, the only network, has 0 {self.name}{why}."
        return f"All {len(shown)} networks have 0 {self.name}{why}."

    # The best beside what it is compared with

    def _alone(self, found: Trial) -> list[str]:
        known = [t for t in self.candidates if not t.name]
        kept = "" if len(known) == len(self.found) else " that keep the limits"
        said = f"{self._value(found)}{size(found)}."
        if len(known) == 1:
            sentence = f"{label(found)} is the only candidate evaluated{kept}: {said}"
            sentence = sentence.replace("that keep", "that keeps")
        elif self._tied(found) and not self.places:
            sentence = f"{label(found)} is the first of {self._tied(found) + 1} equals: {said}"
        else:
            place = "ranked first" if self.places else "the best"
            sentence = (
                f"{label(found)} is {place} of {len(known)} candidates evaluated{kept}: {said}"
            )
        if found.architecture is not None:
            sentence += " No baseline was measured beside it."
        return [sentence]

    def _tied(self, found: Trial) -> int:
        """Return how many others are as good as the best."""
        return sum(t.fitness == found.fitness for t in self.compared) - 1

    def _compare(self, found: Trial, baseline: Trial) -> str:
        difference = found.fitness - baseline.fitness
        ratios, called = _ratios(found, baseline), self._called(baseline)
        costs = f", with {ratios}" if ratios else ""
        top = max(t.fitness for t in self.compared)
        ranked = self.places and found is self.best_found
        if difference > 0:
            best = found.fitness == top and self._over_pencil > 0
            verb = "is best:" if best else "has"
            if ranked:
                verb = "is ranked first of what was found:"
            elif best and self._tied(found):
                verb = f"is the first of {self._tied(found) + 1} equals:"
            return (
                f"{label(found)} {verb} {self._value(found)}, {number(difference)} above "
                f"{baseline.name} ({number(baseline.fitness)}), {called}{costs}."
            )
        if difference == 0:
            return f"{label(found)} equals {baseline.name}, {called}: {self._value(found)}{costs}."
        first = "network ranked first of those found" if ranked else "best network found"
        if baseline.fitness < top:
            return (
                f"{label(found)}, the {first}, has {self._value(found)}, {number(-difference)} "
                f"below {baseline.name} ({number(baseline.fitness)}), {called}{costs}."
            )
        outside = "" if baseline.point is not None else ", which is not in the search space,"
        kind = "The parent" if called == "the parent" else "A baseline"
        return (
            f"{kind} is best: {baseline.name}{outside} has {self._value(baseline)}"
            f"{size(baseline)}. The {first}, {label(found)}, is {number(-difference)} below it "
            f"({number(found.fitness)}){costs}."
        )

    def _higher(self, found: Trial, baseline: Trial | None) -> list[str]:
        """Name what measured more than the best and its reference, and say why it is not it."""
        known = {found.number, *([baseline.number] if baseline else [])}
        known |= {self.best_pencil.number} if self.best_pencil else set()
        above = [t for t in self.compared if t.number not in known and t.fitness > found.fitness]
        if not above:
            return []
        first = max(above, key=lambda t: (t.fitness, -t.number))
        inside = {t.number for t in self.candidates}
        if first.name:
            why = "a baseline" if first.point is not None else "a baseline outside of the space"
            return [f"{first.name}, {why}, has more: {self._value(first)}."]
        if first.number not in inside:
            return [f"{label(first)} has more, {self._value(first)}, but breaks a limit."]
        if first.number in self.places:
            place = self.places[first.number]
            return [
                f"Of those found {label(first)} has the highest {self.name}, "
                f"{number(first.fitness)}; it is number {place.rank} of {place.of} by rank."
            ]
        return []

    def _by_objective(self, found: Trial, baseline: Trial | None) -> str:
        """Say what is best where something else than fitness comes first."""
        name = self.study.goal.objectives[0]
        most = "highest" if sign(name) > 0 else "lowest"
        count = len([t for t in self.candidates if not t.name])
        said = f"{label(found)} has the {most} {name} of {_count(count, 'candidate')}"
        value = found.metrics.get(name)
        said += f": {value:.4g}" if value is not None else ""
        said += f", with {self._value(found)}"
        other = baseline.metrics.get(name) if baseline else None
        if baseline is None or other is None:
            return f"{said}."
        return f"{said}. {baseline.name} has {other:.4g}, with {self._value(baseline)}."

    # The best pencil

    @cached_property
    def _pencil_pair(self) -> tuple[Trial, Trial] | None:
        """The best proposal and the best pencil by the measure that both have."""
        found, pencil = self.best_found, self.best_pencil
        if found is None or pencil is None or self.study.goal.objectives[0] != "fitness":
            return None
        both = TRAINED in found.metrics and TRAINED in pencil.metrics
        return (found.trained, pencil.trained) if both else (found, pencil)

    @property
    def _over_pencil(self) -> float:
        """How much the best proposal is above the best pencil; infinite without both."""
        pair = self._pencil_pair
        return pair[0].fitness - pair[1].fitness if pair else math.inf

    # What the numbers are worth

    def _cheaper(self, found: Trial, baseline: Trial) -> list[str]:
        """Name the cheapest proposal that is no worse than the best baseline."""
        if self.trained or found.fitness < baseline.fitness or not self.has_flops:
            return []
        if "flops" not in baseline.cost:
            return []
        good = [t for t in self.front if t.fitness >= baseline.fitness and not t.name]
        good = sorted((t for t in good if "flops" in t.cost), key=lambda t: t.cost["flops"])
        if not good or good[0].number == found.number:
            return []
        if good[0].cost["flops"] >= baseline.cost["flops"]:
            return []
        return [
            f"The cheapest network that is no worse than {baseline.name} is {label(good[0])}: "
            f"{self._value(good[0])} with {_ratios(good[0], baseline)}."
        ]

    def _after(self, found: Trial, baseline: Trial | None) -> list[str]:
        return [*self._ranking(found, baseline), *self._several(), *self._caveat()]

    def _ranking(self, found: Trial, baseline: Trial | None) -> list[str]:
        """Say what the rank is, and where it puts what is compared."""
        if found.number not in self.places:
            return []
        mine = self.places[found.number]
        text = f"{label(found)} is number {mine.rank} of {mine.of}"
        if baseline and baseline.number in self.places:
            text += f", {baseline.name} number {self.places[baseline.number].rank}"
        return [f"The search ranks networks by {self.measure.rank}: {text}."]

    def _several(self) -> list[str]:
        """Say what best means where there are several objectives."""
        first, *others = self.study.goal.objectives
        if not others:
            return []
        name = self.name if first == "fitness" else first
        return [
            f"Best means the first objective, {name}, alone; of {', '.join(others)} too, the "
            f"front has {_count(len(self.front), 'network')}."
        ]

    def _caveat(self) -> list[str]:
        if len(self.complete) < 2:
            return []
        if self.trained:
            return [self._confirmed()]
        if self.measure.exact:
            return []
        if self.repeated:
            return self._repeats()
        return [
            f"Every candidate was evaluated once and the best of {len(self.complete)} was picked, "
            f"so its {self.measure.name} is a little flattered and a small difference may be "
            "chance."
        ]

    def _repeats(self) -> list[str]:
        """Say who was trained twice, and what the second time said of the first."""
        twice = [t for t in self.complete if "fitness_again" in t.metrics]
        picked = [t for t in twice if not t.name] or twice
        if not picked:
            return ["No second training of the best succeeded: each counts with one."]
        before, after = (
            mean(t.metrics[f"fitness_{part}"] for t in picked) for part in ("first", "again")
        )
        some = f"The best {len(picked)} were" if len(picked) > 1 else f"{label(picked[0])} was"
        counts = "count" if len(picked) > 1 else "counts"
        text = (
            f"{some} trained again with another seed and {counts} with the mean of both. The first "
            f"training gave {number(before)}{' on average' if len(picked) > 1 else ''}, the second "
            f"{number(after)}"
        )
        if before > after:
            text += f": being picked had flattered by {signed(before - after)}"
        others = [t.name for t in twice if t.name and t not in picked]
        once = [t.name for t in self.baselines if t.state == "complete" and t not in twice]
        best = self.best_found
        once += [label(best)] if best and best not in twice else []
        beside = [f"Trained twice as well: {_listed(others)}."] if others else []
        beside += [f"Trained once: {_listed(once)}."] if once else []
        return [" ".join([f"{text}.", *beside])]

    def _confirmed(self) -> str:
        """Say what became of the best of the search when they were trained alone."""
        own = self.trained
        before, after = mean(t.fitness for t in own), mean(t.trained.fitness for t in own)
        name, search = self.measure.confirmed, self.measure.name
        search = number(before) if name == search else f"{search} {number(before)}"
        if len(own) == 1:
            return (
                f"{label(own[0])} had a training of its own before it was named: {name} "
                f"{number(after)}, after {search} in the search."
            )
        leader = max(own, key=lambda t: (t.fitness, -t.number))
        place = 1 + sum(t.trained.fitness > leader.trained.fitness for t in own)
        of = "the best of them" if place == 1 else f"number {place} of them"
        return (
            f"{len(own)} networks had a training of their own before the winner was "
            f"named: {name} {number(after)} on average, {search} in the search. The first of the "
            f"search, {label(leader)}, is {of} once trained."
        )


def first_random_median(study: Study) -> float | None:
    """Return the median fitness of the first 10 complete proposals, or of as many as there are.

    Strategies start with random candidates, so this is what chance finds. None without proposals.
    """
    first = Findings(study).first
    return median(t.fitness for t in first) if first else None


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


def _listed(names: Sequence[str]) -> str:
    """Return names as a list in a sentence."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last
