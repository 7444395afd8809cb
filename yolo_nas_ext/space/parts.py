"""A given network taken apart: its blocks by their place, and the sizes that each may have."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, product
from typing import Any

from yolo_nas_ext.network.architecture import Architecture, Block
from yolo_nas_ext.network.block_rows import round8
from yolo_nas_ext.network.blocks import BLOCKS
from yolo_nas_ext.network.rows import FINEST
from yolo_nas_ext.space.schema import CONTEXTS

# Options of a width, relative to the parent's.
FACTORS = (0.5, 0.625, 0.75, 0.875, 1, 1.25, 1.5)
LOWEST = 2  # level below which none is added
CONTEXT = {kind for blocks in CONTEXTS.values() for kind, _ in blocks}
Levels = tuple[tuple[int, ...], tuple[int, ...]]  # the neck's and the head's


@dataclass(frozen=True, slots=True)
class Part:
    """A block of the parent in its place, and the names of its choices.

    Attributes:
        block: As the parent has it.
        level: Of a backbone's block, the level that it is at.
        width: Name of the choice of its width; empty where it is as wide as what it reads.
        hidden: Name of the choice of its hidden width; empty where it has none.
        depth: Name of the choice of its repeats; empty where it has none.
    """

    block: Block
    level: int = 0
    width: str = ""
    hidden: str = ""
    depth: str = ""

    @classmethod
    def of(cls, block: Block, name: str, level: int = 0, *, tied: bool = False) -> Part:
        """Return a block's part.

        Args:
            block: The block.
            name: What the names of its choices begin with.
            level: See the class.
            tied: Whether it is as wide as what it reads.
        """
        return cls(
            block,
            level,
            "" if tied else f"{name}.width",
            f"{name}.hidden" if block.hidden else "",
            f"{name}.depth" if BLOCKS[block.kind].deep else "",
        )

    @property
    def names(self) -> tuple[str, ...]:
        """Names of its choices."""
        return tuple(filter(None, (self.width, self.hidden, self.depth)))

    def choices(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Yield the names of its choices and their options, the parent's first."""
        block = self.block
        if self.width:
            yield self.width, _near(block.width)
        if self.hidden:
            yield self.hidden, _whole(block) if BLOCKS[block.kind].heads else _near(block.hidden)
        if self.depth:
            near = (block.depth - 1, block.depth + 1)
            yield self.depth, (block.depth, *(depth for depth in near if depth >= 1))

    def values(self, block: Block) -> Iterator[tuple[str, int]]:
        """Yield the names of its choices and what a block has of each."""
        for name, value in (
            (self.width, block.width),
            (self.hidden, block.hidden),
            (self.depth, block.depth),
        ):
            if name:
                yield name, value

    def made(self, point: Mapping[str, Any], c_in: int = 0) -> Block:
        """Return the block of a point, behind `c_in` channels."""
        block = self.block
        return Block(
            block.kind,
            point[self.width] if self.width else c_in,
            point[self.depth] if self.depth else block.depth,
            block.stride,
            point[self.hidden] if self.hidden else block.hidden,
            block.kernel,
            block.shortcut,
        )


def _near(width: int) -> tuple[int, ...]:
    """Return a width and its other options, in multiples of 8."""
    return (width, *sorted({round8(width * factor) for factor in FACTORS} - {width}))


def _whole(block: Block) -> tuple[int, ...]:
    """Return a hidden width and the others that are whole attention heads of the same size."""
    others = {whole_heads(block, factor) for factor in FACTORS} - {block.hidden}
    return (block.hidden, *sorted(others))


def whole_heads(block: Block, factor: float) -> int:
    """Return the most channels in whole attention heads of a block's, up to a factor of its own.

    A head is the least. The block's own are returned where Ultralytics would divide the channels
    into heads of another size.
    """
    heads = BLOCKS[block.kind].heads
    assert heads
    own = heads(block.hidden)
    count = max(int(own * factor), 1)
    hidden = block.hidden // own * count
    return hidden if heads(hidden) == count else block.hidden


@dataclass(frozen=True, slots=True)
class Parts:
    """A network taken apart.

    Attributes:
        backbone: Stem and stages in order.
        context: What stands between the last stage and the neck, in order.
        contexts: For each option of `context` the places of what is kept of it; all of it first.
        down: By level, the blocks of the neck's top-down path.
        halving: By level, the blocks that lead up to it in the bottom-up path.
        up: By level, the blocks of the bottom-up path.
        levels: For each option of `levels` those of neck and head; the network's own first.
    """

    backbone: tuple[Part, ...]
    context: tuple[Part, ...]
    contexts: dict[str, tuple[int, ...]]
    down: dict[int, Part]
    halving: dict[int, Part]
    up: dict[int, Part]
    levels: dict[str, Levels]

    def __iter__(self) -> Iterator[Part]:
        """Yield all parts, the backbone's first and then the neck's."""
        yield from self.backbone
        yield from self.context
        for level in sorted(self.down, reverse=True):
            yield self.down[level]
        for level in sorted(self.up):
            yield self.halving[level]
            yield self.up[level]


