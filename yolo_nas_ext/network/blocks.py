"""The catalogue of blocks: what each is in the host's rows, and how it is read back from them.

Adding a block is adding one entry to `BLOCKS`. A block made of host modules that `layers.MODULES`
knows has its layer table for free; another module needs an entry there as well.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from yolo_nas_ext.network.architecture import Block

# One row of a chain: (repeats, module, arguments without the input channels).
ChainRow = tuple[int, str, tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class BlockType:
    """An entry of the catalogue.

    Attributes:
        rows: Host rows of a block.
        read: The block that starts at the first of the given rows and the number of rows it takes,
            or None where the rows are not of this type.
        about: One line for people.
        kernels: Kernel sizes it can have; empty where that is no choice.
        bottleneck: Whether it has a hidden width.
        stride: Whether it can halve the resolution itself.
        deep: Whether it repeats.
        shortcut: Whether its inner shortcuts are optional.
        plugin: Whether the host needs this package to build it.
        fit: Nearest hidden width that the block can be built with.
        widest: Most hidden channels, relative to its width.
    """

    rows: Callable[[Block], list[ChainRow]]
    read: Callable[[Sequence[ChainRow]], tuple[Block, int] | None]
    about: str
    kernels: tuple[int, ...] = ()
    bottleneck: bool = True
    stride: bool = False
    deep: bool = True
    shortcut: bool = False
    plugin: bool = False
    fit: Callable[[int], int] = lambda hidden: hidden
    widest: int = 1


def round8(value: float) -> int:
    """Return the multiple of 8 nearest to `value`, at least 8."""
    return max(8, int(value / 8 + 0.5) * 8)


def hidden_width(kind: str, width: int, expansion: float) -> int:
    """Return the channels of a block's bottleneck for an expansion ratio."""
    most = BLOCKS[kind].widest * max(width, 8)
    return BLOCKS[kind].fit(min(round8(width * expansion), most))


def ratio(hidden: int, width: int) -> float:
    """Return the shortest decimal e for which the host's ``int(width * e)`` is `hidden`."""
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


def _super_rows(first_kernel: Callable[[int], int]) -> Callable[[Block], list[ChainRow]]:
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


def _super_read(kind: str, same: bool) -> Callable[[Sequence[ChainRow]], tuple[Block, int] | None]:
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


