"""The layer table: every convolution, pooling, addition ... of a network with its shapes.

Parameters, FLOPs, memory, latency and entropy are all sums over that one table, which is made by
`network.modules`. Shapes are those of one image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from yolo_nas_ext.network.architecture import Architecture
from yolo_nas_ext.network.graph import Graph, Layer, Tensor
from yolo_nas_ext.network.heads import HEADS, Kind
from yolo_nas_ext.network.modules import forward, is_legacy
from yolo_nas_ext.network.rows import KEYPOINTS, Row, rows


@dataclass(frozen=True, slots=True)
class Table:
    """The layers of a network for one image.

    Attributes:
        layers: Every operation in order of execution.
        row_of: For each layer the index of the model row it belongs to.
        backbone_rows: Number of rows of the backbone.
    """

    layers: tuple[Layer, ...]
    row_of: tuple[int, ...]
    backbone_rows: int

    @property
    def params(self) -> int:
        """Parameters, unfused."""
        return sum(layer.params for layer in self.layers)

    @property
    def flops(self) -> int:
        """FLOPs, 2 x multiply-adds as Ultralytics counts them."""
        return 2 * sum(layer.ops for layer in self.layers)

    def memory(self, bytes_per_element: int = 4) -> int:
        """Return the peak of activation memory in bytes: what is alive at once."""
        first = self.layers[0]
        image = {first.reads[0]: first.c_in * first.h_in * first.w_in}
        return peak_elements(self.layers, image) * bytes_per_element


def peak_elements(
    layers: Sequence[Layer], alive: dict[int, int], held: frozenset[int] = frozenset()
) -> int:
    """Return the largest number of elements alive at once while the layers run in order.

    Args:
        layers: Operations; a storage lives from its first write to its last use.
        alive: Elements of the storages that exist before the first layer; changed in place.
        held: Storages that are left out of the count.
    """
    last_use: dict[int, int] = {}
    for index, layer in enumerate(layers):
        for storage in (*layer.reads, layer.writes):
            last_use[storage] = index
    total = peak = sum(alive.values())
    for index, layer in enumerate(layers):
        if layer.writes not in alive and layer.writes not in held:
            alive[layer.writes] = layer.size
            total += layer.size
        peak = max(peak, total)
        for storage in {*layer.reads, layer.writes}:
            if last_use[storage] == index:
                total -= alive.pop(storage, 0)
    return peak


def lower(
    architecture: Architecture,
    nc: int = 80,
    imgsz: int = 640,
    channels: int = 3,
    *,
    task: str = "detect",
    keypoints: tuple[int, int] = KEYPOINTS,
) -> Table:
    """Return the layer table of an architecture.

    Args:
        architecture: What to lower.
        nc: Number of classes of the head.
        imgsz: Height and width of the image in pixels, a multiple of the largest stride.
        channels: Channels of the image.
        task: What the head does, see `rows.TASKS`.
        keypoints: Number of keypoints and numbers a point, of the task pose.

    Returns:
        Layers with the shapes for one image of channels x imgsz x imgsz.
    """
    head = architecture.head
    backbone, rest = rows(architecture, nc, task, keypoints)
    return lower_rows(
        (*backbone, *rest),
        len(backbone),
        reg_max=head.reg_max,
        end2end=head.end2end,
        imgsz=imgsz,
        channels=channels,
    )


def lower_rows(
    rows: Sequence[Row],
    backbone_rows: int,
    *,
    reg_max: int,
    end2end: bool,
    imgsz: int,
    channels: int = 3,
) -> Table:
    """Return the layer table of rows of Ultralytics; see `lower`.

    Raises:
        NASError: For a module without an entry in `MODULES`.
    """
    legacy = is_legacy(rows)
    layers: list[Layer] = []
    row_of: list[int] = []
    outputs: list[Tensor] = []
    next_id = 1
    image = Tensor(0, channels, imgsz, imgsz)
    for index, (source, n, module, args) in enumerate(rows):
        sources = [source] if isinstance(source, int) else source
        xs = [outputs[i] if outputs else image for i in sources]
        added, y, next_id = lower_row(module, n, args, tuple(xs), next_id, reg_max, end2end, legacy)
        layers.extend(added)
        row_of.extend([index] * len(added))
        outputs.append(y)
    return Table(tuple(layers), tuple(row_of), backbone_rows)


def lower_row(
    module: str,
    n: int,
    args: tuple[Any, ...],
    xs: tuple[Tensor, ...],
    next_id: int,
    reg_max: int,
    end2end: bool,
    legacy: bool,
) -> tuple[list[Layer], Tensor, int]:
    """Return the layers of one row, its output and the next free storage id."""
    graph = Graph(next_id)
    if module in HEADS:
        HEADS[module](graph, xs, Kind(reg_max, end2end, legacy), *args)
        return graph.layers, xs[0], graph.next_id
    y = forward(graph, module, n, args, xs)
    return graph.layers, y, graph.next_id
