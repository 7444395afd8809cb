"""What one row of a model definition costs, remembered: networks differ in few of them."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

from yolo_nas_ext.network.graph import Bundle, Tensor
from yolo_nas_ext.network.layers import lower_row, peak_elements

# Channels, height and width of a row's output; of a row that gives several, those of each.
Shape = tuple[Any, ...]


class RowCost(NamedTuple):
    """What one row adds: parameters, operations, peak elements inside it, its output and its shape.

    `size` is the number of elements of the output; of several, which rows pick from, none.
    """

    params: int
    ops: int
    peak: int
    shape: Shape
    size: int


def _shape(y: Tensor) -> Shape:
    return tuple(map(_shape, y.parts)) if isinstance(y, Bundle) else (y.c, y.h, y.w)


def _tensor(index: int, shape: Shape) -> Tensor:
    if isinstance(shape[0], int):
        return Tensor(index, *shape)
    return Bundle.of([_tensor(index, part) for part in shape])


@lru_cache(maxsize=200_000)
def row_cost(
    module: str,
    n: int,
    args: tuple[Any, ...],
    shapes: tuple[Shape, ...],
    last: tuple[bool, ...],
    reg_max: int,
    end2end: bool,
    legacy: bool,
) -> RowCost:
    """Return the cost of one row, memoised.

    Args:
        module: Ultralytics' module.
        n: Repeats.
        args: Arguments.
        shapes: Channels, height and width of each input.
        last: For each input whether nothing behind the row reads it, so that it can be freed.
        reg_max: See `Head`.
        end2end: See `Head`.
        legacy: Whether Ultralytics builds its older head.
    """
    xs = tuple(_tensor(i, shape) for i, shape in enumerate(shapes))
    layers, y, _ = lower_row(module, n, args, xs, len(xs), reg_max, end2end, legacy)
    free = {x.id: x.size for x, over in zip(xs, last, strict=True) if over}
    held = [x for x, over in zip(xs, last, strict=True) if not over]
    inside = peak_elements(layers, free, frozenset(x.id for x in held))
    return RowCost(
        sum(layer.params for layer in layers),
        sum(layer.ops for layer in layers),
        sum(x.size for x in held) + inside,
        _shape(y),
        y.size,
    )
