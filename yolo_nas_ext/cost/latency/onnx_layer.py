"""One layer as a tiny ONNX model, so that any runtime on any device can time it.

A model holds several copies of its layer. The difference between two numbers of copies is the time
of the layer alone, without the call or the conversion of the input.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from yolo_nas_ext.cost.latency.fused_layers import Op

OPSET, IR = 13, 7  # of ONNX 1.8, the oldest that has these layers: runtimes of 2020 read them
TILE = np.random.default_rng(0).standard_normal(1021).astype(np.float32)


class _Model:
    """An ONNX graph under construction."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.inputs: list[Any] = []
        self.outputs: list[Any] = []
        self.weights: list[Any] = []

    def input(self, shape: tuple[int, ...]) -> str:
        name = f"x{len(self.inputs)}"
        self.inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
        return name

    def constant(self, value: np.ndarray) -> str:
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(value, name))
        return name

    def add(self, kind: str, *inputs: str, outputs: int = 1, **attributes: Any) -> Any:
        names = [f"y{len(self.nodes)}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(kind, list(inputs), names, **attributes))
        return names[0] if outputs == 1 else names

    def corner(self, name: str, rank: int = 4) -> None:
        """Make one number of a tensor an output, so that nothing large leaves the model."""
        ends = [self.constant(np.full(rank, n, np.int64)) for n in (0, 1)]
        self.output(self.add("Slice", name, *ends), (1,) * rank)

    def output(self, name: str, shape: tuple[int, ...]) -> None:
        self.outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))

    def silu(self, x: str) -> str:
        return self.add("Mul", x, self.add("Sigmoid", x))

    def save(self) -> bytes:
        graph = helper.make_graph(self.nodes, "layer", self.inputs, self.outputs, self.weights)
        opset = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(graph, opset_imports=opset, ir_version=IR)
        return model.SerializeToString()


def layer_model(op: Op, copies: int, batch: int = 1) -> bytes:
    """Return an ONNX model with copies of a layer.

    Args:
        op: The layer.
        copies: How many; those of a convolution read the same input.
        batch: Images at once.
    """
    model = _Model()
    MAKERS[op.kind](model, op, copies, batch)
    return model.save()


