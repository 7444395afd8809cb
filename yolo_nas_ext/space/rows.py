"""The rows of a host model definition, from an architecture."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from yolo_nas_ext.space.architecture import Architecture, Block, Head
from yolo_nas_ext.space.blocks import BLOCKS

# A row of a host model definition: (from, repeats, module, arguments).
Row = tuple[Any, int, str, tuple[Any, ...]]


TASKS = ("detect", "segment", "semantic", "classify", "obb", "pose")
PLAIN = ("semantic", "classify")  # of them, those whose heads have no boxes and so no choices
FINEST = 3  # level that the host's heads for masks read first
KEYPOINTS = (17, 3)  # number of keypoints and numbers a point; COCO's people
MASKS = 32  # coefficients of a mask, as in the host's models


def for_task(architecture: Architecture, task: str) -> Architecture:
    """Return a detector's architecture as it is with another task's head.

    A semantic segmentation reads the finest two levels on the way down: the way up leads to none.
    """
    if task != "semantic":
        return architecture
    neck = architecture.neck
    reads = tuple(level for level in neck.levels if level >= FINEST)[:2]
    return replace(architecture, neck=replace(neck, up=()), head=Head(reads))


def rows(
    architecture: Architecture, nc: int, task: str = "detect",
    keypoints: tuple[int, int] = KEYPOINTS,
) -> tuple[list[Row], list[Row]]:  # fmt: skip
    """Return the rows of backbone and head, (from, repeats, module, arguments) each.

    Args:
        architecture: Its backbone is followed by its neck and the task's head; a classifier has no
            neck.
        nc: Number of classes.
        task: One of `TASKS`.
        keypoints: Number of keypoints and numbers a point, of the task pose.
    """
    chain: list[Row] = []
    ends: list[int] = []  # index of each backbone block's last row
    for block in architecture.backbone:
        chain.extend((-1, *row) for row in BLOCKS[block.kind].rows(block))
        ends.append(len(chain) - 1)
    level_row = {level: ends[index] for level, index in architecture.levels.items()}
    head = _Rows(len(chain))
    if task == "classify":
        head.add(-1, 1, "Classify", (nc,))
        return chain, head.rows
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
    sources = tuple(outputs[level] for level in architecture.head.levels)
    head.add(sources, 1, *_head(architecture, nc, task, keypoints))
    return chain, head.rows


def _head(
    architecture: Architecture, nc: int, task: str, keypoints: tuple[int, int]
) -> tuple[str, tuple[Any, ...]]:
    """Return the module of a task's head and its arguments."""
    if task == "segment":  # prototypes as wide as the level they are made of, as in the host
        return "Segment", (nc, MASKS, _width(architecture, architecture.head.levels[0]))
    if task == "semantic":
        return "SemanticSegment", (nc,)
    if task == "obb":
        return "OBB", (nc, 1)
    if task == "pose":
        return "Pose", (nc, keypoints)
    return "Detect", (nc,)


def _width(architecture: Architecture, level: int) -> int:
    """Return the channels of a level as the head reads it."""
    neck = architecture.neck
    up = {level: pair[1] for level, pair in zip(neck.levels[1:], neck.up, strict=False)}
    down = dict(zip(reversed(neck.levels[:-1]), neck.down, strict=True))
    block = up.get(level) or down.get(level)
    return (block or architecture.backbone[architecture.levels[level]]).width


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
