"""The random baseline: what a strategy found against what random search finds in as many trials.

``control=`` names the strategy that the search is compared with; it is usually ``random``.
"""

from __future__ import annotations

import numpy as np

from yolo_nas_ext.console import number
from yolo_nas_ext.study.study import Study

DRAWS = 10_000  # bootstrap samples


def difference(study: Study, baseline: Study, name: str) -> str:
    """Return one sentence on how much better the best of a search is than its random baseline's.

    The interval is that of the baseline's luck: its trials are drawn again with replacement, as
    often as the search had trials, and the best of each draw is compared with the search's best.

    Args:
        study: The search.
        baseline: The search that it is compared with, of the same number of trials.
        name: The baseline's strategy.
    """
    proposals = [t for t in study.candidates if not t.name]
    others = sorted(baseline.candidates, key=lambda t: (-t.fitness, t.number))
    if not proposals or not others:
        return f"there is no complete trial to compare with {name}"
    first = max(proposals, key=lambda t: (t.fitness, -t.number))
    mine = study.measure.restated(first).fitness
    theirs = np.array([study.measure.restated(t).fitness for t in others])
    ranks = np.array([t.fitness for t in others])
    low, high = interval(mine, theirs, len(proposals), ranks)
    sure = "; the interval holds 0, so this may be chance" if low <= 0 <= high else ""
    best = "the first by rank" if study.measure.projects else "the best"
    return (
        f"{best} of {len(proposals)} proposals is {mine - theirs[0]:+.4f} in {study.measure.name} "
        f"from {best} of {len(others)} of {name} search ({number(theirs[0])}), 95 % interval "
        f"{low:+.4f} to {high:+.4f}{sure}"
    )


def interval(
    best: float, others: np.ndarray, n: int, ranks: np.ndarray | None = None
) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of `best` minus the first of `n` of the others.

    Args:
        best: What was measured of the best.
        others: What was measured of the others.
        n: How many are drawn.
        ranks: By what the first of them is chosen, the highest; what was measured if None.
    """
    rng = np.random.default_rng(0)
    ranks = others if ranks is None else ranks
    drawn = rng.integers(len(others), size=(DRAWS, n))
    first = ranks[drawn].argmax(axis=1)
    gains = best - others[drawn[np.arange(DRAWS), first]]
    low, high = np.quantile(gains, [0.025, 0.975])
    return float(low), float(high)
