"""Features of a layer that is not timed: its work, the bytes it moves, its shapes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from yolo_nas_ext.cost.latency.fused_layers import Op

Floats = npt.NDArray[np.float64]
FAMILIES = (  # of layers that a runtime treats alike; each has a weight of its own
    "conv1",
    "conv",
    "depthwise",
    "pool",
    "add",
    "concat",
    "split",
    "upsample",
    "attention",
    "average",
    "transposed",
    "decode",
)
BLOCK = 16  # channels that a vector of the widest registers holds; runtimes pad to it


def family(op: Op) -> str:
    """Return the family of a layer: its kind, of convolutions by how they are computed."""
    if op.kind != "conv":
        return op.kind
    if op.groups > 1 and op.groups == op.c_in:
        return "depthwise"
    return "conv1" if op.kernel == 1 else "conv"


def work(op: Op) -> float:
    """Return multiply-adds, or elements that are computed."""
    pixels = op.h * op.w
    if op.kind == "conv":
        return pixels * op.c_out * (op.c_in // op.groups) * op.kernel**2
    if op.kind == "transposed":
        return op.h_in * op.w_in * op.c_in * op.c_out * op.kernel**2
    if op.kind == "attention":  # two products over all pairs of pixels
        return pixels**2 * (op.groups * op.kernel + op.c_out)
    if op.kind == "pool":
        return pixels * op.c_out * op.kernel**2
    if op.kind == "decode":
        return op.w * (4 * op.c_in + op.c_out)
    return pixels * op.c_out


def parameters(op: Op) -> int:
    """Return the weights of a convolution; 0 of other layers."""
    convolves = op.kind in ("conv", "transposed")
    return op.c_in // op.groups * op.c_out * op.kernel**2 if convolves else 0


def moved(op: Op) -> float:
    """Return the numbers that are read and written, weights included."""
    inputs, outputs = op.c_in * op.h_in * op.w_in, op.c_out * op.h * op.w
    between = parameters(op)
    if op.kind == "add":
        inputs *= 2
    elif op.kind == "attention":
        between = op.groups * (op.h * op.w) ** 2  # the scores
    return float(inputs + outputs + between)


def features(ops: Sequence[Op]) -> Floats:
    """Return the features of layers, layers x features; times grow with most of them."""
    rows = [
        (
            FAMILIES.index(family(op)),
            np.log(work(op)),
            np.log(moved(op)),
            np.log(op.c_in),
            np.log(op.c_out),
            op.h * op.w,
            op.kernel,
            op.stride,
            np.log(op.groups),
            op.act,
            -op.c_in % BLOCK,
            -op.c_out % BLOCK,
            np.log(work(op) / moved(op)),
            op.w,
            np.log(op.c_in / op.groups),
        )
        for op in ops
    ]
    return np.array(rows, np.float64).reshape(len(rows), -1)