def _csp(
    kind: str,
    module: str,
    defaults: tuple[Any, ...],
    *,
    at: int,
    flag: int | None = None,
    fixed: dict[int, Any] | None = None,
    kernel: dict[int, int] | None = None,
) -> dict[str, Any]:
    """Return `rows` and `read` of a one-row block of the host with a hidden width.

    Args:
        kind: Name in the catalogue.
        module: Name of the host's module.
        defaults: The host's defaults of the row's arguments, first the width.
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


def _plain(
    kind: str,
    module: str,
    defaults: tuple[Any, ...],
    args: Callable[[Block], tuple[Any, ...]],
    block: Callable[[int, list[Any]], Block],
) -> dict[str, Any]:
    """Return `rows` and `read` of a one-row block from its arguments and back."""

    def rows(b: Block) -> list[ChainRow]:
        return [(b.depth if module in _DEEP else 1, module, args(b))]

    def read(chain: Sequence[ChainRow]) -> tuple[Block, int] | None:
        if (row := _single(module, chain, defaults)) is None:
            return None
        b = block(*row)
        (n, _, mine), (m, _, theirs) = rows(b)[0], chain[0]
        full = [[*x, *defaults[len(x) :]] for x in (mine, theirs)]
        return (b, 1) if n == m and full[0] == full[1] and b.kind == kind else None

    return {"rows": rows, "read": read}


_DEEP = {"HGBlock", "MBConv"}


def _attention_width(hidden: int) -> int:
    """Return the most channels up to `hidden` that the host's attention heads divide."""
    while hidden % max(hidden // 64, 1):
        hidden -= 8
    return hidden


_C3K2 = (None, False, 0.5, False, 1, True)

BLOCKS: dict[str, BlockType] = {
    "conv": BlockType(
        **_plain(
            "conv",
            "Conv",
            (None, 1, 1),
            lambda b: (b.width, b.kernel, b.stride),
            lambda n, a: Block("conv", a[0], 1, a[2], 0, a[1]),
        ),
        about="convolution",
        kernels=(3, 5, 7, 1),
        bottleneck=False,
        stride=True,
        deep=False,
    ),
    "focus": BlockType(
        **_plain(
            "focus",
            "Conv",
            (None, 1, 1, None),
            # Space to depth and a k x k convolution are one 2k x 2k convolution of stride 2 with
            # its weights in another order. The host counts no FLOPs for a model that begins with
            # Focus.
            lambda b: (b.width, 2 * b.kernel, 2, 2 * (b.kernel // 2)),
            lambda n, a: Block("focus", a[0], 1, 2, 0, a[1] // 2),
        ),
        about="space to depth and convolution, as one strided convolution",
        kernels=(3, 1, 5),
        bottleneck=False,
        stride=True,
        deep=False,
    ),
    "scdown": BlockType(
        **_plain(
            "scdown",
            "SCDown",
            (None, None, None),
            lambda b: (b.width, b.kernel, b.stride),
            lambda n, a: Block("scdown", a[0], 1, a[2], 0, a[1]),
        ),
        about="1x1, then depthwise down-sampling (YOLOv10)",
        kernels=(3, 5, 7),
        bottleneck=False,
        stride=True,
        deep=False,
    ),
    "adown": BlockType(
        **_plain(
            "adown", "ADown", (None,), lambda b: (b.width,), lambda n, a: Block("adown", a[0], 1, 2)
        ),
        about="average, then half convolved and half max-pooled (YOLOv9)",
        bottleneck=False,
        stride=True,
        deep=False,
    ),
    "aconv": BlockType(
        **_plain(
            "aconv", "AConv", (None,), lambda b: (b.width,), lambda n, a: Block("aconv", a[0], 1, 2)
        ),
        about="average, then convolution (YOLOv9)",
        bottleneck=False,
        stride=True,
        deep=False,
    ),
    "k1kx": BlockType(
        rows=_super_rows(lambda k: 1),
        read=_super_read("k1kx", False),
        about="DAMO super-block: 1x1 then kxk, repeats residual",
        kernels=(3, 5, 7),
        stride=True,
    ),
    "kxkx": BlockType(
        rows=_super_rows(lambda k: k),
        read=_super_read("kxkx", True),
        about="DAMO super-block: kxk then kxk, repeats residual",
        kernels=(3, 5, 7),
        stride=True,
    ),
    "c2f": BlockType(
        **_csp("c2f", "C2f", (None, False, 1, 0.5), at=3, flag=1),
        about="YOLOv8's cross-stage block",
        shortcut=True,
    ),
    "c3k2": BlockType(**_csp("c3k2", "C3k2", _C3K2, at=2), about="YOLO11's block with bottlenecks"),
    "c3k2_c3k": BlockType(
        **_csp("c3k2_c3k", "C3k2", _C3K2, at=2, fixed={1: True}),
        about="YOLO11's block with C3k inside",
    ),
    "c3k2_attn": BlockType(
        **_csp("c3k2_attn", "C3k2", _C3K2, at=2, fixed={1: True, 3: True}),
        about="YOLO26's block with attention inside",
        fit=_attention_width,
    ),
    "c3": BlockType(
        **_csp("c3", "C3", (None, True, 1, 0.5), at=3, flag=1),
        about="YOLOv5's cross-stage block",
        shortcut=True,
    ),
    "repc3": BlockType(
        **_csp("repc3", "RepC3", (None, 1.0), at=1),
        about="RT-DETR's block of re-parameterised convolutions",
    ),
    "elan": BlockType(
        **_plain(
            "elan",
            "RepNCSPELAN4",
            (None, None, None, 1),
            lambda b: (b.width, 2 * b.hidden, b.hidden, b.depth),
            lambda n, a: Block("elan", a[0], a[3], 1, a[2]),
        ),
        about="YOLOv9's aggregation block",
    ),
    "c2fcib": BlockType(
        **_csp("c2fcib", "C2fCIB", (None, False, False, 1, 0.5), at=4, flag=1, kernel={2: 7}),
        about="YOLOv10's compact inverted block; kernel 7 is its large-kernel form",
        kernels=(3, 7),
        shortcut=True,
    ),
    "hgblock": BlockType(
        **_plain(
            "hgblock",
            "HGBlock",
            (None, None, 3, False, False),
            lambda b: (b.hidden, b.width, b.kernel, False, b.shortcut),
            lambda n, a: Block("hgblock", a[1], n, 1, a[0], a[2], a[4]),
        ),
        about="RT-DETR's HG block: every convolution's output joined",
        kernels=(3, 5, 7),
        shortcut=True,
    ),
    "ghost": BlockType(
        **_csp("ghost", "C3Ghost", (None, True, 1, 0.5), at=3), about="C3 of ghost bottlenecks"
    ),
    "mbconv": BlockType(
        **_plain(
            "mbconv",
            "MBConv",
            (None, None, None, None),
            lambda b: (b.width, b.kernel, b.stride, b.hidden),
            lambda n, a: Block("mbconv", a[0], n, a[2], a[3], a[1]),
        ),
        about="EfficientNet's inverted bottleneck with squeeze and excitation",
        kernels=(3, 5, 7),
        stride=True,
        plugin=True,
        widest=8,
    ),
    "sppf": BlockType(
        **_plain(
            "sppf",
            "SPPF",
            (None, 5, 3, False),
            lambda b: (b.width, b.kernel, 3, True) if b.shortcut else (b.width, b.kernel),
            lambda n, a: Block("sppf", a[0], 1, 1, 0, a[1], a[3]),
        ),
        about="spatial pyramid pooling",
        kernels=(5, 3, 7),
        bottleneck=False,
        deep=False,
        shortcut=True,
    ),
    "c2psa": BlockType(
        **_csp("c2psa", "C2PSA", (None, 0.5), at=1),
        about="YOLO11's position-sensitive attention",
        fit=_attention_width,
    ),
}


def read_chain(rows: Sequence[ChainRow]) -> tuple[list[tuple[Block, int]], int]:
    """Return the blocks that a chain of rows is made of.

    Returns:
        (block, index of its last row) in order, and the number of rows understood: less than
        ``len(rows)`` where a row is of no block in the catalogue.
    """
    blocks: list[tuple[Block, int]] = []
    at = 0
    while at < len(rows):
        for kind in BLOCKS:
            if kind == "conv" and rows[at][1] == "Conv" and _is_super(rows[at:]):
                continue
            if found := BLOCKS[kind].read(rows[at:]):
                block, used = found
                at += used
                blocks.append((block, at - 1))
                break
        else:
            break
    return blocks, at


def _is_super(rows: Sequence[ChainRow]) -> bool:
    return BLOCKS["k1kx"].read(rows) is not None or BLOCKS["kxkx"].read(rows) is not None
