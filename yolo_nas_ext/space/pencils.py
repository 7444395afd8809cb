"""Pencils: what a hand would try before any search, within the same limit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

from yolo_nas_ext.network.architecture import Architecture, Block, Neck
from yolo_nas_ext.network.block_rows import round8
from yolo_nas_ext.network.blocks import BLOCKS
from yolo_nas_ext.space.decode import split_levels
from yolo_nas_ext.space.networks import NetworkSpace
from yolo_nas_ext.space.parent import GONE, LAST, ParentSpace
from yolo_nas_ext.space.parts import whole_heads

Cost = Callable[[Architecture], float]
CUTS = tuple(round(0.99 - 0.01 * i, 2) for i in range(80))  # factors that an even cut may have


def pencils(
    parent: Architecture, space: NetworkSpace, cost: Cost, limit: float
) -> dict[str, Architecture]:
    """Return the networks that a hand would make of a parent within a limit, by their names.

    They are the parent at each image size, the parent without its highest level at the largest
    size, and the parent cut evenly at the first size, from the usual one on, at which it is above
    the limit. Each is left out where nothing of it keeps the limit. All but the cut are points of
    the parent's own space. It has every width in multiples of 8, finer than the space's options, to
    use the limit up.

    Args:
        parent: The network; its image size is the usual one, else the first of the space's.
        space: What is searched: its task, and image sizes where they are a choice.
        cost: What a network costs; asked some ten times a size.
        limit: The most that a network may cost.
    """
    usual = parent.imgsz
    sizes = sorted(space.sizes(usual))
    usual = usual or space.sizes(usual)[0]
    found: dict[str, Architecture] = {}

    @cache
    def keeps(architecture: Architecture) -> bool:
        return cost(architecture) <= limit

    for size in sizes:
        if keeps(network := replace(parent, imgsz=size)):
            found["parent" + _at(size)] = network
    if parent.timm:
        return found
    around = ParentSpace(parent, space.task, sizes=sizes if any(sizes) else ())
    if lower := _without_top(around):
        for size in reversed(sizes):
            if keeps(network := _network(around, size, **lower)):
                top = parent.neck.levels[-1]
                found[f"parent without P{top}{_at(size)}"] = network
                break
    above = (size for size in sizes if size >= usual and not keeps(replace(parent, imgsz=size)))
    size = next(above, None)
    if size is not None and (cut := cut_evenly(replace(parent, imgsz=size), keeps)):
        factor, network = cut
        found[f"parent x {factor:g} wide{_at(size)}"] = network
    return found


def _at(size: int) -> str:
    return f" at {size} px" if size else ""


def _network(space: ParentSpace, size: int, **values: object) -> Architecture:
    """Return the parent with other values of some choices at an image size."""
    sized = {"imgsz": size} if "imgsz" in space.choices else {}
    return space.architecture(space.canonical({**space.origin, **sized, **values}))


def _without_top(space: ParentSpace) -> dict[str, str]:
    """Return the choices that only leave the parent's highest level out; none if it cannot be."""
    own, *others = (split_levels(text)[0] for text in space.choices["levels"])
    wanted = (own[-1] - 1,) if space.task == "classify" else own[:-1]
    for text, joined in zip(space.choices["levels"][1:], others, strict=True):
        if joined == wanted:
            return {"levels": text, **({LAST: GONE} if LAST in space.choices else {})}
    return {}


def cut_evenly(
    parent: Architecture, keeps: Callable[[Architecture], bool]
) -> tuple[float, Architecture] | None:
    """Return the widest even cut of a parent above the limit that keeps it, and its factor.

    None where no cut does. A wider cut is taken to cost more, so that few are asked for.

    Args:
        parent: The network.
        keeps: Says whether a network is within the limit.
    """
    factors = {_evenly(parent, factor): factor for factor in reversed(CUTS)}  # the highest of each
    factors.pop(parent, None)
    cuts = list(factors)
    low, high = 0, len(cuts)  # all below `low` keep the limit, none from `high` on
    while low < high:
        middle = (low + high) // 2
        if keeps(cuts[middle]):
            low = middle + 1
        else:
            high = middle
    return (factors[cuts[low - 1]], cuts[low - 1]) if low else None


def _evenly(parent: Architecture, factor: float) -> Architecture:
    """Return the parent with all widths and hidden widths times a factor."""

    def cut(block: Block) -> Block:
        hidden = whole_heads(block, factor) if BLOCKS[block.kind].heads else 0
        hidden = hidden or (round8(block.hidden * factor) if block.hidden else 0)
        return replace(block, width=round8(block.width * factor), hidden=hidden)

    neck = parent.neck
    down, up = map(cut, neck.down), ((cut(a), cut(b)) for a, b in neck.up)
    joined = Neck(neck.levels, tuple(down), tuple(up), neck.kind)
    return replace(parent, backbone=tuple(map(cut, parent.backbone)), neck=joined)
