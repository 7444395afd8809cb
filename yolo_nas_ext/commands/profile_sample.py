"""Which layers and which networks a device is profiled on: a designed sample of some spaces."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Iterator, Sequence

from yolo_nas_ext.cost.budget import Budget
from yolo_nas_ext.cost.latency.features import family
from yolo_nas_ext.cost.latency.fused_layers import Op, deployed
from yolo_nas_ext.errors import NASError
from yolo_nas_ext.network.architecture import Architecture
from yolo_nas_ext.space.detector import DetectorSpace

CLASSES = (1, 3, 20, 80)  # numbers of classes that the networks are drawn with
NETWORKS = 400  # of each space, whose layers are counted
MODELS = 24  # whole networks that the layers' times are calibrated on
SMALL = 3  # of which one of so many is small
BELOW = (0.6, 0.35)  # FLOPs that small ones have at most, of the least of `NETWORKS` drawn ones
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


def models(spaces: Sequence[DetectorSpace], seed: int = 0) -> list[tuple[Architecture, int]]:
    """Return `MODELS` networks with numbers of classes to calibrate on.

    Networks that are drawn are seldom near the small end of a space, where a tight limit puts a
    search. So every third one of a space is drawn below a limit on its FLOPs; where the space has
    none below it, near the smallest.
    """
    drawn = networks(spaces, -(-MODELS // len(spaces)), seed)[:MODELS]
    small = [_small(space, seed + i) for i, space in enumerate(spaces)]
    for index, (_, nc) in enumerate(drawn):
        turn, space = divmod(index, len(spaces))
        if turn % SMALL == SMALL - 1:
            drawn[index] = next(small[space]), nc
    return drawn


def _small(space: DetectorSpace, seed: int) -> Iterator[Architecture]:
    """Draw small networks of a space."""
    rng = random.Random(f"small {seed}")
    drawn = [space.architecture(space.sample(rng)) for _ in range(NETWORKS)]
    flops = Budget().costs
    smallest = min(drawn, key=lambda architecture: flops(architecture).flops)
    least = flops(smallest).flops
    below: dict[float, DetectorSpace] = {}
    impossible = 0.0  # the highest limit that nothing was found below; a search for one is long
    for share in itertools.cycle(BELOW):
        for limit in (share * least, 1.1 * least):  # where the space has none so small
            if limit <= impossible:
                continue
            if limit not in below:
                below[limit] = space.within(Budget({"max_flops": limit}))
            try:
                point = below[limit].sample(rng)
            except NASError:
                impossible = limit
                continue
            yield space.architecture(point)
            break
        else:
            yield smallest


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
