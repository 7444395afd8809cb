"""``batch=auto``: as many images a step as fit into the memory of a GPU, found by Ultralytics."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from ultralytics.utils import DEFAULT_CFG

from yolo_nas_ext.host import devices
from yolo_nas_ext.host.dataset import DataSet
from yolo_nas_ext.host.training.lean import LeanMixin, Split, trainer_of
from yolo_nas_ext.host.training.session import session
from yolo_nas_ext.host.training.settings import TrainingSettings

FRACTION = 0.6  # of the free memory, as Ultralytics takes where nothing is said
USUAL = int(DEFAULT_CFG.batch)  # its answer where a device has no memory of its own


def fitting_batch(
    model: Mapping[str, Any],
    data: DataSet,
    split: Split,
    settings: TrainingSettings,
    *,
    sharing: int = 1,
) -> tuple[int, str]:
    """Return the images of a step that fit, and the device that was asked.

    Nothing is trained, and no image is read: Ultralytics tries some batches of empty images.

    Args:
        model: Ultralytics' model definition.
        data: The data set, for the most objects of an image.
        split: Indices of its training images to (train on, measure on); no batch has more images.
        settings: How it is trained; its batch does not matter.
        sharing: Trainings that share the device; each has its part of the memory.

    Returns:
        `USUAL` on a CPU and with MPS, as of Ultralytics; with several GPUs that share a training
        as many for each of them.

    Raises:
        TrialError: For a model that cannot be built, or does not fit with a single image.
        NASError: For a task that no candidate could be trained with.
    """
    make = partial(trainer_of(settings.task, model), model, data, split, settings)
    gpus = len(devices.pool(settings.device)) if settings.together else 1

    def use(trainer: LeanMixin) -> tuple[int, str]:
        return gpus * trainer.fitting_batch(), str(trainer.device)

    arguments = settings.arguments(batch=FRACTION / sharing)
    return session(make, arguments, use, threads=settings.threads)
