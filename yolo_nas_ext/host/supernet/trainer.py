"""Training a supernet: which networks are active in a step, and how to resume.

On several GPUs it is Ultralytics' distributed training but for one thing: a step differentiates its
networks one after the other, so that the gradients are averaged over the ranks once, at its end.
All ranks compute the same networks in a step, each on its own images.
"""

from __future__ import annotations

import gc
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import distributed, nn
from ultralytics.utils import RANK
from ultralytics.utils.torch_utils import unwrap_model

from yolo_nas_ext.errors import NASError
from yolo_nas_ext.host.dataset import DataSet
from yolo_nas_ext.host.supernet.model import Supernet
from yolo_nas_ext.host.training.checkpoint import write
from yolo_nas_ext.host.training.distributed import launched
from yolo_nas_ext.host.training.initialisation import SIDE
from yolo_nas_ext.host.training.lean import TRAINERS, Initial, OnEpoch, Split
from yolo_nas_ext.host.training.session import session
from yolo_nas_ext.host.training.settings import TrainingSettings
from yolo_nas_ext.network.architecture import Architecture

# Networks of a step, from its epoch and its number within the epoch.
Steps = Callable[[int, int], Sequence[Architecture]]
PAUSE = 60.0  # seconds between checkpoints: those of large spaces take seconds to write
# Ultralytics' trainer of a task stands behind it, see `of_task`.
_Trainer: Any = object


class SupernetTrainer(_Trainer):
    """Trains a supernet as Ultralytics trains a network of its task.

    Args:
        model: See `space.supernet.slots.definition`.
        data: The data set.
        split: Indices of its training images to (train on, measure on).
        settings: How it is trained.
        arguments: Ultralytics' arguments.
        steps: Networks of each step.
        distill: Weight of the distance to the first network of a step; 0 for none.
        checkpoint: File to resume from and to write to.
        made_with: What a checkpoint must have been made with.
        pause: Seconds between two checkpoints; the last is always written.
        **more: See `LeanMixin`.
    """

    # SGD's fails where some parameters have a momentum and others get their first gradient.
    fused = (torch.optim.Adam, torch.optim.AdamW)

    def __init__(
        self,
        model: Mapping[str, Any],
        data: DataSet,
        split: Split,
        settings: TrainingSettings,
        arguments: Mapping[str, Any],
        *,
        steps: Steps,
        distill: float = 0.0,
        checkpoint: Path | None = None,
        made_with: Mapping[str, Any] | None = None,
        pause: float = PAUSE,
        **more: Any,
    ) -> None:
        super().__init__(model, data, split, settings, arguments, **more)
        self._steps, self._distill = steps, distill
        self._file, self._made_with, self._pause = checkpoint, dict(made_with or {}), pause
        self._saved = time.perf_counter()
        self._step = 0
        self.add_callback("on_train_epoch_start", lambda trainer: trainer._seed_epoch())
        self.add_callback("on_train_batch_start", lambda trainer: trainer._choose())
        self.add_callback("on_fit_epoch_end", lambda trainer: trainer._keep())

    def get_model(self, cfg: Any = None, weights: Any = None, verbose: bool = True) -> Any:
        """Return the supernet; its head starts as those of short trainings do."""
        model = Supernet(cfg, ch=self.data["channels"], nc=self.data["nc"])
        model.head.start_biases(self.args.imgsz, SIDE if self._settings.short else None)
        model.distill = self._distill
        model.names = self.data["names"]
        return model

    def _setup_train(self) -> None:
        """Set up, and go on from the checkpoint if there is one."""
        super()._setup_train()
        model: Any = unwrap_model(self.model)
        if self.world_size > 1:  # torch's wrapper expects one differentiation a step
            self.model = model
            gc.collect()  # the wrapper's hooks go with it
        ranks = max(1, self.world_size)  # Ultralytics multiplies a rank's loss likewise
        model.backward = lambda loss: self.scaler.scale(ranks * loss).backward()
        if self._file is not None and self._file.is_file():
            saved = load(self._file, self._made_with)
            model.load_state_dict(saved["model"])
            self.ema.ema.load_state_dict(saved["ema"])
            self.ema.updates = saved["updates"]
            self.optimizer.load_state_dict(saved["optimizer"])
            self.scaler.load_state_dict(saved["scaler"])
            model.criterion = model.init_criterion()
            if hasattr(model.criterion, "update"):  # of an end-to-end head, by the epochs
                model.criterion.updates = saved["epoch"] - 1
                model.criterion.update()
            self.go_on(saved)
            self.start_epoch = saved["epoch"]
            self.scheduler.last_epoch = self.start_epoch - 1

    def optimizer_step(self) -> None:
        """Step as Ultralytics does, by the gradients of all ranks."""
        if self.world_size > 1:
            average_gradients(self.model, self.world_size)
        super().optimizer_step()

    def _seed_epoch(self) -> None:
        """Begin an epoch as if none had been before: its order and augmentation are its own."""
        self._step = 0
        rank = f"/{RANK}" if RANK > 0 else ""  # each augments in its own way
        seed = random.Random(f"{self.args.seed}/{self.epoch}{rank}").getrandbits(31)
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        self.train_loader.generator.manual_seed(seed)
        self.train_loader.reset()

    def _choose(self) -> None:
        model: Any = unwrap_model(self.model)
        model.paths = self._steps(self.epoch, self._step)
        self._step += 1

    def _measures(self) -> bool:
        return False  # a supernet has no score of its own

    def _keep(self) -> None:
        done = self.epoch + 1
        now = time.perf_counter()
        if RANK > 0 or self._file is None:  # the first rank writes
            return
        if done < self.epochs and now - self._saved < self._pause:
            return
        self._saved = now
        content = {
            "epoch": done,
            "settings": self._made_with,
            "model": unwrap_model(self.model).state_dict(),
            "ema": self.ema.ema.state_dict(),
            "updates": self.ema.updates,
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
        }
        if done == self.epochs:  # nothing goes on from here but scoring
            content = {name: content[name] for name in ("epoch", "settings", "ema")}
        write({**content, **self.more_to_keep()}, self._file)

    def more_to_keep(self) -> dict[str, Any]:
        """Return what else a checkpoint holds."""
        return {}

    def go_on(self, saved: Mapping[str, Any]) -> None:
        """Take what else a checkpoint holds."""


