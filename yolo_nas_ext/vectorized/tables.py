"""Parts of a detector as tables of numbers, filled as a search comes by.

A part is one or two blocks whose sizes depend on a few choices, its own, and on the channels that
come in. That makes rows few, and the cost of a network a sum of look-ups; see `vectorized.rows`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from yolo_nas_ext.cost.latency.fused_layers import Op
from yolo_nas_ext.vectorized.latency_tables import Floats, Ints, LatencyTables
from yolo_nas_ext.vectorized.rows import VARIABLE, Row

DENSE = 1 << 23  # largest number of combinations that are indexed by an array


class PartTable:
    """A table of rows, one a combination of some choices.

    Args:
        sizes: Numbers of options of the choices, then of other keys, by which rows are found.
        make: Returns the row of the indices of those options.
        latency: Predicts the time of the layers that rows name.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        make: Callable[[tuple[int, ...]], Row],
        latency: LatencyTables | None = None,
    ) -> None:
        self.latency = latency
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
        varied = self.latency.id_of(row.varied) if self.latency else 0
        self.ints[self._count] = (*flat, *(n for pair in row.fans for n in pair), varied)
        self.floats[self._count] = row.fixed, 0.0
        self._new.append((self._count, row.layers))
        self._count += 1
        return self._count - 1

    def _time(self) -> None:
        """Time the layers of new rows, all at once as that takes less time."""
        if self._new and self.latency:
            rows, ops = zip(*self._new, strict=True)
            self.floats[list(rows), 1] = self.latency.fixed(ops)
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


def look_up(part: PartTable, columns: Sequence[Ints], c_in: Ints, log: Logarithms) -> Numbers:
    """Return a part's numbers for columns of option indices and of input channels."""
    rows, eighths = part.find(columns), c_in // 8
    table = part.ints[rows]
    logs, ms = part.floats[rows].T
    if part.latency:
        ms = ms + part.latency.varied(table[:, -1], eighths)
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
