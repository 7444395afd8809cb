"""The host's trainers without their overhead: one mixin for every task.

What is left out: plots, checkpoints, CSV files, callbacks of integrations, validation before the
last epoch and after it, garbage collection, label scans and image decoding for every candidate.
What stays is the host's: model, loss, optimiser, schedule, augmentation, moving average, validator.
"""

from __future__ import annotations

import contextlib
import logging
import math
import random
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from ultralytics.data import build_dataloader
from ultralytics.models.yolo.classify import ClassificationTrainer
from ultralytics.models.yolo.detect import DetectionTrainer
from ultralytics.models.yolo.obb import OBBTrainer
from ultralytics.models.yolo.pose import PoseTrainer
from ultralytics.models.yolo.segment import SegmentationTrainer
from ultralytics.models.yolo.semantic import SemanticSegmentationTrainer
from ultralytics.nn.modules import Conv, Detect
from ultralytics.utils import LOGGER, callbacks
from ultralytics.utils.torch_utils import init_seeds, unset_deterministic, unwrap_model

from yolo_nas_ext.errors import NASError, TrialError, did_you_mean
from yolo_nas_ext.host import checkpoint, precision
from yolo_nas_ext.host.dataset import DataSet
from yolo_nas_ext.host.images import held, held_pictures
from yolo_nas_ext.host.teacher import student

OnEpoch = Callable[[int, Mapping[str, float]], None]
# Writes weights into a new model, given its class names by number.
Initial = Callable[[torch.nn.Module, Mapping[int, str]], None]


@dataclass(frozen=True, slots=True)
class Seen:
    """What is in pictures, or what a model sees in them, by the picture's stem.

    Attributes:
        boxes: Rows (left, top, right, bottom, class, score) in pixels of the network.
        masks: Masks (classes, h, w) of what is as sure as `SURE`; of segmentation alone.
    """

    boxes: dict[str, np.ndarray] = field(default_factory=dict)
    masks: dict[str, np.ndarray] = field(default_factory=dict)


# Metrics from what a model sees and what there is; ``fitness`` replaces the host's.
Judge = Callable[[Seen, Seen], Mapping[str, float]]
SURE = 0.25  # score from which a mask counts; the host shows objects from there


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


# The mixin stands in front of a trainer of the host, of whichever task.
_Trainer: Any = object

FUSED = (torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD)

# Of batch norms. The host's 0.03 averages over some 33 steps, too slow for weights that are new at
# every step: what is measured after 75 of them is not the network that was trained.
MOMENTUM = 0.1
USUAL = 0.03

SIDE = 2.0  # strides from its anchor at which a box's side starts; the host's, of direct regression


