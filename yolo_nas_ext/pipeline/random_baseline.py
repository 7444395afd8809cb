"""The random baseline: what a strategy found against what random search finds in as many trials.

``control=`` names the strategy that the search is compared with; it is usually ``random``.
"""

from __future__ import annotations

import numpy as np

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
    mine = [t.fitness for t in study.candidates if not t.name]
    others = np.array([t.fitness for t in baseline.candidates])
    if not mine or not len(others):
        return f"there is no complete trial to compare with {name}"
    low, high = interval(max(mine), others, len(mine))
    gain = max(mine) - others.max()
    sure = "" if low > 0 else "; the interval holds 0, so this may be chance"
    return (
        f"the best of {len(mine)} proposals is {gain:+.4f} from the best of {len(others)} of "
        f"{name} search ({others.max():.4f}), 95 % interval {low:+.4f} to {high:+.4f}{sure}"
    )


def interval(best: float, others: np.ndarray, n: int) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of `best` minus the best of `n` of the others."""
    rng = np.random.default_rng(0)
    gains = best - rng.choice(others, (DRAWS, n)).max(axis=1)
    low, high = np.quantile(gains, [0.025, 0.975])
    return float(low), float(high)
