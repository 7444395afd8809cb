"""The size of a network's file as it is deployed, from its layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from yolo_nas_ext.cost.latency.features import parameters
from yolo_nas_ext.cost.latency.fused_layers import Op


class Bytes(NamedTuple):
    """What an ONNX file holds in a precision, in bytes.

    Attributes:
        weight: A weight of a convolution.
        channel: A channel that it makes: its bias, and in int8 its scale and zero point.
        layer: The nodes of a convolution and of what follows it, measured on exported networks.
    """

    weight: int
    channel: int
    layer: int


PRECISIONS = {
    "fp32": Bytes(4, 4, 600),
    "fp16": Bytes(2, 2, 600),
    "int8": Bytes(1, 9, 5000),
}


def file_bytes(ops: Sequence[Op], precision: str = "fp32") -> int:
    """Return the bytes of a network's ONNX file, as Ultralytics exports it, within some percents.

    Args:
        ops: Its layers as they are deployed.
        precision: One of `PRECISIONS`; int8 as ONNX Runtime quantises.
    """
    each = PRECISIONS[precision]
    convolutions = [op for op in ops if parameters(op)]
    return sum(
        each.weight * parameters(op) + each.channel * op.c_out + each.layer for op in convolutions
    )
