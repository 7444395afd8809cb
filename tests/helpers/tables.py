"""A table with a known optimum."""

import itertools
import random
from statistics import median

from yolo_nas_ext.api import search
from yolo_nas_ext.space.choices import ChoiceSpace

SPACE = ChoiceSpace({f"l{i}": ("id", "k3", "k5") for i in range(8)})
_rng = random.Random(0)
# Additive with noise: a known optimum, and better near the better.
TABLE = {
    values: sum((v == "k5") * (i + 1) for i, v in enumerate(values)) / 36 + 0.2 * _rng.random()
    for values in itertools.product(*SPACE.choices.values())
}


def median_ranks(strategy, *, trials, seeds):
    """Median over seeds of the rank in the table of the best that a search finds."""
    ranks = []
    for seed in range(seeds):
        study = search(
            SPACE,
            lambda p: {"fitness": TABLE[tuple(p.values())]},
            strategy=strategy,
            trials=trials,
            seed=seed,
        )
        best = study.best.metrics["fitness"]
        ranks.append(sum(value > best for value in TABLE.values()) + 1)
    return median(ranks)
