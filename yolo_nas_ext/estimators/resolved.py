"""The score `resolved`: operations where the grid is fine enough for the objects.

Of the operations of a detector, those on coarse grids say little of its accuracy where objects are
small: an object that covers a fraction of a cell is not resolved there. So each convolution's
operations are weighted by the cells that the median object covers on its output's grid, and count
in full from four cells on. Over the reference sets that orders networks better than all operations
together, see docs/estimators.md.
"""

from __future__ import annotations

import math

import numpy as np

from yolo_nas_ext.cost.deployed import deployed
from yolo_nas_ext.cost.features import work
from yolo_nas_ext.errors import NASError
from yolo_nas_ext.estimators.analytic import Analytic
from yolo_nas_ext.host.dataset import DataSet
from yolo_nas_ext.space.architecture import Architecture
from yolo_nas_ext.space.rows import KEYPOINTS

RESOLVED = 4.0  # cells of a grid that an object covers where operations count in full
BOXED = ("detect", "segment", "obb", "pose")  # tasks whose labels have boxes


def side(data: DataSet) -> float | None:
    """Return the side of the median object, a share of the image's longer side.

    That is the side of a square of the box's area. None for a task without boxes, or no objects.
    """
    if data.task not in BOXED:
        return None
    sides = [
        np.sqrt(label["bboxes"][:, 2] * label["bboxes"][:, 3] * h * w) / max(h, w)
        for label in data.labels
        for h, w in [label["shape"]]
    ]
    found = np.concatenate(sides) if sides else np.zeros(0)
    return float(np.median(found)) if len(found) else None


def resolved(
    architecture: Architecture, side: float, nc: int = 80, imgsz: int = 640, channels: int = 3,
    task: str = "detect", keypoints: tuple[int, int] = KEYPOINTS,
) -> float:  # fmt: skip
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
    ops = deployed(architecture, nc, size, channels, task=task, keypoints=keypoints)
    return math.fsum(
        work(op) * min(1.0, side**2 * op.h * op.w / RESOLVED) for op in ops if op.kind == "conv"
    )


class Resolved(Analytic):
    """Fitness is the logarithm of `resolved`.

    Args:
        data: The data set, for its objects and classes.
        imgsz: Image size in pixels.

    Raises:
        NASError: For data without boxes.
    """

    def __init__(self, data: DataSet, *, imgsz: int = 640) -> None:
        super().__init__("resolved", imgsz=imgsz, channels=data.channels)
        found = side(data)
        if found is None:
            raise NASError(
                f"estimator=resolved: {data.source} has no boxes of task={data.task}; it is of "
                f"task={', '.join(BOXED)}. Give another estimator"
            )
        self.data, self.side = data, found

    def value(self, architecture: Architecture, imgsz: int) -> float:
        """Return the score of a network at an image size in pixels."""
        data = self.data
        return math.log(
            resolved(
                architecture, self.side, data.nc, imgsz, data.channels, data.task, data.keypoints
            )
        )
