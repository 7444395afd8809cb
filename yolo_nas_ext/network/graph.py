"""Layers as they are recorded while a module's forward pass is spelled out."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple


class Tensor(NamedTuple):
    """An activation: the storage it lies in, channels, height and width."""

    id: int
    c: int
    h: int
    w: int

    @property
    def size(self) -> int:
        """Number of elements."""
        return self.c * self.h * self.w


class Bundle(Tensor):
    """Several activations that a row gives, for rows ``Index`` to pick from; of no size itself."""

    parts: tuple[Tensor, ...]

    @classmethod
    def of(cls, parts: Sequence[Tensor]) -> Bundle:
        """Return a bundle."""
        made = cls(-1, 0, 0, 0)
        made.parts = tuple(parts)
        return made


@dataclass(frozen=True, slots=True)
class Layer:
    """One operation.

    Attributes:
        op: ``conv``, ``norm``, ``act``, ``pool``, ``add``, ``scale``, ``concat``, ``upsample``,
            ``matmul``, ``dormant`` for weights that only training uses, or ``other``, of backbones
            of timm.
        c_in: Input channels.
        c_out: Output channels.
        h_in: Input height in pixels.
        w_in: Input width in pixels.
        h: Output height in pixels.
        w: Output width in pixels.
        kernel: Kernel size in pixels; 1 where there is none.
        stride: Stride.
        groups: Groups of a convolution.
        params: Weights and biases, trained or not, as Ultralytics counts them.
        ops: Multiply-adds as Ultralytics counts them (4 an element for batch norm, 0 for pooling).
        reads: Storages it reads.
        writes: Storage it writes; shapes of in-place operations repeat the storage they read.
        size: Elements of the storage it writes.
    """

    op: str
    c_in: int
    c_out: int
    h_in: int
    w_in: int
    h: int
    w: int
    kernel: int
    stride: int
    groups: int
    params: int
    ops: int
    reads: tuple[int, ...]
    writes: int
    size: int


class Graph:
    """Records layers while a module's forward pass is spelled out on `Tensor` values.

    Attributes:
        exact: Whether it takes only layers whose sizes say all of them.
        next_id: Storage of the next new activation.
    """

    exact = False

    def __init__(self, first_id: int = 0) -> None:
        self.layers: list[Layer] = []
        self.next_id = first_id

    def tensor(self, c: int, h: int, w: int) -> Tensor:
        """Return a new activation."""
        self.next_id += 1
        return Tensor(self.next_id - 1, c, h, w)

    def slid(self, x: Tensor, c: int, k: int, s: int, pad: int | None = None) -> Tensor:
        """Return a new activation as large as a sliding window leaves; padded by half of it."""
        pad = k // 2 if pad is None else pad
        return self.tensor(c, (x.h + 2 * pad - k) // s + 1, (x.w + 2 * pad - k) // s + 1)

    def dormant(self, x: Tensor, params: int) -> Tensor:
        """Weights that read `x` in training alone: they count, and nothing is computed."""
        return self._add("dormant", [x], x, params=params)

    def in_training(self, x: Tensor, run: Callable[[Graph, Tensor], object]) -> None:
        """Layers that read `x` in training alone, which `run` spells out: they are dormant."""
        own = Graph()
        run(own, x)
        self.dormant(x, sum(layer.params for layer in own.layers))

    def _add(self, op: str, xs: Sequence[Tensor], y: Tensor, **more: int) -> Tensor:
        x = xs[0]
        values = {"kernel": 1, "stride": 1, "groups": 1, "params": 0, "ops": 0, **more}
        c_in = sum(t.c for t in xs) if op == "concat" else x.c
        self.layers.append(
            Layer(
                op,
                c_in,
                y.c,
                x.h,
                x.w,
                y.h,
                y.w,
                **values,
                reads=tuple(t.id for t in xs),
                writes=y.id,
                size=y.size,
            )
        )
        return y

    def conv(
        self,
        x: Tensor,
        c: int,
        k: int = 1,
        s: int = 1,
        g: int = 1,
        *,
        norm: bool = True,
        act: bool = True,
        bias: bool = False,
        pad: int | None = None,
    ) -> Tensor:
        """Convolution, with the norm and activation of the module `Conv` unless told otherwise."""
        y = self.slid(x, c, k, s, pad)
        weights = c * (x.c // g) * k * k
        self._add(
            "conv",
            [x],
            y,
            kernel=k,
            stride=s,
            groups=g,
            params=weights + (c if bias else 0),
            ops=weights * y.h * y.w,
        )
        if norm:
            self._add("norm", [y], y, params=2 * c, ops=4 * y.size)
        if act:
            self._add("act", [y], y)
        return y

    def norm(self, x: Tensor) -> Tensor:
        """Batch norm in place."""
        return self._add("norm", [x], x, params=2 * x.c, ops=4 * x.size)

    def act(self, x: Tensor) -> Tensor:
        """Activation in place."""
        return self._add("act", [x], x)

    def pool(self, x: Tensor, k: int, s: int = 1, pad: int | None = None) -> Tensor:
        """Max or average pooling; Ultralytics counts no FLOPs for it."""
        return self._add("pool", [x], self.slid(x, x.c, k, s, pad), kernel=k, stride=s)

    def add(self, x: Tensor, y: Tensor) -> Tensor:
        """Elementwise sum."""
        return self._add("add", [x, y], self.tensor(x.c, x.h, x.w))

    def squeeze(self, x: Tensor) -> Tensor:
        """Mean over all pixels, for which Ultralytics counts no FLOPs."""
        return self._add("pool", [x], self.tensor(x.c, 1, 1))

    def scale(self, x: Tensor, gate: Tensor) -> Tensor:
        """Product with a number a channel."""
        return self._add("scale", [x, gate], self.tensor(x.c, x.h, x.w))

    def concat(self, xs: Sequence[Tensor]) -> Tensor:
        """Concatenation along the channels."""
        first = xs[0]
        return self._add("concat", xs, self.tensor(sum(t.c for t in xs), first.h, first.w))

    def transposed(self, x: Tensor, c: int, k: int = 2) -> Tensor:
        """Transposed convolution with a bias that enlarges k times."""
        y = self.tensor(c, x.h * k, x.w * k)
        weights = c * x.c * k * k
        return self._add("conv", [x], y, kernel=k, params=weights + c, ops=weights * x.h * x.w)

    def average(self, x: Tensor) -> Tensor:
        """Average over all pixels."""
        y = self.tensor(x.c, 1, 1)
        return self._add("pool", [x], y, ops=x.c * (x.h * x.w + 1))

    def split(self, x: Tensor, *sizes: int) -> list[Tensor]:
        """Views of `sizes` channels each; they share the storage."""
        return [x._replace(c=size) for size in sizes]

    def heads(self, x: Tensor, count: int, *sizes: int) -> list[Tensor]:
        """Views of `sizes` channels in each of `count` attention heads, which lie side by side."""
        return [x._replace(c=count * size) for size in sizes]

    def upsample(self, x: Tensor, factor: int = 2) -> Tensor:
        """Nearest-neighbour up-sampling."""
        return self._add("upsample", [x], self.tensor(x.c, x.h * factor, x.w * factor))

    def matmul(self, a: Tensor, b: Tensor, c: int, h: int, w: int, inner: int) -> Tensor:
        """Product of two activations with `inner` terms a result, as a tensor of c x h x w."""
        y = self.tensor(c, h, w)
        return self._add("matmul", [a, b], y, ops=y.size * inner)

    def traced(
        self,
        op: str,
        xs: Sequence[Tensor],
        y: Tensor,
        *,
        kernel: int,
        stride: int,
        groups: int,
        pad: int,
        params: int,
        ops: int,
    ) -> Tensor:
        """A step of `timm_backbones.Trace`; `y` has the storage -1 where it is a new activation."""
        made = self.tensor(y.c, y.h, y.w) if y.id < 0 else y
        return self._add(
            {"relu": "act", "average": "pool"}.get(op, op),
            xs,
            made,
            kernel=kernel,
            stride=stride,
            groups=groups,
            params=params,
            ops=ops,
        )


def longest_paths(layers: Sequence[Layer]) -> dict[int, tuple[int, ...]]:
    """Return the fan-ins of the convolutions on the longest path to every storage.

    Args:
        layers: Operations in order of execution.
    """
    path: dict[int, tuple[int, ...]] = {}
    for layer in layers:
        reads = layer.reads[:1] if layer.op == "scale" else layer.reads  # a gate is no path
        came = max((path.get(i, ()) for i in reads), key=lambda p: (len(p), math.prod(p)))
        if layer.op == "conv":
            came = (*came, layer.c_in // layer.groups * layer.kernel**2)
        path[layer.writes] = came
    return path
