"""The vectorized evaluator: costs and scores of whole batches of networks, as arrays.

No network is built: its costs and scores are gathered from tables of its parts (see
`vectorized.tables`), in some microseconds. They are those of `cost.counts` and of
`estimators.zero_cost.entropy`; tests hold them together on random points.
"""

from __future__ import annotations

import math
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
from yolo_nas_ext.network.timm_backbones import blocks_alone
from yolo_nas_ext.space.decode import split_levels
from yolo_nas_ext.space.detector import DetectorSpace
from yolo_nas_ext.vectorized.encoding import CodedSpace, Mask
from yolo_nas_ext.vectorized.latency_tables import FIT_CHANNELS, Floats, Ints, LatencyTables
from yolo_nas_ext.vectorized.part_tables import Chosen, PartTables
from yolo_nas_ext.vectorized.tables import Logarithms, Numbers, look_up


class BatchCosts(NamedTuple):
    """Costs of a batch of networks, as in `cost.counts`, and the stages of their backbones.

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


class VectorizedSpace(CodedSpace):
    """A detector space whose networks are evaluated in batches, by tables.

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
                f"space={space.name}: imgsz is a choice, {', '.join(map(str, sizes))}; the "
                f"vectorized search has one size: fix=imgsz:{sizes[0]}"
            )
        timm, instead = blocks_alone(space.choices)
        if timm:
            raise NASError(
                f"space={space.name}: backbone has {timm}, and the vectorized search has "
                f"blocks alone; {instead}"
            )
        super().__init__(space)
        self._latency = LatencyTables(profile, imgsz) if profile else None
        self.nc, self.imgsz, self.channels = nc, imgsz, channels
        self._log = Logarithms()
        self._levels = [split_levels(text) for text in space.choices["levels"]]
        self._top = np.array([neck[-1] for neck, _ in self._levels], np.int64)
        self._parts = PartTables(
            space, nc=nc, imgsz=imgsz, channels=channels, latency=self._latency
        )

    # Costs and scores

    def evaluate(self, networks: Ints) -> BatchCosts:
        """Return what the networks, canonical ones, cost, and the stages of their backbones."""
        n, levels = len(networks), networks[:, self._at["levels"]]
        top = self._top[levels]
        tally = _Tally(n, int(self._top.max()))
        c = np.full(n, self.channels, np.int64)
        widths = np.zeros((n, tally.stages), np.int64)
        for part, level in self._parts.backbone:
            here = np.flatnonzero(top >= level) if (top < level).any() else slice(None)
            found = self._look(part, networks[here], c[here])
            tally.add_to_backbone(found, here, level - 1)
            c[here] = found.width
            widths[here, level - 1] = found.width
        columns = (networks[:, self._at["context"]], top, c // 8)
        found = look_up(self._parts.context, columns, c, self._log)
        tally.add_to_backbone(found, np.arange(n), top - 1)
        necks = 2 * levels + self._queen(networks)
        for option in np.unique(necks).tolist():
            here = np.flatnonzero(necks == option)
            self._add_head(networks, here, option // 2, bool(option % 2), widths, tally)
        number, total, squares = tally.repeats
        mean = total / np.maximum(number, 1)
        spread = np.sqrt(np.maximum(squares / np.maximum(number, 1) - mean**2, 0.0))
        return BatchCosts(
            tally.params,
            2 * tally.ops,
            1 + 2 * total,
            np.cumsum(tally.logs, axis=1),
            np.cumsum(tally.convs, axis=1),
            widths,
            top,
            spread,
            tally.ms + (self._latency.constant if self._latency else 0.0),
        )

    def _queen(self, networks: Ints) -> Ints:
        """Return 1 for each network whose neck has queen fusion, else 0."""
        if "neck.kind" not in self._at:
            return np.zeros(len(networks), np.int64)
        kinds = np.array([kind == "gfpn" for kind in self.space.choices["neck.kind"]], np.int64)
        return kinds[networks[:, self._at["neck.kind"]]]

    def _add_head(
        self, networks: Ints, here: Ints, option: int, queen: bool, widths: Ints, tally: _Tally
    ) -> None:
        """Add neck and head of the networks `here`, which share the option of levels."""
        neck, head = self._levels[option]
        queen = queen and neck[0] < neck[-1]
        mine = networks[here]
        width = {level: widths[here, level - 1] for level in neck}

        def cross(level: int, width: Ints) -> Ints:
            found = look_up(self._parts.cross[level], [width // 8], width, self._log)
            tally.add(found, here)
            return found.width

        backbone = dict(width)
        for level in reversed(neck if queen else neck[:-1]):
            reads = width[level] + (width[level + 1] if level < neck[-1] else 0)
            if queen and level > neck[0]:
                reads = reads + cross(level, backbone[level - 1])
            if self._latency:
                joined = 1 + (level < neck[-1]) + (queen and level > neck[0])
                self._time_joint(level, joined, reads, tally, here)
                if level < neck[-1]:
                    self._time_upsampled(level, width[level + 1], tally, here)
            found = self._look(self._parts.neck[level, False], mine, reads)
            tally.add(found, here)
            width[level] = found.width
        way_down = dict(width)
        for level in neck[1:]:
            if level > head[-1]:
                break
            down = self._look(self._parts.down[level], mine, width[level - 1])
            tally.add(down, here)
            reads = down.width + width[level]
            if queen and level - 1 > neck[0]:
                reads = reads + cross(level, way_down[level - 1])
            if self._latency:
                joined = 2 + (queen and level - 1 > neck[0])
                self._time_joint(level, joined, reads, tally, here)
            found = self._look(self._parts.neck[level, level == neck[-1]], mine, reads)
            tally.add(found, here)
            width[level] = found.width
        lowest = width[head[0]] if len(neck) == 1 else np.zeros(len(here), np.int64)
        table, names = self._parts.head
        columns = [mine[:, self._at[name]] for name in names]
        columns += [tally.light[here].astype(np.int64), lowest // 8]
        tally.add(look_up(table, columns, lowest, self._log), here)

    def _time_joint(self, level: int, number: int, width: Ints, tally: _Tally, here: Ints) -> None:
        """Add the time of a concatenation of a number of tensors at a level to networks `here`."""
        side = self.imgsz // 2**level
        at = [Op("concat", c, c, side, side, side, side, groups=number) for c in FIT_CHANNELS]
        self._add_time((at[0], at[1]), width, tally, here)

    def _time_upsampled(self, level: int, width: Ints, tally: _Tally, here: Ints) -> None:
        """Add the time of enlarging a tensor to a level to networks `here`."""
        side = self.imgsz // 2**level
        half = side // 2
        at = [Op("upsample", c, c, half, half, side, side, stride=2) for c in FIT_CHANNELS]
        self._add_time((at[0], at[1]), width, tally, here)

    def _add_time(self, pair: tuple[Op, Op], width: Ints, tally: _Tally, here: Ints) -> None:
        assert self._latency is not None
        ids = np.full(len(width), self._latency.id_of((pair,)), np.int64)
        tally.ms[here] += self._latency.varied(ids, width // 8)

    def madnas(self, found: BatchCosts) -> Floats:
        """Return `entropy.madnas` of evaluated networks."""
        share = self._weights(MADNAS_WEIGHTS)[found.top]
        widths = self._log(np.maximum(found.widths, 1))
        return (share * (0.5 * found.logs + widths)).sum(axis=1)

    def deepmad(self, found: BatchCosts) -> Floats:
        """Return `entropy.deepmad` of evaluated networks."""
        share = self._weights(DEEPMAD_WEIGHTS)[found.top]
        sides = self.imgsz // 2 ** np.arange(1, share.shape[1] + 1)
        sizes = self._log(np.maximum(found.widths, 1)) + 2 * self._log(np.maximum(sides, 1))
        score = (share * sizes * 0.5 * found.logs).sum(axis=1) - PENALTY * np.exp(found.spread)
        convs = np.maximum(found.convs, 1)
        rho = np.where(share > 0, convs / np.exp(found.logs / convs), 0.0).max(axis=1)
        return np.where(rho > EFFECTIVENESS, -math.inf, score)

    def _weights(self, pattern: tuple[float, float, float]) -> Floats:
        """Return the stages' weights by the number of stages."""
        table = np.zeros((int(self._top.max()) + 1, int(self._top.max())))
        for top in range(1, len(table)):
            table[top, :top] = weights(top, pattern)
        return table

    def _look(self, part: Chosen, networks: Ints, c_in: Ints) -> Numbers:
        columns = [networks[:, self._at[name]] for name in part.names]
        return look_up(part.table, columns, c_in, self._log)
