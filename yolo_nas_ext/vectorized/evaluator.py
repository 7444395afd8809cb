"""A detector space compiled for speed: networks as rows of option indices, whole batches at once.

Nothing is built a network: what it costs and scores is gathered from tables of its parts (see
`estimators.parts`), some microseconds each. It says what the space, `cost.analytic` and
`estimators.entropy` say; tests hold them together on random points.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from yolo_nas_ext.cost.latency.fused_layers import Op
from yolo_nas_ext.cost.latency.profile import Profile
from yolo_nas_ext.errors import NASError
from yolo_nas_ext.estimators.zero_cost.entropy import (
    DEEPMAD_WEIGHTS,
    EFFECTIVENESS,
    MADNAS_WEIGHTS,
    PENALTY,
    weights,
)
from yolo_nas_ext.network.architecture import Block
from yolo_nas_ext.network.heads import Kind
from yolo_nas_ext.network.row_cost import row_cost
from yolo_nas_ext.network.timm_backbones import blocks_alone
from yolo_nas_ext.space.decode import (
    context_blocks,
    neck_block,
    neck_width,
    split_levels,
    stage_blocks,
    stem_block,
)
from yolo_nas_ext.space.detector import DetectorSpace
from yolo_nas_ext.vectorized.encoding import CodedSpace, Mask
from yolo_nas_ext.vectorized.latency_tables import PROBES, Clock, head_layers
from yolo_nas_ext.vectorized.tables import (
    Floats,
    Ints,
    Logarithms,
    Numbers,
    Part,
    Row,
    look_up,
    row_of,
    values_of,
)


class Measured(NamedTuple):
    """What is known of a batch of networks: costs as in `cost.analytic`, and the backbone's stages.

    Attributes:
        params: Parameters.
        flops: FLOPs of one image.
        layers: DAMO-YOLO's count.
        logs: Logarithms of the fan-ins up to the end of each stage, networks x stages.
        convs: Convolutions on the main path up to there.
        widths: Channels at the end of each stage.
        top: Number of stages of each network.
        spread: Standard deviation of the blocks' repeats.
        latency_ms: Predicted milliseconds, 0 without a profile.
    """

    params: Ints
    flops: Ints
    layers: Ints
    logs: Floats
    convs: Ints
    widths: Ints
    top: Ints
    spread: Floats
    latency_ms: Floats


@dataclass
class _Tally:
    """Running sums over a batch of networks."""

    n: int
    stages: int
    params: Ints = field(init=False)
    ops: Ints = field(init=False)
    ms: Floats = field(init=False)
    logs: Floats = field(init=False)
    convs: Ints = field(init=False)
    repeats: Ints = field(init=False)  # count, sum and sum of squares
    light: Mask = field(init=False)

    def __post_init__(self) -> None:
        self.params, self.ops = np.zeros(self.n, np.int64), np.zeros(self.n, np.int64)
        self.ms = np.zeros(self.n)
        self.logs = np.zeros((self.n, self.stages))
        self.convs = np.zeros((self.n, self.stages), np.int64)
        self.repeats = np.zeros((3, self.n), np.int64)
        self.light = np.zeros(self.n, bool)

    def add(self, found: Numbers, where: Any) -> None:
        """Add a part's costs to the networks at an index or mask."""
        self.params[where] += found.params
        self.ops[where] += found.ops
        self.ms[where] += found.ms
        self.light[where] |= found.light

    def add_to_backbone(self, found: Numbers, where: Any, stage: Any) -> None:
        """Add a part with its place on the main path."""
        self.add(found, where)
        self.logs[where, stage] += found.logs
        self.convs[where, stage] += found.convs
        self.repeats[:, where] += (found.depth > 0, found.depth, found.depth**2)


