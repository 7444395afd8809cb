"""How well the model that proposes orders points that it has not seen."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

import numpy as np

from yolo_nas_ext.space.choices import ChoiceSpace
from yolo_nas_ext.strategies.bayes import Bayes
from yolo_nas_ext.study.objectives import Goal
from yolo_nas_ext.study.trial import Trial

FOLDS = 5
FEWEST = 4 * FOLDS  # trials below which tau is mostly chance


def held_out_tau(space: ChoiceSpace, trials: Sequence[Trial], seed: int = 0) -> float | None:
    """Return Kendall's tau between measured fitness and what `bayes` foretells of it.

    Each of five parts of the trials is foretold by a model of the others.

    Args:
        space: The space that the trials are points of.
        trials: The trials; complete ones with a point count.
        seed: Of the parts.

    Returns:
        None for fewer than 20 trials, and where all fitness is the same.
    """
    known = [t for t in trials if t.point is not None and math.isfinite(t.fitness)]
    if len(known) < FEWEST:
        return None
    order = random.Random(seed).sample(range(len(known)), len(known))
    foretold = np.zeros(len(known))
    for part in range(FOLDS):
        out = order[part::FOLDS]
        seen = [known[i] for i in sorted(set(order) - set(out))]
        model = Bayes(space, goal=Goal())
        points = [point for i in out if (point := known[i].point) is not None]
        foretold[out] = model.foretold(seen, points)
    fitness = [trial.fitness for trial in known]
    from scipy.stats import kendalltau  # which takes half a second to load

    tau = float(kendalltau(foretold, fitness).statistic)  # pyright: ignore[reportAttributeAccessIssue]
    return tau if np.isfinite(tau) else None
