"""Short and full trainings through Ultralytics' own trainer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from yolo_nas_ext.config.fields import usual_threads
from yolo_nas_ext.config.search import SearchSettings
from yolo_nas_ext.data.splits import folds, hold_out, subset
from yolo_nas_ext.errors import NASError, did_you_mean
from yolo_nas_ext.estimators.base import Context
from yolo_nas_ext.estimators.extrapolation import by_flops, projected
from yolo_nas_ext.estimators.factory import training_options
from yolo_nas_ext.host import arguments, devices, models
from yolo_nas_ext.host.dataset import DataSet, joined, kept_of
from yolo_nas_ext.host.metrics import Seen
from yolo_nas_ext.host.training import distillation as teachers
from yolo_nas_ext.host.training.augmented import augmented_batches
from yolo_nas_ext.host.training.fitting_batch import fitting_batch
from yolo_nas_ext.host.training.initialisation import new_classes
from yolo_nas_ext.host.training.lean import OnEpoch
from yolo_nas_ext.host.training.settings import TrainingSettings
from yolo_nas_ext.host.training.trainer import train
from yolo_nas_ext.host.transfer.prepare import number_of_images, prepared
from yolo_nas_ext.host.transfer.weights import Source, load, transfer
from yolo_nas_ext.metrics import dice, froc
from yolo_nas_ext.network.architecture import Architecture
from yolo_nas_ext.network.emit import emit
from yolo_nas_ext.network.parse import read

USUAL = {"epochs": 10, "imgsz": 128, "batch": 16}  # of a candidate's training
# A recipe for few steps; a key that the user gives replaces its entry.
SHORT: dict[str, Any] = {
    "optimizer": "AdamW",  # learns fastest within a hundred steps
    "lr0": 0.004,
    "lrf": 0.05,
    "momentum": 0.9,
    "weight_decay": 0.0005,
    "cos_lr": True,
    "warmup_bias_lr": 0.0,  # Ultralytics' 0.1 is meant for SGD
    "mosaic": 0.0,  # most of the cost of loading, and of no help before some tens of epochs
    "close_mosaic": 0,
}
# A recipe for weights that are trained already; benchmarks/finetuning.py tells how it was found.
TUNED: dict[str, Any] = {
    "optimizer": "AdamW",
    "lr0": 0.001,
    "lrf": 0.05,
    "momentum": 0.9,
    "weight_decay": 0.0005,
    "cos_lr": True,
    "warmup_bias_lr": 0.0,
}
PARTS = 20  # of the images that are measured on, each left out in turn to know their say
WARMUP = 0.1  # of the epochs; Ultralytics' 3 epochs would be most of the training
MOST_WARMUP = 3.0  # epochs, as Ultralytics'


@dataclass
class _Start:
    """Writes a source's weights into a new model of a network, and keeps what became of them."""

    source: Source
    network: Architecture
    imgsz: int
    metrics: dict[str, float] = field(default_factory=dict)

    def __call__(self, model: Any, names: Mapping[int, str]) -> None:
        taken = transfer(model, self.network, self.source, names)
        self.metrics = {"inherited_percent": taken.percent}
        known = set(self.source.model.names.values())  # pyright: ignore[reportCallIssue]
        new_classes(model, self.imgsz, [n for n, name in names.items() if name not in known])


@dataclass
class _StockStart:
    """Has Ultralytics load a source's weights, as `yolo train model=<checkpoint>` does."""

    source: Source
    metrics: dict[str, float] = field(default_factory=dict)

    def __call__(self, model: Any, names: Mapping[int, str]) -> None:
        model.names = dict(names)
        model.load(self.source.model, verbose=False)


