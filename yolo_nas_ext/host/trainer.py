"""The host's trainers without their overhead: one mixin for every task.

What is left out: plots, checkpoints, CSV files, callbacks of integrations, validation before the
last epoch and after it, garbage collection, label scans and image decoding for every candidate.
What stays is the host's: model, loss, optimiser, schedule, augmentation, moving average, validator.
"""

from __future__ import annotations

import contextlib
import logging
import math
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy, deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from ultralytics.data import YOLODataset, build_dataloader
from ultralytics.models.yolo.detect import DetectionTrainer
from ultralytics.nn.modules import Conv
from ultralytics.utils import LOGGER, callbacks
from ultralytics.utils.torch_utils import init_seeds, unwrap_model

from yolo_nas_ext.errors import TrialError
from yolo_nas_ext.host import checkpoint
from yolo_nas_ext.host.dataset import DataSet

OnEpoch = Callable[[int, Mapping[str, float]], None]


@dataclass(frozen=True, slots=True)
class Result:
    """What a training gave.

    Attributes:
        metrics: ``fitness`` (the host's for the task), ``map50_95``, ``map50``, ``precision``,
            ``recall`` on the held-out images, and ``loss_*``: mean training losses of the last
            epoch.
        seconds: Wall time.
        epochs: Epochs trained.
    """

    metrics: dict[str, float]
    seconds: float
    epochs: int


class HeldImages(YOLODataset):
    """The host's data set over known images and labels; images stay decoded if they fit."""

    def __init__(self, labels: Sequence[dict[str, Any]], *args: Any, **kwargs: Any) -> None:
        self._held = labels
        super().__init__([label["im_file"] for label in labels], *args, **kwargs)  # pyright: ignore[reportArgumentType]
        size = self.imgsz if isinstance(self.imgsz, int) else max(self.imgsz)
        if self.ni * size * size * self.channels > MEMORY * psutil.virtual_memory().available:
            return  # read from disk at every use, as the host does
        decoded = [super(HeldImages, self).load_image(index) for index in range(self.ni)]
        self.ims, self.im_hw0, self.im_hw = map(list, zip(*decoded, strict=True))
        self.cache = "ram"  # mosaics draw from all images rather than from a buffer of recent ones
        self.buffer = []

    def get_img_files(self, img_path: Any) -> list[str]:
        """Return the images as given."""
        return list(img_path)

    def get_labels(self) -> list[dict[str, Any]]:
        """Return the labels as given."""
        return [dict(label) for label in self._held]

    def load_image(self, i: int, *args: Any, **kwargs: Any) -> Any:
        """Return a copy of a decoded image: augmentation works in place."""
        im, before, after = super().load_image(i, *args, **kwargs)
        return im.copy(), before, after

    def for_candidate(self, hyp: Any) -> HeldImages:
        """Return a data set that shares the images but has transforms of its own."""
        twin = copy(self)
        twin.transforms = twin.build_transforms(hyp=copy(hyp))
        return twin


# The mixin stands in front of a trainer of the host, of whichever task.
_Trainer: Any = object

MEMORY = 0.5  # part of the free memory that decoded images may take
SETS = 4  # sets of decoded images kept: two of this search, two of the one before
# Decoded images by what they are, for all candidates of this process.
_IMAGES: dict[tuple[Any, ...], HeldImages] = {}


