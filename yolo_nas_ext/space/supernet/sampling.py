"""Which networks of a supernet are trained in a step: rules of sampling, reproducible by step."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any

from yolo_nas_ext.errors import NASError, did_you_mean
from yolo_nas_ext.space.detector import DetectorSpace
from yolo_nas_ext.space.point import Point
from yolo_nas_ext.space.supernet.slots import is_kind, path

# Networks of a step, from its epoch and its number within the epoch.
Paths = Callable[[int, int], list[Point]]
# Ultralytics builds its older head where no block of a network is of the newer kinds. Nothing else
# shares that head's class branches, and a few percent of uniform draws are too few to train it.
OLDER = 0.25
TRIES = 64  # draws before a wish that rules or limits forbid is dropped


def spos(space: DetectorSpace, rng: random.Random) -> list[Point]:
    """Return one network, uniformly drawn (SPOS, Guo et al. 2020) but for the head, see `OLDER`."""
    return [_drawn(space, rng)]


def fair(space: DetectorSpace, rng: random.Random) -> list[Point]:
    """Return networks that use every branch of every slot equally often (FairNAS, Chu et al. 2021).

    There are as many as the choice with most branches has options; one with fewer begins anew.
    Widths, depths and what else shares one weight are drawn.
    """
    kinds = {n: o for n, o in space.choices.items() if is_kind(n) and len(o) > 1}
    count = max((len(options) for options in kinds.values()), default=1)
    rows: dict[str, list[Any]] = {}
    for name, options in kinds.items():
        turns = [
            option
            for _ in range(0, count, len(options))
            for option in rng.sample(options, len(options))
        ]
        rows[name] = turns[:count]
    return [
        _with(space, {name: row[index] for name, row in rows.items()}, rng)
        for index in range(count)
    ]


def sandwich(space: DetectorSpace, rng: random.Random) -> list[Point]:
    """Return the largest and the smallest of some branches, and two between (Yu & Huang 2019).

    All four read the same levels, so that the largest can teach the others.
    """
    first = _drawn(space, rng)
    kinds = {name: value for name, value in first.items() if is_kind(name)}
    levels = {"levels": first["levels"]}
    return [
        _extreme(space, kinds, max, rng),
        _extreme(space, kinds, min, rng),
        _with(space, levels, rng),
        _with(space, levels, rng),
    ]


RULES: dict[str, Callable[[DetectorSpace, random.Random], list[Point]]] = {
    "spos": spos,
    "fair": fair,
    "sandwich": sandwich,
}


def paths(rule: str, space: DetectorSpace, seed: int) -> Paths:
    """Return what a rule draws in every step.

    Args:
        rule: A key of `RULES`.
        space: Where it draws from.
        seed: Of the draws; a step's depend on it and on the step alone.

    Raises:
        NASError: For an unknown rule.
    """
    if rule not in RULES:
        raise NASError(
            f"sampling={rule}: no such rule.{did_you_mean(rule, RULES)} Allowed: {', '.join(RULES)}"
        )
    draw = RULES[rule]
    return lambda epoch, step: draw(space, random.Random(f"{seed}/{epoch}/{step}"))


def _drawn(space: DetectorSpace, rng: random.Random) -> Point:
    """Draw a network, with the older head for at least `OLDER` of the draws if any has it."""
    point = space.sample(rng)
    if rng.random() < OLDER:
        for _ in range(TRIES):
            if path(space.architecture(point)).legacy:
                break
            point = space.sample(rng)
    return point


def _with(space: DetectorSpace, wanted: Mapping[str, Any], rng: random.Random) -> Point:
    """Draw a point with some options given, or any point where they cannot be had."""
    for _ in range(TRIES):
        point = space.canonical({**space.sample(rng), **wanted})
        if space.feasible(point):
            return point
    return space.sample(rng)


def _extreme(
    space: DetectorSpace, kinds: Mapping[str, Any], pick: Callable[..., Any], rng: random.Random
) -> Point:
    """Return the point with all sizes at one end, or as many of them as rules and limits allow."""
    sizes = [name for name in space.choices if not is_kind(name)]
    point = _with(space, kinds, rng)
    ends = {name: pick(space.choices[name]) for name in sizes}
    extreme = space.canonical({**point, **ends})
    if space.feasible(extreme):
        return extreme
    for name in rng.sample(sizes, len(sizes)):
        options = sorted(space.choices[name], reverse=pick is max)
        for option in options[: options.index(point[name])]:
            other = space.canonical({**point, name: option})
            if space.feasible(other):
                point = other
                break
    return point
