"""One batch and an untrained model of Ultralytics, for what is measured at initialisation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from ultralytics.cfg import get_cfg

from yolo_nas_ext.errors import TrialError
from yolo_nas_ext.host import devices, models
from yolo_nas_ext.host.dataset import DataSet
from yolo_nas_ext.host.training.image_cache import HeldImages
from yolo_nas_ext.host.training.session import failure, free_memory

TASKS = ("detect",)  # whose losses need nothing but what `loss` hands on


def batch(data: DataSet, indices: Sequence[int], *, imgsz: int) -> dict[str, Any]:
    """Return images with their labels as Ultralytics' loader gives them, without augmentation.

    Args:
        data: The data set.
        indices: Of its training images.
        imgsz: Image size in pixels.

    Returns:
        Ultralytics' batch; ``img`` is n x channels x imgsz x imgsz, from 0 to 1.
    """
    args = get_cfg(overrides={"task": data.task, "imgsz": imgsz})
    images = HeldImages(
        [data.labels[index] for index in indices],
        None,
        imgsz=imgsz,
        augment=False,
        hyp=args,
        rect=False,
        pad=0.0,
        data={**data.data, "names": dict(data.names), "nc": data.nc},
        task=data.task,
        batch_size=len(indices),
        stride=32,
    )
    found: dict[str, Any] = HeldImages.collate_fn([images[i] for i in range(len(indices))])
    return {**found, "img": found["img"].float() / 255}


def build(definition: Mapping[str, Any], data: DataSet, *, task: str, seed: int) -> nn.Module:
    """Return an untrained model in training mode, ready for its loss; the generator gets it back.

    Args:
        definition: Ultralytics' model definition.
        data: The data set.
        task: Ultralytics' task.
        seed: Of the weights.

    Raises:
        TrialError: For a model that cannot be built.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = models.build(definition, task=task, ch=data.channels, nc=data.nc)
    model.args = get_cfg(overrides={"task": task})
    return model.train()


@contextmanager
def on_device(device: str | None) -> Iterator[torch.device]:
    """Give the device that models are scored on, and free its memory afterwards.

    It is the one that trainings of this process run on, but for MPS: scores need double precision,
    which it has not, and are computed on the CPU there.

    Args:
        device: What the settings say, see `host.devices.chosen`.

    Raises:
        TrialError: For a network that does not fit into its memory, or a GPU that this process can
            use no more.
    """
    found = devices.chosen(device)
    try:
        yield torch.device("cpu") if found.type == "mps" else found
    except RuntimeError as error:
        known = failure(error, None)
        if isinstance(known, TrialError) and known.kind in ("memory", "device"):
            raise known from error
        raise
    finally:
        free_memory()


def moved(batch: Mapping[str, Any], device: torch.device) -> dict[str, Any]:
    """Return a batch with its tensors on a device."""
    return {n: v.to(device) if isinstance(v, torch.Tensor) else v for n, v in batch.items()}


def loss(model: nn.Module, batch: Mapping[str, Any], images: Sequence[int]) -> torch.Tensor:
    """Return the task's loss of some images of a batch, a number with a gradient."""
    chosen = {int(n): i for i, n in enumerate(images)}
    kept = [i for i, n in enumerate(batch["batch_idx"].tolist()) if int(n) in chosen]
    smaller: dict[str, Any] = {"img": batch["img"][list(images)]}
    for name in ("cls", "bboxes"):
        smaller[name] = batch[name][kept]
    numbers = [float(chosen[int(batch["batch_idx"][i])]) for i in kept]
    smaller["batch_idx"] = torch.tensor(numbers, device=batch["img"].device)
    return model(smaller)[0].sum()


def outputs(model: nn.Module, images: torch.Tensor) -> list[torch.Tensor]:
    """Return what the head predicts, of every branch; features that it hands on are left out."""
    found: list[torch.Tensor] = []

    def gather(value: Any) -> None:
        if isinstance(value, torch.Tensor):
            found.append(value)
        elif isinstance(value, Mapping):
            for name, inner in value.items():
                if name != "feats":
                    gather(inner)
        elif isinstance(value, (list, tuple)):
            for inner in value:
                gather(inner)

    gather(model(images))
    return found


def features(model: nn.Module, images: torch.Tensor, rows: int) -> list[torch.Tensor]:
    """Return the output of each of the first rows of a model, its backbone.

    They follow one another, or pick features of a backbone of timm, which itself is left out.
    """
    made: list[Any] = []
    for row in list(model.model)[:rows]:  # pyright: ignore[reportArgumentType]
        made.append(row(made[row.f] if made else images))
    return [output for output in made if isinstance(output, torch.Tensor)]
