"""What turns a network's decoded boxes into detections: its time, on boxes that are always alike.

Random weights find no boxes on random images, and trained ones as many as an image shows. So that
networks compare, all get the same work: `BOXES` boxes above the threshold around `OBJECTS` objects.
Ultralytics' own functions do it, as they do in `predict`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from ultralytics.nn.modules.head import OBB, Detect
from ultralytics.utils.nms import non_max_suppression

from yolo_nas_ext.cost.latency.probe import Run
from yolo_nas_ext.cost.latency.protocol import BOXES, CLASSES, OBJECTS, Protocol
from yolo_nas_ext.errors import NASError

CONFIDENCE, OVERLAP, MOST = 0.25, 0.7, 300  # as `predict` has them
STRIDES = (8, 16, 32)
RUNS = 20


@dataclass(frozen=True, slots=True)
class Boxes:
    """What a network puts out.

    Attributes:
        nc: Its classes.
        anchors: Its boxes.
        extra: Numbers of a box besides: mask coefficients, keypoints, an angle.
        rotated: Whether boxes have an angle.
    """

    nc: int
    anchors: int
    extra: int = 0
    rotated: bool = False


def of_module(module: nn.Module, imgsz: int, where: str, *, final: bool = True) -> Boxes | None:
    """Return what a network of Ultralytics puts out; None where no suppression follows.

    Args:
        module: The network.
        imgsz: Image size in pixels.
        where: What it is called in messages.
        final: Whether an end-to-end head is run by the branch whose boxes are final.

    Raises:
        NASError: For a network without boxes.
    """
    head: Any = module.model[-1]  # type: ignore[index]
    if not isinstance(head, Detect):
        if hasattr(head, "num_queries"):  # of a transformer, whose boxes are final
            return None
        raise NASError(f"nms=True: {where} finds no boxes that could be suppressed; leave nms out")
    if final and getattr(head, "one2one_cv2", None) is not None:
        return None
    anchors = sum((imgsz // int(stride)) ** 2 for stride in head.stride.tolist())
    extra = next((int(getattr(head, n)) for n in ("nm", "nk", "ne") if hasattr(head, n)), 0)
    return Boxes(int(head.nc), anchors, extra, isinstance(head, OBB))


def of_file(path: Path, where: str) -> Boxes | None:
    """Return what an ONNX file that Ultralytics exported puts out.

    Raises:
        NASError: For one that does not say its classes, or without boxes.
    """
    import ast

    import onnx

    model = onnx.load(str(path), load_external_data=False)
    said = {entry.key: entry.value for entry in model.metadata_props}
    shape = [d.dim_value for d in model.graph.output[0].type.tensor_type.shape.dim]
    try:
        nc = len(ast.literal_eval(said["names"]))
    except (KeyError, ValueError, SyntaxError, TypeError) as error:
        raise NASError(
            f"nms=True: {where} does not say its classes, as files of Ultralytics' export do; give "
            "the .pt or .yaml"
        ) from error
    if len(shape) != 3:
        raise NASError(f"nms=True: {where} finds no boxes that could be suppressed; leave nms out")
    if said.get("end2end") == "True":
        return None
    return Boxes(nc, shape[2], shape[1] - 4 - nc, said.get("task") == "obb")


def predictions(boxes: Boxes, batch: int, imgsz: int) -> torch.Tensor:
    """Return made-up predictions of the shape (batch, 4 + classes + extra, anchors).

    `BOXES` of them are above the threshold, in groups that overlap; no more than there are.
    """
    rng = torch.Generator().manual_seed(0)
    n = min(BOXES, boxes.anchors)
    made = torch.zeros(batch, 4 + boxes.nc + boxes.extra, boxes.anchors)
    centres = torch.rand(OBJECTS, 2, generator=rng) * imgsz
    group = torch.arange(n) % OBJECTS
    where = torch.randperm(boxes.anchors, generator=rng)[:n]
    near = centres[group] + torch.randn(n, 2, generator=rng) * imgsz / 200
    made[:, :2, where] = near.T
    made[:, 2:4] = imgsz / 8
    scores = CONFIDENCE + 0.05 + (0.6 * torch.rand(n, generator=rng))
    made[:, 4 + group % boxes.nc, where] = scores
    return made


def suppression(boxes: Boxes, protocol: Protocol) -> Run:
    """Return what suppresses made-up boxes once."""
    made = predictions(boxes, protocol.batch, protocol.imgsz).to(protocol.place)
    corners = made[:, :4].clone()

    def run() -> None:
        made[:, :4] = corners  # which the suppression changes in place
        non_max_suppression(
            made, CONFIDENCE, OVERLAP, nc=boxes.nc, max_det=MOST, rotated=boxes.rotated
        )

    return run


def _choice(boxes: Boxes, protocol: Protocol) -> Run:
    """Return what an end-to-end head does in the place of it: the surest boxes are chosen."""
    head = Detect(boxes.nc, 1, True, (16, 16, 16))
    made = predictions(boxes, protocol.batch, protocol.imgsz).transpose(1, 2).contiguous()
    return lambda: head.postprocess(made)


def timed(protocol: Protocol) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return milliseconds at each of `CLASSES`: of suppression, and of an end-to-end head's choice.

    The least processor time of many runs counts.

    Args:
        protocol: Image size and batch.
    """
    anchors = sum((protocol.imgsz // stride) ** 2 for stride in STRIDES)

    def least(run: Run) -> float:
        run()
        times = []
        for _ in range(RUNS):
            begin = time.process_time()
            run()
            times.append(time.process_time() - begin)
        return 1e3 * min(times)

    sizes: Sequence[Boxes] = [Boxes(nc, anchors) for nc in CLASSES]
    return (
        tuple(least(suppression(size, protocol)) for size in sizes),
        tuple(least(_choice(size, protocol)) for size in sizes),
    )
