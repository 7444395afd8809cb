"""Compound scaling: one network deeper, wider and for larger images (Tan & Le 2019).

EfficientNet's second half (arXiv:1905.11946): coefficients of depth, width and resolution are found
once, for a small step, and larger networks take powers of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product, starmap

from yolo_nas_ext.network.architecture import Architecture, Block, Neck
from yolo_nas_ext.network.block_rows import round8
from yolo_nas_ext.network.blocks import BLOCKS

STEP = 32  # pixels between image sizes
# Depth, width and resolution of the grid, as in the paper's search: from 1 in small steps.
GRID = tuple(round(1 + 0.05 * i, 2) for i in range(13))
NUDGES = tuple(1 + 0.02 * i for i in range(-3, 8))  # of widths, to fill a budget
LEAST = 0.9  # of the budget that a candidate of the grid has to use
Flops = Callable[[Architecture], int]


@dataclass(frozen=True, slots=True)
class Coefficients:
    """How much deeper, wider and larger; powers of them for larger steps.

    Attributes:
        depth: Of repeats.
        width: Of channels.
        resolution: Of the sides of an image.
    """

    depth: float
    width: float
    resolution: float

    def power(self, phi: float) -> Coefficients:
        """Return the coefficients of `phi` steps."""
        return Coefficients(self.depth**phi, self.width**phi, self.resolution**phi)


def scaled(architecture: Architecture, by: Coefficients) -> Architecture:
    """Return a network with scaled repeats, channels and image size.

    Repeats are rounded to the nearest number, channels to multiples of 8, sizes to multiples of 32.

    Args:
        architecture: The network; it has an image size.
        by: How much.
    """
    neck = architecture.neck
    joined = Neck(
        neck.levels,
        tuple(_block(block, by) for block in neck.down),
        tuple((_block(a, by), _block(b, by)) for a, b in neck.up),
        neck.kind,
    )
    side = STEP * max(1, int(architecture.imgsz * by.resolution / STEP + 0.5))
    backbone = tuple(_block(block, by) for block in architecture.backbone)
    return replace(architecture, backbone=backbone, neck=joined, imgsz=side)


def _block(block: Block, by: Coefficients) -> Block:
    entry = BLOCKS[block.kind]
    depth = max(1, int(block.depth * by.depth + 0.5)) if entry.deep else block.depth
    if by.width == 1:  # which leaves hidden widths that are no multiples of 8 as they are
        return replace(block, depth=depth)
    hidden = entry.fit(round8(block.hidden * by.width)) if block.hidden else 0
    return replace(block, depth=depth, width=round8(block.width * by.width), hidden=hidden)


def fits(
    architecture: Architecture, budget: float, flops: Flops, grid: Sequence[float] = GRID
) -> dict[Architecture, Coefficients]:
    """Return the networks of the grid that use a budget, each with the first of its coefficients.

    Args:
        architecture: What is scaled.
        budget: FLOPs; a network uses at most these and at least `LEAST` of them.
        flops: Counts a network's FLOPs at its own image size.
        grid: Values of each coefficient.
    """
    found: dict[Architecture, Coefficients] = {}
    for by in starmap(Coefficients, product(grid, repeat=3)):
        network = scaled(architecture, by)
        if network not in found and LEAST * budget <= flops(network) <= budget:
            found[network] = by
    return found


def grown(
    architecture: Architecture, by: Coefficients, phi: float, budget: float, flops: Flops
) -> Architecture:
    """Return the largest network of about `phi` steps that is within a budget.

    Repeats come in whole numbers, so FLOPs jump with the depth: widths fill what is left.

    Args:
        architecture: What is scaled.
        by: The coefficients of one step.
        phi: Steps.
        budget: FLOPs.
        flops: See `fits`.
    """
    powers = [by.power(phi * (1.2 - 0.01 * i)) for i in range(61)]
    tuned = (replace(p, width=p.width * nudge) for p in powers for nudge in NUDGES)
    networks = dict.fromkeys(scaled(architecture, coefficients) for coefficients in tuned)
    within = [network for network in networks if flops(network) <= budget]
    return max(within, key=flops, default=architecture)


def steps(ratio: float, first: float) -> float:
    """Return how many steps of `first` times the FLOPs make `ratio` times."""
    return math.log(ratio) / math.log(first)
