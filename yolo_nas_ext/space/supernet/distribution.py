"""A learned distribution over the points of a space: one of its own for every choice."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from typing import Any

from yolo_nas_ext.space.choices import ChoiceSpace
from yolo_nas_ext.space.detector import DetectorSpace
from yolo_nas_ext.space.point import Point
from yolo_nas_ext.space.supernet.slots import is_kind

# Probabilities of the options of each choice, in their order.
Probabilities = Mapping[str, Sequence[float]]
SIZES = ("neck.width", "neck.growth")  # which decide how wide it is what the head reads
TRIES = 256  # draws before rules and limits are met by a uniform one


def draw(space: ChoiceSpace, probabilities: Probabilities, rng: random.Random) -> Point:
    """Draw a feasible point: each choice by its probabilities, all again where it is infeasible."""
    return draw_values(space, probabilities, rng)[1]


def draw_values(
    space: ChoiceSpace, probabilities: Probabilities, rng: random.Random
) -> tuple[Mapping[str, Any], Point]:
    """Draw as `draw`; return also what was drawn of the choices that do not matter in the point.

    In the point these have their first option, whatever was drawn.
    """
    for _ in range(TRIES):
        values = {
            name: rng.choices(options, probabilities[name])[0]
            if name in probabilities
            else rng.choice(options)
            for name, options in space.choices.items()
        }
        point = space.canonical(values)
        if space.feasible(point):
            return values, point
    point = space.sample(rng)
    return point, point


def partner(space: DetectorSpace, point: Point, other: Point) -> Point:
    """Return `other` with what `point` must have in common with it to be mixed row by row.

    That is its levels, and its down-samplings where one is inside of a block.
    """
    values = dict(other)
    values["levels"] = point["levels"]
    for name in space.choices:
        if name.endswith(".down") and "inside" in (point[name], values[name]):
            values[name] = point[name]
            block = name.removesuffix("down") + "block"
            values[block] = point[block]
    mixed = space.canonical(values)
    return mixed if space.feasible(mixed) else point


def cover(space: DetectorSpace, probabilities: Probabilities, rng: random.Random) -> list[Point]:
    """Return points that can be mixed, in which every option of every choice occurs once or more.

    The first one is drawn, the others have its levels; see `partner`. Where rules or limits forbid
    options beside each other, a uniformly drawn point takes their place.
    """
    one = draw(space, probabilities, rng)
    count = max(len(options) for name, options in space.choices.items() if name != "levels")
    orders: dict[str, list[Any]] = {}
    for name, options in space.choices.items():
        rest = [option for option in options if option != one[name]]
        rng.shuffle(rest)
        orders[name] = [one[name], *rest]
    found = [one]
    for place in range(1, count):
        values = {name: order[place % len(order)] for name, order in orders.items()}
        point = space.canonical(values)
        found.append(partner(space, one, point if space.feasible(point) else space.sample(rng)))
    return found


def matters(space: DetectorSpace, point: Point) -> frozenset[str]:
    """Return the choices where another option makes another point."""
    return frozenset(
        name
        for name, options in space.choices.items()
        if any(space.canonical({**point, name: o}) != point for o in options if o != point[name])
    )


def choices_of(space: DetectorSpace, point: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the choices that make up each slot of a network, by the slot's name or its prefix.

    The head is in no choice. ``head.width`` are the choices of the levels that it reads; ``head``
    adds the ones that decide which head Ultralytics builds.
    """
    found: dict[str, list[str]] = {"l1.": _of(space, "stem"), "context": ["context"]}
    place = 0
    for stage in space.present(point):
        names = _of(space, stage.name)
        if stage.stride == 2:
            place = 0
            sizes = (f"{stage.name}.{key}" for key in ("down", "down_width", "width"))
            inside = point[f"{stage.name}.down"] == "inside"
            found[f"l{stage.level}.down"] = names if inside else [n for n in sizes if n in names]
            if inside:
                continue
        place += 1
        found[f"l{stage.level}.block{place}"] = names
    found["top_down"] = found["bottom_up"] = _of(space, "neck")
    last = [f"{space.present(point)[-1].name}.width"]  # which the head reads where there is no neck
    alone = "neck.width" in space.dead(point)
    found["head.width"] = [n for n in (last if alone else SIZES) if len(space.choices[n]) > 1]
    every = [name for names in found.values() for name in names]
    kinds = [name for name in every if name.rpartition(".")[2] in ("block", "top")]
    found["head"] = [*dict.fromkeys((*found["head.width"], *kinds))]
    return found


def names_for(slot: str, of: Mapping[str, Sequence[str]]) -> Sequence[str]:
    """Return the choices of a slot from what `choices_of` found."""
    if slot in of:
        return of[slot]
    if slot.endswith(".context"):
        return of["context"]
    return next((names for prefix, names in of.items() if slot.startswith(prefix)), ())


def _of(space: ChoiceSpace, part: str) -> list[str]:
    return [n for n, options in space.choices.items() if n.startswith(f"{part}.") and options[1:]]


def entropy(probabilities: Probabilities) -> dict[str, float]:
    """Return the entropy of each choice, relative to that of the uniform one: from 0 to 1."""
    return {
        name: -sum(p * math.log(p) for p in ps if p > 0) / math.log(len(ps))
        for name, ps in probabilities.items()
        if len(ps) > 1
    }


def leaning(space: ChoiceSpace, probabilities: Probabilities) -> float:
    """Return the mean probability of the smallest of all sizes, relative to the uniform one's.

    Sizes are widths, depths and what else has numbers as options; 1 is no leaning, more a drift
    towards small networks, as in searches that collapse.
    """
    ratios = [
        ps[space.choices[name].index(min(space.choices[name]))] * len(ps)
        for name, ps in probabilities.items()
        if not is_kind(name)
    ]
    return sum(ratios) / len(ratios) if ratios else 1.0
