"""Measuring many networks with given weights one after the other: set up once, no training."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from yolo_nas_ext.errors import TrialError
from yolo_nas_ext.host.dataset import DataSet
from yolo_nas_ext.host.metrics import results
from yolo_nas_ext.host.training import checkpoint
from yolo_nas_ext.host.training.augmented import draw, floats
from yolo_nas_ext.host.training.initialisation import USUAL, norms
from yolo_nas_ext.host.training.lean import TRAINERS, Split
from yolo_nas_ext.host.training.session import failure, quiet
from yolo_nas_ext.host.training.settings import TrainingSettings

IMAGES = 128  # at the most, to estimate batch-norm statistics from


class Evaluator:
    """Ultralytics' validator over the held-out images, for networks with weights from elsewhere.

    Args:
        definition: A model definition of Ultralytics', to set it up with; any will do.
        data: The data set.
        split: Indices of its training images to (calibrate on, measure on).
        settings: How networks are measured; ``batch`` are the images of a calibration step,
            ``seed`` is of the images to calibrate on, the overrides say how those are augmented.

    Attributes:
        trainer: Ultralytics' trainer that it measures with.

    Raises:
        TrialError: Where Ultralytics cannot be set up.
    """

    def __init__(
        self, definition: Mapping[str, Any], data: DataSet, split: Split, settings: TrainingSettings
    ) -> None:
        settings = replace(settings, epochs=1)
        arguments = settings.arguments(amp=False)  # in all digits: batch norms are estimated anew
        self.trainer: Any = None
        try:
            with tempfile.TemporaryDirectory() as folder, quiet():
                made = {**arguments, "save_dir": folder}
                trainer: Any = TRAINERS[settings.task](definition, data, split, settings, made)
                torch.set_num_threads(settings.threads)
                trainer._setup_train()
        except Exception as error:
            raise failure(error, None) from error
        trainer.epoch, trainer.tloss, trainer.loss = trainer.epochs - 1, {}, torch.zeros(())
        trainer._watch_losses()
        self.trainer = trainer
        labels = [data.labels[index] for index in split[0]]
        images = min(IMAGES, len(labels))
        with quiet():  # bytes, a quarter of the memory; all networks are calibrated on the same
            self._calibration = draw(trainer, labels, images=images, seed=settings.seed)

    @property
    def device(self) -> torch.device:
        """Where networks run."""
        return self.trainer.device

    @torch.no_grad()
    def calibrate(self, model: nn.Module) -> None:
        """Estimate the statistics of a model's batch norms, in place.

        They are those of images as training sees them: the weights were trained with such ones.
        """
        for norm in norms(model):
            norm.reset_running_stats()
            norm.momentum = None  # the mean over all images
        model.to(self.device).train()
        for batch in self._calibration:
            images = floats(batch.to(self.device))
            if self.device.type == "cpu":
                images = images.contiguous(memory_format=torch.channels_last)
            model(images)
        for norm in norms(model):
            norm.momentum = USUAL
        model.eval()

    def score(self, model: Any) -> dict[str, float]:
        """Return the metrics of a model on the held-out images.

        They are those of `host.training.trainer.TrainingResult`.

        Raises:
            TrialError: Where Ultralytics cannot measure it.
        """
        trainer = self.trainer
        model.to(self.device)
        model.nc, model.names, model.args = trainer.data["nc"], trainer.data["names"], trainer.args
        model.criterion = None
        trainer.ema.ema = model
        try:
            with quiet():
                trainer._watch_losses()
                trainer.loss_items = dict.fromkeys(_losses(model), torch.zeros(()))
                trainer.metrics, trainer.fitness = trainer.validate()
                metrics = results(trainer)
        except Exception as error:
            raise failure(error, trainer) from error
        if not all(value == value for value in metrics.values()):
            raise TrialError("nan", "a metric is not a number")
        return metrics

    def save(self, model: nn.Module, path: Path, metrics: Mapping[str, float]) -> None:
        """Write a model as a stock checkpoint; see `host.training.checkpoint.save`."""
        args, scans = vars(self.trainer.args), self.trainer.data_set.scans
        checkpoint.save(model, path, args=args, metrics=metrics, scans=scans)

    def close(self) -> None:
        """End the loaders' workers and let go of the memory."""
        trainer = self.trainer
        for loader in (trainer.train_loader, trainer.test_loader):
            loader.close()
        self._calibration.clear()
        trainer.__dict__.clear()


def _losses(model: Any) -> tuple[str, ...]:
    """Return the names of a model's losses."""
    criterion = model.criterion
    return getattr(getattr(criterion, "one2one", criterion), "loss_names", ("loss",))
