"""Which choices mattered: the share of each in what made candidates differ."""

from __future__ import annotations

import random
import warnings
from collections import defaultdict
from statistics import mean
from typing import NamedTuple

import optuna
from optuna.distributions import BaseDistribution
from optuna.importance import FanovaImportanceEvaluator

from yolo_nas_ext.report.summary import Findings

LEAST = 10  # candidates below which nothing is said
MOST = 300  # candidates that are looked at, drawn where there are more: the time grows with them
TREES = 32
SHOWN = 10


class Importance(NamedTuple):
    """What a choice had to do with fitness.

    Attributes:
        name: Of the choice.
        share: Of the variance of fitness that the forest explains; all shares sum to 1.
        best: The option with the highest mean fitness.
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
    Optuna computes it. Empty for fewer than `LEAST` candidates, and where all are equally good.
    """
    found = [t for t in findings.complete if t.point is not None]
    if len(found) < LEAST or len({t.fitness for t in found}) < 2:
        return []
    if len(found) > MOST:
        found = random.Random(0).sample(found, MOST)
    options: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for trial in found:
        for name, value in (trial.point or {}).items():
            options[name][str(value)].append(trial.fitness)
    varied = {name: by for name, by in options.items() if len(by) > 1}
    if not varied:
        return []
    names = {f"c{index}": name for index, name in enumerate(varied)}
    kinds: dict[str, BaseDistribution] = {
        key: optuna.distributions.CategoricalDistribution(tuple(varied[name]))
        for key, name in names.items()
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before = optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        try:
            study = optuna.create_study(direction="maximize")
            for trial in found:
                values = {key: str((trial.point or {})[name]) for key, name in names.items()}
                study.add_trial(
                    optuna.trial.create_trial(
                        params=values, distributions=kinds, value=trial.fitness
                    )
                )
            evaluator = FanovaImportanceEvaluator(n_trees=TREES, seed=0)
            shares = optuna.importance.get_param_importances(study, evaluator=evaluator)
        finally:
            optuna.logging.set_verbosity(before)
    ranked = []
    for key, share in shares.items():
        by = varied[names[key]]
        best = max(by, key=lambda option, by=by: mean(by[option]))
        ranked.append(Importance(names[key], float(share), best, mean(by[best]), len(by[best])))
    return sorted(ranked, key=lambda found: -found.share)


class Section(NamedTuple):
    """What the page says of choices.

    Attributes:
        rows: The most important ones.
        more: Number of the others.
        note: What is compared, and what it is worth.
    """

    rows: list[Importance]
    more: int
    note: str


def importance_section(findings: Findings) -> Section | None:
    """Return the most important choices for a table with bars; None for too few candidates."""
    ranked = importances(findings)
    if not ranked:
        return None
    count = len([t for t in findings.complete if t.point is not None])
    note = (
        f"Shares of the differences in fitness among {count} candidates (fANOVA of a random "
        "forest), with the option whose candidates were best on average. It is said of what was "
        "tried, in short trainings: with few candidates a small share may be chance."
    )
    return Section(ranked[:SHOWN], max(0, len(ranked) - SHOWN), note)
