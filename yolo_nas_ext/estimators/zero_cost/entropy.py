"""Analytic scores: closed forms over the convolutions of the backbone, microseconds each.

Both rest on the entropy of a convolution, half the logarithm of its fan-in
``c_in / groups * k^2``, summed along the main path: of a block with branches its longest path by
convolutions, and of equally long ones that of most entropy. A stage is a level of the backbone; it
ends where the next stride of 2 begins. Neck and head do not count.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

from yolo_nas_ext.network.architecture import Architecture, Block, TimmBackbone
from yolo_nas_ext.network.blocks import BLOCKS
from yolo_nas_ext.network.graph import Layer, longest_paths
from yolo_nas_ext.network.layers import lower_rows
from yolo_nas_ext.network.timm_backbones import paths

MADNAS_WEIGHTS = (0.0, 1.0, 16.0)  # of the first two stages, those between, and the last
DEEPMAD_WEIGHTS = (1.0, 1.0, 8.0)
EFFECTIVENESS = 0.3  # most layers, relative to their mean width, that a network can make use of
PENALTY = 10.0  # of depths that differ between blocks
SIZE = 64  # pixels; fan-ins do not depend on the resolution


class Stage(NamedTuple):
    """What the scores need of a level: its convolutions' fan-ins in order, width and repeats."""

    fan_ins: tuple[int, ...]
    width: int
    repeats: tuple[int, ...]


def fan_ins(layers: Sequence[Layer]) -> tuple[int, ...]:
    """Return the fan-ins of the convolutions on the longest path from first to last layer.

    Args:
        layers: Operations in order of execution, see `network.layers`.
    """
    return longest_paths(layers)[layers[-1].writes]


@lru_cache(maxsize=100_000)
def block_fan_ins(block: Block, c_in: int) -> tuple[int, ...]:
    """Return the fan-ins along the main path of a block behind `c_in` channels; memoised."""
    rows = [(-1, *row) for row in BLOCKS[block.kind].rows(block)]
    table = lower_rows(rows, len(rows), reg_max=1, end2end=False, imgsz=SIZE, channels=c_in)
    return fan_ins(table.layers)


def stages(architecture: Architecture, channels: int = 3) -> list[Stage]:
    """Return the stages of a backbone, the stem's first.

    Args:
        architecture: The network.
        channels: Channels of the image.
    """
    if architecture.timm:
        return _whole_stages(architecture.timm, channels)
    found: list[Stage] = []
    c_in = channels
    for block in architecture.backbone:
        if block.stride == 2 or not found:
            found.append(Stage((), 0, ()))
        last = found[-1]
        repeats = (block.depth,) if BLOCKS[block.kind].deep else ()
        found[-1] = Stage(
            last.fan_ins + block_fan_ins(block, c_in), block.width, last.repeats + repeats
        )
        c_in = block.width
    return found


def _whole_stages(whole: TimmBackbone, channels: int) -> list[Stage]:
    """Return the stages of a backbone of timm; those below its first feature are part of that."""
    found: list[Stage] = []
    done = 0
    for reached, width in paths(whole, channels, SIZE):
        found.append(Stage(reached[done:], width, ()))
        done = len(reached)
    return found


def entropy(fans: Iterable[int]) -> float:
    """Return the sum of half the logarithms of fan-ins."""
    return 0.5 * math.fsum(map(math.log, fans))


def weights(n: int, pattern: tuple[float, float, float]) -> list[float]:
    """Return the weights of `n` stages: those of the first two, of those between, of the last."""
    early, middle, last = pattern
    return [early if i < 2 else middle for i in range(n - 1)] + [last]


def madnas(architecture: Architecture, imgsz: int = 640, channels: int = 3) -> float:
    """Return the score of MAE-NAS (Sun et al. 2022, arXiv:2111.13336), which found DAMO-YOLO.

    The sum over stages i of a_i (entropy up to the end of stage i + ln C_i), where C_i are the
    stage's output channels and a = 0, 0, 1, ..., 1, 16.

    Args:
        architecture: The network.
        imgsz: Not used; scores share their signature.
        channels: Channels of the image.
    """
    total, so_far = 0.0, 0.0
    found = stages(architecture, channels)
    for weight, stage in zip(weights(len(found), MADNAS_WEIGHTS), found, strict=True):
        so_far += entropy(stage.fan_ins)
        total += weight * (so_far + math.log(stage.width))
    return total


def effectiveness(architecture: Architecture, channels: int = 3) -> float:
    """Return DeepMAD's rho: layers over the geometric mean of their fan-ins.

    It is taken at the end of every stage over all layers up to there, and the largest counts: a
    network of many thin layers is hard to train, however much entropy it has.
    """
    worst, layers, logs = 0.0, 0, 0.0
    for stage in stages(architecture, channels):
        layers += len(stage.fan_ins)
        logs += 2 * entropy(stage.fan_ins)
        if layers:
            worst = max(worst, layers / math.exp(logs / layers))
    return worst


def deepmad(architecture: Architecture, imgsz: int = 640, channels: int = 3) -> float:
    """Return the score of DeepMAD (Shen et al. 2023, arXiv:2303.02165).

    The sum over stages i of a_i ln(C_i r_i^2) (entropy up to the end of stage i), with the stage's
    output channels C_i and side r_i in pixels and a = 1, ..., 1, 8, less 10 exp(std L) for repeats
    L that differ between the blocks; minus infinity where rho, see `effectiveness`, is above 0.3.
    """
    if effectiveness(architecture, channels) > EFFECTIVENESS:
        return -math.inf
    total, so_far, side = 0.0, 0.0, imgsz
    found = stages(architecture, channels)
    for weight, stage in zip(weights(len(found), DEEPMAD_WEIGHTS), found, strict=True):
        side //= 2
        so_far += entropy(stage.fan_ins)
        total += weight * math.log(stage.width * side**2) * so_far
    repeats = [depth for stage in found for depth in stage.repeats]
    return total - PENALTY * math.exp(statistics.pstdev(repeats) if repeats else 0.0)


# Score: from an architecture, the image size in pixels and the image's channels.
SCORES: dict[str, Callable[[Architecture, int, int], float]] = {
    "madnas": madnas,
    "deepmad": deepmad,
}
