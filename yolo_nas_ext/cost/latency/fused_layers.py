"""The layers of a network as a runtime executes them: batch norms folded, activations fused.

They come from the same `network.modules.MODULES` as the layer table, by another recorder. The
network is as Ultralytics exports it: a re-parameterised convolution is one convolution, and a head
with two branches keeps the one-to-many branch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from yolo_nas_ext.network.architecture import Architecture
from yolo_nas_ext.network.graph import Graph, Tensor
from yolo_nas_ext.network.heads import BOXLESS, HEADS, Kind
from yolo_nas_ext.network.modules import forward, is_legacy
from yolo_nas_ext.network.rows import KEYPOINTS, Row, rows

SIDES = 4  # of a box


class Op(NamedTuple):
    """A layer as it is executed, without its place in the network: equal ones take equal times.

    Attributes:
        kind: ``conv``, ``pool``, ``add``, ``concat``, ``upsample``, ``split``, ``attention``,
            ``average``, ``transposed`` or ``decode`` (of the head: its outputs to boxes).
        c_in: Input channels, of all inputs together.
        c_out: Output channels.
        h_in: Input height in pixels.
        w_in: Input width in pixels.
        h: Output height in pixels.
        w: Output width in pixels.
        kernel: Kernel size in pixels; of attention the channels of a key.
        stride: Stride.
        groups: Groups of a convolution, heads of attention, inputs of a concatenation.
        act: Whether an activation follows.
        pad: Padding in pixels.
    """

    kind: str
    c_in: int
    c_out: int
    h_in: int
    w_in: int
    h: int
    w: int
    kernel: int = 1
    stride: int = 1
    groups: int = 1
    act: bool = False
    pad: int = 0


class Deployed(Graph):
    """Records `Op`s while a module's forward pass is spelled out."""

    exact = True

    def __init__(self, first_id: int = 0) -> None:
        super().__init__(first_id)
        self.ops: list[Op] = []
        self._bare: dict[int, tuple[int, int]] = {}  # storage -> (index, input) of a conv as it is
        self._heads = (1, 1)
        self._scored = False

    def _record(self, kind: str, x: Tensor, y: Tensor, c_in: int = 0, **more: Any) -> Tensor:
        self.ops.append(Op(kind, c_in or x.c, y.c, x.h, x.w, y.h, y.w, **more))
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
        """Convolution with everything behind it that is folded into it."""
        pad = k // 2 if pad is None else pad
        y = self.slid(x, c, k, s, pad)
        self._record("conv", x, y, kernel=k, stride=s, groups=g, act=act, pad=pad)
        if norm and not act:
            self._bare[y.id] = len(self.ops) - 1, x.id
        return y

    def norm(self, x: Tensor) -> Tensor:
        """Batch norm on its own, which costs as an addition."""
        return self._record("add", x, x)

    def act(self, x: Tensor) -> Tensor:
        """Activation; of a convolution that was recorded without, a part of it."""
        if x.id in self._bare:
            index, _ = self._bare.pop(x.id)
            self.ops[index] = self.ops[index]._replace(act=True)
        return x

    def dormant(self, x: Tensor, params: int) -> Tensor:
        """Weights of training alone, which are not executed."""
        return x

    def pool(self, x: Tensor, k: int, s: int = 1, pad: int | None = None) -> Tensor:
        """Pooling."""
        pad = k // 2 if pad is None else pad
        y = self.slid(x, x.c, k, s, pad)
        return self._record("pool", x, y, kernel=k, stride=s, pad=pad)

    def add(self, x: Tensor, y: Tensor) -> Tensor:
        """Elementwise sum; two bare convolutions of one input are one by their kernels' sum."""
        a, b = self._bare.get(x.id), self._bare.get(y.id)
        if a and b and a[1] == b[1] and b[0] == len(self.ops) - 1:
            pair = [self.ops[b[0]], self.ops[a[0]]]
            kept, left = sorted(pair, key=lambda op: -op.kernel)
            if kept.groups == left.groups and (kept.h, kept.w) == (left.h, left.w):
                self.ops[a[0]] = kept
                del self.ops[b[0]]
                del self._bare[y.id]
                return x
        return self._record("add", x, self.tensor(x.c, x.h, x.w))

    def squeeze(self, x: Tensor) -> Tensor:
        """Mean over all pixels."""
        return self.average(x)

    def scale(self, x: Tensor, gate: Tensor) -> Tensor:
        """Product with a number a channel, which costs as an addition."""
        return self._record("add", x, self.tensor(x.c, x.h, x.w))

    def concat(self, xs: Sequence[Tensor]) -> Tensor:
        """Concatenation along the channels."""
        first, c = xs[0], sum(t.c for t in xs)
        y = self.tensor(c, first.h, first.w)
        return self._record("concat", first, y, c, groups=len(xs))

    def transposed(self, x: Tensor, c: int, k: int = 2) -> Tensor:
        """Transposed convolution."""
        y = self.tensor(c, x.h * k, x.w * k)
        return self._record("transposed", x, y, kernel=k, stride=k)

    def average(self, x: Tensor) -> Tensor:
        """Average over all pixels."""
        return self._record("average", x, self.tensor(x.c, 1, 1))

    def split(self, x: Tensor, *sizes: int) -> list[Tensor]:
        """Parts by channels, which exported networks copy."""
        self._record("split", x, x, groups=len(sizes))
        return super().split(x, *sizes)

    def upsample(self, x: Tensor, factor: int = 2) -> Tensor:
        """Nearest-neighbour up-sampling."""
        y = self.tensor(x.c, x.h * factor, x.w * factor)
        return self._record("upsample", x, y, stride=factor)

    def heads(self, x: Tensor, count: int, *sizes: int) -> list[Tensor]:
        """Views of attention heads; what follows is recorded as one `Op` of attention."""
        self._heads = count, sizes[0]
        return super().heads(x, count, *sizes)

    def matmul(self, a: Tensor, b: Tensor, c: int, h: int, w: int, inner: int) -> Tensor:
        """Product of two activations: the second of a pair, values and scores, stands for both."""
        y = self.tensor(c, h, w)
        self._scored = not self._scored
        if not self._scored:
            heads, key = self._heads
            both = c + 2 * heads * key
            self._record("attention", a, y, both, kernel=key, groups=heads)
        return y

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
        """A step of `network.timm_backbones`, folded and fused as layers of blocks are.

        A rectifier is a part of what it follows; other activations are taken for Ultralytics' own.
        """
        x = xs[0]
        if op == "relu" or (op in ("norm", "act") and x.id in self._bare):
            return self.act(x) if op == "act" else x
        self._bare.pop(y.id, None)  # written over by something else than its own norm
        if op == "concat":
            return self.concat(xs)
        made = self.tensor(y.c, y.h, y.w) if y.id < 0 else y
        if op == "conv":
            self._bare[made.id] = len(self.ops), x.id
        if op in ("conv", "pool"):
            return self._record(op, x, made, kernel=kernel, stride=stride, groups=groups, pad=pad)
        if op == "average":
            return self._record(op, x, made)
        return made if op == "dormant" else self._record("add", x, made)

    def decode(self, first: int, xs: Sequence[Tensor], kind: Kind, nc: int) -> None:
        """Replace the fixed convolution over bins, recorded since `first`, by the decoding."""
        anchors = sum(x.h * x.w for x in xs)
        added = self.ops[first:]
        self.ops[first:] = [
            op
            for op in added
            if not (op.kind == "concat" and op.h == 1)
            and (op.c_out, op.h, op.w) != (1, SIDES, anchors)
        ]
        self.ops.append(Op("decode", 4 * kind.reg_max, nc, 1, anchors, 1, anchors, groups=len(xs)))


