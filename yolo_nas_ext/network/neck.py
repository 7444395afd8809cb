"""The wiring of the necks: what each of their places reads, in the order in which they run.

``pan`` is a path-aggregation network (Liu et al. 2018): top-down, then bottom-up. ``gfpn`` adds the
queen fusion of DAMO-YOLO's efficient RepGFPN (Xu et al. 2022, arXiv:2211.15444). A place also reads
the level below it as it was before, halved by a convolution. The highest level has a place in the
top-down path, too. There is no extra up-sampling, which is what makes it efficient.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from yolo_nas_ext.network.architecture import Architecture, Block

BACKBONE, DOWN, UP = "backbone", "top-down", "bottom-up"
UPSAMPLED = "up"
# A tensor of the network: the path that makes it, and its level.
Output = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Input:
    """An input of a place.

    Attributes:
        source: The tensor.
        move: ``"up"`` where it is enlarged, the block that halves it, or None.
        purpose: Role of that block: ``down`` on the way up, ``cross`` in queen fusion.
    """

    source: Output
    move: Block | str | None = None
    purpose: str = ""


@dataclass(frozen=True, slots=True)
class Place:
    """A place of the neck: its inputs are concatenated in their order and go through its block."""

    output: Output
    inputs: tuple[Input, ...]
    block: Block


def places(architecture: Architecture) -> list[Place]:
    """Return the places of a network's neck in the order in which they run."""
    neck = architecture.neck
    lowest, highest = neck.levels[0], neck.levels[-1]
    queen = neck.kind == "gfpn"
    widths = {(BACKBONE, level): width for level, width in architecture.widths.items()}
    found: list[Place] = []

    def put(output: Output, inputs: Iterator[Input], block: Block) -> None:
        found.append(Place(output, tuple(inputs), block))
        widths[output] = block.width

    def cross(source: Output) -> Input:
        return Input(source, Block("conv", widths[source], 1, 2, 0, 3), "cross")

    def way_down(level: int) -> Iterator[Input]:
        if level < highest:
            above = DOWN if queen or level + 1 < highest else BACKBONE
            yield Input((above, level + 1), UPSAMPLED)
        yield Input((BACKBONE, level))
        if queen and level > lowest:
            yield cross((BACKBONE, level - 1))

    def way_up(level: int, halved: Block) -> Iterator[Input]:
        yield Input((UP if level - 1 > lowest else DOWN, level - 1), halved, "down")
        yield Input((DOWN if queen or level < highest else BACKBONE, level))
        if queen and level - 1 > lowest:  # below that is what the first input was made of
            yield cross((DOWN, level - 1))

    levels = neck.levels if queen else neck.levels[:-1]
    for level, block in zip(reversed(levels), neck.down, strict=True):
        put((DOWN, level), way_down(level), block)
    for level, (halved, block) in zip(neck.levels[1:], neck.up, strict=False):
        put((UP, level), way_up(level, halved), block)
    return found