class LeanMixin(_Trainer):
    """Turns a trainer of the host into one that only trains and measures once.

    Args:
        model: The host's model definition.
        data: The data set.
        split: Indices of its training images to (train on, measure on).
        overrides: The host's arguments.
        deadline: `time.perf_counter` at which the training is given up.
        on_epoch: Called after each epoch with its mean losses.
    """

    def __init__(
        self, model: Mapping[str, Any], data: DataSet, split: tuple[list[int], list[int]],
        overrides: dict[str, Any], *, deadline: float = math.inf, on_epoch: OnEpoch | None = None,
    ) -> None:  # fmt: skip
        self._definition = model
        self._data_set = data
        self._split = split
        self._deadline = deadline
        self._on_epoch = on_epoch
        events = {
            "on_train_batch_start": [LeanMixin._before_batch],
            "on_train_batch_end": [LeanMixin._after_batch],
            "on_train_epoch_end": [LeanMixin._after_epoch],
        }
        super().__init__(overrides=overrides, _callbacks=events)

    # Data

    def get_dataset(self) -> dict[str, Any]:
        """Return the data dictionary; the splits are indices, as nothing is read from disk."""
        data = self._data_set
        return {**data.data, "names": dict(data.names), "nc": data.nc, "train": 0, "val": 1}

    def get_dataloader(
        self, dataset_path: Any, batch_size: int = 16, rank: int = 0, mode: str = "train"
    ) -> Any:
        """Return a loader over the decoded images of one side of the split."""
        args: Any = self.args
        data, indices = self._data_set, self._split[0 if mode == "train" else 1]
        labels = [data.labels[index] for index in indices]
        key = (mode, args.imgsz, data.channels, *(label["im_file"] for label in labels))
        if key not in _IMAGES:
            while len(_IMAGES) >= SETS:
                del _IMAGES[next(iter(_IMAGES))]
            _IMAGES[key] = HeldImages(
                labels, imgsz=args.imgsz, augment=mode == "train", hyp=args, rect=False, pad=0.0,
                data=self.data, task=args.task, batch_size=batch_size, stride=32,
            )  # fmt: skip
        return build_dataloader(
            _IMAGES[key].for_candidate(args), batch=batch_size, workers=args.workers,
            shuffle=mode == "train", rank=-1, device=self.device,
        )  # fmt: skip

    # Model and seeds

    def setup_model(self) -> None:
        """Build the model from the seed, whatever ran before in this process."""
        init_seeds(self.args.seed, deterministic=self.args.deterministic)
        model = self.get_model(cfg=deepcopy(dict(self._definition)), verbose=False)
        if self.device.type == "cpu":
            model = model.to(memory_format=torch.channels_last)  # faster convolutions on CPUs
        self.model = model

    def _build_train_pipeline(self) -> None:
        """Build the loaders, then seed again: building them consumes the global generators."""
        super()._build_train_pipeline()
        seed = self.args.seed
        for loader in (self.train_loader, self.test_loader):
            loader.generator.manual_seed(seed)
        init_seeds(seed, deterministic=self.args.deterministic)

    def _setup_train(self) -> None:
        """Set up as the host, with a moving average that suits few steps."""
        super()._setup_train()
        steps = len(self.train_loader) * self.epochs
        # The host averages over some 10,000 steps; over a tenth of this training here.
        most = min(0.9999, max(0.0, 1 - 10 / steps))
        self.ema.decay = lambda x: min(most, (1 + x) / (10 + x))

    def preprocess_batch(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Prepare a batch as the host, in the memory format of the model."""
        batch = super().preprocess_batch(batch)
        if self.device.type == "cpu":
            batch["img"] = batch["img"].contiguous(memory_format=torch.channels_last)
        return batch

    # What ends a training early

    def _before_batch(self) -> None:
        self._oom_retries = 3  # the host would go on with half the batch: another experiment

    def _after_batch(self) -> None:
        if not torch.isfinite(self.loss).all():
            raise TrialError("nan", f"the loss is {self.loss.item()} in epoch {self.epoch + 1}")
        if time.perf_counter() > self._deadline:
            raise TrialError("timeout", f"given up in epoch {self.epoch + 1} of {self.epochs}")

    def _after_epoch(self) -> None:
        if self._on_epoch:
            self._on_epoch(self.epoch + 1, self.losses())

    def losses(self) -> dict[str, float]:
        """Return the current epoch's mean training losses, ``loss_box`` and so on."""
        return {
            f"loss_{name.removesuffix('_loss')}": float(value) for name, value in self.tloss.items()
        }

    # What is left out

    def save_model(self) -> bool:
        """Write nothing."""
        return False

    def save_metrics(self, metrics: Any) -> None:
        """Write nothing."""

    def final_eval(self) -> None:
        """Measure nothing again."""

    def _clear_memory(self, threshold: float | None = None) -> None:
        """Collect no garbage between epochs."""

    def _handle_nan_recovery(self, epoch: int) -> bool:
        """Recover from nothing: `_after_batch` has ended a training that went wrong."""
        return False


class LeanDetectionTrainer(LeanMixin, DetectionTrainer):  # pyright: ignore[reportIncompatibleMethodOverride]
    """Detection."""


TRAINERS: dict[str, Callable[..., Any]] = {"detect": LeanDetectionTrainer}


def train(
    model: Mapping[str, Any], data: DataSet, split: tuple[list[int], list[int]], *,
    task: str = "detect", epochs: int, imgsz: int, batch: int, seed: int = 0,
    device: str | None = None,
    overrides: Mapping[str, Any] | None = None, weights: Path | None = None,
    timeout: float | None = None, threads: int = 1, on_epoch: OnEpoch | None = None,
) -> Result:  # fmt: skip
    """Train a model from scratch and measure it once on the held-out images.

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
        on_epoch: Called with an epoch's number and mean training losses.

    Raises:
        TrialError: For a model that cannot be built, a loss that is not finite, too little memory,
            or when the time is up.
    """
    begin = time.perf_counter()
    torch.set_num_threads(threads)
    deadline = math.inf if timeout is None else begin + timeout
    with tempfile.TemporaryDirectory() as folder, _quiet():
        arguments = {
            "val": False, "save": False, "plots": False, "verbose": False, "amp": False,
            "exist_ok": True, "patience": 0, "model": "nas.yaml", "data": "data.yaml",
            **(overrides or {}), "task": task, "mode": "train", "epochs": epochs, "imgsz": imgsz,
            "batch": batch, "seed": seed, "device": device, "save_dir": folder,
        }  # fmt: skip
        trainer = None
        try:
            trainer = TRAINERS[task](
                model, data, split, arguments, deadline=deadline, on_epoch=on_epoch
            )
            trainer.train()
            metrics = _metrics(trainer)
            if weights is not None:
                args = {**vars(trainer.args)}
                checkpoint.save(unwrap_model(trainer.ema.ema), weights, args=args, metrics=metrics)
        except (RuntimeError, ValueError, TypeError, KeyError, IndexError, AssertionError) as error:
            raise _failure(error, trainer) from error
        finally:
            if trainer is not None:  # host objects refer to one another; the model goes at once
                trainer.__dict__.clear()
    return Result(metrics, time.perf_counter() - begin, epochs)


def _metrics(trainer: Any) -> dict[str, float]:
    """Return the results under the names of the field."""
    names = {"mAP50-95": "map50_95", "mAP50": "map50", "precision": "precision", "recall": "recall"}
    metrics = {"fitness": float(trainer.fitness)}
    for name, value in trainer.metrics.items():
        short = name.removeprefix("metrics/").split("(")[0]
        if name.startswith("metrics/") and short in names:
            metrics[names[short]] = float(value)
    return {**metrics, **trainer.losses()}


def _failure(error: Exception, trainer: Any) -> TrialError:
    """Return what to record for an exception of a training."""
    if isinstance(error, TrialError):
        return error
    text = " ".join(str(error).split())[:300] or type(error).__name__
    if "out of memory" in text.lower() or "can't allocate memory" in text.lower():
        return TrialError("memory", text)
    built = trainer is not None and isinstance(getattr(trainer, "model", None), torch.nn.Module)
    return TrialError("error" if built else "build", f"{type(error).__name__}: {text}")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence the host, and put back the global state that a failed build leaves changed."""
    level, activation, options = LOGGER.level, Conv.default_act, np.get_printoptions()
    integrations = callbacks.add_integration_callbacks
    LOGGER.setLevel(logging.CRITICAL)  # which silences the progress bars as well
    callbacks.add_integration_callbacks = lambda instance: None
    try:
        yield
    finally:
        LOGGER.setLevel(level)
        callbacks.add_integration_callbacks = integrations
        Conv.default_act = activation
        np.set_printoptions(**options)
