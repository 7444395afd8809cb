"""A type of block, and the ways in which a block is written as rows and read back from them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from yolo_nas_ext.network.architecture import Block

# One row of a chain: (repeats, module, arguments without the input channels).
ChainRow = tuple[int, str, tuple[Any, ...]]
Write = Callable[[Block], list[ChainRow]]
# The block that rows begin with and how many rows it takes; None where they are of another type.
Read = Callable[[Sequence[ChainRow]], tuple[Block, int] | None]

KERNELS = (1, 3, 5, 7)  # sizes in pixels that a choice of kernels can have


@dataclass(frozen=True, slots=True)
class BlockType:
    """An entry of the catalogue.

    Attributes:
        rows: Returns the rows of a block.
        read: Returns the block that the given rows begin with and the number of rows it takes; None
            where the rows are of another type.
        about: One line for people.
        kernels: Kernel sizes it can have; empty where that is no choice.
        bottleneck: Whether it has a hidden width.
        stride: Whether it can halve the resolution itself.
        deep: Whether it repeats.
        shortcut: Whether its inner shortcuts are optional.
        plugin: Whether Ultralytics needs this package to build it.
        fit: Nearest hidden width that the block can be built with.
        heads: Attention heads of a hidden width, which share it evenly; None without attention.
        widest: Most hidden channels, relative to its width.
    """

    rows: Write
    read: Read
    about: str
    kernels: tuple[int, ...] = ()
    bottleneck: bool = True
    stride: bool = False
    deep: bool = True
    shortcut: bool = False
    plugin: bool = False
    fit: Callable[[int], int] = lambda hidden: hidden
    heads: Callable[[int], int] | None = None
    widest: int = 1


def round8(value: float) -> int:
    """Return the multiple of 8 nearest to `value`, at least 8."""
    return max(8, int(value / 8 + 0.5) * 8)


def ratio(hidden: int, width: int) -> float:
    """Return the shortest decimal e for which Ultralytics' ``int(width * e)`` is `hidden`."""
    for digits in range(1, 7):
        for nudge in (0.0, 0.5):
            e = round((hidden + nudge) / width, digits)
            if int(width * e) == hidden:
                return e
    raise AssertionError(f"no ratio for {hidden} of {width}")


def _single(
    module: str, rows: Sequence[ChainRow], defaults: tuple[Any, ...]
) -> tuple[int, list[Any]] | None:
    """Return repeats and arguments, filled up with defaults, of a first row that is this module."""
    n, name, args = rows[0]
    if name != module or len(args) > len(defaults):
        return None
    return n, [*args, *defaults[len(args) :]]


# DAMO-YOLO's super-blocks (Xu et al. 2022), convolution for convolution.


def super_block_rows(first_kernel: Callable[[int], int]) -> Write:
    """Return how a super-block is written, by the first kernel size for that of the second."""

    def rows(block: Block) -> list[ChainRow]:
        k, c = block.kernel, block.width
        chain: list[ChainRow] = [
            (1, "Conv", (block.hidden, first_kernel(k), 1)),
            (1, "Conv", (c, k, block.stride)),
        ]
        if block.depth > 1:
            e = ratio(block.hidden, c)
            chain.append((block.depth - 1, "Bottleneck", (c, True, 1, (first_kernel(k), k), e)))
        return chain

    return rows


def read_super_block(kind: str, same: bool) -> Read:
    """Return how a super-block is read; `same` if its two kernels have one size."""

    def read(rows: Sequence[ChainRow]) -> tuple[Block, int] | None:
        if len(rows) < 2 or rows[0][1] != "Conv" or rows[1][1] != "Conv":
            return None
        first, second = (_single("Conv", rows[i:], (None, 1, 1)) for i in (0, 1))
        if first is None or second is None or first[1][2] != 1 or first[0] != 1 or second[0] != 1:
            return None
        (hidden, k1, _), (width, k2, stride) = first[1], second[1]
        if k2 == 1 or k1 != (k2 if same else 1):
            return None
        used, depth = 2, 1
        if len(rows) > 2 and (
            more := _single("Bottleneck", rows[2:], (None, True, 1, (3, 3), 0.5))
        ):
            n, (c, shortcut, groups, kernels, e) = more
            if (c, shortcut, groups, tuple(kernels)) == (width, True, 1, (k1, k2)) and int(
                c * e
            ) == hidden:
                used, depth = 3, 1 + n
        return Block(kind, width, depth, stride, hidden, k2), used

    return read


