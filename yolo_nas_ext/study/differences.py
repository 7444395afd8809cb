"""How far apart the means of models are that were trained with several seeds, and how sure that is.

A seed does little that is the same to two networks: over equal seeds the fitness of two models is
hardly correlated, and pairing by seed would cost more in degrees of freedom than it gives.
Trainings are therefore independent samples with one variance, which all of them tell. Where several
models stand against one, their intervals hold all at a time (Dunnett 1955): the best of them is
named afterwards.

Images have a say beside seeds: measured on others, both models would have other figures. Where the
error of that is known, it is added to that of the seeds (crossed random effects), with the degrees
of freedom of Satterthwaite (1946).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

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
        images: Standard error of the images that both were measured on; 0 where it is not known.
    """

    mean: float
    low: float = -math.inf
    high: float = math.inf
    n: int = 0
    p: float = math.nan
    of: int = 1
    alike: bool = True
    images: float = 0.0


def differences(
    rivals: Mapping[str, Sequence[float]],
    control: Sequence[float],
    level: float = LEVEL,
    images: Mapping[str, tuple[float, int]] | None = None,
) -> dict[str, Difference]:
    """Return how much each of some models is above one.

    Args:
        rivals: Fitness of each training of the models, by name.
        control: Of the one.
        level: Probability that all intervals hold at a time.
        images: By name the standard error of the difference that is of the images, and of how many
            parts of them it was made, as far as it is known.

    Returns:
        By name. One rival is compared by Student's t with a pooled variance, several by Dunnett's
        test; where variances are unlike (Levene's test by the median) by Welch's t, with Šidák's
        correction for several. With an error of the images it is a t test of both errors, with
        Šidák's correction.
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
    for name in known.keys() & (images or {}).keys():
        error, parts = (images or {})[name]
        if error > 0:
            found[name] = _with_images(found[name], groups, known, name, error, parts, level)
    return found


def _with_images(
    one: Difference,
    groups: Sequence[np.ndarray],
    known: Mapping[str, Any],
    name: str,
    error: float,
    parts: int,
    level: float,
) -> Difference:
    """Return a difference whose interval and test know the error of the images, too."""
    rival, control = groups[[*known].index(name)], groups[-1]
    pooled = groups if one.alike else (rival, control)
    if one.alike:
        freedom = sum(len(group) - 1 for group in pooled)
        variance = sum(float(group.var(ddof=1)) * (len(group) - 1) for group in pooled) / freedom
        seeds = variance * (1 / len(rival) + 1 / len(control))
        terms = [(seeds, freedom)]
    else:
        terms = [(float(g.var(ddof=1)) / len(g), len(g) - 1) for g in pooled]
    terms.append((error**2, parts - 1))
    total = sum(value for value, _ in terms)
    freedom = total**2 / sum(value**2 / of for value, of in terms)
    tests = _tests()
    half = float(tests.t.ppf((1 + level ** (1 / one.of)) / 2, freedom)) * math.sqrt(total)
    p = 2 * float(tests.t.sf(abs(one.mean) / math.sqrt(total), freedom))
    return one._replace(
        low=one.mean - half, high=one.mean + half, p=1 - (1 - p) ** one.of, images=error
    )


def _tests() -> Any:
    """Return SciPy's tests, whose results are typed as tuples of objects.

    Loading them takes half a second, which a search that compares nothing does without.
    """
    from scipy import stats

    return stats


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
    tests = _tests()
    p = float(tests.levene(*enough, center="median").pvalue)
    return not p < UNLIKE


def _of_two(
    values: np.ndarray, control: np.ndarray, alike: bool, count: int, level: float
) -> tuple[float, float, float]:
    """Return the interval and the p-value of one of `count` models against another."""
    tests = _tests()
    found = tests.ttest_ind(values, control, equal_var=alike)
    around = found.confidence_interval(level ** (1 / count))
    return float(around.low), float(around.high), float(1 - (1 - found.pvalue) ** count)


def _of_several(
    groups: Sequence[np.ndarray], control: np.ndarray, level: float
) -> list[tuple[float, float, float]]:
    """Return the simultaneous intervals and p-values of models against one."""
    tests = _tests()
    found = tests.dunnett(*groups, control=control, random_state=np.random.default_rng(0))
    around = found.confidence_interval(level)
    rows = zip(around.low, around.high, found.pvalue, strict=True)
    return [(float(low), float(high), float(p)) for low, high, p in rows]