def of_task(kind: Any, task: str) -> Any:
    """Return a kind of `SupernetTrainer` as the trainer of a task of Ultralytics'."""
    lean: Any = TRAINERS[task]
    return type(kind.__name__, (kind, lean), {"__doc__": kind.__doc__})


def average_gradients(model: nn.Module, ranks: int) -> None:
    """Average the gradients of a model over all ranks, of which each has computed the same ones."""
    found = [p.grad for p in model.parameters() if p.grad is not None]
    if not found:
        return
    flat = torch.cat([grad.flatten() for grad in found])
    distributed.all_reduce(flat)
    flat /= ranks
    for grad, mean in zip(found, flat.split([grad.numel() for grad in found]), strict=True):
        grad.copy_(mean.view_as(grad))


def load(file: Path, made_with: Mapping[str, Any]) -> dict[str, Any]:
    """Return a checkpoint of a supernet.

    Raises:
        NASError: For a file that is damaged, or made with other settings, which are named.
    """
    try:
        saved = torch.load(file, map_location="cpu", weights_only=True)
        before = saved["settings"]
    except Exception as error:  # whatever reading a damaged file runs into
        raise NASError(
            f"{file}: not a supernet that can be read ({type(error).__name__}); delete it to train "
            "another"
        ) from error
    for name, value in made_with.items():
        if before.get(name) != value:
            raise NASError(
                f"{file}: trained with {name}={before.get(name)}, not {value}; give {name}="
                f"{before.get(name)}, or start a new run"
            )
    return saved


def fit(
    definition: Mapping[str, Any],
    data: DataSet,
    split: Split,
    settings: TrainingSettings,
    *,
    steps: Steps,
    checkpoint: Path,
    made_with: Mapping[str, Any],
    distill: float = 0.0,
    on_epoch: OnEpoch | None = None,
    pause: float = PAUSE,
    trainer: Callable[..., Any] | None = None,
    initial: Callable[[], Initial] | None = None,
    half: bool = False,
) -> None:
    """Train a supernet into a file, or go on with the training that the file is of.

    The same arguments give the same weights, whether or not the training was interrupted.

    Args:
        definition: See `space.supernet.slots.definition`.
        data: The data set; only its training images are used.
        split: Indices of them to (train on, measure on).
        settings: How it is trained; nothing is measured, and no time limits it.
        steps: Networks of each step.
        checkpoint: The file.
        made_with: What the file must have been made with; kept in it.
        distill: Weight of the distance to the first network of a step.
        on_epoch: Called with an epoch's number, from 1, and its mean losses.
        pause: Seconds between two checkpoints.
        trainer: Makes the trainer; `SupernetTrainer` of the task unless given.
        initial: Makes what writes the first weights; not called where the training goes on.
        half: Whether convolutions take half the digits where the processor has them.

    Raises:
        NASError: For a file of other settings.
        TrialError: For a loss that is not finite or too little memory.
    """
    if checkpoint.is_file() and load(checkpoint, made_with)["epoch"] >= settings.epochs:
        return
    settings = replace(settings, measure=None)  # a supernet has no score of its own

    own = partial(
        trainer or partial(_trainer_of, settings.task),
        definition,
        data,
        split,
        settings,
        steps=steps,
        distill=distill,
        checkpoint=checkpoint,
        made_with=made_with,
        pause=pause,
    )

    def use(made: Any) -> None:
        if made.ddp:
            launched(made, own, _unmeasured, threads=settings.threads, on_epoch=on_epoch)
        else:
            made.train()

    begin = initial() if initial and not checkpoint.is_file() else None
    make = partial(own, on_epoch=on_epoch, initial=begin)
    fixed: dict[str, Any] = {} if half else {"amp": False}
    if settings.together:
        fixed["device"] = settings.device
    session(make, settings.arguments(**fixed), use, threads=settings.threads)


def _trainer_of(task: str, *args: Any, **more: Any) -> SupernetTrainer:
    """Return the usual trainer of a task; a rank of a distributed training is sent its name."""
    return of_task(SupernetTrainer, task)(*args, **more)


def _unmeasured(trainer: Any) -> dict[str, float]:
    """Return what is measured of a supernet after its training: nothing."""
    return {}
