"""WHERE to look next: pure strategies, history in, proposals out.

A strategy is one file, one entry in `STRATEGIES`, and its name in `config.names`. It may import
`plugins`, `space` and `study`, and never torch.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from yolo_nas_ext import plugins
from yolo_nas_ext.errors import NASError, did_you_mean
from yolo_nas_ext.space.choices import ChoiceSpace, Point
from yolo_nas_ext.strategies.additive import Additive
from yolo_nas_ext.strategies.auto import Auto
from yolo_nas_ext.strategies.bayes import Bayes, Features, Prior
from yolo_nas_ext.strategies.darts import Darts
from yolo_nas_ext.strategies.evolution import Evolution
from yolo_nas_ext.strategies.local import LocalSearch
from yolo_nas_ext.strategies.nsga2 import Nsga2
from yolo_nas_ext.strategies.optuna_samplers import PREFIX, OptunaStrategy
from yolo_nas_ext.strategies.own import Own
from yolo_nas_ext.strategies.random import RandomSearch
from yolo_nas_ext.strategies.reinforce import Reinforce
from yolo_nas_ext.study.objectives import Goal
from yolo_nas_ext.study.trial import Trial


class Strategy(Protocol):
    """Proposes points; the same history and generator give the same proposals."""

    def propose(self, history: Sequence[Trial], n: int, rng: random.Random) -> list[Point]:
        """Return `n` feasible points that are not in the history, fewer if there are no more."""
        ...


STRATEGIES: dict[str, Callable[..., Strategy]] = {
    "auto": Auto,
    "random": RandomSearch,
    "local": LocalSearch,
    "evolution": Evolution,
    "nsga2": Nsga2,
    "reinforce": Reinforce,
    "bayes": Bayes,
    "darts": Darts,
    "additive": Additive,
}


def make(
    name: str,
    space: ChoiceSpace,
    *,
    goal: Goal | None = None,
    trials: int | None = None,
    features: Features | None = None,
    prior: Prior | None = None,
    **options: Any,
) -> Strategy:
    """Return the strategy of that name for a space.

    Args:
        name: A key of `STRATEGIES`, ``optuna:`` and the name of a sampler, or ``file.py:Name`` of
            a class of the user's, which is made with ``(space, goal=goal)``.
        space: Where it looks.
        goal: Objectives and limits; the fitness alone unless given.
        trials: Number of trials that the search may take, for a strategy that asks.
        features: Free numbers about a point, for a strategy that learns from them.
        prior: Ranks points for free, for a strategy that starts from it.
        **options: Arguments of the strategy.

    Raises:
        NASError: For an unknown name, or a goal that the strategy cannot search for.
    """
    if name.startswith(PREFIX):
        return OptunaStrategy(space, name, goal=goal)
    if plugins.named(name):
        return Own(name, space, goal)
    if name not in STRATEGIES:
        raise NASError(
            f"strategy={name}: no such strategy.{did_you_mean(name, STRATEGIES)} Allowed: "
            f"{', '.join(STRATEGIES)}, {PREFIX}<sampler>, <file.py>:<class>"
        )
    if name in ("auto", "bayes"):
        options |= {"features": features, "prior": prior, "trials": trials}
    return STRATEGIES[name](space, goal=goal, **options)
