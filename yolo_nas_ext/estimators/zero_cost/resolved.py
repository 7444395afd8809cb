"""The score `resolved`: operations where the grid is fine enough for the objects.

Of the operations of a detector, those on coarse grids say little of its accuracy where objects are
small: an object that covers a fraction of a cell is not resolved there. So each convolution's
operations are weighted by the cells that the median object covers on its output's grid, and count
in full from four cells on. Over the reference sets that orders networks better than all operations
together, see docs/evidence.md#estimators.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from yolo_nas_ext.config.search import RESOLVED
from yolo_nas_ext.cost.latency.features import work
from yolo_nas_ext.cost.latency.fused_layers import deployed
from yolo_nas_ext.errors import NASError
from yolo_nas_ext.estimators.zero_cost.closed_form import Free
from yolo_nas_ext.host.dataset import DataSet
from yolo_nas_ext.network.architecture import Architecture
from yolo_nas_ext.network.layers import lower
from yolo_nas_ext.network.rows import KEYPOINTS

CELLS = 4.0  # of a grid that an object covers where operations count in full
BOXED = ("detect", "segment", "obb", "pose")  # tasks whose labels have boxes


def side_of(data: DataSet) -> float | None:
    """Return the side of the median object, a share of the image's longer side.

    That is the side of a square of the box's area, of an oriented box its own. None for a task
    without boxes, or where no object has an area.
    """
    if data.task not in BOXED:
        return None
    shares = [_areas(label, data.task) for label in data.labels]
    found = np.concatenate(shares) if shares else np.zeros(0)
    found = found[found > 0]
    return math.sqrt(float(np.median(found))) if len(found) else None


def _areas(label: dict[str, Any], task: str) -> npt.NDArray[np.float64]:
    """Return the areas of an image's objects, as shares of a square around the image."""
    h, w = label["shape"]
    if task == "obb" and label.get("segments"):
        corners = (np.asarray(polygon, float) for polygon in label["segments"])
        found = np.array([_shoelace(polygon) for polygon in corners])
    else:
        found = np.asarray(label["bboxes"], float)[:, 2:].prod(axis=1)
    return found * (h * w / max(h, w) ** 2)


def _shoelace(polygon: npt.NDArray[np.float64]) -> float:
    """Return the area of a polygon, corners x 2."""
    x, y = polygon.T
    return 0.5 * abs(float(x @ np.roll(y, 1) - y @ np.roll(x, 1)))


def resolved(
    architecture: Architecture,
    side: float,
    nc: int = 80,
    imgsz: int = 640,
    channels: int = 3,
    task: str = "detect",
    keypoints: tuple[int, int] = KEYPOINTS,
) -> float:
    """Return the operations of convolutions where the grid is fine enough for the objects.

    Args:
        architecture: The network; what only trains does not count.
        side: Of the median object, a share of the image's.
        nc: Number of classes.
        imgsz: Image size in pixels, of networks that have none of their own.
        channels: Channels of the image.
        task: What the network does.
        keypoints: Number of keypoints and numbers a point, of the task pose.

    Returns:
        The sum over convolutions of multiply-adds times min(1, cells / 4), where an object of
        that side covers so many cells of the output's grid.
    """
    size = architecture.imgsz or imgsz
    if architecture.timm:  # some have layers that only the layer table knows
        used = replace(architecture, head=replace(architecture.head, end2end=False))
        table = lower(used, nc, size, channels, task=task, keypoints=keypoints)
        convolutions = [(x.ops, x.h * x.w) for x in table.layers if x.op == "conv"]
    else:
        ops = deployed(architecture, nc, size, channels, task=task, keypoints=keypoints)
        convolutions = [(work(op), op.h * op.w) for op in ops if op.kind == "conv"]
    return math.fsum(ops * min(1.0, side**2 * cells / CELLS) for ops, cells in convolutions)


class Resolved(Free):
    """Fitness is the logarithm of `resolved`.

    Args:
        data: The data set, for its objects and classes.
        imgsz: Image size in pixels.

    Raises:
        NASError: For data without boxes.
    """

    def __init__(self, data: DataSet, *, imgsz: int = 640) -> None:
        super().__init__(RESOLVED, imgsz=imgsz)
        side = side_of(data)
        if side is None:
            raise NASError(
                f"estimator={RESOLVED}: {data.source} has no boxes of task={data.task}; it is of "
                f"task={', '.join(BOXED)}. Give another estimator"
            )
        self.side = side
        self._of = data.nc, data.channels, data.task, data.keypoints

    def value(self, architecture: Architecture, imgsz: int) -> float:
        """Return the score of a network at an image size in pixels."""
        nc, channels, task, keypoints = self._of
        found = resolved(architecture, self.side, nc, imgsz, channels, task, keypoints)
        return math.log(found) if found else -math.inf
