"""How short trainings begin: heads that are alike, and norms that keep up with few steps."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from ultralytics.nn.modules import Classify, Detect, Segment26

# Of batch norms. Ultralytics' 0.03 averages over some 33 steps, too slow for weights that are new
# at every step: what is measured after 75 of them is not the network that was trained.
MOMENTUM = 0.1
USUAL = 0.03

SIDE = 2.0  # strides from its anchor where a box's side starts; Ultralytics' of direct regression


def head_start(model: torch.nn.Module, imgsz: int) -> None:
    """Let a detection head begin where some tens of steps would bring it, whatever its kind.

    Ultralytics starts every side of a box at 2 strides if it is regressed directly, and at the
    middle of the bins if it is a distribution. Its scores start for images of 640 px. In a short
    training the head that starts better would be taken for the better network.

    Args:
        model: Ultralytics' model; only biases of its head change.
        imgsz: Image size in pixels.
    """
    head: Any = model.model[-1]  # pyright: ignore[reportIndexIssue]
    if not isinstance(head, Detect):
        return
    bins = torch.arange(head.reg_max, dtype=torch.float32)
    sides = -((bins - SIDE) ** 2) / 2
    branches: list[tuple[Any, Any]] = [(head.cv2, head.cv3)]
    if getattr(head, "one2one_cv2", None) is not None:
        branches.append((head.one2one_cv2, head.one2one_cv3))
    for boxes, scores in branches:
        for box, score, stride in zip(boxes, scores, head.stride.tolist(), strict=True):
            score[-1].bias.data[: head.nc] = prior(head.nc, imgsz / stride)
            if head.reg_max > 1:
                box[-1].bias.data[:] = sides.repeat(4)


@torch.no_grad()
def new_classes(model: torch.nn.Module, imgsz: int, classes: Sequence[int]) -> None:
    """Let the classes that a parent does not know begin alike, whatever network takes its weights.

    Their last layer begins without weights, and with the odds of Ultralytics' for the image size.
    Random weights would make one replicate better than another by their chance.

    Args:
        model: Ultralytics' model; of its head only the last layer of the scores changes.
        imgsz: Image size in pixels.
        classes: Their numbers.
    """
    head: Any = model.model[-1]  # pyright: ignore[reportIndexIssue]
    rows = list(classes)
    last: list[tuple[Any, float]] = []  # layers, and the logit that each begins with
    if isinstance(head, Classify):
        last = [(head.linear, 0.0)]
    elif isinstance(head, Detect):
        branches: list[Any] = [head.cv3, getattr(head, "one2one_cv3", None)]
        for scores in filter(None, branches):
            for score, stride in zip(scores, head.stride.tolist(), strict=True):
                last.append((score[-1], prior(head.nc, imgsz / stride)))
        if isinstance(head, Segment26):  # which learns the classes of pixels, too
            pixels: Any = head.proto.semseg
            last.append((pixels[-1], 0.0))
    for layer, logit in last:
        layer.weight[rows] = 0
        layer.bias[rows] = logit


def prior(nc: int, cells: float) -> float:
    """Return Ultralytics' logit of a class before any training: 5 objects a level, of all classes.

    Args:
        nc: Number of classes.
        cells: Cells along a side of a level.
    """
    return math.log(5 / nc / cells**2)


def norms(model: torch.nn.Module) -> Iterator[torch.nn.BatchNorm2d]:
    """Yield the batch norms of a model."""
    return (module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d))
