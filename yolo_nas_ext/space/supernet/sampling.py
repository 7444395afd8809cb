"""Which networks of a supernet are trained in a step: rules of sampling, reproducible by step."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any

from yolo_nas_ext.errors import NASError, did_you_mean
from yolo_nas_ext.space.networks import NetworkSpace
from yolo_nas_ext.space.point import Point
from yolo_nas_ext.space.supernet.slots import is_kind, path

# Networks of a step, from its epoch and its number within the epoch.
Paths = Callable[[int, int], list[Point]]
# Ultralytics builds its older head where no block of a network is of the newer kinds. Nothing else
# shares that head's class branches, and a few percent of uniform draws are too few to train it.
OLDER = 0.25
TRIES = 64  # draws before a wish that rules or limits forbid is dropped
# Shares of a training from which on repeats and widths differ, too; see `progressive`.
REPEATS, WIDTHS = 0.15, 0.3


def spos(space: NetworkSpace, rng: random.Random, done: float) -> list[Point]:
    """Return one network, uniformly drawn (SPOS, Guo et al. 2020) but for the head, see `OLDER`."""
    return [_drawn(space, rng)]


def fair(space: NetworkSpace, rng: random.Random, done: float) -> list[Point]:
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


def sandwich(space: NetworkSpace, rng: random.Random, done: float) -> list[Point]:
    """Return the largest and the smallest of some branches, and two between (Yu & Huang 2019).

    All four read the same levels, so that the largest can teach the others.
    """
    first = _drawn(space, rng)
    kinds = _kinds(first)
    levels = {"levels": first["levels"]}
    return [
        _extreme(space, kinds, max, rng),
        _extreme(space, kinds, min, rng),
        _with(space, levels, rng),
        _with(space, levels, rng),
    ]


def progressive(space: NetworkSpace, rng: random.Random, done: float) -> list[Point]:
    """Return the parent at an image size, the smallest network of that size, and two between.

    What differs comes step by step, as in progressive shrinking (Cai et al. 2020): image size and
    levels from the start, repeats from `REPEATS` of the training on, widths from `WIDTHS` on. Of
    image sizes at which the parent is above a limit, the first is as large as limits allow.

    Args:
        space: The space of a parent: the first option of every choice is the parent's.
        rng: Of the draws.
        done: Share of the training that is done, from 0 to 1.
    """
    own = {name: options[0] for name, options in space.choices.items()}
    sizes = space.choices.get("imgsz", ())
    size = {"imgsz": rng.choice(sizes)} if sizes else {}
    same = {name: own[name] for name in own if not _differs(name, done)} | size
    largest = space.canonical({**own, **size})
    if size and size["imgsz"] > own["imgsz"] and not space.feasible(largest):
        largest = _extreme(space, {**_kinds(_with(space, same, rng)), **size}, max, rng)
    return [
        largest,
        _extreme(space, {**_kinds(_with(space, same, rng)), **same}, min, rng),
        _with(space, same, rng),
        _with(space, same, rng),
    ]


def _differs(name: str, done: float) -> bool:
    """Say whether networks differ in a choice by now."""
    if is_kind(name) or name == "imgsz":
        return True
    return done >= (REPEATS if name.endswith(".depth") else WIDTHS)


def _kinds(point: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in point.items() if is_kind(name)}


RULES: dict[str, Callable[[NetworkSpace, random.Random, float], list[Point]]] = {
    "spos": spos,
    "fair": fair,
    "sandwich": sandwich,
    "progressive": progressive,
}


def paths(rule: str, space: NetworkSpace, seed: int, epochs: int = 1) -> Paths:
    """Return what a rule draws in every step.

    Args:
        rule: A key of `RULES`.
        space: Where it draws from.
        seed: Of the draws; a step's depend on it and on the step alone.
        epochs: Of the training.

    Raises:
        NASError: For an unknown rule.
    """
    if rule not in RULES:
        raise NASError(
            f"sampling={rule}: no such rule.{did_you_mean(rule, RULES)} Allowed: {', '.join(RULES)}"
        )
    draw = RULES[rule]
    return lambda epoch, step: draw(space, random.Random(f"{seed}/{epoch}/{step}"), epoch / epochs)


def _drawn(space: NetworkSpace, rng: random.Random) -> Point:
    """Draw a network, with the older head for at least `OLDER` of the draws if any has it."""
    point = space.sample(rng)
    if rng.random() < OLDER:
        for _ in range(TRIES):
            if path(space.architecture(point)).legacy:
                break
            point = space.sample(rng)
    return point


def _with(space: NetworkSpace, wanted: Mapping[str, Any], rng: random.Random) -> Point:
    """Draw a point with some options given, or any point where they cannot be had."""
    for _ in range(TRIES):
        point = space.canonical({**space.sample(rng), **wanted})
        if space.feasible(point):
            return point
    return space.sample(rng)


def _extreme(
    space: NetworkSpace, kinds: Mapping[str, Any], pick: Callable[..., Any], rng: random.Random
) -> Point:
    """Return the point with all sizes at one end, or as many of them as rules and limits allow.

    What is given stays: kinds, and sizes too.
    """
    sizes = [name for name in space.choices if not is_kind(name) and name not in kinds]
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
