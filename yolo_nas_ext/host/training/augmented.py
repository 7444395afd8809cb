"""Images as training sees them: drawn once, for what is estimated from images without training.

Statistics of batch norms belong to the images that they were taken from. Those of plain images are
not those that a network was trained with, which costs it more than many a change of the network.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator, Sequence
from copy import copy
from typing import Any

import numpy as np
import torch
from torch.utils.data import default_collate

from yolo_nas_ext.host.dataset import DataSet
from yolo_nas_ext.host.training.lean import TRAINERS
from yolo_nas_ext.host.training.session import session
from yolo_nas_ext.host.training.settings import TrainingSettings


def augmented_batches(
    data: DataSet,
    indices: Sequence[int],
    settings: TrainingSettings,
    *,
    images: int,
    seed: int,
) -> list[torch.Tensor]:
    """Return images as the last epochs of a training see them, in batches.

    Args:
        data: The data set.
        indices: Of its training images that may be drawn.
        settings: How networks are trained: the task, the image size, the images of a batch and,
            among its overrides, the augmentation.
        images: How many to draw, rounded to whole batches; of fewer indices, images are drawn
            again, and augmented anew.
        seed: Of the choice and of the augmentation. The same arguments give the same images, and
            the global generators stay as they were.

    Returns:
        Batches of b x channels x height x width on the CPU, from 0 to 1; b is ``settings.batch``.

    Raises:
        NASError: For arguments that Ultralytics cannot train the task with.
        TrialError: For what else goes wrong in Ultralytics.
    """

    def make(arguments: dict[str, Any]) -> Any:
        return TRAINERS[settings.task]({}, data, ([], []), settings, arguments)

    def use(trainer: Any) -> list[torch.Tensor]:
        labels = [data.labels[index] for index in indices]
        return [floats(one) for one in draw(trainer, labels, images=images, seed=seed)]

    with undisturbed(seed):
        return session(make, settings.arguments(), use, threads=settings.threads)


def draw(
    trainer: Any, labels: Sequence[dict[str, Any]], *, images: int, seed: int
) -> list[torch.Tensor]:
    """Return `augmented_batches` of a trainer, bytes where its data set has bytes.

    Mosaics are made of the images that are drawn, so that no others are decoded.

    Args:
        trainer: A `LeanMixin`.
        labels: Ultralytics' label dictionaries of the images that may be drawn.
        images: See `augmented_batches`.
        seed: See there.
    """
    batch = trainer.args.batch
    count = max(1, round(images / batch)) * batch
    rng = random.Random(seed)
    chosen = rng.sample(labels, min(count, len(labels)))
    order: list[int] = []
    while len(order) < count:
        order += rng.sample(range(len(chosen)), len(chosen))
    with undisturbed(seed):
        drawn_from = trainer.held(chosen, augment=True, batch=batch)
        if trainer.args.close_mosaic and hasattr(drawn_from, "close_mosaic"):
            drawn_from.close_mosaic(hyp=copy(trainer.args))  # as Ultralytics does before it ends
        drawn = [drawn_from[index]["img"] for index in order[:count]]
    return [default_collate(drawn[i : i + batch]) for i in range(0, count, batch)]


def floats(images: torch.Tensor) -> torch.Tensor:
    """Return images of bytes from 0 to 1, others as they are."""
    return images.float() / 255 if images.dtype == torch.uint8 else images


@contextlib.contextmanager
def undisturbed(seed: int) -> Iterator[None]:
    """Seed the global generators for a while; they are put back afterwards."""
    states = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        random.seed(seed)
        np.random.seed(seed % 2**32)
        torch.manual_seed(seed)
        try:
            yield
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])
