"""One training of one model by the host, measured once on held-out images."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ultralytics.utils.torch_utils import unwrap_model

from yolo_nas_ext.errors import NASError, TrialError, did_you_mean
from yolo_nas_ext.host.dataset import DataSet
from yolo_nas_ext.host.metrics import Judge, results
from yolo_nas_ext.host.training import bfloat16, checkpoint
from yolo_nas_ext.host.training.distillation import student
from yolo_nas_ext.host.training.initialisation import USUAL, norms
from yolo_nas_ext.host.training.lean import TRAINERS, Initial, OnEpoch
from yolo_nas_ext.host.training.session import session, settings


@dataclass(frozen=True, slots=True)
class Result:
    """What a training gave.

    Attributes:
        metrics: ``fitness`` (the host's for the task), ``map50_95``, ``map50``, ``precision``,
            ``recall`` on the held-out images, those of masks and keypoints as ``mask_map50_95``
            and so on, of classes ``accuracy_top1`` and ``accuracy_top5``, of semantic segmentation
            ``miou`` and ``pixel_accuracy``; ``loss_*``: mean
            training losses of the last epoch; ``val_loss_*``: mean losses on the held-out images;
            of an end-to-end head also
            ``loss_many_*`` and ``val_loss_many_*``: those of its one-to-many branch, which are
            the ones that compare with other heads' losses.
        seconds: Wall time.
        epochs: Epochs trained.
    """

    metrics: dict[str, float]
    seconds: float
    epochs: int


def train(
    model: Mapping[str, Any],
    data: DataSet,
    split: tuple[list[int], list[int]],
    *,
    task: str = "detect",
    epochs: int,
    imgsz: int,
    batch: int,
    seed: int = 0,
    device: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    weights: Path | None = None,
    timeout: float | None = None,
    threads: int = 1,
    on_epoch: OnEpoch | None = None,
    every: int | None = None,
    short: bool = True,
    images: Path | None = None,
    shared: bool = False,
    initial: Initial | None = None,
    judge: Judge | None = None,
) -> Result:
    """Train a model and measure it once on the held-out images.

    The same arguments give the same numbers, whatever was trained before in this process, on one
    machine with one number of threads.

    Args:
        model: The host's model definition.
        data: The data set; only its training images are used.
        split: Indices of them to (train on, measure on).
        task: The host's task.
        epochs: Epochs; the learning-rate schedule is complete within them.
        imgsz: Image size in pixels, a multiple of 32.
        batch: Images a step.
        seed: Of weights, order of images and augmentation.
        device: The host's device; it chooses one unless given.
        overrides: Further arguments of the host's trainer.
        weights: Where the measured weights go, as a stock checkpoint.
        timeout: Seconds after which to give up.
        threads: CPU threads; importing the host leaves one where nobody set another number.
        on_epoch: Called with an epoch's number, from 1, and its mean training losses, and with all
            metrics where it was measured. What it raises gets through as it is.
        every: Measure after every so many epochs too; without, after the last alone.
        short: Let batch norms and the moving average of the weights keep up with few steps; they
            are the host's without.
        images: Folder for decoded images that do not fit into memory; without one they are
            decoded at every use.
        shared: Whether other processes use that folder too; then all images are mapped from it,
            so that no process holds a copy.
        initial: Writes weights into the model once it is built, given its class names; without, it
            starts from random ones.
        judge: Judges detections on the held-out images, of tasks with upright boxes; its
            ``fitness`` takes the place of the host's, which is kept as ``host_fitness``.

    Raises:
        NASError: For a task or image size that no candidate could be trained with.
        TrialError: For a model that cannot be built, a loss that is not finite, too little memory,
            or when the time is up.
    """
    if task not in TRAINERS:
        raise NASError(
            f"task={task}: no trainer.{did_you_mean(task, TRAINERS)} Allowed: {', '.join(TRAINERS)}"
        )
    begin = time.perf_counter()
    deadline = math.inf if timeout is None else begin + timeout
    given = settings(
        overrides,
        task=task,
        epochs=epochs,
        imgsz=imgsz,
        batch=batch,
        seed=seed,
        device=device,
        val=every is not None,
    )

    def make(arguments: dict[str, Any]) -> Any:
        return TRAINERS[task](
            model,
            data,
            split,
            arguments,
            deadline=deadline,
            on_epoch=on_epoch,
            short=short,
            every=every,
            images=images,
            shared=shared,
            initial=initial,
            judge=judge,
            replay=short,
        )

    def use(trainer: Any) -> dict[str, float]:
        trainer.train()
        return _finish(trainer, weights)

    metrics = session(make, given, use, threads=threads)
    return Result(metrics, time.perf_counter() - begin, epochs)


def _finish(trainer: Any, weights: Path | None) -> dict[str, float]:
    """Return the metrics and write the measured weights."""
    metrics = results(trainer)
    model: Any = student(unwrap_model(trainer.ema.ema))
    bfloat16.restore(model)
    if not all(value.isfinite().all() for value in model.state_dict().values()):
        raise TrialError("nan", "weights are not finite after the last step")
    if weights is not None:
        for norm in norms(model):
            norm.momentum = USUAL  # for whoever goes on training
        model.criterion = None  # knows the trainer
        checkpoint.save(model, weights, args=vars(trainer.args), metrics=metrics)
    return metrics
