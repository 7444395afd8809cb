"""Which choices mattered: the share of each in what made candidates differ."""

from __future__ import annotations

import random
import warnings
from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import mean
from typing import NamedTuple

import optuna
from optuna.distributions import BaseDistribution
from optuna.importance import FanovaImportanceEvaluator

from yolo_nas_ext.report.summary import Findings
from yolo_nas_ext.study.trial import Trial

LEAST = 10  # candidates below which nothing is said
MOST = 300  # candidates that are looked at, drawn where there are more: the time grows with them
TREES = 32
SHOWN = 10
ABSENT = "not in the network"


class Importance(NamedTuple):
    """What a choice had to do with fitness.

    Attributes:
        name: Of the choice, or of several that the candidates cannot tell apart.
        share: Of the variance of fitness that the forest explains; all shares sum to 1.
        best: The option with the highest mean fitness, of several choices one for each.
        fitness: That mean.
        n: Number of candidates with that option.
    """

    name: str
    share: float
    best: str
    fitness: float
    n: int


def importances(findings: Findings) -> list[Importance]:
    """Return the choices by importance, by fANOVA over the complete candidates of the space.

    Functional analysis of variance of a random forest (Hutter, Hoos and Leyton-Brown, 2014), as
    Optuna computes it. A choice counts where it changes the network. So one whose level a network
    does not have is an option of its own there, and it is left out where nothing else varies.
    Choices that split the candidates alike stand as one. Empty for fewer than `LEAST` candidates,
    and where all are equally good.
    """
    found = [t for t in findings.complete if t.point is not None]
    if len(found) < LEAST or len({t.fitness for t in found}) < 2:
        return []
    if len(found) > MOST:
        found = random.Random(0).sample(found, MOST)
    groups = _groups(_columns(findings, found))
    if not groups:
        return []
    fitness = [trial.fitness for trial in found]
    shares = _shares([next(iter(group.values())) for group in groups], fitness)
    ranked = [_importance(g, share, fitness) for g, share in zip(groups, shares, strict=True)]
    return sorted(ranked, key=lambda found: -found.share)


def _columns(findings: Findings, trials: Sequence[Trial]) -> dict[str, list[str]]:
    """Return the option of every trial by the choice, `ABSENT` where it changes nothing."""
    space = findings.study.space
    active = [set(space.active(trial.point or {})) for trial in trials]
    columns = {
        name: [
            str((trial.point or {})[name]) if name in there else ABSENT
            for trial, there in zip(trials, active, strict=True)
        ]
        for name in space.choices
    }
    return {name: c for name, c in columns.items() if len(set(c) - {ABSENT}) > 1}


def _groups(columns: Mapping[str, list[str]]) -> list[dict[str, list[str]]]:
    """Return the choices, those together whose options come and go with one another."""
    groups: dict[tuple[int, ...], dict[str, list[str]]] = defaultdict(dict)
    for name, options in columns.items():
        first = {option: i for i, option in reversed(list(enumerate(options)))}
        groups[tuple(first[option] for option in options)][name] = options
    return list(groups.values())


def _importance(
    group: Mapping[str, Sequence[str]], share: float, fitness: Sequence[float]
) -> Importance:
    """Return what a group has to do with fitness."""
    by: dict[tuple[str, ...], list[float]] = defaultdict(list)
    for options, value in zip(zip(*group.values(), strict=True), fitness, strict=True):
        if ABSENT not in options:
            by[options].append(value)
    best = max(by, key=lambda options: mean(by[options]))
    return Importance(", ".join(group), share, ", ".join(best), mean(by[best]), len(by[best]))


def _shares(columns: Sequence[Sequence[str]], fitness: Sequence[float]) -> list[float]:
    """Return the share of each column in what the forest explains of fitness."""
    names = [f"c{index}" for index in range(len(columns))]
    kinds: dict[str, BaseDistribution] = {
        name: optuna.distributions.CategoricalDistribution(tuple(dict.fromkeys(column)))
        for name, column in zip(names, columns, strict=True)
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before = optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        try:
            study = optuna.create_study(direction="maximize")
            for options, value in zip(zip(*columns, strict=True), fitness, strict=True):
                values = dict(zip(names, options, strict=True))
                study.add_trial(
                    optuna.trial.create_trial(params=values, distributions=kinds, value=value)
                )
            evaluator = FanovaImportanceEvaluator(n_trees=TREES, seed=0)
            shares = optuna.importance.get_param_importances(study, evaluator=evaluator)
        finally:
            optuna.logging.set_verbosity(before)
    return [float(shares[name]) for name in names]


class Section(NamedTuple):
    """What the page says of choices.

    Attributes:
        rows: The most important ones.
        name: Of what is measured.
        more: Number of the others.
        note: What is compared, and what it is worth.
    """

    rows: list[Importance]
    name: str
    more: int
    note: str


def importance_section(findings: Findings) -> Section | None:
    """Return the most important choices for a table with bars; None for too few candidates."""
    ranked = importances(findings)
    if not ranked:
        return None
    count = len([t for t in findings.complete if t.point is not None])
    note = (
        f"Shares of the differences in {findings.measure.name} among {count} candidates (fANOVA of "
        "a random forest), with the option whose candidates were best on average. It is said of "
        "what was tried: with few candidates a small share may be chance. Choices in one row are "
        "those that the candidates cannot tell apart; one without effect in a network is not "
        "counted there."
    )
    return Section(ranked[:SHOWN], findings.measure.name, max(0, len(ranked) - SHOWN), note)
