"""Optuna's samplers as strategies: ``optuna:tpe``, ``optuna:gp``, ``optuna:nsgaii``, ..."""

from __future__ import annotations

import inspect
import random
import warnings
from collections.abc import Hashable, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.samplers import BaseGASampler, BaseSampler
from optuna.trial import TrialState, create_trial

from yolo_nas_ext.errors import NASError, did_you_mean
from yolo_nas_ext.space.choices import ChoiceSpace, Point
from yolo_nas_ext.strategies.gaussian_process import numeric
from yolo_nas_ext.strategies.history import Past
from yolo_nas_ext.study.objectives import Goal
from yolo_nas_ext.study.trial import Trial

PREFIX = "optuna:"
NOT_HERE = ("grid", "partialfixed", "base", "basega")  # these need more than a history
OPTIONS = {"multivariate": True, "constant_liar": True}
TRIES = 16  # suggestions that are infeasible or known before a random point takes their place
FAR = 1e9  # in place of infinitely far beyond a limit


def samplers() -> dict[str, type[BaseSampler]]:
    """Return Optuna's samplers by their names in lower case, without the word sampler."""
    found = {}
    for name in optuna.samplers.__all__:
        short = name.removesuffix("Sampler").lower()
        if name.endswith("Sampler") and short not in NOT_HERE:
            found[short] = getattr(optuna.samplers, name)
    return found


class OptunaStrategy:
    """A sampler that is shown the history, then asked.

    Choices of more than two numbers are integers by rank to it, all others categories. Proposals
    that the space does not allow are reported back as failed.

    Args:
        space: Where to look.
        name: Name in `samplers`, with or without the prefix.
        goal: Objectives and limits.

    Raises:
        NASError: For an unknown sampler, one that needs a package which is not installed, or one
            that cannot search this space or goal.
    """

    def __init__(self, space: ChoiceSpace, name: str, *, goal: Goal | None = None) -> None:
        self.space = space
        self.goal = goal or Goal()
        self._past = Past(space, self.goal)
        self.name = name.removeprefix(PREFIX)
        known = samplers()
        if self.name not in known:
            raise NASError(
                f"strategy={PREFIX}{self.name}: no such sampler."
                f"{did_you_mean(self.name, known)} Allowed: {', '.join(sorted(known))}"
            )
        self._kind = known[self.name]
        self._codes: dict[str, tuple[Any, ...]] = {}
        self._distributions: dict[str, BaseDistribution] = {}
        for choice, options in space.choices.items():
            if len(options) < 2:
                continue
            ordered = numeric(options)
            self._codes[choice] = tuple(sorted(options)) if ordered else options
            places = range(len(options))
            self._distributions[choice] = (
                IntDistribution(0, len(options) - 1) if ordered else CategoricalDistribution(places)
            )
        self._check()

    def _check(self) -> None:
        if self.name == "cmaes":
            if len(self.goal.objectives) > 1:
                raise NASError(
                    f"strategy={PREFIX}cmaes: one objective only; use nsga2, bayes or "
                    f"{PREFIX}nsgaii for {','.join(self.goal.objectives)}"
                )
            if not any(isinstance(d, IntDistribution) for d in self._distributions.values()):
                raise NASError(
                    f"strategy={PREFIX}cmaes: this space has no choice of numbers, which is all "
                    f"that it searches; use bayes or {PREFIX}tpe"
                )
        try:
            self._sampler(0)
        except ImportError as error:
            raise NASError(
                f"strategy={PREFIX}{self.name}: needs a package that is not installed "
                f"({error.name}): pip install {error.name}"
            ) from error

    def propose(self, history: Sequence[Trial], n: int, rng: random.Random) -> list[Point]:
        """Return `n` new points that the sampler suggests, random ones where it has none."""
        past = self._past.read(history)
        if not self._distributions:
            return past.fill(n, lambda: self.space.sample(rng), rng)
        verbosity = optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                warnings.simplefilter("ignore", FutureWarning)  # of how it takes constraints
                study = self._study(history, rng)
                seen = past.seen
                return past.fill(n, lambda: self._ask(study, seen, rng), rng)
        finally:
            optuna.logging.set_verbosity(verbosity)

    def _ask(self, study: optuna.Study, seen: set[Hashable], rng: random.Random) -> Point:
        """Return the sampler's first suggestion that is feasible and new, or a random point."""
        for _ in range(TRIES):
            trial = study.ask(self._distributions)
            values = {name: options[0] for name, options in self.space.choices.items()}
            values |= {name: self._codes[name][place] for name, place in trial.params.items()}
            point = self.space.canonical(values)
            if self.space.feasible(point) and (found := self.space.identity(point)) not in seen:
                seen.add(found)
                return point
            study.tell(trial, state=TrialState.FAIL)
        return self.space.sample(rng)

    def _sampler(self, seed: int) -> BaseSampler:
        parameters = inspect.signature(self._kind.__init__).parameters
        options: dict[str, Any] = {n: v for n, v in OPTIONS.items() if n in parameters}
        if "seed" in parameters:
            options["seed"] = seed
        if "constraints_func" in parameters and self.goal.limits:
            options["constraints_func"] = lambda trial: trial.user_attrs["gaps"]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            warnings.simplefilter("ignore", FutureWarning)
            return self._kind(**options)

    def _study(self, history: Sequence[Trial], rng: random.Random) -> optuna.Study:
        """Return a study in memory that holds the history."""
        sampler = self._sampler(rng.getrandbits(32))
        directions = [optuna.study.StudyDirection.MAXIMIZE] * len(self.goal.objectives)
        study = optuna.create_study(directions=directions, sampler=sampler)
        usable = {t.number for t in self._past.trials}
        shown = [t for t in history if t.number in usable or t.state in ("failed", "running")]
        for number, trial in enumerate(t for t in shown if t.point is not None):
            assert trial.point is not None
            frozen = create_trial(
                state=TrialState.RUNNING,
                params={n: o.index(trial.point[n]) for n, o in self._codes.items()},
                distributions=self._distributions,
                user_attrs={
                    "gaps": [min(max(g, -FAR), FAR) for g in self.goal.gaps(trial.metrics)]
                },
            )
            study.add_trial(frozen)
            if trial.state == "complete":
                if isinstance(sampler, BaseGASampler):
                    sampler.get_trial_generation(study, study.get_trials(deepcopy=False)[-1])
                study.tell(number, list(self.goal.values(trial.metrics)))
            elif trial.state == "failed":
                study.tell(number, state=TrialState.FAIL)
        return study
