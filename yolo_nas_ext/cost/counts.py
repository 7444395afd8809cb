"""Parameters, FLOPs, activation memory and layers of an architecture, from its layer table."""

from __future__ import annotations

from typing import NamedTuple

from yolo_nas_ext.network.architecture import Architecture
from yolo_nas_ext.network.blocks import BLOCKS
from yolo_nas_ext.network.modules import LIGHT_HEAD
from yolo_nas_ext.network.row_cost import Shape, row_cost
from yolo_nas_ext.network.rows import KEYPOINTS, rows
from yolo_nas_ext.network.timm_backbones import paths


class Costs(NamedTuple):
    """The costs of a network.

    Attributes:
        params: Parameters, unfused.
        flops: FLOPs of one image: 2 x multiply-adds as Ultralytics counts them.
        memory: Peak of activation memory of one image in bytes, in single precision.
        layers: DAMO-YOLO's count of the backbone: the stem's one and two a block repeat. Of a
            backbone of timm, the convolutions on its longest path.
    """

    params: int
    flops: int
    memory: int
    layers: int


def costs(
    architecture: Architecture,
    nc: int = 80,
    imgsz: int = 640,
    *,
    channels: int = 3,
    task: str = "detect",
    keypoints: tuple[int, int] = KEYPOINTS,
) -> Costs:
    """Return what an architecture costs; some 100 microseconds, as every row is memoised.

    Args:
        architecture: What to count.
        nc: Number of classes.
        imgsz: Height and width of the image in pixels.
        channels: Channels of the image.
        task: What the head does, see `network.rows.TASKS`.
        keypoints: Number of keypoints and numbers a point, of the task pose.

    Returns:
        Counts; parameters and FLOPs equal those of the model that Ultralytics builds. The memory is
        that of a forward pass which frees each activation after its last use.
    """
    backbone, rest = rows(architecture, nc, task, keypoints)
    chain = [*backbone, *rest]
    head = architecture.head
    legacy = not any(module in LIGHT_HEAD for _, _, module, _ in chain)
    sources = [
        [index + f if f < 0 else f for f in ([row[0]] if isinstance(row[0], int) else row[0])]
        for index, row in enumerate(chain)
    ]
    last_use = {source: index for index, row in enumerate(sources) for source in row}
    image = (channels, imgsz, imgsz)
    shapes: list[Shape] = []
    params = ops = peak = 0
    alive: dict[int, int] = {}
    for index, (_, n, module, args) in enumerate(chain):
        inputs = tuple(shapes[s] if s >= 0 else image for s in sources[index])
        last = tuple(last_use[s] == index for s in sources[index])
        cost = row_cost(module, n, args, inputs, last, head.reg_max, head.end2end, legacy)
        held = sum(size for source, size in alive.items() if source not in sources[index])
        params += cost.params
        ops += cost.ops
        peak = max(peak, held + cost.peak)
        shapes.append(cost.shape)
        alive[index] = cost.size
        for source in {*sources[index], index}:
            if last_use.get(source, -1) <= index:
                alive.pop(source, None)
    layers = 1 + 2 * sum(b.depth for b in architecture.backbone if BLOCKS[b.kind].deep)
    if architecture.timm:
        layers = len(paths(architecture.timm, channels, imgsz)[-1][0])
    return Costs(params, 2 * ops, 4 * peak, layers)
