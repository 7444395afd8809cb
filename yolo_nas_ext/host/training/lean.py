"""Ultralytics' trainers without their overhead: one mixin for every task.

What is left out: plots, checkpoints, CSV files, callbacks of integrations, validation before the
last epoch and after it, garbage collection, label scans and image decoding for every candidate.
What stays is Ultralytics': model, loss, optimiser, schedule, augmentation, moving average and
validator.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ultralytics.data import build_dataloader
from ultralytics.engine.trainer import BaseTrainer
from ultralytics.models.rtdetr.train import RTDETRTrainer
from ultralytics.models.yolo.classify import ClassificationTrainer
from ultralytics.models.yolo.detect import DetectionTrainer
from ultralytics.models.yolo.obb import OBBTrainer
from ultralytics.models.yolo.pose import PoseTrainer
from ultralytics.models.yolo.segment import SegmentationTrainer
from ultralytics.models.yolo.semantic import SemanticSegmentationTrainer
from ultralytics.utils import RANK
from ultralytics.utils.torch_utils import init_seeds, unwrap_model

from yolo_nas_ext.data.splits import divided
from yolo_nas_ext.errors import NASError, TrialError, did_you_mean
from yolo_nas_ext.host.dataset import DataSet
from yolo_nas_ext.host.metrics import Seen, fitness_without, gathered, masks, named, results, rows
from yolo_nas_ext.host.models import head_of
from yolo_nas_ext.host.training import bfloat16, mixed
from yolo_nas_ext.host.training.batch_cache import replayed
from yolo_nas_ext.host.training.image_cache import held, held_pictures
from yolo_nas_ext.host.training.initialisation import MOMENTUM, head_start, norms
from yolo_nas_ext.host.training.settings import TrainingSettings
from yolo_nas_ext.host.training.teaching import Gains, Taught

Split = tuple[list[int], list[int]]  # indices of images to (train on, measure on)
OnEpoch = Callable[[int, Mapping[str, float]], None]
# Writes weights into a new model, given its class names by number.
Initial = Callable[[torch.nn.Module, Mapping[int, str]], None]

# The mixin stands in front of Ultralytics' trainer of whichever task.
_Trainer: Any = object


class LeanMixin(_Trainer):
    """Turns a trainer of Ultralytics' into one that only trains and measures once.

    Args:
        model: Ultralytics' model definition.
        data: The data set.
        split: Indices of its training images to (train on, measure on).
        settings: How it is trained and measured.
        arguments: Ultralytics' arguments, see `TrainingSettings.arguments`.
        deadline: `time.perf_counter` at which the training is stopped.
        on_epoch: Called after each epoch with its mean losses.
        initial: Writes weights into the model once it is built.
        replay: Whether batches are kept for the next training that would draw the same ones.
    """

    stretches = False  # whether images fill the network's square
    fused: tuple[type, ...] = (torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD)

    def __init__(
        self,
        model: Mapping[str, Any],
        data: DataSet,
        split: Split,
        settings: TrainingSettings,
        arguments: Mapping[str, Any],
        *,
        deadline: float = math.inf,
        on_epoch: OnEpoch | None = None,
        initial: Initial | None = None,
        replay: bool = False,
    ) -> None:
        self._settings = settings
        self._half = arguments.get("amp", True) not in (False, "fp32")
        self._seen = Seen(), Seen()  # what a model sees, and what there is
        self.without: list[float] = []  # fitness without each part of the held-out images
        self._taught: Taught | None = None
        self._initial = initial
        self._definition = model
        self.data_set = data
        self._split = split
        self._deadline = deadline
        self._on_epoch = on_epoch
        self._replay = replay
        events = {
            "on_train_start": [LeanMixin._watch_losses, LeanMixin._teach],
            "on_train_epoch_start": [LeanMixin._forget_losses],
            "on_train_batch_start": [LeanMixin._before_batch],
            "on_train_batch_end": [LeanMixin._after_batch],
            "on_fit_epoch_end": [LeanMixin._after_epoch],
            "on_val_batch_start": [lambda validator: self._in_time()],
        }
        self.callers_error: Exception | None = None  # of `on_epoch`: not this candidate's failure
        super().__init__(overrides=dict(arguments), _callbacks=events)
        if settings.short and self.device.type == "cpu":
            self.args.amp = False  # see `bfloat16` for what is done there

    # Data

    def get_dataset(self) -> dict[str, Any]:
        """Return the data dictionary; the splits are indices, as nothing is read from disk."""
        data = self.data_set
        names = {0: "item"} if self.args.single_cls else dict(data.names)  # as Ultralytics does
        return {**data.data, "names": names, "nc": len(names), "train": 0, "val": 1}

    def get_dataloader(
        self, dataset_path: Any, batch_size: int = 16, rank: int = 0, mode: str = "train"
    ) -> Any:
        """Return a loader over the decoded images of one side of the split."""
        args: Any = self.args
        data = self.data_set
        labels = [data.labels[index] for index in self._split[0 if mode == "train" else 1]]
        images = self.held(labels, augment=mode == "train", batch=batch_size)
        return build_dataloader(
            images,
            batch=batch_size,
            workers=args.workers,
            shuffle=mode == "train",
            rank=rank,
            device=self.device,
        )

    def held(self, labels: Sequence[dict[str, Any]], *, augment: bool, batch: int) -> Any:
        """Return the data set over some images with known labels."""
        args: Any = self.args
        data = self.data_set
        return held(
            labels,
            data.labels,
            data.source,
            folder=self._settings.images,
            shared=self._settings.shared,
            cache=self._settings.cache,
            stretched=self.stretches,
            check=self._in_time,
            imgsz=args.imgsz,
            augment=augment,
            hyp=args,
            rect=False,
            pad=0.0,
            data=self.data,
            task=args.task,
            batch_size=batch,
            stride=32,
            single_cls=args.single_cls,
            classes=args.classes,
        )

    # Model and seeds

    def setup_model(self) -> None:
        """Build the model from the seed, whatever ran before in this process.

        A rank of a distributed training has it from the process that launched it.
        """
        init_seeds(self.args.seed, deterministic=self.args.deterministic)
        if isinstance(self.model, torch.nn.Module):
            return
        model = self.get_model(cfg=deepcopy(dict(self._definition)), verbose=False)
        if self._settings.short:
            for norm in norms(model):
                norm.momentum = MOMENTUM
            head_start(model, self.args.imgsz)
        if self._initial:
            self._initial(model, self.data["names"])
        if self.device.type == "cpu":
            model = model.to(memory_format=torch.channels_last)  # faster convolutions on CPUs
            if self._halves():
                bfloat16.halve(model)
        self.model = model
        self._in_time()

    def _halves(self) -> bool:
        """Say whether convolutions are computed in half the digits where nothing is measured."""
        on_cpu = self.device.type == "cpu"
        return on_cpu and self._settings.short and self._half and bfloat16.native()

    def _build_train_pipeline(self) -> None:
        """Build the loaders, then seed again: building them consumes the global generators."""
        super()._build_train_pipeline()
        seed = self.args.seed + max(RANK, 0)  # ranks augment each in its own way
        for loader in (self.train_loader, self.test_loader):
            loader.generator.manual_seed(seed)
        init_seeds(seed, deterministic=self.args.deterministic)
        if self._replay and self.device.type == "cpu":
            self.train_loader = replayed(
                self.train_loader,
                self.model,
                self.data_set.labels,
                self._split[0],
                self.args,
                self.epochs,
            )

    def fitting_batch(self) -> int:
        """Return the images of a step that fit into the memory of the device, by Ultralytics.

        Its trainer asks the same, of images that it reads from a disk.
        """
        self.setup_model()
        self.model = self.model.to(self.device)
        self.stride = 32
        amp = self.args.amp
        self.amp = self._half and (amp == "bf16" or mixed.check(self.model))
        return int(self.auto_batch())

    def auto_batch(self, *args: Any, **more: Any) -> int:
        """Ask Ultralytics, which adds the memory of as many objects as a mosaic may have."""
        train_on = self._split[0]
        objects = 0
        if isinstance(self, DetectionTrainer):
            objects = 4 * max(len(self.data_set.labels[index]["cls"]) for index in train_on)
        return BaseTrainer.auto_batch(self, objects, dataset_size=len(train_on))

    def _setup_train(self) -> None:
        """Set up as Ultralytics does; the moving average suits few steps if there are few."""
        with mixed.checked_once():
            super()._setup_train()
        if not self._settings.short:
            return
        steps = len(self.train_loader) * self.epochs
        # Ultralytics averages over some 10,000 steps; over a tenth of this training here.
        most = min(0.9999, max(0.0, 1 - 10 / steps))
        self.ema.decay = lambda x: min(most, (1 + x) / (10 + x))

    def build_optimizer(self, *args: Any, **kwargs: Any) -> torch.optim.Optimizer:
        """Build Ultralytics' optimiser; on a CPU a fused step takes a tenth of the time.

        On GPUs it is Ultralytics' own, which is measured there and goes with its scaler.
        """
        optimizer = super().build_optimizer(*args, **kwargs)
        if isinstance(optimizer, self.fused) and self.device.type == "cpu":
            for group in optimizer.param_groups:
                group |= {"fused": True, "foreach": False}
        return optimizer

    def preprocess_batch(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Prepare a batch as Ultralytics does, in the memory format of the model."""
        batch = super().preprocess_batch(batch)
        if self.device.type == "cpu":
            batch["img"] = batch["img"].contiguous(memory_format=torch.channels_last)
        return batch

    def validate(self) -> Any:
        """Measure as Ultralytics; training gets back the generators that transforms draw from."""
        if not self._measures():
            return self.metrics, self.fitness
        states = random.getstate(), np.random.get_state()
        self._many["val_"] = []
        self._seen = Seen(), Seen()
        try:
            return super().validate()
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])

    def get_validator(self) -> Any:
        """Return Ultralytics' validator, which also notes boxes where somebody measures them."""
        validator = super().get_validator()
        metrics = validator.metrics
        if self._settings.measure:
            update = validator.update_metrics

            def note(preds: Sequence[Mapping[str, Any]], batch: Mapping[str, Any]) -> None:
                update(preds, batch)
                for index, pred in enumerate(preds):
                    true = validator._prepare_batch(index, batch)
                    stem = Path(true["im_file"]).stem
                    for seen, own in zip(self._seen, (pred, true), strict=True):
                        seen.boxes[stem] = rows(own, true)
                        seen.shapes[stem] = int(true["ori_shape"][0]), int(true["ori_shape"][1])
                        if "masks" in own:
                            seen.masks[stem] = masks(own, self.data["nc"])

            validator.update_metrics = note
            gather = validator.gather_stats

            def gather_seen() -> None:
                gather()
                if self.world_size > 1:
                    self._seen = gathered(self._seen)

            validator.gather_stats = gather_seen
        if self._settings.parts and not self._settings.measure and hasattr(metrics, "stats"):
            of_all = validator.get_stats

            def note_parts() -> Any:
                data, held_out = self.data_set, self._split[1]
                groups = [data.groups[i] for i in held_out] if data.groups else held_out
                if len({*groups}) < 2:  # of one patient the images are all that can be parted
                    groups = held_out
                parts = divided(groups, self._settings.parts)
                self.without = fitness_without(metrics, parts) if max(parts) else []
                return of_all()

            validator.get_stats = note_parts
        return validator

    def own_metrics(self) -> dict[str, float]:
        """Return what `TrainingSettings.measure` says of the last measurement, if there is one."""
        measure = self._settings.measure
        return dict(measure(*self._seen)) if measure else {}

    def _measures(self) -> bool:
        epoch, every = self.epoch + 1, self._settings.every
        return epoch == self.epochs or (every is not None and epoch % every == 0)

    # What ends a training early

    def _before_batch(self) -> None:
        self._oom_retries = 3  # Ultralytics would go on with half the batch: another experiment

    def _after_batch(self) -> None:
        if not torch.isfinite(self.loss).all():
            raise TrialError("nan", f"the loss is {self.loss.item()} in epoch {self.epoch + 1}")
        self._in_time()

    def _in_time(self) -> None:
        """Stop where the time is up: while images are decoded, too, and while it is measured."""
        if time.perf_counter() > self._deadline:
            epoch = getattr(self, "epoch", 0) + 1
            raise TrialError("timeout", f"stopped in epoch {epoch} of {self._settings.epochs}")

    def _after_epoch(self) -> None:
        if RANK > 0:  # what was measured is known to the first rank
            return
        if self._measures() and not np.isfinite(self.fitness):
            raise TrialError("nan", f"the fitness is {self.fitness} in epoch {self.epoch + 1}")
        if self._on_epoch:
            try:
                self._on_epoch(self.epoch + 1, results(self) if self._measures() else self.losses())
            except Exception as error:
                self.callers_error = error
                raise

    def losses(self) -> dict[str, float]:
        """Return the current epoch's mean training losses, ``loss_box`` and so on."""
        taught = self._taught.noted if self._taught else []
        teacher = {"loss_teacher": float(torch.stack(taught).mean())} if taught else {}
        return {**named("loss_", self.tloss), **teacher, **self._means("")}

    def measured(self) -> dict[str, float]:
        """Return the mean losses on the held-out images, ``val_loss_box`` and so on."""
        found = {n.removeprefix("val/"): v for n, v in self.metrics.items() if "val/" in n}
        return {**named("val_loss_", found), **self._means("val_")}

    def _watch_losses(self) -> None:
        """Keep the losses of the one-to-many branch, which an end-to-end head does not return."""
        self._many: dict[str, list[dict[str, torch.Tensor]]] = {"": [], "val_": []}
        models: dict[str, Any] = {"": unwrap_model(self.model), "val_": self.ema.ema}
        for prefix, model in models.items():
            if getattr(model, "criterion", None) is None:
                model.criterion = model.init_criterion()
            if many := getattr(model.criterion, "one2many", None):
                many.loss = partial(self._note_loss, prefix, many.loss)

    def _note_loss(self, prefix: str, loss: Callable[..., Any], *args: Any) -> Any:
        result = loss(*args)
        self._many[prefix].append(result[1])
        return result

    def _teach(self) -> None:
        """Add the teacher to the losses of the model, not to those of what is measured."""
        if self._settings.teacher is None:
            return
        model: Any = unwrap_model(self.model)
        teacher = self._settings.teacher.load(self.data, self.device, half=self._halves())
        gains = Gains(cls=self.args.cls, box=self.args.box, dfl=self.args.dfl)
        self._taught = model.criterion = Taught(
            model.criterion,
            model.model[-1],
            teacher,
            gains,
            weight=self._settings.teacher.weight,
        )

    def _forget_losses(self) -> None:
        self._many[""] = []
        if self._taught:
            self._taught.noted.clear()

    def _means(self, prefix: str) -> dict[str, float]:
        noted = self._many[prefix]
        means = (
            {n: sum(float(one[n]) for one in noted) / len(noted) for n in noted[0]} if noted else {}
        )
        return named(f"{prefix}loss_many_", means)

    # What is left out

    def save_model(self) -> bool:
        """Write nothing."""
        return False

    def save_metrics(self, metrics: Any) -> None:
        """Write nothing."""

    def final_eval(self) -> None:
        """Measure nothing again."""

    def _clear_memory(self, threshold: float | None = None) -> None:
        """Free a device's memory where Ultralytics does; on a CPU there is none to free."""
        if self.device.type != "cpu":
            super()._clear_memory(threshold)

    def _handle_nan_recovery(self, epoch: int) -> bool:
        """Recover from nothing: `_after_batch` has ended a training that went wrong."""
        return False


