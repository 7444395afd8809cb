"""The random baseline: what a strategy found against what random search finds in as many trials.

``control=`` names the strategy that the search is compared with; it is usually ``random``.
"""

from __future__ import annotations

from yolo_nas_ext.console import number
from yolo_nas_ext.study.study import Study


def difference(study: Study, baseline: Study, name: str) -> str:
    """Return one sentence on how much better the best of a search is than its random baseline's.

    It has no interval. Of two searches that draw from the same networks either finds the best with
    even odds, so that one search of each says nothing of chance.

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
    theirs = study.measure.restated(others[0]).fitness
    best = "the first by rank" if study.measure.projects else "the best"
    return (
        f"{best} of {len(proposals)} proposals is {mine - theirs:+.4f} in {study.measure.name} "
        f"from {best} of {len(others)} of {name} search ({number(theirs)}); of one search each "
        "this may be chance, which searches with other seeds tell"
    )
