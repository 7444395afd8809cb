"""The blocks of a network from its choices: stem, stages, context and neck."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from yolo_nas_ext.network.architecture import Block
from yolo_nas_ext.network.block_rows import round8
from yolo_nas_ext.network.blocks import BLOCKS, hidden_width
from yolo_nas_ext.space.schema import CONTEXTS, Stage


@lru_cache(maxsize=256)
def split_levels(text: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the neck's and the head's levels of ``"2-4"`` or ``"2-5:3-5"``."""
    ranges = []
    for ends in text.split(":"):
        low, high = ends.split("-")
        ranges.append(tuple(range(int(low), int(high) + 1)))
    return ranges[0], ranges[-1]


def stem_block(point: Mapping[str, Any]) -> Block:
    """Return the first block."""
    return Block(point["stem.block"], point["stem.width"], 1, 2, 0, point["stem.kernel"])


def stage_blocks(stage: Stage, point: Mapping[str, Any], c_in: int) -> list[Block]:
    """Return the blocks of a stage behind `c_in` channels, from the stage's own choices."""
    name = stage.name
    kind, width = point[f"{name}.block"], point[f"{name}.width"]
    down = point[f"{name}.down"] if stage.stride == 2 else ""
    blocks = []
    if down and down != "inside":
        narrow = round8(width * point[f"{name}.down_width"])
        kernel = 3 if BLOCKS[down].kernels else 0
        blocks.append(Block(down, narrow, 1, 2, 0, kernel))
        c_in = narrow
    entry = BLOCKS[kind]
    hidden = _hidden(point, name, kind, width)
    shortcut = entry.shortcut and (kind != "hgblock" or c_in == width)
    kernel = point[f"{name}.kernel"] if entry.kernels else 0
    stride = 2 if down == "inside" else 1
    blocks.append(Block(kind, width, point[f"{name}.depth"], stride, hidden, kernel, shortcut))
    return blocks


def _hidden(point: Mapping[str, Any], name: str, kind: str, width: int) -> int:
    if (key := f"{name}.hidden") in point:
        return point[key]
    return hidden_width(kind, width, point[f"{name}.expansion"])


def context_blocks(name: str, width: int) -> list[Block]:
    """Return the blocks between a backbone of that width and the neck."""
    return [
        Block(kind, width, 1, 1, 0, 5, shortcut)
        if kind == "sppf"
        else Block(kind, width, 1, 1, hidden_width(kind, width, 0.5) if width else 0)
        for kind, shortcut in CONTEXTS[name]
    ]


def neck_width(point: Mapping[str, Any], level: int) -> int:
    """Return the channels of the neck at a level."""
    return round8(point["neck.width"] * point["neck.growth"] ** (level - 3))


def neck_block(point: Mapping[str, Any], level: int, *, top: bool = False) -> Block:
    """Return the neck's block at a level; `top` is the last of the bottom-up path."""
    kind, width = point["neck.block"], neck_width(point, level)
    if top and point["neck.top"] != "same":
        kind = point["neck.top"]
    allowed = BLOCKS[kind].kernels
    kernel = point["neck.kernel"] if point["neck.kernel"] in allowed else (allowed or (0,))[0]
    return Block(kind, width, point["neck.depth"], 1, _hidden(point, "neck", kind, width), kernel)