def deployed(
    architecture: Architecture,
    nc: int = 80,
    imgsz: int = 640,
    channels: int = 3,
    *,
    task: str = "detect",
    keypoints: tuple[int, int] = KEYPOINTS,
) -> list[Op]:
    """Return the layers of an architecture as they are executed; arguments as of `lower`."""
    backbone, rest = rows(architecture, nc, task, keypoints)
    head = architecture.head
    return deployed_rows((*backbone, *rest), reg_max=head.reg_max, imgsz=imgsz, channels=channels)


def deployed_rows(rows: Sequence[Row], *, reg_max: int, imgsz: int, channels: int = 3) -> list[Op]:
    """Return the layers of rows as they are executed; see `network.layers.lower_rows`.

    Raises:
        NASError: For a module without a layer table.
    """
    legacy = is_legacy(rows)
    graph = Deployed(1)
    outputs: list[Tensor] = []
    image = Tensor(0, channels, imgsz, imgsz)
    for source, n, module, args in rows:
        sources = [source] if isinstance(source, int) else source
        xs = tuple(outputs[i] if outputs else image for i in sources)
        outputs.append(run_row(graph, module, n, args, xs, Kind(reg_max, False, legacy)))
    return graph.ops


def run_row(
    graph: Deployed, module: str, n: int, args: tuple[Any, ...], xs: tuple[Tensor, ...], kind: Kind
) -> Tensor:
    """Run one row and return its output, of a head its first input."""
    if module not in HEADS:
        return forward(graph, module, n, args, xs)
    first = len(graph.ops)
    HEADS[module](graph, xs, kind, *args)
    if module not in BOXLESS:
        graph.decode(first, xs, kind, args[0])
    return xs[0]


def count(ops: Sequence[Op]) -> Mapping[Op, int]:
    """Return how often each layer occurs."""
    found: dict[Op, int] = {}
    for op in ops:
        found[op] = found.get(op, 0) + 1
    return found
