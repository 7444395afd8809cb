"""The rows of a model definition of Ultralytics, from an architecture."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from yolo_nas_ext.network.architecture import Architecture, Block, Head
from yolo_nas_ext.network.blocks import BLOCKS
from yolo_nas_ext.network.neck import BACKBONE, places

# A row of a model definition of Ultralytics: (from, repeats, module, arguments).
Row = tuple[Any, int, str, tuple[Any, ...]]
TASKS = ("detect", "segment", "semantic", "classify", "obb", "pose")
PLAIN = ("semantic", "classify")  # tasks whose heads have no boxes and so no choices
FINEST = 3  # level that Ultralytics' heads for masks read first
KEYPOINTS = (17, 3)  # number of keypoints and numbers a point; COCO's people
MASKS = 32  # coefficients of a mask, as in Ultralytics' models


@dataclass(frozen=True, slots=True)
class Task:
    """The work of a network, and the numbers that its head needs for it.

    Attributes:
        nc: Number of classes.
        name: One of `TASKS`.
        keypoints: Number of keypoints and numbers a point, of the task pose.
    """

    nc: int
    name: str = "detect"
    keypoints: tuple[int, int] = KEYPOINTS


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
    architecture: Architecture,
    nc: int,
    task: str = "detect",
    keypoints: tuple[int, int] = KEYPOINTS,
) -> tuple[list[Row], list[Row]]:
    """Return the rows of backbone and head, (from, repeats, module, arguments) each.

    Args:
        architecture: Its backbone is followed by its neck and the task's head; a classifier has no
            neck.
        nc: Number of classes.
        task: One of `TASKS`.
        keypoints: Number of keypoints and numbers a point, of the task pose.
    """
    chain: list[Row] = []
    ends: list[int] = []  # index of each backbone block's last row, or feature's
    if timm := architecture.timm:
        chain.append((-1, 1, "Timm", (timm.name, timm.pretrained, timm.indices)))
        chain += ((0, 1, "Index", (width, i)) for i, width in enumerate(timm.widths))
        ends = list(range(1, len(chain)))
    for block in architecture.backbone:
        chain.extend((-1, *row) for row in BLOCKS[block.kind].rows(block))
        ends.append(len(chain) - 1)
    level_row = {level: ends[index] for level, index in architecture.levels.items()}
    head = _Rows(len(chain))
    if task == "classify":
        head.add(-1, 1, *head_row(Task(nc, task), architecture.head, 0))
        return chain, head.rows
    made = {(BACKBONE, level): row for level, row in level_row.items()}
    for place in places(architecture):
        read = [head.moved(made[source.source], source.move) for source in place.inputs]
        head.add(tuple(map(head.relative, read)), 1, "Concat", (1,))
        made[place.output] = level_row[place.output[1]] = head.block(place.block)
    sources = tuple(level_row[level] for level in architecture.head.levels)
    width = _width(architecture, architecture.head.levels[0])
    head.add(sources, 1, *head_row(Task(nc, task, keypoints), architecture.head, width))
    return chain, head.rows


def head_row(task: Task, head: Head, width: int) -> tuple[str, tuple[Any, ...]]:
    """Return Ultralytics' module of a task's head and its arguments.

    Args:
        task: The task.
        head: The head.
        width: Channels of the finest level that the head reads.
    """
    series = "26" if head.yolo26 else ""
    if task.name == "segment":  # prototypes are as wide as the level they are made of
        return f"Segment{series}", (task.nc, MASKS, width)
    if task.name == "obb":
        return f"OBB{series}", (task.nc, 1)
    if task.name == "pose":
        return f"Pose{series}", (task.nc, task.keypoints)
    return {"semantic": "SemanticSegment", "classify": "Classify"}.get(task.name, "Detect"), (
        task.nc,
    )


def _width(architecture: Architecture, level: int) -> int:
    """Return the channels of a level as the head reads it."""
    blocks = {place.output[1]: place.block for place in places(architecture)}
    return blocks[level].width if level in blocks else architecture.widths[level]


class _Rows:
    """Head rows under construction, with their indices in the whole model."""

    def __init__(self, first: int) -> None:
        self.rows: list[Row] = []
        self._first = first

    def add(self, source: Any, n: int, module: str, args: tuple[Any, ...]) -> int:
        self.rows.append((source, n, module, args))
        return self._first + len(self.rows) - 1

    def block(self, block: Block, source: int = -1) -> int:
        first, *more = BLOCKS[block.kind].rows(block)
        return [self.add(source, *first), *(self.add(-1, *row) for row in more)][-1]

    def moved(self, source: int, move: Block | str | None) -> int:
        """Add what moves a row's output to another level; return the row that has it."""
        if move is None:
            return source
        if isinstance(move, Block):
            return self.block(move, self.relative(source))
        return self.add(self.relative(source), 1, "nn.Upsample", ("None", 2, "nearest"))

    def relative(self, row: int) -> int:
        """Return a row's index as the next row writes it: -1 for the one before it."""
        return -1 if row == self._first + len(self.rows) - 1 else row
