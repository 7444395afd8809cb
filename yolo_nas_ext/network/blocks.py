"""The catalogue of blocks: each one's rows in Ultralytics, and how it is read back from them.

Adding a block is adding one entry to `BLOCKS`. A block of modules that `network.modules.MODULES`
knows has its layer table for free; another module needs an entry there as well.
"""

from __future__ import annotations

from collections.abc import Sequence

from yolo_nas_ext.network.architecture import Block
from yolo_nas_ext.network.block_rows import (
    BlockType,
    ChainRow,
    one_row,
    read_super_block,
    round8,
    super_block_rows,
    with_hidden_width,
)
from yolo_nas_ext.network.block_rows import (
    ratio as ratio,  # for files of users, beside `BlockType`
)


def _heads(hidden: int) -> int:
    """Return how many heads Ultralytics' attention has."""
    return max(hidden // 64, 1)


def _attention_width(hidden: int) -> int:
    """Return the most channels up to `hidden` that Ultralytics' attention heads divide."""
    while hidden % _heads(hidden):
        hidden -= 8
    return hidden


_C3K2 = (None, False, 0.5, False, 1, True)

BLOCKS: dict[str, BlockType] = {
    "conv": BlockType(
        **one_row(
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
        **one_row(
            "focus",
            "Conv",
            (None, 1, 1, None),
            # Space to depth and a k x k convolution are one 2k x 2k convolution of stride 2 with
            # its weights in another order. Ultralytics counts no FLOPs for a model that begins with
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
        **one_row(
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
        **one_row(
            "adown", "ADown", (None,), lambda b: (b.width,), lambda n, a: Block("adown", a[0], 1, 2)
        ),
        about="average, then half convolved and half max-pooled (YOLOv9)",
        bottleneck=False,
        stride=True,
        deep=False,
    ),
    "aconv": BlockType(
        **one_row(
            "aconv", "AConv", (None,), lambda b: (b.width,), lambda n, a: Block("aconv", a[0], 1, 2)
        ),
        about="average, then convolution (YOLOv9)",
        bottleneck=False,
        stride=True,
        deep=False,
    ),
    "k1kx": BlockType(
        rows=super_block_rows(lambda k: 1),
        read=read_super_block("k1kx", False),
        about="DAMO super-block: 1x1 then kxk, repeats residual",
        kernels=(3, 5, 7),
        stride=True,
    ),
    "kxkx": BlockType(
        rows=super_block_rows(lambda k: k),
        read=read_super_block("kxkx", True),
        about="DAMO super-block: kxk then kxk, repeats residual",
        kernels=(3, 5, 7),
        stride=True,
    ),
    "c2f": BlockType(
        **with_hidden_width("c2f", "C2f", (None, False, 1, 0.5), at=3, flag=1),
        about="YOLOv8's cross-stage block",
        shortcut=True,
    ),
    "c3k2": BlockType(
        **with_hidden_width("c3k2", "C3k2", _C3K2, at=2), about="YOLO11's block with bottlenecks"
    ),
    "c3k2_c3k": BlockType(
        **with_hidden_width("c3k2_c3k", "C3k2", _C3K2, at=2, fixed={1: True}),
        about="YOLO11's block with C3k inside",
    ),
    "c3k2_attn": BlockType(
        **with_hidden_width("c3k2_attn", "C3k2", _C3K2, at=2, fixed={1: True, 3: True}),
        about="YOLO26's block with attention inside",
        fit=_attention_width,
        heads=_heads,
    ),
    "c3": BlockType(
        **with_hidden_width("c3", "C3", (None, True, 1, 0.5), at=3, flag=1),
        about="YOLOv5's cross-stage block",
        shortcut=True,
    ),
    "repc3": BlockType(
        **with_hidden_width("repc3", "RepC3", (None, 1.0), at=1),
        about="RT-DETR's block of re-parameterised convolutions",
    ),
    "elan": BlockType(
        **one_row(
            "elan",
            "RepNCSPELAN4",
            (None, None, None, 1),
            lambda b: (b.width, 2 * b.hidden, b.hidden, b.depth),
            lambda n, a: Block("elan", a[0], a[3], 1, a[2]),
        ),
        about="YOLOv9's aggregation block",
    ),
    "c2fcib": BlockType(
        **with_hidden_width(
            "c2fcib", "C2fCIB", (None, False, False, 1, 0.5), at=4, flag=1, kernel={2: 7}
        ),
        about="YOLOv10's compact inverted block; kernel 7 is its large-kernel form",
        kernels=(3, 7),
        shortcut=True,
    ),
    "hgblock": BlockType(
        **one_row(
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
        **with_hidden_width("ghost", "C3Ghost", (None, True, 1, 0.5), at=3),
        about="C3 of ghost bottlenecks",
    ),
    "mbconv": BlockType(
        **one_row(
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
        **one_row(
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
        **with_hidden_width("c2psa", "C2PSA", (None, 0.5), at=1),
        about="YOLO11's position-sensitive attention",
        fit=_attention_width,
        heads=_heads,
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


def hidden_width(kind: str, width: int, expansion: float) -> int:
    """Return the channels of a block's bottleneck for an expansion ratio."""
    most = BLOCKS[kind].widest * max(width, 8)
    return BLOCKS[kind].fit(min(round8(width * expansion), most))
