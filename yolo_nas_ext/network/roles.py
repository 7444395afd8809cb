"""The purpose of every part of a network and the make-up of its channels, to map weights by.

Two networks are compared by role (the down-sampling of level 4, the box branch of level 3) and not
by row numbers, which shift with every block. Within a role, a convolution that reads a
concatenation has its input channels in parts, one for each input of the concatenation. Parts are
compared with parts. `network.channels` says which channels of one network belong together.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

from yolo_nas_ext.network.architecture import Architecture, Block, Head
from yolo_nas_ext.network.block_rows import ChainRow
from yolo_nas_ext.network.blocks import BLOCKS
from yolo_nas_ext.network.channels import Coupled, Coupling
from yolo_nas_ext.network.graph import Graph, Tensor
from yolo_nas_ext.network.heads import HEADS, Kind
from yolo_nas_ext.network.modules import forward, is_legacy
from yolo_nas_ext.network.neck import places
from yolo_nas_ext.network.rows import Row, Task, head_row, rows

Role = tuple[Any, ...]
# Channels that belong together, or what lies side by side in a concatenation.
Parts = int | tuple["Parts", ...]

CONTEXT = ("sppf", "c2psa")
BRANCHES = ("one-to-many", "one-to-one")
# Tasks whose parts have roles, and what their heads give an anchor beside its box and class.
MORE: dict[str, tuple[str, ...]] = {
    "detect": (),
    "segment": ("mask",),
    "obb": ("angle",),
    "pose": ("keypoints",),
    "classify": (),
}
PROTOTYPES = "prototypes"  # purpose of what masks are put together from
# Purposes of YOLO26's own heads: what brings the levels above the finest one to its prototypes; the
# classes of pixels and how far off keypoints may be, which training alone asks for.
REFINED, PIXELS, SPREAD = "refined", "pixels", "spread"
CLASSIFIER = "classifier"  # purpose of all of a classifier's head
SIDE = 64  # pixels of an activation whose size has no say, but must be divisible


@dataclass(frozen=True, slots=True)
class Convolution:
    """The channels of a convolution.

    Attributes:
        inputs: What it reads; for a depthwise one the same as its outputs.
        outputs: What it writes, in the parts that are split off from it afterwards.
        depthwise: Whether every output reads the input of its own number alone.
        reads: The channels that it reads, by the numbers of `channels.Coupled`; empty where nobody
            asked.
        writes: The channels that it writes.
    """

    inputs: Parts
    outputs: Parts
    depthwise: bool
    reads: tuple[int, ...] = field(default=(), compare=False)
    writes: tuple[int, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a network with one role.

    Attributes:
        role: For example ``("backbone", 4, "down", 0)``: level, purpose, row within the block; or
            ``("head", 3, "box", "one-to-many")``. The head of a classifier is
            one piece, ``("head", 5, "classifier", "one-to-many")``.
        row: Index of the model's row that it is in.
        module: The row's module.
        convolutions: In the order in which Ultralytics runs them.
    """

    role: Role
    row: int
    module: str
    convolutions: tuple[Convolution, ...]


def pieces(architecture: Architecture, task: Task, channels: int = 3) -> list[Piece]:
    """Return the parts of a network that have weights; a backbone of timm is not among them.

    Args:
        architecture: The network.
        task: What it does; a key of `MORE`.
        channels: Channels of the image.
    """
    return _pieces(_Channels(first_id=1), architecture, task, channels)


def coupled(
    architecture: Architecture, task: Task, channels: int = 3
) -> tuple[list[Piece], Coupled]:
    """Return the parts of a network as `pieces` does, and which of its channels go together."""
    coupling = Coupling()
    found = _pieces(_Channels(1, coupling), architecture, task, channels)
    return found, coupling.settled()


def _pieces(graph: _Channels, architecture: Architecture, task: Task, channels: int) -> list[Piece]:
    backbone, rest = rows(architecture, task.nc, task.name, task.keypoints)
    every = [*backbone, *rest]
    named = dict(zip(_rows_with_weights(every[:-1]), _roles(architecture), strict=True))
    side = 2 ** max(architecture.levels)  # sizes have no say, but must be divisible
    outputs: list[Tensor] = []
    found: list[Piece] = []
    for index, (source, n, module, args) in enumerate(every[:-1]):
        sources = [source] if isinstance(source, int) else source
        image = Tensor(0, channels, side, side)
        xs = tuple(outputs[i] if outputs else image for i in sources)
        first = len(graph.convolutions)
        outputs.append(forward(graph, module, n, args, xs))
        if index in named:
            own = tuple(graph.convolutions[first:])
            found.append(Piece(named[index], index, module, own))
    found.extend(_head(architecture, every, outputs, graph, task))
    return [_settled(piece, graph) for piece in found]