def taken_apart(architecture: Architecture, task: str) -> Parts:
    """Return the parts of a network of blocks that does a task.

    Where the task lets the head read a level more below the lowest, the parts that it takes are
    those of the lowest: the block of its top-down path twice, on the way down and up.
    """
    backbone, context = _backbone(architecture.backbone)
    blocks = [part.block for part in context]
    contexts = {_said(blocks, kept): kept for kept in _subsets(len(blocks))}
    neck = architecture.neck
    ways = neck.levels if neck.kind == "gfpn" else neck.levels[:-1]
    down = dict(zip(reversed(ways), neck.down, strict=True))
    up = dict(zip(neck.levels[1:], neck.up, strict=False))
    levels = _levels(architecture, task)
    lowest = neck.levels[0]
    if lowest in down and any(joined[0] < lowest for joined, _ in levels.values()):
        down[lowest - 1] = down[lowest]
        halving = up[lowest + 1][0] if lowest + 1 in up else Block("conv", 0, 1, 2, 0, 3)
        up[lowest] = replace(halving, width=down[lowest].width), down[lowest]
    return Parts(
        backbone,
        context,
        contexts,
        {level: Part.of(block, f"neck.down.p{level}") for level, block in down.items()},
        {n: Part(halve, width=f"neck.up.p{n}.down_width") for n, (halve, _) in up.items()},
        {level: Part.of(block, f"neck.up.p{level}") for level, (_, block) in up.items()},
        levels,
    )


def _backbone(blocks: Sequence[Block]) -> tuple[tuple[Part, ...], tuple[Part, ...]]:
    """Return the parts of stem and stages, and those of the context behind them."""
    end = len(blocks)
    while end > 1 and blocks[end - 1].kind in CONTEXT:
        end -= 1
    parts: list[Part] = []
    level, at_level, seen = 0, 0, Counter()
    for index, block in enumerate(blocks):
        if block.stride == 2:
            level, at_level = level + 1, 0
        below = blocks[index - 1].width if index else 0
        if block.kind in CONTEXT:
            seen[block.kind] += 1
            name = block.kind + (str(seen[block.kind]) if seen[block.kind] > 1 else "")
            # C2PSA has no width of its own.
            tied = block.kind == "c2psa" or block.width == below
            parts.append(Part.of(block, name, level, tied=tied))
        elif index == 0:
            parts.append(Part.of(block, "stem", level))
        elif _leads_in(blocks[index : index + 2]):
            parts.append(Part(block, level, f"p{level}.down_width"))
        else:
            name = f"p{level}{chr(ord('a') + at_level) if at_level else ''}"  # p4, p4b, p4c
            parts.append(Part.of(block, name, level))
            at_level += 1
    return tuple(parts[:end]), tuple(parts[end:])


def _leads_in(blocks: Sequence[Block]) -> bool:
    """Say whether the first block only halves the resolution for the second, of the same level."""
    first, *more = blocks
    alone = first.stride == 2 and not BLOCKS[first.kind].bottleneck
    return alone and bool(more) and more[0].stride == 1 and more[0].kind not in CONTEXT


def _subsets(count: int) -> Iterator[tuple[int, ...]]:
    """Yield all selections of so many things, the largest first."""
    for size in range(count, -1, -1):
        yield from combinations(range(count), size)


def _said(context: Sequence[Block], kept: Sequence[int]) -> str:
    """Return how a space calls what is kept of a context."""
    kinds = [context[i].kind + "_add" * context[i].shortcut for i in kept]
    return "+".join(kinds) or "none"


def _levels(architecture: Architecture, task: str) -> dict[str, Levels]:
    """Return the options of the levels: the network's, one less above, one more below."""
    joined, read = architecture.neck.levels, architecture.head.levels
    tops = (joined[-1], joined[-1] - 1)
    if task == "classify":  # which reads the highest and joins none
        return {f"{t}-{t}": ((t,), (t,)) for t in tops if t in architecture.levels}
    lows = [(joined[0], read[0])]
    below = read[0] - 1
    new = joined[0] > below
    floor = FINEST if task in ("segment", "semantic") else LOWEST
    if below >= floor and (not new or (below in architecture.levels and architecture.neck.down)):
        lows.append((min(joined[0], below), below))
    found: dict[str, Levels] = {}
    for (low, lowest), top in product(lows, tops):
        neck, head = range(low, top + 1), range(lowest, min(read[-1], top) + 1)
        if neck and head:
            text = f"{low}-{top}" + (f":{head[0]}-{head[-1]}" if neck != head else "")
            found[text] = tuple(neck), tuple(head)
    return found
