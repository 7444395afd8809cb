"""Outputs of keypoints between YOLO26's own head and that of the series before.

Both give places in strides around a cell. YOLO26's are distances from its centre, and the others'
half of those from its corner. Whether a point is seen is the same number in both.
"""

from __future__ import annotations

import torch


def turned(values: torch.Tensor, numbers: int, *, to_yolo26: bool, level: bool) -> torch.Tensor:
    """Return weights, biases or outputs of keypoints as those of the other head.

    Args:
        values: The first dimension has the outputs, point after point.
        numbers: Numbers a point: its place and, with three, whether it is seen.
        to_yolo26: Whether the other head is YOLO26's.
        level: Whether it is not only their scale that differs, as of all but weights.
    """
    factor, shift = (2.0, -0.5) if to_yolo26 else (0.5, 0.25)
    found = values.clone()
    for axis in range(2):
        found[axis::numbers] = factor * values[axis::numbers] + shift * level
    return found
