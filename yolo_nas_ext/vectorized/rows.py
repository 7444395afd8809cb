"""The rows of the tables: a part's numbers as they depend on the channels that come in.

For fixed choices of a part, parameters and operations are affine in those channels, and so is the
fan-in of every convolution; a row holds the coefficients. That is exact, as they are read off the
layer table.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from yolo_nas_ext.cost.latency.fused_layers import Op
from yolo_nas_ext.estimators.zero_cost.entropy import fan_ins
from yolo_nas_ext.network.architecture import Block
from yolo_nas_ext.network.blocks import BLOCKS
from yolo_nas_ext.network.layers import lower_rows
from yolo_nas_ext.network.modules import LIGHT_HEAD
from yolo_nas_ext.vectorized.latency_tables import FIT_CHANNELS, Varied, layers_of

VARIABLE = 2  # fan-ins of a part that may depend on the input channels


class Row(NamedTuple):
    """The numbers of a part at some values of its choices.

    A pair (a, b) stands for a + b c_in / 8, as widths in Ultralytics are multiples of 8.

    Attributes:
        params: Parameters.
        ops: Multiply-adds.
        fixed: Sum of the logarithms of the fan-ins that do not depend on c_in.
        convs: Convolutions on the main path.
        fans: The fan-ins that depend on it, filled up with (1, 0).
        width: Output channels.
        depth: Repeats of the deep block, 0 without one.
        light: Whether it makes Ultralytics build its newer head.
        layers: The layers that do not depend on c_in, where their time is asked for.
        varied: The layers that do; see `latency_tables.layers_of`.
    """

    params: tuple[int, int]
    ops: tuple[int, int]
    fixed: float
    convs: int
    fans: tuple[tuple[int, int], ...]
    width: int
    depth: int
    light: bool
    layers: tuple[Op, ...] = ()
    varied: tuple[Varied, ...] = ()


Pair = tuple[int, int]
# Widths and hidden widths, in units of 8 channels, from which the polynomials of a block are found,
# and then those at which they are checked. They reach across the steps of attention heads, so that
# blocks that are no polynomials are noticed.
FIT = ((2, 1), (5, 3), (25, 17), (42, 33), (9, 40), (31, 4))
CHECK = ((13, 11), (50, 21), (8, 20))


def _monomials(c: int, b: int) -> tuple[int, ...]:
    return (1, c, b, c * c, c * b, b * b)


def _inverse(matrix: Sequence[Sequence[int]]) -> list[list[Fraction]]:
    """Return the inverse of a regular matrix, exactly."""
    n = len(matrix)
    rows = [
        [*map(Fraction, row), *(Fraction(i == j) for j in range(n))] for i, row in enumerate(matrix)
    ]
    for i in range(n):
        pivot = next(j for j in range(i, n) if rows[j][i])
        rows[i], rows[pivot] = rows[pivot], rows[i]
        rows[i] = [value / rows[i][i] for value in rows[i]]
        for j in range(n):
            if j != i and (factor := rows[j][i]):
                rows[j] = [x - factor * y for x, y in zip(rows[j], rows[i], strict=True)]
    return [row[n:] for row in rows]


INVERSE = _inverse([_monomials(*at) for at in FIT])


def _lowered(block: Block, side: int, c_in: int) -> list[int]:
    """Return parameters, multiply-adds and main path's fan-ins of a block behind c_in channels."""
    chain = [(-1, *row) for row in BLOCKS[block.kind].rows(block)]
    table = lower_rows(chain, len(chain), reg_max=1, end2end=False, imgsz=side, channels=c_in)
    return [table.params, table.flops // 2, *fan_ins(table.layers)]


@lru_cache(maxsize=10_000)
def _polynomials(block: Block, side: int) -> npt.NDArray[np.int64] | None:
    """Return what `_lowered` is at both `FIT_CHANNELS` as polynomials of width and hidden width.

    Args:
        block: Its width and hidden width, which do not matter, are 0.
        side: Height and width of what comes in, in pixels.

    Returns:
        A row of six coefficients a number, for `_monomials` in units of 8 channels; None where the
        block is no such polynomial.
    """

    def at(c: int, b: int) -> list[int]:
        sized = replace(block, width=8 * c, hidden=8 * b)
        return [n for c_in in FIT_CHANNELS for n in _lowered(sized, side, c_in)]

    try:
        known = [at(*sizes) for sizes in FIT]
        rows = [
            [sum(f * y for f, y in zip(line, column, strict=True)) for line in INVERSE]
            for column in zip(*known, strict=True)
        ]
        if any(value.denominator != 1 for row in rows for value in row):
            return None
        found = np.array([[int(value) for value in row] for row in rows], np.int64)
        checks = all(
            (found @ np.array(_monomials(*sizes), np.int64)).tolist() == at(*sizes)
            for sizes in CHECK
        )
    except (AssertionError, ValueError):  # not built at some size
        return None
    return found if checks else None


def _affine(block: Block, side: int) -> list[Pair]:
    """Return parameters, multiply-adds and fan-ins of a block, each as (a, b) for `Row`."""
    general = replace(block, width=0, hidden=0)
    (c, rest), (b, more) = divmod(block.width, 8), divmod(block.hidden, 8)
    # Where the hidden width is the width some blocks leave a convolution out.
    smooth = not rest and not more and b != c
    found = _polynomials(general, side) if smooth else None
    if found is not None:
        numbers = (found @ np.array(_monomials(c, b), np.int64)).tolist()
    else:
        numbers = [n for c_in in FIT_CHANNELS for n in _lowered(block, side, c_in)]
    half, (first, last) = len(numbers) // 2, (c_in // 8 for c_in in FIT_CHANNELS)
    pairs = []
    for low, high in zip(numbers[:half], numbers[half:], strict=True):
        slope, remainder = divmod(high - low, last - first)
        assert remainder == 0, block
        pairs.append((low - slope * first, slope))
    return pairs


def row_of(
    blocks: Sequence[Block], side: int, c_in: int | None = None, *, timed: bool = False
) -> Row:
    """Return the row of some blocks that follow one another.

    Args:
        blocks: At least one.
        side: Height and width of what comes in, in pixels.
        c_in: Channels at which alone the row holds; it holds for any if None.
        timed: Whether the row names the layers, so that they can be timed.
    """
    layers = layers_of(blocks, side, c_in) if timed else ((), ())
    params, ops, fans = (0, 0), (0, 0), []
    for index, block in enumerate(blocks):
        if c_in is None:
            p, o, *f = _affine(block, side)
        else:
            p, o, *f = ((n, 0) for n in _lowered(block, side, c_in))
        if index and c_in is None:  # what comes in is what the block before it puts out
            width = blocks[index - 1].width
            p, o, *f = ((a + b * (width // 8), 0) for a, b in (p, o, *f))
        params, ops = (params[0] + p[0], params[1] + p[1]), (ops[0] + o[0], ops[1] + o[1])
        fans += f
        side //= block.stride
        c_in = None if c_in is None else block.width
    variable = [pair for pair in fans if pair[1]]
    assert len(variable) <= VARIABLE, blocks
    return Row(
        params,
        ops,
        math.fsum(math.log(a) for a, b in fans if not b),
        len(fans),
        (*variable, *((1, 0) for _ in range(VARIABLE - len(variable)))),
        blocks[-1].width,
        sum(block.depth for block in blocks if BLOCKS[block.kind].deep),
        any(row[1] in LIGHT_HEAD for block in blocks for row in BLOCKS[block.kind].rows(block)),
        *layers,
    )
