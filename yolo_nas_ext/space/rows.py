"""The rows of a host model definition, from an architecture."""

from __future__ import annotations

from typing import Any

from yolo_nas_ext.space.architecture import Architecture, Block
from yolo_nas_ext.space.blocks import BLOCKS

# A row of a host model definition: (from, repeats, module, arguments).
Row = tuple[Any, int, str, tuple[Any, ...]]


def rows(architecture: Architecture, nc: int) -> tuple[list[Row], list[Row]]:
    """Return the rows of backbone and head, (from, repeats, module, arguments) each."""
    chain: list[Row] = []
    ends: list[int] = []  # index of each backbone block's last row
    for block in architecture.backbone:
        chain.extend((-1, *row) for row in BLOCKS[block.kind].rows(block))
        ends.append(len(chain) - 1)
    level_row = {level: ends[index] for level, index in architecture.levels.items()}
    head = _Rows(len(chain))
    neck = architecture.neck
    outputs = {neck.levels[-1]: level_row[neck.levels[-1]]}
    for level, block in zip(reversed(neck.levels[:-1]), neck.down, strict=True):
        head.add(-1, 1, "nn.Upsample", ("None", 2, "nearest"))
        head.add((-1, level_row[level]), 1, "Concat", (1,))
        outputs[level] = head.block(block)
    lateral = dict(outputs)
    for level, (down, block) in zip(neck.levels[1:], neck.up, strict=False):
        head.block(down)
        head.add((-1, lateral[level]), 1, "Concat", (1,))
        outputs[level] = head.block(block)
    head.add(tuple(outputs[level] for level in architecture.head.levels), 1, "Detect", (nc,))
    return chain, head.rows


class _Rows:
    """Head rows under construction, with their indices in the whole model."""

    def __init__(self, first: int) -> None:
        self.rows: list[Row] = []
        self._first = first

    def add(self, source: Any, n: int, module: str, args: tuple[Any, ...]) -> int:
        self.rows.append((source, n, module, args))
        return self._first + len(self.rows) - 1

    def block(self, block: Block) -> int:
        return [self.add(-1, *row) for row in BLOCKS[block.kind].rows(block)][-1]
