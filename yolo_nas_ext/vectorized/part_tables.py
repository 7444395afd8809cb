"""The tables of a detector space: which part of a detector depends on which choices."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from yolo_nas_ext.network.architecture import Block
from yolo_nas_ext.network.heads import Kind
from yolo_nas_ext.network.row_cost import row_cost
from yolo_nas_ext.space.decode import (
    context_blocks,
    neck_block,
    neck_width,
    split_levels,
    stage_blocks,
    stem_block,
)
from yolo_nas_ext.space.detector import DetectorSpace
from yolo_nas_ext.vectorized.latency_tables import LatencyTables, head_layers
from yolo_nas_ext.vectorized.rows import Row, row_of
from yolo_nas_ext.vectorized.tables import PartTable, values_of

NO_FANS = ((1, 0), (1, 0))


class Chosen(NamedTuple):
    """A table, and the choices whose options are its first columns."""

    table: PartTable
    names: tuple[str, ...]


class PartTables:
    """The tables of all parts of the detectors of a space.

    Args:
        space: The space.
        nc: Number of classes.
        imgsz: Image size in pixels.
        channels: Channels of the image.
        latency: Predicts the time of layers, where it is asked for.

    Attributes:
        backbone: Stem and stages in order, each with its level.
        context: By the option, the level and the channels / 8 of what comes in.
        cross: Of queen fusion, by the level that is led to; the column is the channels / 8.
        neck: Blocks, by level and whether it is the last one of the bottom-up path.
        down: Down-samplings of the bottom-up path, by the level that is led to.
        head: By its choices, whether Ultralytics builds its newer head, and the channels / 8 of a
            single level.
    """

    def __init__(
        self,
        space: DetectorSpace,
        *,
        nc: int,
        imgsz: int,
        channels: int,
        latency: LatencyTables | None = None,
    ) -> None:
        self._choices = space.choices
        self._nc, self._imgsz, self._latency = nc, imgsz, latency
        self._depth = max(split_levels(text)[0][-1] for text in space.choices["levels"])
        self.backbone = list(self._backbone(space, channels))
        widest = self._widest()
        contexts = len(space.choices["context"])
        most = 1 + max(int(max(o)) // 8 for n, o in space.choices.items() if "width" in n)
        self.context = PartTable([contexts, self._depth + 1, most], self._context_row, latency)
        self.cross = {
            level: PartTable([widest], lambda at, lv=level: self._cross_row(8 * at[0], lv), latency)
            for level in range(2, self._depth + 1)
        }
        levels = range(1, self._depth + 1)
        self.neck = {(lv, top): self._neck(lv, top=top) for lv in levels for top in (False, True)}
        self.down = {level: self._down(level) for level in levels}
        names = ("levels", *self._own("neck", "width growth"), "head.reg_max", "head.end2end")
        counts = [len(space.choices[name]) for name in names]
        self.head = Chosen(
            PartTable([*counts, 2, widest], lambda at: self._head_row(names, at), latency), names
        )

    def _backbone(self, space: DetectorSpace, channels: int) -> Iterator[tuple[Chosen, int]]:
        names = self._own("stem", "block width kernel")
        yield self._table(names, lambda v: [stem_block(v)], self._imgsz, channels), 1
        keys = "down down_width block depth width hidden expansion kernel"
        for stage in space.stages:
            side = self._imgsz // 2 ** (stage.level - (stage.stride == 2))
            blocks = self._table(
                self._own(stage.name, keys), lambda v, s=stage: stage_blocks(s, v, 0), side
            )
            yield blocks, stage.level

    def _neck(self, level: int, *, top: bool) -> Chosen:
        names = self._own("neck", "block depth width growth kernel expansion top")
        names = names if top else tuple(n for n in names if n != "neck.top")
        side = self._imgsz // 2**level
        return self._table(names, lambda v: [neck_block(v, level, top=top)], side)

    def _down(self, level: int) -> Chosen:
        names = self._own("neck", "width growth")
        side = self._imgsz // 2**level
        return self._table(
            names, lambda v: [Block("conv", neck_width(v, level - 1), 1, 2, 0, 3)], 2 * side
        )

    def _table(
        self,
        names: tuple[str, ...],
        blocks: Callable[[Mapping[str, Any]], Sequence[Block]],
        side: int,
        c_in: int | None = None,
    ) -> Chosen:
        """Return the table of blocks that are made from the values of some choices."""

        def make(at: tuple[int, ...]) -> Row:
            return self._row(blocks(values_of(names, self._choices, at)), side, c_in)

        sizes = [len(self._choices[name]) for name in names]
        return Chosen(PartTable(sizes, make, self._latency), names)

    def _row(self, blocks: Sequence[Block], side: int, c_in: int | None) -> Row:
        return row_of(blocks, side, c_in, timed=self._latency is not None)

    def _own(self, prefix: str, keys: str) -> tuple[str, ...]:
        """Return the names of a part's choices that the space has."""
        names = (f"{prefix}.{key}" for key in keys.split())
        return tuple(name for name in names if name in self._choices)

    def _widest(self) -> int:
        """Return one more than the most channels / 8 of backbone and neck."""
        names = ("neck.width", "neck.growth")
        most = max(int(max(o)) // 8 for n, o in self._choices.items() if "width" in n)
        for options in itertools.product(*(self._choices[name] for name in names)):
            sizes: dict[str, Any] = dict(zip(names, options, strict=True))
            most = max(most, *(neck_width(sizes, lv) // 8 for lv in range(1, self._depth + 1)))
        return 1 + most

    def _context_row(self, at: tuple[int, ...]) -> Row:
        """Return what is between backbone and neck at an option, a level and a width."""
        name, width = self._choices["context"][at[0]], 8 * at[2]
        if not (blocks := context_blocks(name, width)):
            return Row((0, 0), (0, 0), 0.0, 0, NO_FANS, width, 0, False)
        return self._row(blocks, self._imgsz // 2 ** at[1], width)

    def _cross_row(self, width: int, level: int) -> Row:
        """Return what halves an activation of that width to a level in queen fusion."""
        block = Block("conv", width, 1, 2, 0, 3)
        return self._row([block], self._imgsz // 2 ** (level - 1), width)

    def _head_row(self, names: Sequence[str], at: tuple[int, ...]) -> Row:
        """Return what the head of Ultralytics costs, its `Detect`."""
        *options, light, lowest = at
        values = values_of(names, self._choices, options)
        neck, head = split_levels(values["levels"])
        single = len(neck) == 1
        widths = [8 * lowest] if single else [neck_width(values, level) for level in head]
        sides = [self._imgsz // 2**level for level in head]
        cost = row_cost(
            "Detect",
            1,
            (self._nc,),
            tuple(zip(widths, sides, sides, strict=True)),
            (True,) * len(head),
            values["head.reg_max"],
            values["head.end2end"],
            not light,
        )
        kind = Kind(values["head.reg_max"], False, not light)
        ops = head_layers(self._nc, widths, sides, kind) if self._latency else ()
        return Row((cost.params, 0), (cost.ops, 0), 0.0, 0, NO_FANS, 0, 0, False, ops)