class LeanDetectionTrainer(LeanMixin, DetectionTrainer):  # pyright: ignore[reportIncompatibleMethodOverride]
    """Detection."""


class LeanSegmentationTrainer(LeanMixin, SegmentationTrainer):  # pyright: ignore[reportIncompatibleMethodOverride]
    """Instance segmentation."""


class LeanSemanticTrainer(LeanMixin, SemanticSegmentationTrainer):  # pyright: ignore[reportIncompatibleMethodOverride]
    """Semantic segmentation."""

    def get_dataset(self) -> dict[str, Any]:
        """Return the data dictionary.

        Raises:
            NASError: For classes that are taken for one, which Ultralytics cannot do here.
        """
        if self.args.single_cls:
            raise NASError("single_cls=True: not with task=semantic; give a data set of one class")
        return super().get_dataset()


class LeanOBBTrainer(LeanMixin, OBBTrainer):  # pyright: ignore[reportIncompatibleMethodOverride]
    """Oriented boxes."""


class LeanPoseTrainer(LeanMixin, PoseTrainer):  # pyright: ignore[reportIncompatibleMethodOverride]
    """Keypoints."""


class LeanClassificationTrainer(LeanMixin, ClassificationTrainer):  # pyright: ignore[reportIncompatibleMethodOverride]
    """Classification."""

    def held(self, labels: Sequence[dict[str, Any]], *, augment: bool, batch: int) -> Any:
        """Return the data set over some pictures with known classes."""
        return held_pictures(labels, augment=augment, hyp=self.args)