def weights(shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Return weights of the size that keeps activations as they are; they pack well in a zip."""
    count = int(np.prod(shape))
    values = np.resize(np.roll(TILE, seed), count).reshape(shape)
    return values / np.float32(np.sqrt(np.prod(shape[1:])))


def _conv(model: _Model, op: Op, copies: int, batch: int) -> None:
    x = model.input((batch, op.c_in, op.h_in, op.w_in))
    for i in range(copies):
        kernel = model.constant(
            weights((op.c_out, op.c_in // op.groups, op.kernel, op.kernel), i + 1)
        )
        bias = model.constant(np.resize(np.roll(TILE, i), op.c_out))
        y = model.add(
            "Conv",
            x,
            kernel,
            bias,
            kernel_shape=[op.kernel] * 2,
            strides=[op.stride] * 2,
            pads=[op.pad] * 4,
            group=op.groups,
        )
        y = model.silu(y) if op.act else y
        # Reads one number a channel and, unlike a slice, takes blocked layouts.
        end = model.add("MaxPool", y, kernel_shape=[1, 1], strides=[op.h, op.w])
        model.output(end, (batch, op.c_out, 1, 1))


def _pool(model: _Model, op: Op, copies: int, batch: int) -> None:
    for _ in range(copies):
        x = model.input((batch, op.c_in, op.h_in, op.w_in))
        y = model.add(
            "MaxPool",
            x,
            kernel_shape=[op.kernel] * 2,
            strides=[op.stride] * 2,
            pads=[op.pad] * 4,
        )
        end = model.add("MaxPool", y, kernel_shape=[1, 1], strides=[op.h, op.w])
        model.output(end, (batch, op.c_out, 1, 1))


def _add(model: _Model, op: Op, copies: int, batch: int) -> None:
    shape = (batch, op.c_in, op.h_in, op.w_in)
    for _ in range(copies):
        model.corner(model.add("Add", model.input(shape), model.input(shape)))


def _concat(model: _Model, op: Op, copies: int, batch: int) -> None:
    each, rest = divmod(op.c_in, op.groups)
    sizes = [each + (i < rest) for i in range(op.groups)]
    for _ in range(copies):
        xs = [model.input((batch, c, op.h, op.w)) for c in sizes]
        model.corner(model.add("Concat", *xs, axis=1))


def _split(model: _Model, op: Op, copies: int, batch: int) -> None:
    each, rest = divmod(op.c_in, op.groups)
    sizes = np.array([each + (i < rest) for i in range(op.groups)], np.int64)
    for _ in range(copies):
        x = model.input((batch, op.c_in, op.h, op.w))
        outputs = model.add("Split", x, model.constant(sizes), outputs=op.groups, axis=1)
        for output in outputs:
            model.corner(output)


def _upsample(model: _Model, op: Op, copies: int, batch: int) -> None:
    scales = model.constant(np.array([1, 1, op.stride, op.stride], np.float32))
    for _ in range(copies):
        x = model.input((batch, op.c_in, op.h_in, op.w_in))
        y = model.add(
            "Resize",
            x,
            "",
            scales,
            mode="nearest",
            nearest_mode="floor",
            coordinate_transformation_mode="asymmetric",
        )
        model.corner(y)


def _average(model: _Model, op: Op, copies: int, batch: int) -> None:
    for _ in range(copies):
        x = model.input((batch, op.c_in, op.h_in, op.w_in))
        model.output(model.add("GlobalAveragePool", x), (batch, op.c_in, 1, 1))


def _transposed(model: _Model, op: Op, copies: int, batch: int) -> None:
    x = model.input((batch, op.c_in, op.h_in, op.w_in))
    for i in range(copies):
        kernel = model.constant(weights((op.c_in, op.c_out, op.kernel, op.kernel), i + 1))
        y = model.add(
            "ConvTranspose", x, kernel, kernel_shape=[op.kernel] * 2, strides=[op.stride] * 2
        )
        model.corner(y)


def _attention(model: _Model, op: Op, copies: int, batch: int) -> None:
    heads, key, pixels = op.groups, op.kernel, op.h * op.w
    head = op.c_out // heads
    shape = model.constant(np.array([batch, heads, 2 * key + head, pixels], np.int64))
    back = model.constant(np.array([batch, op.c_out, op.h, op.w], np.int64))
    scale = model.constant(np.array(key**-0.5, np.float32))
    for _ in range(copies):
        x = model.input((batch, op.c_in, op.h, op.w))
        sizes = model.constant(np.array([key, key, head], np.int64))
        q, k, v = model.add("Split", model.add("Reshape", x, shape), sizes, outputs=3, axis=2)
        scores = model.add("MatMul", model.add("Transpose", q, perm=[0, 1, 3, 2]), k)
        scores = model.add("Softmax", model.add("Mul", scores, scale), axis=-1)
        y = model.add("MatMul", v, model.add("Transpose", scores, perm=[0, 1, 3, 2]))
        model.corner(model.add("Reshape", y, back))


def _decode(model: _Model, op: Op, copies: int, batch: int) -> None:
    """Boxes from distributions over bins, and classes' probabilities, of all anchors."""
    bins, anchors, nc = op.c_in // 4, op.w, op.c_out
    shape = model.constant(np.array([batch, 4, bins, anchors], np.int64))
    flat = model.constant(np.array([batch, 4, anchors], np.int64))
    for i in range(copies):
        boxes, classes = model.input((batch, op.c_in, 1, anchors)), None
        if bins > 1:
            y = model.add("Transpose", model.add("Reshape", boxes, shape), perm=[0, 2, 1, 3])
            kernel = model.constant(np.arange(bins, dtype=np.float32).reshape(1, bins, 1, 1) + i)
            boxes = model.add("Conv", model.add("Softmax", y, axis=1), kernel, kernel_shape=[1, 1])
        y = model.add("Reshape", boxes, flat)
        near, far = model.add(
            "Split", y, model.constant(np.array([2, 2], np.int64)), outputs=2, axis=1
        )
        grid = model.constant(np.resize(TILE, (1, 2, anchors)))
        near, far = model.add("Sub", grid, near), model.add("Add", grid, far)
        half = model.constant(np.array(2.0, np.float32))
        middle = model.add("Div", model.add("Add", near, far), half)
        y = model.add("Concat", middle, model.add("Sub", far, near), axis=1)
        y = model.add("Mul", y, model.constant(np.resize(TILE, (1, anchors)) + 8))
        classes = model.add("Sigmoid", model.input((batch, nc, anchors)))
        model.corner(model.add("Concat", y, classes, axis=1), rank=3)


MAKERS = {
    "conv": _conv,
    "pool": _pool,
    "add": _add,
    "concat": _concat,
    "split": _split,
    "upsample": _upsample,
    "average": _average,
    "transposed": _transposed,
    "attention": _attention,
    "decode": _decode,
}
