"""Networks of a supernet that are computed at a time, slot by slot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

from yolo_nas_ext.network.architecture import Architecture, Head
from yolo_nas_ext.network.roles import Parts
from yolo_nas_ext.space.supernet.slots import Wired, merge, path, run_chain_cached

# The wiring of a head that `host.supernet.elastic` activates: the head, the make-up of its inputs
# at each of its levels, and whether it is Ultralytics' older one.
Wiring = tuple[Head, tuple[Parts, ...], bool]


@dataclass(frozen=True, slots=True)
class Several:
    """What stands in a slot of several networks.

    Attributes:
        blocks: Of each network; None where it has not this slot and hands on what it reads.
        inputs: Make-up of what each reads.
        outputs: Make-up of what each writes.
        room: Make-up of what there is to read: it has room for all.
        out: Make-up of what has room for all outputs.
    """

    blocks: tuple[Wired | None, ...]
    inputs: tuple[Parts, ...]
    outputs: tuple[Parts, ...]
    room: Parts
    out: Parts


@dataclass(frozen=True, slots=True)
class Mixed:
    """Networks slot by slot.

    Attributes:
        slots: By name, in the order in which they run.
        heads: Of each network.
        rooms: Make-up of what there is for the heads to read at each of their levels.
    """

    slots: dict[str, Several]
    heads: tuple[Wiring, ...]
    rooms: tuple[Parts, ...]


def mix(networks: Sequence[Architecture], channels: int = 3) -> Mixed:
    """Return networks that read the same levels, slot by slot."""
    paths = [path(network, channels) for network in networks]
    found: dict[str, Several] = {}
    last: tuple[Parts, ...] = (channels,) * len(paths)
    for slot in reduce(_in_order, (list(p.slots) for p in paths)):
        blocks = tuple(p.slots.get(slot) for p in paths)
        inputs = tuple(b.inputs if b else x for b, x in zip(blocks, last, strict=True))
        last = tuple(
            run_chain_cached(b.chain, b.inputs)[1] if b else x
            for b, x in zip(blocks, inputs, strict=True)
        )
        found[slot] = Several(blocks, inputs, last, reduce(merge, inputs), reduce(merge, last))
    rooms = tuple(reduce(merge, own) for own in zip(*(p.inputs for p in paths), strict=True))
    return Mixed(found, tuple((p.head, p.inputs, p.legacy) for p in paths), rooms)


def _in_order(mine: list[str], theirs: list[str]) -> list[str]:
    """Return the slots of both, each behind the one that it follows."""
    order = list(mine)
    for place, slot in enumerate(theirs):
        if slot not in order:
            order.insert(order.index(theirs[place - 1]) + 1 if place else 0, slot)
    return order
