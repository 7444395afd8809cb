"""Which layers and which networks a device is profiled on: a designed sample of some spaces."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Sequence

from yolo_nas_ext.cost.deployed import Op, deployed
from yolo_nas_ext.cost.features import family
from yolo_nas_ext.space.architecture import Architecture
from yolo_nas_ext.space.detector import DetectorSpace

CLASSES = (1, 3, 20, 80)  # numbers of classes that the networks are drawn with
NETWORKS = 400  # of each space, whose layers are counted
MODELS = 20  # whole networks that the layers' times are calibrated on
POWER = 0.75  # of a family's number of layers, to which its share of the sample is proportional


def networks(
    spaces: Sequence[DetectorSpace], n: int, seed: int = 0
) -> list[tuple[Architecture, int]]:
    """Return `n` networks of each space with numbers of classes, the spaces taking turns."""
    rngs = [random.Random(f"{seed} {i}") for i in range(len(spaces))]
    return [
        (space.architecture(space.sample(rng)), rng.choice(CLASSES))
        for _ in range(n)
        for space, rng in zip(spaces, rngs, strict=True)
    ]


def layers(spaces: Sequence[DetectorSpace], sizes: Sequence[int], seed: int = 0) -> list[Op]:
    """Return the layers that spaces produce, so ordered that any number from the front will do.

    Image sizes take turns, and families of layers; in each the most frequent ones and ones drawn
    from the others alternate.

    Args:
        spaces: Where networks are drawn.
        sizes: Image sizes in pixels.
        seed: Of the draws.
    """
    drawn = networks(spaces, NETWORKS, seed)
    columns = [_ordered(drawn, imgsz, seed) for imgsz in sizes]
    turns = itertools.zip_longest(*columns)
    return list(dict.fromkeys(op for turn in turns for op in turn if op is not None))


def _ordered(drawn: Sequence[tuple[Architecture, int]], imgsz: int, seed: int) -> list[Op]:
    """Return the layers of networks at one image size."""
    counts: Counter[Op] = Counter()
    for architecture, nc in drawn:
        counts.update(dict.fromkeys(deployed(architecture, nc, imgsz), 1))
    groups: dict[str, list[Op]] = {}
    for op in sorted(counts, key=lambda op: (-counts[op], op)):
        groups.setdefault(family(op), []).append(op)
    rng = random.Random(seed)
    placed: list[tuple[float, Op]] = []
    for members in groups.values():
        share = len(members) ** POWER
        for index, op in enumerate(_alternating(members, rng)):
            placed.append(((index + 0.5) / share, op))
    return [op for _, op in sorted(placed)]


def _alternating(members: list[Op], rng: random.Random) -> list[Op]:
    """Return members in order and at random, in turns."""
    drawn = rng.sample(members, len(members))
    both = (op for pair in zip(members, drawn, strict=True) for op in pair)
    return list(dict.fromkeys(both))