class Training:
    """Fitness after a training on one part of train, measured on the other.

    Args:
        data: The data set; its val part is not used.
        val_fraction: Part of the training images to measure on.
        fitness: ``host``; ``projected`` for what a short training of a detector foretells, see
            `estimators.extrapolation`; ``froc`` for the CPM of findings in scans, see
            `metrics.froc`; or ``dice`` for the Dice of segmented scans, see `metrics.dice`.
        inherit: A checkpoint, or its weights, that every training starts from, by role and shape.
        teacher: A checkpoint that every training learns from beside the labels, by what it
            predicts; of the same task and classes.
        **options: Fields of `TrainingSettings` that differ from `USUAL`; ``threads`` are
            `usual_threads` unless given, and ``overrides`` are added to the recipe.

    Attributes:
        settings: How networks are trained and measured.
        split: Indices of the training images to (train on, measure on).

    Raises:
        NASError: For a part that cannot be held out, an image size that is no multiple of 32,
            arguments that Ultralytics refuses, or a checkpoint that cannot be used.
    """

    seeded = True
    starts_from_weights = True  # which are those of `inherit`
    short = False  # whether the trainer's averages are made to keep up with few steps
    foretells = False  # whether what is measured foretells a full training
    untouched = False  # whether nothing may be chosen on what is measured on

    def __init__(
        self,
        data: DataSet,
        *,
        val_fraction: float = 0.25,
        fitness: str = "host",
        inherit: str | Path | Source | None = None,
        teacher: str | Path | None = None,
        **options: Any,
    ) -> None:
        given = {**USUAL, **options}
        given["threads"] = given.get("threads") or usual_threads()
        given["overrides"] = {**self.recipe(given["batch"]), **(given.get("overrides") or {})}
        settings = TrainingSettings(**given, short=self.short)
        measure = _measure(fitness, settings.task, self.foretells)
        if measure is not None:
            measure = partial(measure, data=data, cross=self.untouched)
        self.settings = replace(settings, measure=measure)
        self.projects = fitness == PROJECTED
        self.data = data
        self.val_fraction = val_fraction
        self.split = self._split(settings.seed)
        arguments.check(settings.overrides, nc=data.nc)
        devices.pool(settings.device)
        self.source = _loaded(inherit)
        self._parents: list[Source] = []  # at most one, which copies of this training have, too
        if teacher:
            self._learn_from(teacher)

    def _learn_from(self, teacher: str | Path) -> None:
        found = teachers.load(teacher, self.task)
        found.check(self.data, single_cls=bool(self.settings.overrides.get("single_cls")))
        self.settings = replace(self.settings, teacher=found)

    def with_teacher(self, teacher: str | Path) -> Training:
        """Return this training with a teacher that every network learns from.

        Raises:
            NASError: For a checkpoint that cannot teach.
        """
        taught = copy(self)
        taught._learn_from(teacher)
        return taught

    def measuring_in(self, precision: str) -> Training:
        """Return this training, which measures every network in another precision besides."""
        other = copy(self)
        other.settings = replace(self.settings, precision=precision)
        return other

    def in_parts(self, parts: int) -> Training:
        """Return this training with fitness measured without each of so many parts as well."""
        divided = copy(self)
        divided.settings = replace(self.settings, parts=parts)
        return divided

    def use_context(self, context: Context) -> None:
        """Keep decoded images there from now on."""
        self.settings = replace(self.settings, images=context.images, shared=context.shared)

    @property
    def task(self) -> str:
        """Ultralytics' task."""
        return self.settings.task

    @property
    def epochs(self) -> int:
        """Epochs of a candidate."""
        return self.settings.epochs

    @property
    def imgsz(self) -> int:
        """Image size in pixels."""
        return self.settings.imgsz

    @property
    def seed(self) -> int:
        """Of the split and of every training."""
        return self.settings.seed

    @classmethod
    def recipe(cls, batch: int) -> dict[str, Any]:
        """Return Ultralytics' arguments for a batch size, without the warm-up."""
        return {}

    @staticmethod
    def warmup(epochs: int) -> dict[str, Any]:
        """Return Ultralytics' arguments for the warm-up of so many epochs."""
        return {}

    @property
    def fidelity(self) -> dict[str, float]:
        """Epochs, image size in pixels and number of images of a training."""
        return {"epochs": self.epochs, "imgsz": self.imgsz, "images": len(self.split[0])}

    def estimate(
        self,
        architecture: Architecture | Mapping[str, Any] | str | Path,
        fidelity: Mapping[str, float] | None = None,
        report: OnEpoch | None = None,
        weights: Path | None = None,
        inherit: Path | None = None,
    ) -> dict[str, float]:
        """Return the metrics of a network after its training.

        They are those of `host.training.trainer.TrainingResult`.

        Args:
            architecture: What to train, or a model definition of Ultralytics': as a dictionary, a
                name such as ``yolo11n`` or the path of a YAML.
            fidelity: Other ``epochs``, ``imgsz`` (pixels) or ``images`` to train on than the
                estimator's or the network's own, for which the held-out images stay the same; or
                another ``seed``, which holds out others as well; or a ``replicate``, another seed
                of the training alone; or the ``fold``, from 0, of so many ``folds`` to hold out.
            report: Called after each epoch; see `host.training.trainer.train`.
            weights: Where a stock checkpoint goes.
            inherit: A checkpoint to start from in place of the estimator's. Metrics of a training
                that starts from one have ``inherited_percent``, of the parameters.

        Raises:
            NASError: For a fidelity or a path that cannot be used.
            TrialError: For a candidate that cannot be trained.
        """
        definition = self._definition(architecture)
        own = definition.get("imgsz", 0)
        fidelity = {**self.fidelity, **({"imgsz": own} if own else {}), **(fidelity or {})}
        epochs, seed = int(fidelity["epochs"]), int(fidelity.get("seed", self.seed))
        settings = replace(
            self.settings,
            epochs=epochs,
            imgsz=int(fidelity["imgsz"]),
            seed=seed + int(fidelity.get("replicate", 0)),
            overrides={**self.warmup(epochs), **self.settings.overrides},
        )
        source = _loaded(inherit) or self.source
        network = partial(_network, architecture, definition)
        start = None
        if source:
            start = self._start(self._ready(source), network, settings.imgsz)
        split = self._split_of(int(fidelity["images"]), seed)
        if "folds" in fidelity:
            split = self._fold_of(int(fidelity["fold"]), int(fidelity["folds"]), seed)
        metrics = train(
            definition,
            self.data,
            split,
            settings,
            weights=weights,
            on_epoch=report,
            initial=start,
        ).metrics
        if self.projects:
            size = int(self.fidelity["imgsz"])
            found = self._projected(metrics["fitness"], network, definition, size)
            metrics = {**metrics, "fitness": found, "host_fitness": metrics["fitness"]}
        return {**metrics, **(start.metrics if start else {})}

    def fitting_batch(self, architecture: Architecture, sharing: int = 1) -> tuple[int, str]:
        """Return the images of a step that fit into the device's memory, and which device it is.

        Args:
            architecture: The network.
            sharing: Trainings that share the device.

        Raises:
            TrialError: For a network that cannot be built, or does not fit with a single image.
        """
        settings = replace(self.settings, imgsz=architecture.imgsz or self.imgsz)
        definition = self._definition(architecture)
        return fitting_batch(definition, self.data, self.split, settings, sharing=sharing)

    def _projected(
        self,
        fitness: float,
        network: Callable[[], Architecture],
        definition: Mapping[str, Any],
        imgsz: int,
    ) -> float:
        """Return what a network is ranked by; of one that cannot be read by Ultralytics' FLOPs."""
        data = self.data
        try:
            return projected(fitness, network(), data.nc, imgsz)
        except NASError:
            _, flops = models.costs(definition, nc=data.nc, channels=data.channels, imgsz=imgsz)
            return by_flops(fitness, flops, imgsz)

    @staticmethod
    def _start(
        source: Source, network: Callable[[], Architecture], imgsz: int
    ) -> _Start | _StockStart:
        known = source.architecture is not None  # else nothing says what its weights are for
        return _Start(source, network(), imgsz) if known else _StockStart(source)

    def parent(self) -> Source:
        """Return the weights that all start from, with images of train to fit networks on."""
        if not self._parents:
            assert self.source is not None
            self._parents.append(self.prepared(self.source))
        return self._parents[0]

    def _ready(self, source: Source) -> Source:
        if source.architecture is None:  # for which nothing can be fitted
            return source
        return self.parent() if source is self.source else self.prepared(source)

    def prepared(self, source: Source) -> Source:
        """Return weights to start from with images of train to fit networks on."""
        images = number_of_images(self.imgsz)
        seen = augmented_batches(
            self.data, self.split[0], self.settings, images=images, seed=self.seed
        )
        return prepared(source, seen)

    def _definition(
        self, architecture: Architecture | Mapping[str, Any] | str | Path
    ) -> Mapping[str, Any]:
        if isinstance(architecture, Architecture):
            return emit(architecture, self.data.nc, self.task, self.data.keypoints)
        if isinstance(architecture, Mapping):
            return architecture
        return models.scaled(*models.definition(str(architecture), self.task))

    def _split(self, seed: int) -> tuple[list[int], list[int]]:
        data, fraction = self.data, self.val_fraction
        train_on, held_out = kept_of(
            data,
            ["held out", fraction, seed],
            lambda: hold_out(data.classes, fraction=fraction, seed=seed, groups=data.groups),
        )
        return train_on, held_out

    def _fold_of(self, fold: int, n: int, seed: int) -> tuple[list[int], list[int]]:
        """Return the split that holds out one of `n` parts."""
        data = self.data
        held_out = folds(data.classes, n, seed=seed, groups=data.groups)[fold]
        taken = {*held_out}
        return [i for i in range(len(data.classes)) if i not in taken], held_out

    def _split_of(self, images: int, seed: int) -> tuple[list[int], list[int]]:
        """Return a seed's split with `images` to train on, the classes kept in share."""
        classes = self.data.classes
        train_on, held_out = self.split if seed == self.seed else self._split(seed)
        if seed != self.seed:  # whose patients held out may have more images than the search's
            images = min(images, len(train_on))
        if images == len(train_on):
            return train_on, held_out
        chosen = subset([classes[index] for index in train_on], images, seed=seed)
        return [train_on[index] for index in chosen], held_out


