"""What a block of a user's has to keep: known costs, the sizes asked of it, its own rows alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from yolo_nas_ext.errors import NASError, in_a_line
from yolo_nas_ext.network.architecture import Block
from yolo_nas_ext.network.block_rows import KERNELS, BlockType, ChainRow, round8
from yolo_nas_ext.network.blocks import BLOCKS
from yolo_nas_ext.network.graph import Graph, Tensor
from yolo_nas_ext.network.modules import MODULES, forward

WIDTHS, DEPTHS, EXPANSIONS = (32, 256), (1, 2, 3), (0.5, 0.25, 1.0)
CHANNELS, SIDE = 24, 32  # of the input of a sample; a width of its own shows what copies it
# What makes a block have each of its choices, for messages.
DECLARED = {
    "width": "every block has one",
    "depth": "or give deep=False",
    "hidden": "or give bottleneck=False",
    "kernel": "or give no kernels",
    "stride": "or leave stride=True out",
    "shortcut": "or leave shortcut=True out",
}


def check(kind: str, block: Any, where: str) -> None:
    """Refuse a block that cannot be used; nothing is built.

    Samples of the block, a different one for each of its choices, are run on the layer tables.

    Args:
        kind: Its name.
        block: What the user's file has under that name.
        where: How messages name the file.

    Raises:
        NASError: With the reason in one line.
    """
    if kind in BLOCKS:
        raise NASError(f"{where}: block '{kind}' is in the catalogue already; give another name")
    who = f"{where}: block '{kind}'"
    if not isinstance(block, BlockType):
        raise NASError(f"{who} is a {type(block).__name__}, not a BlockType")
    if odd := [kernel for kernel in block.kernels if kernel not in KERNELS]:
        allowed = ", ".join(map(str, KERNELS))
        raise NASError(f"{who} has kernels {list(block.kernels)}; {odd[0]} is none of {allowed}")
    written = [(sample, _sized(block, sample, who)) for sample in _samples(kind, block)]
    first, *others = written
    for sample, rows in others:
        if rows == first[1]:
            _refuse_same(sample, first[0], who)
    for sample, rows in written:
        _check_read(block, sample, rows, who)
    _check_others(block, who)


def _samples(kind: str, block: BlockType) -> Iterator[Block]:
    """Yield a block, and then others that differ from it in one choice each."""
    kernels = block.kernels or (0,)
    usual, *others = (_hidden(block, WIDTHS[0], expansion) for expansion in EXPANSIONS)
    first = Block(kind, WIDTHS[0], DEPTHS[0], 1, usual, kernels[0])
    yield first
    yield replace(first, width=WIDTHS[1], hidden=_hidden(block, WIDTHS[1], EXPANSIONS[0]))
    for depth in DEPTHS[1:] if block.deep else ():
        yield replace(first, depth=depth)
    for hidden in {*others} - {usual}:
        yield replace(first, hidden=hidden)
    for kernel in kernels[1:]:
        yield replace(first, kernel=kernel)
    if block.shortcut:
        yield replace(first, shortcut=True)
    if block.stride:
        yield replace(first, stride=2)


def _hidden(block: BlockType, width: int, expansion: float) -> int:
    most = block.widest * width
    return block.fit(min(round8(width * expansion), most)) if block.bottleneck else 0


def _sized(block: BlockType, sample: Block, who: str) -> list[ChainRow]:
    """Return the rows of a sample, whose output is as wide and as large as the sample says."""
    try:
        rows = block.rows(sample)
        hash(tuple(rows))
        unknown = sorted({module for _, module, _ in rows} - set(MODULES))
    except Exception as error:
        raise NASError(f"{who} fails on {sample} ({in_a_line(error)})") from error
    if unknown:
        raise NASError(
            f"{who} has rows of {', '.join(unknown)}, whose costs are not known; "
            f"allowed: {', '.join(MODULES)}"
        )
    graph, y = Graph(1), Tensor(0, CHANNELS, SIDE, SIDE)
    for n, module, args in rows:
        try:
            y = forward(graph, module, n, args, (y,))
        except NASError as error:
            raise NASError(f"{who}: {error}") from error
        except Exception as error:
            raise NASError(
                f"{who}: the costs of its row ({n}, {module}, {args}) are not known "
                f"({in_a_line(error)})"
            ) from error
    if y.c != sample.width:
        raise NASError(
            f"{who} has {y.c} channels where its width is {sample.width}; its last row has to give "
            "block.width channels"
        )
    if (y.h, y.w) != (SIDE // sample.stride,) * 2:
        raise NASError(
            f"{who} makes {y.h} x {y.w} of {SIDE} x {SIDE} pixels where its stride is "
            f"{sample.stride}; its rows have to keep the resolution with stride 1 and halve it "
            "with 2"
        )
    return rows


def _refuse_same(sample: Block, first: Block, who: str) -> None:
    """Refuse two samples with the same rows, by the choice in which they differ."""
    name = next(n for n in DECLARED if getattr(sample, n) != getattr(first, n))
    raise NASError(
        f"{who} has the same rows for {name} {getattr(first, name)} and "
        f"{getattr(sample, name)}; use block.{name} in them, {DECLARED[name]}"
    )


def _check_read(block: BlockType, sample: Block, rows: Sequence[ChainRow], who: str) -> None:
    try:
        back = block.read(rows)
    except Exception as error:
        raise NASError(
            f"{who}: read() fails on the rows of {sample} ({in_a_line(error)})"
        ) from error
    if back != (sample, len(rows)):
        raise NASError(f"{who}: read() gives {back} for the rows of {sample}")


def _check_others(block: BlockType, who: str) -> None:
    """Refuse a `read` that takes rows of other blocks, or fails on them.

    Each stands between the down-samplings of YOLO's networks, whose definitions are read with the
    block before any other is.
    """
    down = BLOCKS["conv"].rows(Block("conv", 64, 1, 2, 0, 3))
    for kind, other in BLOCKS.items():
        for sample in _samples(kind, other):
            if kind == "conv" and sample.stride == 1:  # is nowhere in a network by itself
                continue
            chain = [*other.rows(sample), *down]
            for taken, start in (
                (kind, chain),
                ("conv", [*down, *chain]),
                ("conv", [*down, *down, *chain]),  # as networks begin
            ):
                try:
                    found = block.read(start)
                except Exception as error:
                    raise NASError(
                        f"{who}: read() fails on rows that block '{taken}' writes "
                        f"({in_a_line(error)}); it has to return None for rows of another block"
                    ) from error
                if found is not None:
                    raise NASError(
                        f"{who} reads rows that block '{taken}' writes, {start[0]}; its read() has "
                        "to return None for them"
                    )