def with_hidden_width(
    kind: str,
    module: str,
    defaults: tuple[Any, ...],
    *,
    at: int,
    flag: int | None = None,
    fixed: dict[int, Any] | None = None,
    kernel: dict[int, int] | None = None,
) -> dict[str, Any]:
    """Return `rows` and `read` of a one-row block of Ultralytics with a hidden width.

    Args:
        kind: Name in the catalogue.
        module: Name of Ultralytics' module.
        defaults: Ultralytics' defaults of the row's arguments, first the width.
        at: Position of the expansion.
        flag: Position of the shortcut.
        fixed: Values by position that make the kind.
        kernel: Position to (kernel size if true); the size is 3 otherwise.
    """
    fixed, kernel = fixed or {}, kernel or {}

    def rows(block: Block) -> list[ChainRow]:
        args = list(defaults)
        args[0], args[at] = block.width, ratio(block.hidden, block.width)
        for position, value in fixed.items():
            args[position] = value
        for position, size in kernel.items():
            args[position] = block.kernel == size
        if flag is not None:
            args[flag] = block.shortcut
        while len(args) > 1 and args[-1] == defaults[len(args) - 1]:
            args.pop()
        return [(block.depth, module, tuple(args))]

    def read(chain: Sequence[ChainRow]) -> tuple[Block, int] | None:
        if (row := _single(module, chain, defaults)) is None:
            return None
        n, args = row
        width = args[0]
        size = next((kernel[p] if args[p] else 3 for p in kernel), 0)
        shortcut = bool(args[flag]) if flag is not None else False
        block = Block(kind, width, n, 1, int(width * args[at]), size, shortcut)
        return (block, 1) if same_rows(rows(block), chain[:1], defaults) else None

    return {"rows": rows, "read": read}


def same_rows(
    mine: Sequence[ChainRow], theirs: Sequence[ChainRow], defaults: tuple[Any, ...]
) -> bool:
    """Say whether two one-row chains build the same, with the expansion compared by its effect."""
    (n, module, args), (m, name, others) = mine[0], theirs[0]
    if (n, module) != (m, name):
        return False
    a = [*args, *defaults[len(args) :]]
    b = [*others, *defaults[len(others) :]]
    width = a[0]
    return all(
        int(width * x) == int(width * y)
        if isinstance(x, float) and isinstance(y, (int, float))
        else x == y
        for x, y in zip(a, b, strict=True)
    )


DEEP = {"HGBlock", "MBConv"}  # modules made by `one_row` whose rows repeat


def one_row(
    kind: str,
    module: str,
    defaults: tuple[Any, ...],
    args: Callable[[Block], tuple[Any, ...]],
    block: Callable[[int, list[Any]], Block],
) -> dict[str, Any]:
    """Return `rows` and `read` of a one-row block from its arguments and back."""

    def rows(b: Block) -> list[ChainRow]:
        return [(b.depth if module in DEEP else 1, module, args(b))]

    def read(chain: Sequence[ChainRow]) -> tuple[Block, int] | None:
        if (row := _single(module, chain, defaults)) is None:
            return None
        b = block(*row)
        (n, _, mine), (m, _, theirs) = rows(b)[0], chain[0]
        full = [[*x, *defaults[len(x) :]] for x in (mine, theirs)]
        return (b, 1) if n == m and full[0] == full[1] and b.kind == kind else None

    return {"rows": rows, "read": read}
