"""Metrics of a training under the field's names, and the objects that a model sees."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import distributed as dist


@dataclass(frozen=True, slots=True)
class Seen:
    """What is in pictures, or what a model sees in them, by the picture's stem.

    Attributes:
        boxes: Rows (left, top, right, bottom, class, score) in pixels of the picture.
        shapes: Height and width of the picture.
        masks: Scores (classes, h, w) of the surest that covers each pixel, 0 where nothing does
            and 1 where something is; of segmentation alone.
    """

    boxes: dict[str, np.ndarray] = field(default_factory=dict)
    shapes: dict[str, tuple[int, int]] = field(default_factory=dict)
    masks: dict[str, np.ndarray] = field(default_factory=dict)


# Metrics from what a model sees and what there is; ``fitness`` replaces Ultralytics'.
Measure = Callable[[Seen, Seen], Mapping[str, float]]
WITHOUT = "fitness_without_"  # and a number: Ultralytics' fitness without a part of the images
SURE = 0.25  # score from which something counts where nobody has chosen another


def gathered(seen: tuple[Seen, Seen]) -> tuple[Seen, Seen]:
    """Return what all ranks of a distributed training have seen, in the first; others keep theirs.

    Args:
        seen: What the model sees in this rank's part of the pictures, and what is there.
    """
    first = dist.get_rank() == 0
    parts: list[Any] | None = [None] * dist.get_world_size() if first else None
    dist.gather_object(seen, parts, dst=0)
    if parts is None:
        return seen
    sees, there = (
        Seen(*({k: v for one in of for k, v in getattr(one, n).items()} for n in Seen.__slots__))
        for of in zip(*parts, strict=True)
    )
    return sees, there


def results(trainer: Any) -> dict[str, float]:
    """Return measured and training metrics of the last epoch under the names of the field."""
    names = {"mAP50-95": "map50_95", "mAP50": "map50", "precision": "precision", "recall": "recall"}
    metrics = {"fitness": float(trainer.fitness)}
    names |= {name: name for name in ("accuracy_top1", "accuracy_top5")}
    names |= {"mIoU": "miou", "pixel_acc": "pixel_accuracy"}
    kinds = {"M": "mask_", "P": "pose_"}  # of masks and keypoints, beside those of boxes
    for name, value in trainer.metrics.items():
        short, _, kind = name.removeprefix("metrics/").rstrip(")").partition("(")
        if name.startswith("metrics/") and short in names:
            metrics[kinds.get(kind, "") + names[short]] = float(value)
    if own := trainer.own_metrics():
        metrics = {**metrics, "host_fitness": metrics["fitness"], **own}
    without = {f"{WITHOUT}{part}": value for part, value in enumerate(trainer.without)}
    return {**metrics, **trainer.losses(), **trainer.measured(), **without}


def parted(metrics: Mapping[str, float]) -> tuple[list[float], dict[str, float]]:
    """Return fitness without each part of the images, and all other metrics."""
    count = sum(name.startswith(WITHOUT) for name in metrics)
    others = {name: v for name, v in metrics.items() if not name.startswith(WITHOUT)}
    return [metrics[f"{WITHOUT}{part}"] for part in range(count)], others


def fitness_without(metrics: Any, parts: Sequence[int]) -> list[float]:
    """Return Ultralytics' fitness without each part of the images, in the order of their numbers.

    Args:
        metrics: Ultralytics' metrics of boxes before they are made of what was noted.
        parts: The part of each image, in the order in which images were measured; two different
            ones at least.
    """
    noted, metrics.stats = metrics.stats, {}
    blank = deepcopy(metrics)
    metrics.stats = noted
    found = []
    for part in sorted({*parts}):
        own = deepcopy(blank)
        own.stats = {
            name: [value for value, other in zip(values, parts, strict=True) if other != part]
            for name, values in noted.items()
        }
        own.process()
        found.append(float(own.fitness))
    return found


def rows(part: Mapping[str, Any], place: Mapping[str, Any]) -> np.ndarray:
    """Return boxes as rows (left, top, right, bottom, class, score); objects have the score 1.

    Args:
        part: Ultralytics' boxes of a picture, in pixels of the network.
        place: How the picture was laid into the network's, ``ratio_pad``.
    """
    classes = part["cls"].reshape(-1, 1)
    scores = part["conf"].reshape(-1, 1) if "conf" in part else torch.ones_like(classes)
    table = torch.cat((part["bboxes"].reshape(-1, 4), classes, scores), 1).cpu().numpy()
    (down, across), (x, y) = place["ratio_pad"]
    table = table.astype(float)
    table[:, :4] = (table[:, :4] - (x, y, x, y)) / (across, down, across, down)
    return table


def masks(part: Mapping[str, Any], nc: int) -> np.ndarray:
    """Return the score (classes, h, w) of what covers each pixel."""
    planes, kinds = part["masks"].bool(), part["cls"].reshape(-1)
    scores = part.get("conf", torch.ones_like(kinds)).reshape(-1).float()
    result = torch.zeros((nc, *planes.shape[1:]), device=planes.device)
    for index in torch.argsort(scores).tolist():  # the surest last, on top
        result[int(kinds[index])][planes[index]] = scores[index]
    return result.half().cpu().numpy()


def named(prefix: str, losses: Mapping[str, Any]) -> dict[str, float]:
    """Return losses under their names here, ``val_loss_box`` for Ultralytics' ``box_loss``."""
    return {f"{prefix}{name.removesuffix('_loss')}": float(v) for name, v in losses.items()}
