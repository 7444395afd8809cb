"""One training of one model by Ultralytics, measured once on held-out images."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from ultralytics.utils.torch_utils import unwrap_model

from yolo_nas_ext.errors import TrialError
from yolo_nas_ext.host.dataset import DataSet
from yolo_nas_ext.host.metrics import results
from yolo_nas_ext.host.training import bfloat16, checkpoint, quantised
from yolo_nas_ext.host.training.distributed import launched
from yolo_nas_ext.host.training.initialisation import USUAL, norms
from yolo_nas_ext.host.training.lean import Initial, OnEpoch, Split, trainer_of
from yolo_nas_ext.host.training.session import session
from yolo_nas_ext.host.training.settings import TrainingSettings

BATCH = "batch"  # the metric that says with how many images a step a network was trained


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """What a training gave.

    Attributes:
        metrics: ``fitness``, Ultralytics' for the task. On the held-out images ``map50_95``,
            ``map50``, ``precision`` and ``recall``; masks and keypoints have ``mask_map50_95`` and
            so on, classes ``accuracy_top1`` and ``accuracy_top5``, semantic segmentation ``miou``
            and ``pixel_accuracy``. ``loss_*`` are mean training losses of the last epoch,
            ``loss_teacher`` is what a teacher added to them, ``val_loss_*`` are mean losses on the
            held-out images. An end-to-end head also has ``loss_many_*`` and ``val_loss_many_*`` of
            its one-to-many branch, which compare with other heads' losses.
            ``int8_*`` are the same of the network in int8, where that was asked for. ``batch`` are
            the images of a step, where the settings allow another number.
        seconds: Wall time.
        epochs: Epochs trained.
    """

    metrics: dict[str, float]
    seconds: float
    epochs: int


def train(
    model: Mapping[str, Any],
    data: DataSet,
    split: Split,
    settings: TrainingSettings,
    *,
    weights: Path | None = None,
    on_epoch: OnEpoch | None = None,
    initial: Initial | None = None,
) -> TrainingResult:
    """Train a model and measure it once on the held-out images.

    The same arguments give the same numbers, whatever was trained before in this process, on one
    machine with one number of threads.

    Args:
        model: Ultralytics' model definition.
        data: The data set; only its training images are used.
        split: Indices of them to (train on, measure on).
        settings: How it is trained and measured.
        weights: Where the measured weights go, as a stock checkpoint.
        on_epoch: Called with an epoch's number, from 1, and its mean training losses, and with all
            metrics where it was measured. What it raises gets through as it is.
        initial: Writes weights into the model once it is built, given its class names; without, it
            starts from random ones.

    Raises:
        NASError: For a task that no candidate could be trained with.
        TrialError: For a model that cannot be built, a loss that is not finite, too little memory,
            or when the time is up.
    """
    timeout = settings.timeout
    kind = trainer_of(settings.task, model)
    begin = time.perf_counter()
    deadline = math.inf if timeout is None else begin + timeout

    def attempt(settings: TrainingSettings) -> dict[str, float]:
        own = partial(kind, model, data, split, settings)
        finish = partial(_finish, weights=weights, settings=settings)
        watched: dict[str, Any] = {"deadline": deadline, "on_epoch": on_epoch}

        def use(trainer: Any) -> dict[str, float]:
            if trainer.ddp:
                return launched(trainer, own, finish, threads=settings.threads, **watched)
            trainer.train()
            return finish(trainer)

        make = partial(own, initial=initial, replay=settings.short, **watched)
        all_of_them = {"device": settings.device} if settings.together else {}
        return session(make, settings.arguments(**all_of_them), use, threads=settings.threads)

    metrics = _halving(attempt, settings) if settings.halves else attempt(settings)
    return TrainingResult(metrics, time.perf_counter() - begin, settings.epochs)


def _halving(
    attempt: Callable[[TrainingSettings], dict[str, float]], settings: TrainingSettings
) -> dict[str, float]:
    """Return the metrics of a training, with the batch that it was done with.

    One that does not fit into memory is tried once more with half the batch.

    Raises:
        TrialError: As `train`; of a second attempt it names both batches.
    """
    whole, half = settings.batch, settings.batch // 2
    try:
        return {**attempt(settings), BATCH: float(whole)}
    except TrialError as error:
        if error.kind != "memory" or not half:
            raise
    # Outside of the handler, where nothing refers to the tensors of the first attempt any more.
    try:
        return {**attempt(replace(settings, batch=half)), BATCH: float(half)}
    except TrialError as error:
        said = f"{error} (with batch={half}; batch={whole} did not fit)"
        raise TrialError(error.kind, said) from error


def _finish(trainer: Any, weights: Path | None, settings: TrainingSettings) -> dict[str, float]:
    """Return the metrics, in another precision too if there is one, and write the weights."""
    metrics = results(trainer)
    model: Any = unwrap_model(trainer.ema.ema)
    bfloat16.restore(model)
    if not all(value.isfinite().all() for value in model.state_dict().values()):
        raise TrialError("nan", "weights are not finite after the last step")
    if weights is not None:
        for norm in norms(model):
            norm.momentum = USUAL  # for whoever goes on training
        model.criterion = None  # knows the trainer
        checkpoint.save(
            model,
            weights,
            args=vars(trainer.args),
            metrics=metrics,
            scans=trainer.data_set.scans,
        )
    if settings.precision:
        by = settings.int8_by
        metrics |= quantised.measured(trainer, settings.precision, metrics, by)
    return metrics
