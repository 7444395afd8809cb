"""Short trainings through the host's own trainer."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from yolo_nas_ext.data.splits import hold_out
from yolo_nas_ext.host.dataset import DataSet
from yolo_nas_ext.host.trainer import OnEpoch, train
from yolo_nas_ext.space.architecture import Architecture
from yolo_nas_ext.space.emit import emit

# A recipe for few steps; a key that the user gives replaces its entry.
SHORT: dict[str, Any] = {
    "optimizer": "AdamW",  # learns fastest within a hundred steps
    "lr0": 0.004,
    "lrf": 0.05,
    "momentum": 0.9,
    "weight_decay": 0.0005,
    "cos_lr": True,
    "warmup_bias_lr": 0.0,  # the host's 0.1 is meant for SGD
    "mosaic": 0.0,  # most of the cost of loading, and of no help before some tens of epochs
    "close_mosaic": 0,
}
WARMUP = 0.1  # of the epochs; the host's 3 epochs would be most of the training


class ShortTraining:
    """Fitness after a short training on one part of train, measured on the other.

    Args:
        data: The data set; its val part is not used.
        task: The host's task.
        epochs: Epochs of a candidate.
        imgsz: Image size in pixels.
        batch: Images a step; the gradient is applied at each, not accumulated as by the host.
        seed: Of the split and of every training.
        val_fraction: Part of the training images to measure on.
        device: The host's device; it chooses one unless given.
        overrides: The host's arguments that the user gave.
        timeout: Seconds after which a training is given up.
        threads: CPU threads; all cores unless given.
    """

    def __init__(
        self, data: DataSet, *, task: str = "detect", epochs: int = 10, imgsz: int = 128,
        batch: int = 16, seed: int = 0, val_fraction: float = 0.25, device: str | None = None,
        overrides: Mapping[str, Any] | None = None, timeout: float | None = None,
        threads: int | None = None,
    ) -> None:  # fmt: skip
        self.data = data
        self.task = task
        self.epochs = epochs
        self.imgsz = imgsz
        self.batch = batch
        self.seed = seed
        self.device = device
        self.timeout = timeout
        self.threads = threads or os.cpu_count() or 1
        self.split = hold_out(data.classes, fraction=val_fraction, seed=seed)
        recipe = {**SHORT, "nbs": batch, "warmup_epochs": WARMUP * epochs}
        self.overrides = {**recipe, **(overrides or {})}

    @property
    def fidelity(self) -> dict[str, float]:
        """Epochs, image size in pixels and number of images of a training."""
        return {"epochs": self.epochs, "imgsz": self.imgsz, "images": len(self.split[0])}

    def estimate(
        self, architecture: Architecture | Mapping[str, Any],
        fidelity: Mapping[str, float] | None = None, report: OnEpoch | None = None,
        weights: Path | None = None,
    ) -> dict[str, float]:  # fmt: skip
        """Return the metrics of a network after a short training; see `host.trainer.Result`.

        Args:
            architecture: What to train, or a model definition of the host.
            fidelity: May hold ``epochs`` other than the default.
            report: Called after each epoch.
            weights: Where a stock checkpoint goes.

        Raises:
            TrialError: For a candidate that cannot be trained.
        """
        if isinstance(architecture, Architecture):
            architecture = emit(architecture, self.data.nc, self.task)
        epochs = int((fidelity or {}).get("epochs", self.epochs))
        overrides = dict(self.overrides)
        return train(
            architecture, self.data, self.split, task=self.task, epochs=epochs, imgsz=self.imgsz,
            batch=self.batch, seed=self.seed, device=self.device, overrides=overrides,
            weights=weights, timeout=self.timeout, threads=self.threads,
            on_epoch=report,
        ).metrics  # fmt: skip
