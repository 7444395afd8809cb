"""The key ``screen``: a weighted rank of cheap scores over many candidates."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from yolo_nas_ext.config.search import UNTRAINED
from yolo_nas_ext.errors import NASError, TrialError, did_you_mean
from yolo_nas_ext.estimators.factory import ESTIMATORS
from yolo_nas_ext.network.architecture import Architecture

Score = Callable[[Sequence[Architecture]], list[float]]


class Screen(NamedTuple):
    """What ``screen`` says: weights by score, and the number of candidates drawn a proposal."""

    weights: dict[str, float]
    draws: int


def parse(text: str) -> Screen:
    """Return what ``madnas:2000`` or ``madnas*2+deepmad:2000`` says.

    Raises:
        NASError: For an unknown score, or text of another form.
    """
    scores, _, draws = text.rpartition(":")
    if not scores or not draws.isdigit() or int(draws) < 1:
        raise NASError(
            f"screen={text}: give scores and a number of candidates, for example "
            "resolved+madnas:32 or madnas*2+deepmad:2000"
        )
    weights: dict[str, float] = {}
    for score in scores.split("+"):
        match = re.fullmatch(r"\s*(\w+)\s*(?:\*\s*(\d+(?:\.\d+)?))?\s*", score)
        name = match[1] if match else score
        if match is None or name not in UNTRAINED:
            raise NASError(
                f"screen={text}: no such score '{name}'.{did_you_mean(name, UNTRAINED)} Allowed: "
                f"{', '.join(UNTRAINED)}"
            )
        weights[name] = float(match[2] or 1)
    return Screen(weights, int(draws))


def ranker(screen: Screen, config: Any, data: Any) -> Score:
    """Return what ranks architectures: higher is better.

    Args:
        screen: Scores and weights.
        config: Settings of the search, from which the scores' estimators are made.
        data: The data set.
    """
    estimators = {
        name: ESTIMATORS[name](replace(config, estimator=name), data) for name in screen.weights
    }

    def value(name: str, architecture: Architecture) -> float:
        try:
            return float(estimators[name].estimate(architecture)["fitness"])
        except TrialError:
            return -float("inf")

    def rank(architectures: Sequence[Architecture]) -> list[float]:
        columns = {n: [value(n, a) for a in architectures] for n in screen.weights}
        return weighted_ranks(columns, screen.weights)

    return rank


def weighted_ranks(columns: dict[str, list[float]], weights: dict[str, float]) -> list[float]:
    """Return for each candidate the weighted sum of its ranks by several scores; ties share one."""
    total = [0.0] * len(next(iter(columns.values())))
    for name, values in columns.items():
        place = {value: rank for rank, value in enumerate(sorted(set(values)), 1)}
        for index, value in enumerate(values):
            total[index] += weights[name] * place[value] / len(place)
    return total
