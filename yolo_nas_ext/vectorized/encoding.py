"""Networks as rows of option indices: points, rules and moves of whole batches at once."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from yolo_nas_ext.network.blocks import BLOCKS
from yolo_nas_ext.space.constraints import NonDecreasing, Ratio, Rule
from yolo_nas_ext.space.detector import DetectorSpace
from yolo_nas_ext.space.point import Point
from yolo_nas_ext.vectorized.latency_tables import Floats, Ints
from yolo_nas_ext.vectorized.tables import values_of

Mask = npt.NDArray[np.bool_]
PREFIX_GOVERNORS = ("block", "down", "top")


class Draw:
    """Random whole numbers by integer arithmetic on PCG64's raw stream, the same everywhere.

    Args:
        seed: Any whole number of at least 0.
    """

    def __init__(self, seed: int) -> None:
        self._bits = np.random.PCG64(seed)

    def below(self, bounds: Ints) -> Ints:
        """Return for each bound, of less than 2**31, a number from 0 up to but not that bound."""
        raw = self._bits.random_raw(len(bounds)) >> np.uint64(32)
        return (raw * bounds.astype(np.uint64) >> np.uint64(32)).astype(np.int64)


class CodedSpace:
    """A detector space whose networks are rows of option indices, in the order of its choices.

    Batches are arrays of networks x choices.

    Args:
        space: The space; its limits are not looked at.
    """

    def __init__(self, space: DetectorSpace) -> None:
        self.space = space
        self.names = tuple(space.choices)
        self.sizes = np.array([len(options) for options in space.choices.values()], np.int64)
        self._at = {name: i for i, name in enumerate(self.names)}
        self._dead = {name: self._dead_table(name) for name in self.names}
        self._kernels = self._kernel_tables()
        self._moves = self._move_tables()
        self._options = {
            name: np.array(options, np.float64)
            for name, options in space.choices.items()
            if all(isinstance(o, (int, float)) for o in options)
        }

    def encode(self, point: Mapping[str, Any]) -> Ints:
        """Return the row of a point."""
        choices = self.space.choices
        return np.array([choices[name].index(point[name]) for name in self.names], np.int64)

    def decode(self, network: Sequence[int] | Ints) -> Point:
        """Return the point of a row."""
        return Point(values_of(self.names, self.space.choices, [int(i) for i in network]))

    def dead(self, networks: Ints) -> Mask:
        """Return which choices change nothing, networks x choices; see `DetectorSpace.dead`."""
        found = np.zeros(networks.shape, bool)
        for i, name in enumerate(self.names):
            governors, table = self._dead[name]
            found[:, i] = table[tuple(networks[:, g] for g in governors)]
        return found

    def canonical(self, networks: Ints) -> Ints:
        """Return the networks with choices that do not matter at their first option."""
        dead = self.dead(networks)
        found = np.where(dead, 0, networks)
        for kernel, block, table in self._kernels:
            fixed = table[found[:, block], found[:, kernel]]
            found[:, kernel] = np.where(dead[:, kernel], 0, fixed)
        return found

    def allowed(self, networks: Ints) -> Mask:
        """Say which networks keep the rules of the space."""
        dead = self.dead(networks)
        good = np.ones(len(networks), bool)
        for rule in self.space.rules:
            good &= self._holds(rule, networks, dead)
        return good

    def mutate(self, networks: Ints, draw: Draw) -> Ints:
        """Return a child of each network by the space's own moves; rules may be broken."""
        children = networks.copy()
        line = np.arange(len(networks))
        start, count, targets = self._moves
        for _ in range(self.space.mutations):
            active = ~self.dead(children) & (self.sizes > 1)
            number = draw.below(np.maximum(active.sum(1), 1))
            choice = (np.cumsum(active, axis=1) > number[:, None]).argmax(axis=1)
            now = children[line, choice]
            pick = start[choice, now] + draw.below(np.maximum(count[choice, now], 1))
            children[line, choice] = np.where(active.any(axis=1), targets[pick], now)
        return self.canonical(children)

    def _dead_table(self, name: str) -> tuple[tuple[int, ...], Mask]:
        """Return the choices that decide whether a choice matters, and whether at their options."""
        space, prefix = self.space, name.split(".")[0]
        governors = ["levels", *(f"{prefix}.{key}" for key in PREFIX_GOVERNORS)]
        governors = [g for g in governors if g in self._at]
        first = {n: options[0] for n, options in space.choices.items()}
        table = np.zeros([len(space.choices[g]) for g in governors], bool)
        for at in itertools.product(*(range(len(space.choices[g])) for g in governors)):
            table[at] = name in space.dead({**first, **values_of(governors, space.choices, at)})
        return tuple(self._at[g] for g in governors), table

    def _kernel_tables(self) -> list[tuple[int, int, Ints]]:
        """Return for each kernel choice (its index, its block's, the option that is built)."""
        tables = []
        for prefix in (*(stage.name for stage in self.space.stages), "neck"):
            kernel, block = f"{prefix}.kernel", f"{prefix}.block"
            kinds, sizes = self.space.choices[block], self.space.choices[kernel]
            table = np.zeros((len(kinds), len(sizes)), np.int64)
            for i, j in np.ndindex(*table.shape):
                able = BLOCKS[kinds[i]].kernels
                right = sizes[j] in able or not able
                table[i, j] = j if right else next(n for n, k in enumerate(sizes) if k in able)
            tables.append((self._at[kernel], self._at[block], table))
        return tables

    def _move_tables(self) -> tuple[Ints, Ints, Ints]:
        """Return first index and number of the targets of (choice, option), and all targets."""
        most = int(self.sizes.max())
        start, count = np.zeros((2, len(self.names), most), np.int64)
        targets: list[int] = []
        for i, (name, options) in enumerate(self.space.choices.items()):
            for j, option in enumerate(options):
                to = [options.index(o) for o in self.space.targets(name, option)]
                start[i, j], count[i, j] = len(targets), len(to)
                targets += to
        return start, count, np.array([*targets, 0], np.int64)

    def _holds(self, rule: Rule, networks: Ints, dead: Mask) -> Mask:
        """Say for which networks a rule holds; it looks at choices that matter only."""

        def column(name: str) -> tuple[Floats, Mask]:
            i = self._at[name]
            return self._options[name][networks[:, i]], ~dead[:, i]

        good = np.ones(len(networks), bool)
        if isinstance(rule, NonDecreasing):
            before = np.full(len(networks), -math.inf)
            for name in rule.names:
                value, matters = column(name)
                good &= (before <= value) | ~matters
                before = np.where(matters, value, before)
        elif isinstance(rule, Ratio):
            (value, matters), (base, also) = column(rule.name), column(rule.of)
            inside = (rule.low * base <= value) & (value <= rule.high * base)
            good = inside | ~(matters & also)
        else:
            raise TypeError(f"the vectorized search knows no rule {type(rule).__name__}")
        return good