class _Stepwise(Training):
    """A recipe of its own, a step a batch, and averages that keep up with few steps."""

    short = True
    keys: ClassVar[Mapping[str, Any]]  # of Ultralytics' trainer

    @classmethod
    def recipe(cls, batch: int) -> dict[str, Any]:
        """Return `keys`, and a step a batch rather than one for 64 images as Ultralytics'."""
        return {**cls.keys, "nbs": batch}

    @staticmethod
    def warmup(epochs: int) -> dict[str, Any]:
        """Return a warm-up that leaves most of the epochs to the training."""
        return {"warmup_epochs": min(WARMUP * epochs, MOST_WARMUP)}


class ShortTraining(_Stepwise):
    """A few epochs of a recipe of its own: the gradient is applied at every step."""

    foretells = True
    keys = SHORT


class FullTraining(Training):
    """Ultralytics' complete training with its own defaults: honest and slow.

    Fitness is that of the averaged weights after the last epoch; the best epoch is not picked, as
    the images it would be picked by are those that are measured.
    """


class FineTuning(_Stepwise):
    """A training that starts from a parent's weights, by the recipe that was measured best.

    A step a batch, a learning rate that trained weights bear, a warm-up that is a part of the
    epochs, and averages that keep up with few steps. What it is worth is in docs/evidence.md.
    """

    keys = TUNED


