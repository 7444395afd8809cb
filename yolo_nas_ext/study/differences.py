"""How far apart the means of models are that were trained with several seeds, and how sure that is.

A seed does little that is the same to two networks: over equal seeds the fitness of two models is
hardly correlated, and pairing by seed would cost more in degrees of freedom than it gives.
Trainings are therefore independent samples with one variance, which all of them tell. Where several
models stand against one, their intervals hold all at a time (Dunnett 1955): the best of them is
named afterwards.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

LEVEL = 0.95
UNLIKE = 0.05  # p-value of Levene's test below which variances are not taken for one
SMALLEST = 3  # trainings of a model from which on its variance is compared with others'


class Difference(NamedTuple):
    """How much a model is above another.

    Attributes:
        mean: Difference of the mean fitness; nan where one has none.
        low: Lower end of the interval; infinite where one was trained once.
        high: Upper end.
        n: Trainings of the model that has fewer.
        p: Of the test that there is no difference; nan where there is no interval.
        of: Models that the interval and the test allow for, of which this is one.
        alike: Whether one variance is taken for all.
    """

    mean: float
    low: float = -math.inf
    high: float = math.inf
    n: int = 0
    p: float = math.nan
    of: int = 1
    alike: bool = True


def differences(
    rivals: Mapping[str, Sequence[float]], control: Sequence[float], level: float = LEVEL
) -> dict[str, Difference]:
    """Return how much each of some models is above one.

    Args:
        rivals: Fitness of each training of the models, by name.
        control: Of the one.
        level: Probability that all intervals hold at a time.

    Returns:
        By name. One rival is compared by Student's t with a pooled variance, several by Dunnett's
        test; where variances are unlike (Levene's test by the median) by Welch's t, with Šidák's
        correction for several.
    """
    found = {name: _plain(values, control) for name, values in rivals.items()}
    known = {name: rivals[name] for name, one in found.items() if one.n > 1}
    if not known:
        return found
    groups = [np.asarray(values, float) for values in (*known.values(), control)]
    with warnings.catch_warnings():  # trainings of one model may be equal to the last digit
        warnings.simplefilter("ignore", RuntimeWarning)
        alike, tests = _tested(groups, [found[name].mean for name in known], level)
    for name, (low, high, p) in zip(known, tests, strict=True):
        found[name] = found[name]._replace(low=low, high=high, p=p, of=len(known), alike=alike)
    return found


def _tested(
    groups: Sequence[np.ndarray], means: Sequence[float], level: float
) -> tuple[bool, list[tuple[float, float, float]]]:
    """Return whether variances are alike, and (low, high, p) of all groups against the last."""
    *rivals, control = groups
    if max(float(np.ptp(group)) for group in groups) < 1e-12:  # no spread: no doubt
        return True, [(mean, mean, float(mean == 0)) for mean in means]
    alike = _alike(groups)
    if alike and rivals[1:]:
        return True, _of_several(rivals, control, level)
    return alike, [_of_two(rival, control, alike, len(rivals), level) for rival in rivals]


def _plain(values: Sequence[float], control: Sequence[float]) -> Difference:
    n = min(len(values), len(control))
    return Difference(float(np.mean(values) - np.mean(control)) if n else math.nan, n=n)


def _alike(groups: Sequence[np.ndarray]) -> bool:
    """Say whether variances may be the same; too few trainings do not tell."""
    enough = [group for group in groups if len(group) >= SMALLEST]
    if len(enough) < 2 or max(float(np.ptp(group)) for group in enough) < 1e-12:
        return True
    tests: Any = stats  # whose results are typed as tuples of objects
    p = float(tests.levene(*enough, center="median").pvalue)
    return not p < UNLIKE


def _of_two(
    values: np.ndarray, control: np.ndarray, alike: bool, count: int, level: float
) -> tuple[float, float, float]:
    """Return the interval and the p-value of one of `count` models against another."""
    tests: Any = stats
    found = tests.ttest_ind(values, control, equal_var=alike)
    around = found.confidence_interval(level ** (1 / count))
    return float(around.low), float(around.high), float(1 - (1 - found.pvalue) ** count)


def _of_several(
    groups: Sequence[np.ndarray], control: np.ndarray, level: float
) -> list[tuple[float, float, float]]:
    """Return the simultaneous intervals and p-values of models against one."""
    tests: Any = stats
    found = tests.dunnett(*groups, control=control, random_state=np.random.default_rng(0))
    around = found.confidence_interval(level)
    rows = zip(around.low, around.high, found.pvalue, strict=True)
    return [(float(low), float(high), float(p)) for low, high, p in rows]
