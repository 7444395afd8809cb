"""One layer as a torch module, several copies of it side by side; see `cost.latency.onnx_layer`."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional

from yolo_nas_ext.cost.latency.fused_layers import Op
from yolo_nas_ext.cost.latency.probe import Run
from yolo_nas_ext.cost.latency.protocol import Protocol

Layer = Callable[[], object]


def layer_run(op: Op, copies: int, protocol: Protocol) -> Run:
    """Return what runs copies of a layer once.

    Args:
        op: The layer.
        copies: How many; those of a convolution read the same input.
        protocol: Device, precision, threads and batch.
    """
    device = protocol.place
    kind = torch.float16 if protocol.precision == "fp16" else torch.float32
    make = Tensors(protocol.batch, device, kind)
    runs = [MAKERS[op.kind](op, make) for _ in range(copies)]

    @torch.inference_mode()
    def run() -> None:
        for layer in runs:
            layer()
        if device != "cpu":
            torch.cuda.synchronize(device)

    return run


class Tensors:
    """Makes random activations and modules where they are to be.

    Args:
        batch: Images at once.
        device: Of torch.
        kind: Data type.
    """

    def __init__(self, batch: int, device: str, kind: torch.dtype) -> None:
        self.batch = batch
        self._to = {"device": device, "dtype": kind}
        self._known: dict[tuple[int, ...], torch.Tensor] = {}

    def __call__(self, *shape: int) -> torch.Tensor:
        """Return an activation of batch x shape, of one shape always the same."""
        if shape not in self._known:
            self._known[shape] = torch.rand(self.batch, *shape).to(**self._to)
        return self._known[shape]

    def module(self, module: nn.Module) -> nn.Module:
        """Return a module as Ultralytics runs it."""
        return module.to(**self._to).eval()


def _conv(op: Op, make: Tensors) -> Layer:
    x = make(op.c_in, op.h_in, op.w_in)
    conv = make.module(nn.Conv2d(op.c_in, op.c_out, op.kernel, op.stride, op.pad, groups=op.groups))
    return (lambda: functional.silu(conv(x), inplace=True)) if op.act else lambda: conv(x)


def _pool(op: Op, make: Tensors) -> Layer:
    x = make(op.c_in, op.h_in, op.w_in)
    return lambda: functional.max_pool2d(x, op.kernel, op.stride, op.pad)


def _add(op: Op, make: Tensors) -> Layer:
    x = make(op.c_in, op.h_in, op.w_in)
    return lambda: x + x


def _channels(op: Op) -> list[int]:
    each, rest = divmod(op.c_in, op.groups)
    return [each + (i < rest) for i in range(op.groups)]


def _concat(op: Op, make: Tensors) -> Layer:
    xs = [make(c, op.h, op.w) for c in _channels(op)]
    return lambda: torch.cat(xs, 1)


def _split(op: Op, make: Tensors) -> Layer:
    x, sizes = make(op.c_in, op.h, op.w), _channels(op)
    return lambda: x.split(sizes, 1)


def _upsample(op: Op, make: Tensors) -> Layer:
    x = make(op.c_in, op.h_in, op.w_in)
    return lambda: functional.interpolate(x, scale_factor=op.stride, mode="nearest")


def _average(op: Op, make: Tensors) -> Layer:
    x = make(op.c_in, op.h_in, op.w_in)
    return lambda: functional.adaptive_avg_pool2d(x, 1)


def _transposed(op: Op, make: Tensors) -> Layer:
    x = make(op.c_in, op.h_in, op.w_in)
    conv = make.module(nn.ConvTranspose2d(op.c_in, op.c_out, op.kernel, op.stride))
    return lambda: conv(x)


def _attention(op: Op, make: Tensors) -> Layer:
    heads, key, pixels = op.groups, op.kernel, op.h * op.w
    sizes = [key, key, op.c_out // heads]
    x = make(op.c_in, op.h, op.w)

    def run() -> torch.Tensor:
        q, k, v = x.view(-1, heads, sum(sizes), pixels).split(sizes, 2)
        scores = (q.transpose(-2, -1) @ k) * key**-0.5
        y = v @ scores.softmax(-1).transpose(-2, -1)
        return y.reshape(-1, op.c_out, op.h, op.w)

    return run


def _decode(op: Op, make: Tensors) -> Layer:
    """Boxes from distributions over bins, and classes' probabilities, of all anchors."""
    bins, anchors, nc = op.c_in // 4, op.w, op.c_out
    boxes, classes = make(op.c_in, anchors), make(nc, anchors)
    grid, strides = make(2, anchors), make(1, anchors)
    conv = make.module(nn.Conv2d(bins, 1, 1, bias=False))

    def run() -> torch.Tensor:
        y = boxes
        if bins > 1:
            y = conv(y.view(-1, 4, bins, anchors).transpose(2, 1).softmax(1))
        near, far = y.view(-1, 4, anchors).chunk(2, 1)
        near, far = grid - near, grid + far
        y = torch.cat([(near + far) / 2, far - near], 1) * strides
        return torch.cat([y, classes.sigmoid()], 1)

    return run


MAKERS: dict[str, Callable[[Op, Tensors], Layer]] = {
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
