"""The latency of parts of a detector, as tables that a search fills as it comes by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import cast

import numpy as np
import numpy.typing as npt

from yolo_nas_ext.cost.latency.fused_layers import Deployed, Op, deployed_rows, run_row
from yolo_nas_ext.cost.latency.profile import Profile
from yolo_nas_ext.network.architecture import Block
from yolo_nas_ext.network.blocks import BLOCKS
from yolo_nas_ext.network.graph import Tensor
from yolo_nas_ext.network.heads import Kind

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

FIT_CHANNELS = (16, 32)  # input channels at which layers are read off
# Layers at the two numbers of input channels; between and beyond them every size is on a line.
Pair = tuple[Op, Op]
# A block and the side of its input; its layers are others where that is as wide as the block.
Odd = tuple[Block, int]
Varied = Pair | Odd


class LatencyTables:
    """The predicted times of layers within a network, in milliseconds.

    Args:
        profile: The device.
        imgsz: Image size in pixels, one that was profiled.
    """

    def __init__(self, profile: Profile, imgsz: int) -> None:
        self._profile, self._imgsz = profile, imgsz
        self.constant = profile.constant(imgsz)
        self._ids: dict[tuple[Varied, ...], int] = {(): 0}
        self._varied: list[tuple[Varied, ...]] = [()]
        self._table = np.zeros((1, 1))

    def fixed(self, rows: Sequence[Sequence[Op]]) -> Floats:
        """Return the time of each of some lists of layers."""
        times = self._profile.shares([op for row in rows for op in row], self._imgsz)
        ends = np.cumsum([0, *map(len, rows)])
        total = np.concatenate([[0.0], np.cumsum(times)])
        return total[ends[1:]] - total[ends[:-1]]

    def id_of(self, layers: tuple[Varied, ...]) -> int:
        """Return the number under which `varied` knows layers that depend on input channels."""
        found = self._ids.setdefault(layers, len(self._varied))
        if found == len(self._varied):
            self._varied.append(layers)
        return found

    def varied(self, ids: Ints, eighths: Ints) -> Floats:
        """Return the times of such layers at numbers of input channels, in units of 8."""
        self._reserve(len(self._varied), int(eighths.max(initial=0)) + 1)
        found = self._table[ids, eighths]
        missing = np.isnan(found)
        if missing.any():
            keys = np.unique(np.stack([ids[missing], eighths[missing]]), axis=1)
            rows = [
                [op for layers in self._varied[i] for op in _at(layers, 8 * eighth)]
                for i, eighth in keys.T.tolist()
            ]
            self._table[keys[0], keys[1]] = self.fixed(rows)
            found = self._table[ids, eighths]
        return found

    def _reserve(self, rows: int, columns: int) -> None:
        have = self._table.shape
        if rows <= have[0] and columns <= have[1]:
            return
        shape = [n if n <= old else 2 * n for n, old in zip((rows, columns), have, strict=True)]
        table = np.full([max(a, b) for a, b in zip(shape, have, strict=True)], np.nan)
        table[: have[0], : have[1]] = self._table
        table[0] = 0.0
        self._table = table


def _at(layers: Varied, c_in: int) -> list[Op]:
    """Return layers at a number of input channels."""
    if isinstance(layers[0], Block):
        block, side = cast(Odd, layers)
        return _lowered(block, side, c_in)
    return [_between(cast(Pair, layers), c_in)]


def _between(pair: Pair, c_in: int) -> Op:
    """Return a layer at a number of input channels."""
    first, last = FIT_CHANNELS
    low, high = (np.array(op[1:], np.int64) for op in pair)
    values = low + (high - low) * (c_in - first) // (last - first)
    found = Op(pair[0].kind, *values.tolist())
    return found._replace(act=pair[0].act)


def layers_of(
    blocks: Sequence[Block], side: int, c_in: int | None = None
) -> tuple[tuple[Op, ...], tuple[Varied, ...]]:
    """Return the layers of blocks that follow one another: fixed ones, and varying ones.

    Args:
        blocks: At least one.
        side: Height and width of what comes in, in pixels.
        c_in: Channels that come in; None for any, on which the layers of the first block depend.
    """
    fixed: list[Op] = []
    varied: list[Varied] = []
    for index, block in enumerate(blocks):
        if index:
            c_in = blocks[index - 1].width
        if c_in is None and _odd(block, side):
            varied.append((block, side))
        elif c_in is None:
            low, high = (_lowered(block, side, c) for c in FIT_CHANNELS)
            fixed += [a for a, b in zip(low, high, strict=True) if a == b]
            varied += [(a, b) for a, b in zip(low, high, strict=True) if a != b]
        else:
            fixed += _lowered(block, side, c_in)
        side //= block.stride
    return tuple(fixed), tuple(varied)


def _odd(block: Block, side: int) -> bool:
    """Say whether the layers of a block are others where its input is as wide as the block."""
    key = replace(block, width=24, hidden=48 if block.hidden else 0)
    return _odd_kind(key, side)


@lru_cache(maxsize=10_000)
def _odd_kind(block: Block, side: int) -> bool:
    low, high, same = (_lowered(block, side, c) for c in (*FIT_CHANNELS, block.width))
    return not len(low) == len(high) == len(same) or same != [
        _between(pair, block.width) for pair in zip(low, high, strict=True)
    ]


def _lowered(block: Block, side: int, c_in: int) -> list[Op]:
    chain = [(-1, *row) for row in BLOCKS[block.kind].rows(block)]
    return deployed_rows(chain, reg_max=1, imgsz=side, channels=c_in)


def head_layers(nc: int, widths: Sequence[int], sides: Sequence[int], kind: Kind) -> tuple[Op, ...]:
    """Return the layers of the detection head that reads levels of some widths and sides."""
    graph = Deployed(len(widths))
    xs = [Tensor(i, c, s, s) for i, (c, s) in enumerate(zip(widths, sides, strict=True))]
    run_row(graph, "Detect", 1, (nc,), tuple(xs), kind)
    return tuple(graph.ops)