def _head(
    architecture: Architecture,
    every: Sequence[Row],
    outputs: Sequence[Tensor],
    graph: _Channels,
    task: Task,
) -> Iterator[Piece]:
    """Yield the branches of the head, level by level."""
    sources, _, module, _ = every[-1]
    xs = [outputs[i] for i in ([sources] if isinstance(sources, int) else sources)]
    for role, own in _branches(graph, architecture.head, xs, is_legacy(every), task):
        yield Piece(role, len(every) - 1, module, own)


def _branches(
    graph: _Channels, head: Head, xs: Sequence[Tensor], legacy: bool, task: Task
) -> Iterator[tuple[Role, tuple[Convolution, ...]]]:
    """Run a head and yield the role and the convolutions of each of its branches."""
    first = len(graph.convolutions)
    module, args = head_row(task, head, xs[0].c)
    HEADS[module](graph, xs, Kind(head.reg_max, head.end2end, legacy), *args)
    found = graph.convolutions[first:]
    finest = ("head", head.levels[0])
    if task.name == "classify":
        yield (*finest, CLASSIFIER, BRANCHES[0]), tuple(found)
        return
    convolutions = iter(found)
    sizes = {"box": 3, "class": 3 if legacy else 5, **dict.fromkeys(MORE[task.name], 3)}
    if head.yolo26 and task.name == "pose":
        sizes[SPREAD] = 1
    for branch in BRANCHES[: 2 if head.end2end else 1]:
        for level in head.levels:
            for purpose, size in sizes.items():
                own = tuple(next(convolutions) for _ in range(size))
                yield ("head", level, purpose, branch), own
    if task.name == "segment" and not head.yolo26:
        yield (*finest, PROTOTYPES, BRANCHES[0]), tuple(found[-4:])
    elif task.name == "segment":
        for level, own in zip(head.levels[:0:-1], found[-9::-1], strict=False):
            yield ("head", level, REFINED, BRANCHES[0]), (own,)
        yield (*finest, PIXELS, BRANCHES[0]), tuple(found[-8:-5])
        yield (*finest, PROTOTYPES, BRANCHES[0]), tuple(found[-5:])


def run_chain(chain: Sequence[ChainRow], inputs: Parts) -> tuple[tuple[Convolution, ...], Parts]:
    """Return the convolutions of rows that follow one another, and the parts of their output.

    Args:
        chain: Rows without their sources.
        inputs: What the first row reads.
    """
    graph, x = _reading([inputs])
    (y,) = x
    for n, module, args in chain:
        y = forward(graph, module, n, args, (y,))
    return tuple(_settle(c, graph) for c in graph.convolutions), graph.of(y)


def run_head(
    head: Head, inputs: Sequence[Parts], legacy: bool, task: Task
) -> dict[Role, tuple[Convolution, ...]]:
    """Return the convolutions of a head by the role of their branch.

    Args:
        head: The head.
        inputs: What it reads at each of its levels.
        legacy: Whether Ultralytics builds its older head.
        task: What it does; a key of `MORE`.
    """
    graph, xs = _reading(inputs)
    found = list(_branches(graph, head, xs, legacy, task))
    return {role: tuple(_settle(c, graph) for c in own) for role, own in found}


def _reading(inputs: Sequence[Parts]) -> tuple[_Channels, list[Tensor]]:
    """Return an empty graph and the activations of known parts that it will read."""
    graph = _Channels(first_id=1)
    xs = [graph.tensor(total(parts), SIDE, SIDE) for parts in inputs]
    graph.parts |= {x.id: parts for x, parts in zip(xs, inputs, strict=True)}
    return graph, xs


def _rows_with_weights(every: Sequence[Row]) -> list[int]:
    bare = ("nn.Upsample", "Concat", "Timm", "Index")
    return [index for index, row in enumerate(every) if row[2] not in bare]


def _roles(architecture: Architecture) -> Iterator[Role]:
    """Yield the roles of the rows with weights in front of the head, in the order of `rows`."""
    level, place = 0, count(1)
    context: Counter[str] = Counter()
    for block in architecture.backbone:
        if block.kind in CONTEXT:
            context[block.kind] += 1
            role: Role = ("context", block.kind, context[block.kind])
        elif block.stride == 2:
            level, place = level + 1, count(1)
            role = ("backbone", level, "down")
        else:
            role = ("backbone", level, "block", next(place))
        yield from _each_row(role, block)
    for spot in places(architecture):
        for source in spot.inputs:
            if isinstance(source.move, Block):
                yield from _each_row((*spot.output, source.purpose), source.move)
        yield from _each_row((*spot.output, "block"), spot.block)