class StockFineTuning(FullTraining):
    """What `yolo train model=<parent>` does: Ultralytics' loading of weights and its defaults.

    It is the baseline of a fine-tuning. Only the parent's own network takes its weights whole.
    """

    @staticmethod
    def _start(source: Source, network: Callable[[], Architecture], imgsz: int) -> _StockStart:
        return _StockStart(source)

    def _ready(self, source: Source) -> Source:
        return source


class _Untouched(Training):
    """Trains on all of train and measures on a part that no search has looked at.

    Args:
        train: What is trained on.
        measured: What is measured on.
        **options: See `Training`.
    """

    untouched = True

    def __init__(self, train: DataSet, measured: DataSet, **options: Any) -> None:
        n = len(train.images)
        self._parts = list(range(n)), list(range(n, n + len(measured.images)))
        super().__init__(joined(train, measured), **options)

    def _split(self, seed: int) -> tuple[list[int], list[int]]:
        return self._parts


class UntouchedTraining(_Untouched, FullTraining):
    """The complete training on all of train, measured on a part that no search has looked at."""


class UntouchedFineTuning(_Untouched, FineTuning):
    """The fine-tuning on all of train, measured on a part that no search has looked at."""


class UntouchedStockFineTuning(_Untouched, StockFineTuning):
    """Ultralytics' fine-tuning on all of train, measured on a part that no search looked at."""


