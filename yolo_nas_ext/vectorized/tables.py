"""Parts of a detector as tables of numbers, filled as a search comes by.

A part is one or two blocks whose sizes depend on a few choices, its own, and on the channels that
come in. For fixed own choices parameters and operations are affine in those channels, and so is the
fan-in of every convolution; a row of the table holds the coefficients. That makes rows few, and the
cost of a network a sum of look-ups; it is exact because it is read off the layer table.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from yolo_nas_ext.cost.latency.fused_layers import Op
from yolo_nas_ext.estimators.zero_cost.entropy import fan_ins
from yolo_nas_ext.network.architecture import Block
from yolo_nas_ext.network.blocks import BLOCKS
from yolo_nas_ext.network.layers import LIGHT_HEAD, lower_rows
from yolo_nas_ext.vectorized.latency_tables import PROBES, Clock, Varied, layers_of

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

VARIABLE = 2  # fan-ins of a part that may depend on the input channels
DENSE = 1 << 23  # largest number of combinations that are indexed by an array


class Row(NamedTuple):
    """The numbers of a part at some values of its choices.

    A pair (a, b) stands for a + b c_in / 8, as host widths are multiples of 8.

    Attributes:
        params: Parameters.
        ops: Multiply-adds.
        fixed: Sum of the logarithms of the fan-ins that do not depend on c_in.
        convs: Convolutions on the main path.
        fans: The fan-ins that depend on it, filled up with (1, 0).
        width: Output channels.
        depth: Repeats of the deep block, 0 without one.
        light: Whether it makes the host build its newer head.
        layers: The layers that do not depend on c_in, where their time is asked for.
        varied: The layers that do; see `clock.layers_of`.
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
# blocks which are no polynomials are noticed.
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
    """Return what `_lowered` is at both `PROBES` as polynomials of width and hidden width.

    Args:
        block: Its width and hidden width, which do not matter, are 0.
        side: Height and width of what comes in, in pixels.

    Returns:
        A row of six coefficients a number, for `_monomials` in units of 8 channels; None where the
        block is no such polynomial.
    """

    def at(c: int, b: int) -> list[int]:
        sized = replace(block, width=8 * c, hidden=8 * b)
        return [n for c_in in PROBES for n in _lowered(sized, side, c_in)]

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
        numbers = [n for c_in in PROBES for n in _lowered(block, side, c_in)]
    half, (first, last) = len(numbers) // 2, (probe // 8 for probe in PROBES)
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


class Part:
    """A table of rows, one a combination of some choices.

    Args:
        sizes: Numbers of options of the choices, then of other keys, by which rows are found.
        make: Returns the row of the indices of those options.
        clock: Times the layers that rows name.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        make: Callable[[tuple[int, ...]], Row],
        clock: Clock | None = None,
    ) -> None:
        self.clock = clock
        self._new: list[tuple[int, tuple[Op, ...]]] = []
        self._sizes = tuple(sizes)
        self._make = make
        self._count = 0
        self._known: dict[int, int] = {}
        total = math.prod(self._sizes)
        self._dense = np.full(total, -1, np.int32) if total <= DENSE else None
        self.ints = np.zeros((64, 7 + 2 * VARIABLE), np.int64)
        self.floats = np.zeros((64, 2))  # logarithms of the fixed fan-ins, fixed milliseconds

    def find(self, columns: Sequence[Ints]) -> Ints:
        """Return the indices of the rows for columns of option indices; new ones are added."""
        keys = np.ravel_multi_index(tuple(columns), self._sizes)
        if self._dense is not None:
            rows = self._dense[keys]
            if (missing := rows < 0).any():
                for key in np.unique(keys[missing]).tolist():
                    self._dense[key] = self._add(key)
                self._time()
                rows = self._dense[keys]
            return rows.astype(np.int64)
        unique, inverse = np.unique(keys, return_inverse=True)
        for key in unique.tolist():
            if key not in self._known:
                self._known[key] = self._add(key)
        self._time()
        return np.array([self._known[key] for key in unique.tolist()], np.int64)[inverse]

    def _add(self, key: int) -> int:
        row = self._make(tuple(int(i) for i in np.unravel_index(key, self._sizes)))
        if self._count == len(self.floats):
            self.ints = np.concatenate([self.ints, np.zeros_like(self.ints)])
            self.floats = np.concatenate([self.floats, np.zeros_like(self.floats)])
        flat = (*row.params, *row.ops, row.width, row.convs | row.depth << 16 | row.light << 32)
        varied = self.clock.id_of(row.varied) if self.clock else 0
        self.ints[self._count] = (*flat, *(n for pair in row.fans for n in pair), varied)
        self.floats[self._count] = row.fixed, 0.0
        self._new.append((self._count, row.layers))
        self._count += 1
        return self._count - 1

    def _time(self) -> None:
        """Time the layers of new rows, all at once as that takes less time."""
        if self._new and self.clock:
            rows, ops = zip(*self._new, strict=True)
            self.floats[list(rows), 1] = self.clock.fixed(ops)
        self._new.clear()


class Numbers(NamedTuple):
    """A part's numbers for many networks; the fields are as in `Row`, c_in filled in."""

    params: Ints
    ops: Ints
    logs: Floats
    convs: Ints
    width: Ints
    depth: Ints
    light: npt.NDArray[np.bool_]
    ms: Floats


class Logarithms:
    """Natural logarithms of whole numbers, by look-up: the same digits on every processor."""

    def __init__(self) -> None:
        self._table = np.zeros(1)

    def __call__(self, values: Ints) -> Floats:
        """Return the logarithms of numbers of at least 1."""
        top = int(values.max(initial=1))
        if top >= len(self._table):
            more = range(len(self._table), 2 * top + 1)
            self._table = np.concatenate([self._table, [math.log(n) for n in more]])
        return self._table[values]


def look_up(part: Part, columns: Sequence[Ints], c_in: Ints, log: Logarithms) -> Numbers:
    """Return a part's numbers for columns of option indices and of input channels."""
    rows, eighths = part.find(columns), c_in // 8
    table = part.ints[rows]
    logs, ms = part.floats[rows].T
    if part.clock:
        ms = ms + part.clock.varied(table[:, -1], eighths)
    for i in range(VARIABLE):
        alpha, beta = table[:, 6 + 2 * i], table[:, 7 + 2 * i]
        if beta.any():
            logs = logs + log(alpha + beta * eighths)
    packed = table[:, 5]
    return Numbers(
        table[:, 0] + table[:, 1] * eighths,
        table[:, 2] + table[:, 3] * eighths,
        logs,
        packed & 0xFFFF,
        table[:, 4],
        packed >> 16 & 0xFFFF,
        packed >> 32 > 0,
        ms,
    )


def values_of(names: Sequence[str], choices: Mapping[str, Sequence[Any]], at: Sequence[int]) -> Any:
    """Return the values of choices from the indices of their options."""
    return {name: choices[name][i] for name, i in zip(names, at, strict=True)}