def _each_row(role: Role, block: Block) -> Iterator[Role]:
    return ((*role, index) for index in range(len(BLOCKS[block.kind].rows(block))))


class _Channels(Graph):
    """Follows the make-up of activations, in place of their layers.

    A convolution's inputs and outputs are storage numbers at first, since what is split off from an
    output comes after it; `_settled` puts their parts in.
    """

    def __init__(self, first_id: int, coupling: Coupling | None = None) -> None:
        super().__init__(first_id)
        self.convolutions: list[Convolution] = []
        self.parts: dict[int, Parts] = {}
        self.coupling = coupling  # which supernets, that run chains all the time, do not ask for

    def of(self, x: Tensor) -> Parts:
        """Return what an activation is made of."""
        return self.parts.get(x.id, x.c)

    def _add(self, op: str, xs: Sequence[Tensor], y: Tensor, **more: int) -> Tensor:
        depthwise = more.get("groups", 1) > 1
        reads, writes = self.coupling.add(op, xs, y, depthwise) if self.coupling else ((), ())
        if op == "conv":
            self.parts[y.id] = self.of(xs[0]) if depthwise else y.c
            self.convolutions.append(Convolution(xs[0].id, y.id, depthwise, reads, writes))
            self.parts.setdefault(xs[0].id, xs[0].c)
        elif op == "concat":
            self.parts[y.id] = tuple(self.of(x) for x in xs)
        elif y.id not in self.parts:
            self.parts[y.id] = self.of(xs[0]) if y.c == xs[0].c else y.c
        return y

    def in_training(self, x: Tensor, run: Callable[[Graph, Tensor], object]) -> None:
        """Layers of training, which have weights as others have."""
        run(self, x)

    def split(self, x: Tensor, *sizes: int) -> list[Tensor]:
        """Views, which are the parts of what they are views of."""
        self.parts[x.id] = sizes
        views = [self.tensor(size, x.h, x.w) for size in sizes]
        if self.coupling:
            self.coupling.split(x, views)
        return views

    def heads(self, x: Tensor, count: int, *sizes: int) -> list[Tensor]:
        """Views across the heads; each head is a part with parts of its own."""
        self.parts[x.id] = (sizes,) * count
        views = [self.tensor(count * size, x.h, x.w) for size in sizes]
        self.parts |= {view.id: (size,) * count for view, size in zip(views, sizes, strict=True)}
        if self.coupling:
            self.coupling.heads(x, count, views)
        return views

    def traced(self, op: str, xs: Sequence[Tensor], y: Tensor, **how: Any) -> Tensor:
        """A step of timm's, whose channels stay in their order."""
        made = super().traced(op, xs, y, **how)
        if self.coupling:
            self.coupling.fix(made)
        return made


def _settled(piece: Piece, graph: _Channels) -> Piece:
    """Return the piece with the parts of its convolutions in place of their storage numbers."""
    settled = tuple(_settle(c, graph) for c in piece.convolutions)
    return Piece(piece.role, piece.row, piece.module, settled)


def _settle(convolution: Convolution, graph: _Channels) -> Convolution:
    parts: Any = graph.parts  # the convolution has storage numbers in their place
    inputs, outputs = parts[convolution.inputs], parts[convolution.outputs]
    return replace(convolution, inputs=inputs, outputs=outputs)


def total(parts: Parts) -> int:
    """Return the number of channels."""
    return parts if isinstance(parts, int) else sum(map(total, parts))


def shared(mine: Parts, theirs: Parts) -> list[tuple[int, int]]:
    """Return pairs of channels of two activations in the same role: (mine, theirs).

    Parts go with parts of the same place, and in a part the leading channels. Where only one side
    is made of parts, the leading channels of both go together.
    """
    if isinstance(mine, int) or isinstance(theirs, int):
        return [(i, i) for i in range(min(total(mine), total(theirs)))]
    pairs: list[tuple[int, int]] = []
    here = there = 0
    for a, b in zip(mine, theirs, strict=False):
        pairs += [(here + i, there + j) for i, j in shared(a, b)]
        here, there = here + total(a), there + total(b)
    return pairs
