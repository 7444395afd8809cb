"""Checkpoints of small networks with random weights, for searches to start from."""

from __future__ import annotations

import random
from pathlib import Path

from ultralytics import YOLO

from yolo_nas_ext.network.architecture import Architecture
from yolo_nas_ext.network.emit import to_yaml
from yolo_nas_ext.network.rows import KEYPOINTS
from yolo_nas_ext.space.detector import DetectorSpace

# Carrying weights over takes its time by the widths; an even cut of these keeps half of the FLOPs.
NARROW = {
    "stem.width": 16,
    "p2.width": 32,
    "p3.width": 48,
    "p4.width": 64,
    "p5.width": 96,
    "neck.width": 32,
}


def small(seed: int = 0, task: str = "detect") -> Architecture:
    """A narrow network of the space `tiny` with the levels P3 to P5."""
    space = DetectorSpace.load("tiny", task, {**NARROW, "levels": "3-5", "context": "sppf"})
    return space.architecture(space.sample(random.Random(seed)))


def checkpoint(
    folder: Path,
    name: str = "mine",
    *,
    nc: int = 3,
    seed: int = 0,
    task: str = "detect",
    keypoints: tuple[int, int] = KEYPOINTS,
) -> Path:
    """Write a checkpoint of a small network, a detector unless a task is given, and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    definition = folder / f"{name}.yaml"
    definition.write_text(to_yaml(small(seed, task), nc, task, keypoints=keypoints))
    YOLO(definition, task=task, verbose=False).save(folder / f"{name}.pt")
    definition.unlink()
    return folder / f"{name}.pt"