class LeanRTDETRTrainer(LeanMixin, RTDETRTrainer):  # pyright: ignore[reportIncompatibleMethodOverride]
    """RT-DETR, whose queries are no cells: a teacher of another kind says nothing of them."""

    stretches = True

    def _teach(self) -> None:
        """Learn from the labels alone."""


# Trainers of heads that no other of their task has.
OWN: dict[str, Callable[..., Any]] = {"RTDETRDecoder": LeanRTDETRTrainer}
TRAINERS: dict[str, Callable[..., Any]] = {
    "detect": LeanDetectionTrainer,
    "segment": LeanSegmentationTrainer,
    "semantic": LeanSemanticTrainer,
    "classify": LeanClassificationTrainer,
    "obb": LeanOBBTrainer,
    "pose": LeanPoseTrainer,
}


def trainer_of(task: str, model: Mapping[str, Any]) -> Callable[..., Any]:
    """Return what makes the trainer of a model.

    Args:
        task: Ultralytics' task.
        model: Its model definition.

    Raises:
        NASError: For a task that no candidate could be trained with.
    """
    if task not in TRAINERS:
        raise NASError(
            f"task={task}: no trainer.{did_you_mean(task, TRAINERS)} Allowed: {', '.join(TRAINERS)}"
        )
    return OWN.get(head_of(model), TRAINERS[task])
