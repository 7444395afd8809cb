"""TinyNAS structures, the text in which DAMO-YOLO's backbones were published, as architectures.

A structure is a list of dictionaries. The first is a stem, ``{'class': 'ConvKXBNRELU', 'in': 12,
'out': 24, 'k': 3, 's': 1}`` behind a Focus, or with 3 inputs and stride 2. Super-blocks follow,
such as ``{'class': 'SuperResConvK1KX', 'in': 24, 'out': 64, 'btn': 24, 'k': 3, 's': 2, 'L': 2}``. A
dictionary with ``best_structures`` holds several; the first is read.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Mapping
from typing import Any

from yolo_nas_ext.errors import NASError, did_you_mean
from yolo_nas_ext.network.architecture import Architecture, Block, Head, Neck
from yolo_nas_ext.network.blocks import hidden_width

STEM = "ConvKXBNRELU"
# Class of a super-block -> its kind in the catalogue; the tool's configs and results name them
# differently.
CLASSES = {
    "SuperResConvK1KX": "k1kx",
    "SuperResK1KX": "k1kx",
    "SuperResConvKXKX": "kxkx",
    "SuperResKXKX": "kxkx",
}
IMAGE, FOCUS = 3, 12  # channels of an image, and of one after space to depth
LEVELS = (3, 4, 5)


def structure(
    source: str | list[Any] | Mapping[str, Any], where: str = "structure"
) -> Architecture:
    """Return the architecture of a structure, with a path-aggregation neck and Ultralytics' head.

    The neck joins P3 to P5 by C3k2 blocks, of twice the width from level to level. Its width at P3
    is the largest power of two up to the backbone's, which gives DAMO-YOLO's own neck widths.

    Args:
        source: The structure, or its text.
        where: How error messages name it.

    Raises:
        NASError: For text that is not a structure, a class or size without a block here, or blocks
            that do not fit together.
    """
    entries = _entries(source, where)
    if len(entries) < 2:
        raise NASError(f"{where}: a structure is a list of a stem and super-blocks")
    backbone = [_stem(entries[0], f"{where}: entry 0")]
    for index, entry in enumerate(entries[1:], 1):
        block, c_in = _super_block(entry, f"{where}: entry {index}")
        if c_in != backbone[-1].width:
            raise NASError(
                f"{where}: entry {index} has in={c_in}, but the block before it has "
                f"out={backbone[-1].width}"
            )
        backbone.append(block)
    levels = Architecture(tuple(backbone), Neck((), (), ()), Head(())).levels
    if max(levels) != LEVELS[-1]:
        raise NASError(
            f"{where}: it has {max(levels)} strides of 2, stem included; a backbone for P3 to P5 "
            "has 5"
        )
    return Architecture(tuple(backbone), pan(backbone[levels[LEVELS[0]]].width), Head(LEVELS))


def pan(width: int) -> Neck:
    """Return a path-aggregation neck over P3 to P5 for a backbone of that width at P3."""
    base = 2 ** int(math.log2(width))
    widths = {level: base * 2**i for i, level in enumerate(LEVELS)}

    def block(level: int) -> Block:
        return Block("c3k2", widths[level], 1, 1, hidden_width("c3k2", widths[level], 0.5))

    down = tuple(block(level) for level in reversed(LEVELS[:-1]))
    up = tuple((Block("conv", widths[lv - 1], 1, 2, 0, 3), block(lv)) for lv in LEVELS[1:])
    return Neck(LEVELS, down, up)


def _entries(source: Any, where: str) -> list[Any]:
    if isinstance(source, str):
        try:
            source = ast.literal_eval(source.strip())
        except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
            raise NASError(
                f"{where}: neither a model definition nor a list of dictionaries such as "
                "[{'class': 'ConvKXBNRELU', 'in': 12, 'out': 24, 'k': 3, 's': 1}, ...]"
            ) from error
    if isinstance(source, Mapping):
        best = source.get("best_structures")
        source = best[0] if isinstance(best, list) and best else None
    if not isinstance(source, list):
        raise NASError(
            f"{where}: holds no list of dictionaries; see "
            "docs/estimators.md#costs-and-scores-of-a-model"
        )
    return source


def _numbers(entry: Any, names: str, where: str) -> list[int]:
    """Return the values of an entry's keys, all of them whole numbers above 0."""
    found = []
    for name in names.split():
        value = entry.get(name) if isinstance(entry, dict) else None
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise NASError(f"{where}: {name} is {value!r}; expected a whole number above 0")
        found.append(value)
    return found


def _widths(where: str, **values: int) -> None:
    for name, value in values.items():
        if value % 8:
            raise NASError(f"{where}: {name} is {value}; Ultralytics builds multiples of 8 only")


def _stem(entry: Any, where: str) -> Block:
    kind = entry.get("class") if isinstance(entry, dict) else entry
    if kind != STEM:
        raise NASError(f"{where}: class {kind!r}; a structure begins with {STEM}")
    c_in, width, kernel, stride = _numbers(entry, "in out k s", where)
    _widths(where, out=width)
    if (c_in, stride) == (FOCUS, 1):
        return Block("focus", width, 1, 2, 0, kernel)
    if (c_in, stride) == (IMAGE, 2):
        return Block("conv", width, 1, 2, 0, kernel)
    raise NASError(
        f"{where}: in={c_in}, s={stride}; a stem has in={FOCUS}, s=1 (behind a Focus) or "
        f"in={IMAGE}, s=2"
    )


def _super_block(entry: Any, where: str) -> tuple[Block, int]:
    """Return the block and the input channels that it is written for."""
    kind = entry.get("class") if isinstance(entry, dict) else entry
    if kind not in CLASSES:
        raise NASError(
            f"{where}: class {kind!r} is not supported.{did_you_mean(kind, CLASSES)} Allowed: "
            f"{', '.join(CLASSES)}"
        )
    c_in, width, hidden, kernel, stride, depth = _numbers(entry, "in out btn k s L", where)
    _widths(where, out=width, btn=hidden)
    if stride > 2 or kernel not in (3, 5, 7):
        raise NASError(f"{where}: s={stride}, k={kernel}; s is 1 or 2, k is 3, 5 or 7")
    return Block(CLASSES[kind], width, depth, stride, hidden, kernel), c_in