class CompiledSpace(CodedSpace):
    """A detector space as tables.

    Args:
        space: The space; its limits are not looked at.
        nc: Number of classes.
        imgsz: Image size in pixels.
        channels: Channels of the image.
        profile: The device whose latency is predicted too.

    Raises:
        NASError: For a space that has a choice of image sizes.
    """

    def __init__(
        self,
        space: DetectorSpace,
        *,
        nc: int = 80,
        imgsz: int = 640,
        channels: int = 3,
        profile: Profile | None = None,
    ) -> None:
        if len(sizes := space.choices.get("imgsz", ())) > 1:
            raise NASError(
                f"space={space.name}: imgsz is a choice, {', '.join(map(str, sizes))}; a compiled "
                f"space has one size: fix=imgsz:{sizes[0]}"
            )
        timm, instead = blocks_alone(space.choices)
        if timm:
            raise NASError(
                f"space={space.name}: backbone has {timm}, and a compiled space has blocks alone; "
                f"{instead}"
            )
        super().__init__(space)
        self._clock = Clock(profile, imgsz) if profile else None
        self.nc, self.imgsz, self.channels = nc, imgsz, channels
        self._log = Logarithms()
        self._levels = [split_levels(text) for text in space.choices["levels"]]
        self._top = np.array([neck[-1] for neck, _ in self._levels], np.int64)
        self._make_parts()

    # Costs and scores

    def measure(self, networks: Ints) -> Measured:
        """Return what the networks, canonical ones, cost, and the stages of their backbones."""
        n, levels = len(networks), networks[:, self._at["levels"]]
        top = self._top[levels]
        tally = _Tally(n, int(self._top.max()))
        c = np.full(n, self.channels, np.int64)
        widths = np.zeros((n, tally.stages), np.int64)
        for names, part, level in self._backbone:
            here = np.flatnonzero(top >= level) if (top < level).any() else slice(None)
            found = self._look(part, names, networks[here], c[here])
            tally.add_to_backbone(found, here, level - 1)
            c[here] = found.width
            widths[here, level - 1] = found.width
        columns = (networks[:, self._at["context"]], top, c // 8)
        found = look_up(self._context, columns, c, self._log)
        tally.add_to_backbone(found, np.arange(n), top - 1)
        necks = 2 * levels + self._queen(networks)
        for option in np.unique(necks).tolist():
            here = np.flatnonzero(necks == option)
            self._measure_head(networks, here, option // 2, bool(option % 2), widths, tally)
        number, total, squares = tally.repeats
        mean = total / np.maximum(number, 1)
        spread = np.sqrt(np.maximum(squares / np.maximum(number, 1) - mean**2, 0.0))
        return Measured(
            tally.params,
            2 * tally.ops,
            1 + 2 * total,
            np.cumsum(tally.logs, axis=1),
            np.cumsum(tally.convs, axis=1),
            widths,
            top,
            spread,
            tally.ms + (self._clock.constant if self._clock else 0.0),
        )

    def _queen(self, networks: Ints) -> Ints:
        """Return 1 for each network whose neck has queen fusion, else 0."""
        if "neck.kind" not in self._at:
            return np.zeros(len(networks), np.int64)
        kinds = np.array([kind == "gfpn" for kind in self.space.choices["neck.kind"]], np.int64)
        return kinds[networks[:, self._at["neck.kind"]]]

    def _measure_head(
        self, networks: Ints, here: Ints, option: int, queen: bool, widths: Ints, tally: _Tally
    ) -> None:
        """Add neck and head of the networks `here`, which share the option of levels."""
        neck, head = self._levels[option]
        queen = queen and neck[0] < neck[-1]
        mine = networks[here]
        width = {level: widths[here, level - 1] for level in neck}

        def cross(level: int, width: Ints) -> Ints:
            found = look_up(self._cross[level], [width // 8], width, self._log)
            tally.add(found, here)
            return found.width

        backbone = dict(width)
        for level in reversed(neck if queen else neck[:-1]):
            reads = width[level] + (width[level + 1] if level < neck[-1] else 0)
            if queen and level > neck[0]:
                reads = reads + cross(level, backbone[level - 1])
            if self._clock:
                joined = 1 + (level < neck[-1]) + (queen and level > neck[0])
                self._time_joint(level, joined, reads, tally, here)
                if level < neck[-1]:
                    self._time_upsampled(level, width[level + 1], tally, here)
            found = self._look(*self._neck[level, False], mine, reads)
            tally.add(found, here)
            width[level] = found.width
        way_down = dict(width)
        for level in neck[1:]:
            if level > head[-1]:
                break
            down = self._look(*self._down[level], mine, width[level - 1])
            tally.add(down, here)
            reads = down.width + width[level]
            if queen and level - 1 > neck[0]:
                reads = reads + cross(level, way_down[level - 1])
            if self._clock:
                joined = 2 + (queen and level - 1 > neck[0])
                self._time_joint(level, joined, reads, tally, here)
            found = self._look(*self._neck[level, level == neck[-1]], mine, reads)
            tally.add(found, here)
            width[level] = found.width
        lowest = width[head[0]] if len(neck) == 1 else np.zeros(len(here), np.int64)
        columns = [mine[:, self._at[name]] for name in self._head_names]
        columns += [tally.light[here].astype(np.int64), lowest // 8]
        tally.add(look_up(self._head, columns, lowest, self._log), here)

    def _time_joint(self, level: int, number: int, width: Ints, tally: _Tally, here: Ints) -> None:
        """Add the time of a concatenation of a number of tensors at a level to networks `here`."""
        side = self.imgsz // 2**level
        at = [Op("concat", c, c, side, side, side, side, groups=number) for c in PROBES]
        self._add_time((at[0], at[1]), width, tally, here)

    def _time_upsampled(self, level: int, width: Ints, tally: _Tally, here: Ints) -> None:
        """Add the time of enlarging a tensor to a level to networks `here`."""
        side = self.imgsz // 2**level
        half = side // 2
        at = [Op("upsample", c, c, half, half, side, side, stride=2) for c in PROBES]
        self._add_time((at[0], at[1]), width, tally, here)

    def _add_time(self, pair: tuple[Op, Op], width: Ints, tally: _Tally, here: Ints) -> None:
        assert self._clock is not None
        ids = np.full(len(width), self._clock.id_of((pair,)), np.int64)
        tally.ms[here] += self._clock.varied(ids, width // 8)

    def madnas(self, found: Measured) -> Floats:
        """Return `entropy.madnas` of measured networks."""
        share = self._weights(MADNAS_WEIGHTS)[found.top]
        widths = self._log(np.maximum(found.widths, 1))
        return (share * (0.5 * found.logs + widths)).sum(axis=1)

    def deepmad(self, found: Measured) -> Floats:
        """Return `entropy.deepmad` of measured networks."""
        share = self._weights(DEEPMAD_WEIGHTS)[found.top]
        sides = self.imgsz // 2 ** np.arange(1, share.shape[1] + 1)
        sizes = self._log(np.maximum(found.widths, 1)) + 2 * self._log(np.maximum(sides, 1))
        score = (share * sizes * 0.5 * found.logs).sum(axis=1) - PENALTY * np.exp(found.spread)
        convs = np.maximum(found.convs, 1)
        rho = np.where(share > 0, convs / np.exp(found.logs / convs), 0.0).max(axis=1)
        return np.where(rho > EFFECTIVENESS, -math.inf, score)

    # Making the tables

    def _weights(self, pattern: tuple[float, float, float]) -> Floats:
        """Return the stages' weights by the number of stages."""
        table = np.zeros((int(self._top.max()) + 1, int(self._top.max())))
        for top in range(1, len(table)):
            table[top, :top] = weights(top, pattern)
        return table

    def _look(self, part: Part, names: Sequence[str], networks: Ints, c_in: Ints) -> Numbers:
        return look_up(part, [networks[:, self._at[n]] for n in names], c_in, self._log)

    def _own(self, prefix: str, keys: str) -> tuple[str, ...]:
        """Return the names of a part's choices that the space has."""
        names = (f"{prefix}.{key}" for key in keys.split())
        return tuple(name for name in names if name in self._at)

    def _part(self, names: Sequence[str], blocks: Any, side: int, c_in: int | None = None) -> Part:
        choices = self.space.choices

        def make(at: tuple[int, ...]) -> Row:
            return self._row(blocks(values_of(names, choices, at)), side, c_in)

        return Part([len(choices[name]) for name in names], make, self._clock)

    def _row(self, blocks: Sequence[Block], side: int, c_in: int | None) -> Row:
        return row_of(blocks, side, c_in, timed=self._clock is not None)

    def _make_parts(self) -> None:
        space, side = self.space, self.imgsz
        names = self._own("stem", "block width kernel")
        stem = self._part(names, lambda v: [stem_block(v)], side, self.channels)
        self._backbone = [(names, stem, 1)]
        for stage in space.stages:
            names = self._own(
                stage.name, "down down_width block depth width hidden expansion kernel"
            )
            side = self.imgsz // 2 ** (stage.level - (stage.stride == 2))
            part = self._part(names, lambda v, s=stage: stage_blocks(s, v, 0), side)
            self._backbone.append((names, part, stage.level))
        most = 1 + max(
            int(max(options)) // 8 for name, options in space.choices.items() if "width" in name
        )
        depth = int(self._top.max())
        self._context = Part(
            [len(space.choices["context"]), depth + 1, most], self._context_row, self._clock
        )
        most = max(most, *(1 + neck_width(v, lv) // 8 for v, lv in self._neck_sizes(depth)))
        self._cross = {
            level: Part([most], lambda at, lv=level: self._cross_row(8 * at[0], lv), self._clock)
            for level in range(2, depth + 1)
        }
        self._neck: dict[tuple[int, bool], tuple[Part, tuple[str, ...]]] = {}
        self._down: dict[int, tuple[Part, tuple[str, ...]]] = {}
        sizes = self._own("neck", "width growth")
        for level in range(1, int(self._top.max()) + 1):
            side = self.imgsz // 2**level
            for top in (False, True):
                names = self._own("neck", "block depth width growth kernel expansion top")
                names = names if top else tuple(n for n in names if n != "neck.top")
                part = self._part(
                    names, lambda v, lv=level, t=top: [neck_block(v, lv, top=t)], side
                )
                self._neck[level, top] = part, names
            down = self._part(
                sizes,
                lambda v, lv=level: [Block("conv", neck_width(v, lv - 1), 1, 2, 0, 3)],
                2 * side,
            )
            self._down[level] = down, sizes
        self._head_names = ("levels", *sizes, "head.reg_max", "head.end2end")
        counts = [len(space.choices[name]) for name in self._head_names]
        self._head = Part([*counts, 2, most], self._head_row, self._clock)

    def _context_row(self, at: tuple[int, ...]) -> Row:
        """Return what is between backbone and neck at an option, a level and a width."""
        name, width = self.space.choices["context"][at[0]], 8 * at[2]
        if not (blocks := context_blocks(name, width)):
            return Row((0, 0), (0, 0), 0.0, 0, ((1, 0), (1, 0)), width, 0, False)
        return self._row(blocks, self.imgsz // 2 ** at[1], width)

    def _neck_sizes(self, depth: int) -> Iterator[tuple[dict[str, Any], int]]:
        """Yield the options that set the neck's widths, with each level."""
        names = ("neck.width", "neck.growth")
        for options in itertools.product(*(self.space.choices[name] for name in names)):
            for level in range(1, depth + 1):
                yield dict(zip(names, options, strict=True)), level

    def _cross_row(self, width: int, level: int) -> Row:
        """Return what halves an activation of that width to a level in queen fusion."""
        block = Block("conv", width, 1, 2, 0, 3)
        return self._row([block], self.imgsz // 2 ** (level - 1), width)

    def _head_row(self, at: tuple[int, ...]) -> Row:
        """Return what the host's Detect costs."""
        *options, light, lowest = at
        values = values_of(self._head_names, self.space.choices, options)
        neck, head = split_levels(values["levels"])
        single = len(neck) == 1
        widths = [8 * lowest] if single else [neck_width(values, level) for level in head]
        sides = [self.imgsz // 2**level for level in head]
        cost = row_cost(
            "Detect",
            1,
            (self.nc,),
            tuple(zip(widths, sides, sides, strict=True)),
            (True,) * len(head),
            values["head.reg_max"],
            values["head.end2end"],
            not light,
        )
        kind = Kind(values["head.reg_max"], False, not light)
        ops = head_layers(self.nc, widths, sides, kind) if self._clock else ()
        return Row((cost.params, 0), (cost.ops, 0), 0.0, 0, ((1, 0), (1, 0)), 0, 0, False, ops)