class LeanMixin(_Trainer):
    """Turns a trainer of the host into one that only trains and measures once.

    Args:
        model: The host's model definition.
        data: The data set.
        split: Indices of its training images to (train on, measure on).
        overrides: The host's arguments.
        deadline: `time.perf_counter` at which the training is given up.
        on_epoch: Called after each epoch with its mean losses.
        short: Whether averages keep up with few steps; else they are the host's.
        every: Epochs from one measurement to the next; only the last is measured without.
        images: Folder for decoded images that do not fit into memory.
        shared: Whether other processes use that folder too.
        initial: Writes weights into the model once it is built.
        judge: Judges the detections on the held-out images, beside the host.
    """

    def __init__(
        self, model: Mapping[str, Any], data: DataSet, split: tuple[list[int], list[int]],
        overrides: dict[str, Any], *, deadline: float = math.inf, on_epoch: OnEpoch | None = None,
        short: bool = True, every: int | None = None, images: Path | None = None,
        shared: bool = False, initial: Initial | None = None, judge: Judge | None = None,
    ) -> None:  # fmt: skip
        # The host's is of GPUs, and downloads a model; see `precision` for what is done on CPUs.
        self._half = overrides.get("amp", True)
        overrides = {**overrides, "amp": False}
        self._judge = judge
        self._judged = Seen(), Seen()
        self._initial = initial
        self._definition = model
        self._data_set = data
        self._split = split
        self._deadline = deadline
        self._on_epoch = on_epoch
        self._short = short
        self._every = every
        self._images = images
        self._shared = shared
        events = {
            "on_train_start": [LeanMixin._watch_losses],
            "on_train_epoch_start": [LeanMixin._forget_losses],
            "on_train_batch_start": [LeanMixin._before_batch],
            "on_train_batch_end": [LeanMixin._after_batch],
            "on_fit_epoch_end": [LeanMixin._after_epoch],
        }
        self.callers_error: Exception | None = None  # of `on_epoch`: not this candidate's failure
        super().__init__(overrides=overrides, _callbacks=events)

    # Data

    def get_dataset(self) -> dict[str, Any]:
        """Return the data dictionary; the splits are indices, as nothing is read from disk."""
        data = self._data_set
        names = {0: "item"} if self.args.single_cls else dict(data.names)  # as the host does
        return {**data.data, "names": names, "nc": len(names), "train": 0, "val": 1}

    def get_dataloader(
        self, dataset_path: Any, batch_size: int = 16, rank: int = 0, mode: str = "train"
    ) -> Any:
        """Return a loader over the decoded images of one side of the split."""
        args: Any = self.args
        data = self._data_set
        labels = [data.labels[index] for index in self._split[0 if mode == "train" else 1]]
        images = self.held(labels, augment=mode == "train", batch=batch_size)
        return build_dataloader(
            images, batch=batch_size, workers=args.workers,
            shuffle=mode == "train", rank=-1, device=self.device,
        )  # fmt: skip

    def held(self, labels: Sequence[dict[str, Any]], *, augment: bool, batch: int) -> Any:
        """Return the data set over some images with known labels."""
        args: Any = self.args
        data = self._data_set
        return held(
            labels, data.labels, data.source, folder=self._images, shared=self._shared,
            imgsz=args.imgsz, augment=augment, hyp=args, rect=False, pad=0.0, data=self.data,
            task=args.task, batch_size=batch, stride=32, single_cls=args.single_cls,
            classes=args.classes,
        )  # fmt: skip

    # Model and seeds

    def setup_model(self) -> None:
        """Build the model from the seed, whatever ran before in this process."""
        init_seeds(self.args.seed, deterministic=self.args.deterministic)
        model = self.get_model(cfg=deepcopy(dict(self._definition)), verbose=False)
        if self._short:
            for norm in norms(model):
                norm.momentum = MOMENTUM
            head_start(model, self.args.imgsz)
        if self._initial:
            self._initial(model, self.data["names"])
        if self.device.type == "cpu":
            model = model.to(memory_format=torch.channels_last)  # faster convolutions on CPUs
            # The host's projections of what a student sees are in single precision.
            half = self._half and not self.args.distill_model
            if self._short and half and precision.native():
                precision.halve(model)
        self.model = model

    def _build_train_pipeline(self) -> None:
        """Build the loaders, then seed again: building them consumes the global generators."""
        super()._build_train_pipeline()
        seed = self.args.seed
        for loader in (self.train_loader, self.test_loader):
            loader.generator.manual_seed(seed)
        init_seeds(seed, deterministic=self.args.deterministic)

    def _setup_train(self) -> None:
        """Set up as the host, with a moving average that suits few steps if there are few."""
        super()._setup_train()
        if not self._short:
            return
        steps = len(self.train_loader) * self.epochs
        # The host averages over some 10,000 steps; over a tenth of this training here.
        most = min(0.9999, max(0.0, 1 - 10 / steps))
        self.ema.decay = lambda x: min(most, (1 + x) / (10 + x))

    def build_optimizer(self, *args: Any, **kwargs: Any) -> torch.optim.Optimizer:
        """Build the host's optimiser; one that has a fused step takes it, a tenth of the time."""
        optimizer = super().build_optimizer(*args, **kwargs)
        if isinstance(optimizer, FUSED) and self.device.type in ("cpu", "cuda"):
            for group in optimizer.param_groups:
                group |= {"fused": True, "foreach": False}
        return optimizer

    def preprocess_batch(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Prepare a batch as the host, in the memory format of the model."""
        batch = super().preprocess_batch(batch)
        if self.device.type == "cpu":
            batch["img"] = batch["img"].contiguous(memory_format=torch.channels_last)
        return batch

    def validate(self) -> Any:
        """Measure as the host; its transforms draw random numbers, which training gets back."""
        if not self._measures():
            return self.metrics, self.fitness
        states = random.getstate(), np.random.get_state()
        self._many["val_"] = []
        self._judged = Seen(), Seen()
        try:
            return super().validate()
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])

    def get_validator(self) -> Any:
        """Return the host's validator, which also notes boxes where somebody judges them."""
        validator = super().get_validator()
        if self._judge:
            update = validator.update_metrics

            def note(preds: Sequence[Mapping[str, Any]], batch: Mapping[str, Any]) -> None:
                update(preds, batch)
                for index, pred in enumerate(preds):
                    true = validator._prepare_batch(index, batch)
                    stem = Path(true["im_file"]).stem
                    for seen, part in zip(self._judged, (pred, true), strict=True):
                        seen.boxes[stem] = _rows(part)
                        if "masks" in part:
                            seen.masks[stem] = _masks(part, self.data["nc"])

            validator.update_metrics = note
        return validator

    def judged(self) -> dict[str, float]:
        """Return what the judge says of the last measurement; nothing without one."""
        return dict(self._judge(*self._judged)) if self._judge else {}

    def _measures(self) -> bool:
        epoch = self.epoch + 1
        return epoch == self.epochs or (self._every is not None and epoch % self._every == 0)

    # What ends a training early

    def _before_batch(self) -> None:
        self._oom_retries = 3  # the host would go on with half the batch: another experiment

    def _after_batch(self) -> None:
        if not torch.isfinite(self.loss).all():
            raise TrialError("nan", f"the loss is {self.loss.item()} in epoch {self.epoch + 1}")
        if time.perf_counter() > self._deadline:
            raise TrialError("timeout", f"given up in epoch {self.epoch + 1} of {self.epochs}")

    def _after_epoch(self) -> None:
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
        return {**_named("loss_", self.tloss), **self._means("")}

    def measured(self) -> dict[str, float]:
        """Return the mean losses on the held-out images, ``val_loss_box`` and so on."""
        found = {n.removeprefix("val/"): v for n, v in self.metrics.items() if "val/" in n}
        return {**_named("val_loss_", found), **self._means("val_")}

    def _watch_losses(self) -> None:
        """Keep the losses of the one-to-many branch, of which an end-to-end head says nothing."""
        self._many: dict[str, list[dict[str, torch.Tensor]]] = {"": [], "val_": []}
        models: dict[str, Any] = {"": unwrap_model(self.model), "val_": self.ema.ema}
        for part, model in models.items():
            if getattr(model, "criterion", None) is None:
                model.criterion = model.init_criterion()
            if many := getattr(model.criterion, "one2many", None):
                many.loss = partial(self._note_loss, part, many.loss)

    def _note_loss(self, part: str, loss: Callable[..., Any], *args: Any) -> Any:
        result = loss(*args)
        self._many[part].append(result[1])
        return result

    def _forget_losses(self) -> None:
        self._many[""] = []

    def _means(self, part: str) -> dict[str, float]:
        noted = self._many[part]
        means = (
            {n: sum(float(one[n]) for one in noted) / len(noted) for n in noted[0]} if noted else {}
        )
        return _named(f"{part}loss_many_", means)

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


class LeanSegmentationTrainer(LeanMixin, SegmentationTrainer):  # pyright: ignore[reportIncompatibleMethodOverride]
    """Instance segmentation."""


class LeanSemanticTrainer(LeanMixin, SemanticSegmentationTrainer):  # pyright: ignore[reportIncompatibleMethodOverride]
    """Semantic segmentation."""

    def get_dataset(self) -> dict[str, Any]:
        """Return the data dictionary.

        Raises:
            NASError: For classes that are taken for one, which the host cannot do here.
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


def head_start(model: torch.nn.Module, imgsz: int) -> None:
    """Let a detection head begin where some tens of steps would bring it, whatever its kind.

    The host starts every side of a box at 2 strides if it is regressed directly and at the middle
    of the bins if it is a distribution, and scores for images of 640 px. In a short training the
    head that starts better would be taken for the better network.

    Args:
        model: The host's model; only biases of its head change.
        imgsz: Image size in pixels.
    """
    head: Any = model.model[-1]  # pyright: ignore[reportIndexIssue]
    if not isinstance(head, Detect):
        return
    bins = torch.arange(head.reg_max, dtype=torch.float32)
    sides = -((bins - SIDE) ** 2) / 2
    branches: list[tuple[Any, Any]] = [(head.cv2, head.cv3)]
    if getattr(head, "one2one_cv2", None) is not None:
        branches.append((head.one2one_cv2, head.one2one_cv3))
    for boxes, scores in branches:
        for box, score, stride in zip(boxes, scores, head.stride.tolist(), strict=True):
            score[-1].bias.data[: head.nc] = math.log(5 / head.nc / (imgsz / stride) ** 2)
            if head.reg_max > 1:
                box[-1].bias.data[:] = sides.repeat(4)


TRAINERS: dict[str, Callable[..., Any]] = {
    "detect": LeanDetectionTrainer, "segment": LeanSegmentationTrainer,
    "semantic": LeanSemanticTrainer,
    "classify": LeanClassificationTrainer, "obb": LeanOBBTrainer, "pose": LeanPoseTrainer,
}  # fmt: skip


def train(
    model: Mapping[str, Any], data: DataSet, split: tuple[list[int], list[int]], *,
    task: str = "detect", epochs: int, imgsz: int, batch: int, seed: int = 0,
    device: str | None = None, overrides: Mapping[str, Any] | None = None,
    weights: Path | None = None, timeout: float | None = None, threads: int = 1,
    on_epoch: OnEpoch | None = None, every: int | None = None, short: bool = True,
    images: Path | None = None, shared: bool = False, initial: Initial | None = None,
    judge: Judge | None = None,
) -> Result:  # fmt: skip
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
        overrides, task=task, epochs=epochs, imgsz=imgsz, batch=batch, seed=seed, device=device,
        val=every is not None,
    )  # fmt: skip

    def make(arguments: dict[str, Any]) -> Any:
        return TRAINERS[task](
            model, data, split, arguments, deadline=deadline, on_epoch=on_epoch, short=short,
            every=every, images=images, shared=shared, initial=initial, judge=judge,
        )  # fmt: skip

    def use(trainer: Any) -> dict[str, float]:
        trainer.train()
        return _finish(trainer, weights)

    metrics = session(make, given, use, threads=threads)
    return Result(metrics, time.perf_counter() - begin, epochs)


def settings(
    overrides: Mapping[str, Any] | None, *, imgsz: int, val: bool = False, **more: Any
) -> dict[str, Any]:
    """Return the host's arguments of a lean training.

    Args:
        overrides: Further arguments of the host's trainer.
        imgsz: Image size in pixels.
        val: Whether it is measured before the end, too.
        **more: Arguments that cannot be overridden.

    Raises:
        NASError: For an image size that is no multiple of 32.
    """
    if imgsz < 32 or imgsz % 32:
        raise NASError(f"imgsz={imgsz}: give a multiple of 32, for example 128 or 640")
    return {
        "save": False, "plots": False, "verbose": False, "exist_ok": True,
        "val": val, "patience": 0, "model": "nas.yaml", "data": "data.yaml",
        **(overrides or {}), "mode": "train", "imgsz": imgsz, **more,
    }  # fmt: skip


T = TypeVar("T")


def session(
    make: Callable[[dict[str, Any]], Any], arguments: Mapping[str, Any], use: Callable[[Any], T],
    *, threads: int,
) -> T:  # fmt: skip
    """Make a trainer, use it and take it apart; the host is silent meanwhile.

    Args:
        make: Returns the trainer for the host's arguments.
        arguments: See `settings`.
        use: What to do with it.
        threads: CPU threads.

    Returns:
        What `use` returns.

    Raises:
        TrialError: For what goes wrong in the host.
    """
    with tempfile.TemporaryDirectory() as folder, quiet():
        trainer = None
        try:
            trainer = make({**arguments, "save_dir": folder})
            torch.set_num_threads(threads)  # as making it sets the host's own number, a core less
            return use(trainer)
        except NASError:
            raise
        except Exception as error:
            traceback.clear_frames(error.__traceback__)  # which hold tensors, and so the model
            if trainer is not None and error is trainer.callers_error:
                raise
            raise failure(error, trainer) from error
        finally:
            if trainer is not None:  # host objects refer to one another; the model goes at once
                for name in ("train_loader", "test_loader"):
                    if loader := getattr(trainer, name, None):
                        loader.close()  # ends its workers
                trainer.__dict__.clear()


def _finish(trainer: Any, weights: Path | None) -> dict[str, float]:
    """Return the metrics and write the measured weights."""
    metrics = results(trainer)
    model: Any = student(unwrap_model(trainer.ema.ema))
    precision.restore(model)
    if not all(value.isfinite().all() for value in model.state_dict().values()):
        raise TrialError("nan", "weights are not finite after the last step")
    if weights is not None:
        for norm in norms(model):
            norm.momentum = USUAL  # for whoever goes on training
        model.criterion = None  # knows the trainer
        checkpoint.save(model, weights, args=vars(trainer.args), metrics=metrics)
    return metrics


def results(trainer: Any) -> dict[str, float]:
    """Return measured and training metrics of the last epoch under the names of the field."""
    names = {"mAP50-95": "map50_95", "mAP50": "map50", "precision": "precision", "recall": "recall"}
    metrics = {"fitness": float(trainer.fitness)}
    names |= {name: name for name in ("accuracy_top1", "accuracy_top5")}
    names |= {"mIoU": "miou", "pixel_acc": "pixel_accuracy"}
    kinds = {"M": "mask_", "P": "pose_"}  # of masks and keypoints, beside those of boxes
    for name, value in trainer.metrics.items():
        short, _, kind = name.removeprefix("metrics/").rstrip(")").partition("(")
        if name.startswith("metrics/") and short in names:
            metrics[kinds.get(kind, "") + names[short]] = float(value)
    if judged := trainer.judged():
        metrics = {**metrics, "host_fitness": metrics["fitness"], **judged}
    return {**metrics, **trainer.losses(), **trainer.measured()}


def _rows(part: Mapping[str, Any]) -> np.ndarray:
    """Return boxes as rows (left, top, right, bottom, class, score); objects have the score 1."""
    classes = part["cls"].reshape(-1, 1)
    scores = part["conf"].reshape(-1, 1) if "conf" in part else torch.ones_like(classes)
    table = torch.cat((part["bboxes"].reshape(-1, 4), classes, scores), 1)
    return table.cpu().numpy().astype(float)


def _masks(part: Mapping[str, Any], nc: int) -> np.ndarray:
    """Return the masks (classes, h, w) of what is sure enough."""
    result = np.zeros((nc, *part["masks"].shape[1:]), bool)
    scores = part.get("conf", torch.ones_like(part["cls"]))
    for mask, label, score in zip(part["masks"], part["cls"], scores, strict=True):
        if score >= SURE:
            result[int(label)] |= mask.cpu().numpy().astype(bool)
    return result


def _named(prefix: str, losses: Mapping[str, Any]) -> dict[str, float]:
    return {f"{prefix}{name.removesuffix('_loss')}": float(v) for name, v in losses.items()}


# How torch says that there is not enough memory: on GPUs, on Linux and on Windows.
NO_MEMORY = (
    "out of memory", "can't allocate memory", "not enough memory", "cublas_status_alloc_failed",
)  # fmt: skip


def norms(model: torch.nn.Module) -> Iterator[torch.nn.BatchNorm2d]:
    """Yield the batch norms of a model."""
    return (module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d))


def failure(error: Exception, trainer: Any) -> TrialError:
    """Return what to record for an exception of a training."""
    if isinstance(error, TrialError):
        return error
    text = " ".join(str(error).split())[:300] or type(error).__name__
    if isinstance(error, MemoryError) or any(sign in text.lower() for sign in NO_MEMORY):
        return TrialError("memory", text)
    built = trainer is not None and isinstance(getattr(trainer, "model", None), torch.nn.Module)
    return TrialError("error" if built else "build", f"{type(error).__name__}: {text}")


@contextlib.contextmanager
def quiet() -> Iterator[None]:
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
        unset_deterministic()  # which the host leaves on where its trainer cannot be made