def short(config: SearchSettings, data: DataSet) -> Training:
    """Return the estimator ``short`` of a search: from a parent's weights, a fine-tuning."""
    kind = FineTuning if config.model else ShortTraining
    return kind(data, **training_options(config))


def full(config: SearchSettings, data: DataSet) -> Training:
    """Return the estimator ``full`` of a search: from a parent's weights, a fine-tuning."""
    kind = FineTuning if config.model else FullTraining
    return kind(data, **training_options(config))


def _loaded(inherit: str | Path | Source | None) -> Source | None:
    """Return the weights of what trainings start from, if it is anything."""
    if isinstance(inherit, Source):
        return inherit
    return load(inherit) if inherit else None


def _network(architecture: Any, definition: Mapping[str, Any]) -> Architecture:
    if isinstance(architecture, Architecture):
        return architecture
    return read(definition, definition.get("scale") or "")


def _froc(found: Seen, true: Seen, data: DataSet, cross: bool) -> dict[str, float]:
    return froc.evaluate(found.boxes, true.boxes, known=data.lesions, shapes=true.shapes)


def _dice(found: Seen, true: Seen, data: DataSet, cross: bool) -> dict[str, float]:
    return dice.evaluate(found.masks, true.masks, cross=cross)


PROJECTED = "projected"
# Fitness that is not Ultralytics' own: the tasks that it is of, and how it is measured of a data
# set, on a part where a threshold may be chosen or on one where it is crossed over patients.
FITNESS: dict[str, tuple[tuple[str, ...], Callable[..., dict[str, float]]]] = {
    "froc": (("detect", "segment"), _froc),
    "dice": (("segment",), _dice),
}


def _measure(fitness: str, task: str, foretells: bool) -> Callable[..., Any] | None:
    """Return what measures predictions beside Ultralytics' own, if anything does.

    Raises:
        NASError: For an unknown fitness, or one that is not of the task or the training.
    """
    if fitness == "host":
        return None
    if fitness == PROJECTED:
        if foretells and task == "detect":
            return None
        raise NASError(
            f"fitness={fitness}: is of short trainings of task=detect from random weights; leave "
            "it out"
        )
    if fitness not in FITNESS:
        known = ("host", PROJECTED, *FITNESS)
        raise NASError(
            f"fitness={fitness}: no such fitness.{did_you_mean(fitness, known)} Allowed: "
            f"{', '.join(known)}"
        )
    tasks, found = FITNESS[fitness]
    if task not in tasks:
        raise NASError(
            f"fitness={fitness}: is of task={' and '.join(tasks)}, not {task}; leave fitness out"
        )
    return found


def localisation(metrics: Mapping[str, float], prefix: str = "loss") -> float:
    """Return the negated box loss: how far boxes are from their objects, 1 - CIoU on average.

    It compares between heads, which neither the loss of bins nor that of distances does; of an
    end-to-end head the one-to-many branch is taken, which is assigned objects as other heads are.
    Without boxes it is the negated sum of all losses.

    Args:
        metrics: Of a training or of one of its epochs, see `host.training.trainer.TrainingResult`.
        prefix: ``loss`` of training images, or ``val_loss`` of held-out ones.
    """
    for name in (f"{prefix}_many_box", f"{prefix}_box"):
        if name in metrics:
            return -metrics[name]
    return -sum(value for name, value in metrics.items() if name.startswith(f"{prefix}_"))
