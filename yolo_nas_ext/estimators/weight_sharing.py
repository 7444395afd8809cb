"""Weight sharing: one supernet is trained, and every network is scored with its weights."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
import weakref
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from filelock import FileLock

from yolo_nas_ext.config.search import SearchSettings
from yolo_nas_ext.console import Progress
from yolo_nas_ext.cost.counts import costs
from yolo_nas_ext.errors import NASError, RunError, TrialError, did_you_mean, in_a_line
from yolo_nas_ext.estimators.base import Context
from yolo_nas_ext.estimators.factory import detector_space, space_of, training_options
from yolo_nas_ext.estimators.training import ShortTraining
from yolo_nas_ext.files import json_of, own, text_of, write_text
from yolo_nas_ext.host.dataset import DataSet
from yolo_nas_ext.host.supernet.continuous import ContinuousTrainer
from yolo_nas_ext.host.supernet.darts import RELAXATIONS, DartsTrainer
from yolo_nas_ext.host.supernet.evaluator import Evaluator
from yolo_nas_ext.host.supernet.model import Supernet, extract
from yolo_nas_ext.host.supernet.trainer import PAUSE, SupernetTrainer, fit, load, of_task
from yolo_nas_ext.host.training.settings import TrainingSettings
from yolo_nas_ext.network.architecture import Architecture
from yolo_nas_ext.network.emit import emit
from yolo_nas_ext.space.networks import NetworkSpace
from yolo_nas_ext.space.supernet.sampling import paths
from yolo_nas_ext.space.supernet.slots import check
from yolo_nas_ext.space.supernet.slots import definition as largest

FILE, SCORES, LEARNED = "supernet.pt", "scores.jsonl", "distribution.json"
MOST_MIXED = 6  # networks of a mixture, whose activations are all in memory


class SharedWeights(ShortTraining):
    """Fitness on the held-out images with the weights of a supernet of the space.

    The first network that is asked for has the supernet trained, or its training finished if it
    was interrupted. A network's batch norms are estimated anew from images as training sees them.
    Scores are kept by the network's key, beside the supernet.

    Args:
        data: The data set; its val part is not used.
        space: The space; also what the supernet's training draws from.
        sampling: A rule of `space.supernet.sampling.RULES`.
        distill: Weight of the largest network's predictions in the training of the others, for a
            rule that trains several in a step; 0 for none.
        learn: Whether the distribution of `strategies.darts` is learned, too.
        cost_weight: See `host.supernet.darts.DartsTrainer`.
        relaxation: See there.
        pause: Seconds between two checkpoints.
        say: Where lines of progress go.
        **more: As of `Training`; ``epochs`` are those of the supernet, and the task is the space's.

    Raises:
        NASError: For a space that cannot be shared, an unknown rule, and as `Training`.
    """

    seeded = False

    def __init__(
        self,
        data: DataSet,
        space: NetworkSpace,
        *,
        sampling: str = "spos",
        distill: float = 0.0,
        learn: bool = False,
        cost_weight: float = 0.0,
        relaxation: str = RELAXATIONS[0],
        pause: float = PAUSE,
        say: Callable[[str], None] | None = None,
        **more: Any,
    ) -> None:
        check(space)
        if more.get("teacher"):
            raise NASError(
                f"teacher={more['teacher']}: a supernet has no teacher but its own largest "
                "network; leave it out, or give distill=1"
            )
        super().__init__(data, **{**more, "task": space.task})
        self.space, self.sampling, self.distill = space, sampling, distill
        self.learn, self.cost_weight, self.relaxation = learn, cost_weight, relaxation
        check_relaxation(relaxation, learn, space)
        self._paths = paths(sampling, space, self.seed, self.epochs)
        self._pause, self._say = pause, say
        self._context = Context()
        self._temporary: Path | None = None
        self._open: Supernet | None = None
        self._evaluators: dict[int, Evaluator] = {}  # by image size
        self._scores: dict[str, dict[str, float]] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what another process opens for itself."""
        apart = {"_open": None, "_evaluators": {}, "_paths": None, "_say": None, "_scores": {}}
        return {**self.__dict__, **apart}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        """Put back what was left out."""
        self.__dict__.update(state)
        self._paths = paths(self.sampling, self.space, self.seed, self.epochs)

    def use_context(self, context: Context) -> None:
        """Keep the supernet and decoded images there from now on."""
        super().use_context(context)
        self._context = context

    @property
    def folder(self) -> Path:
        """Where the supernet is: in the run folder, or in one of its own without a run."""
        if self._context.folder is not None:
            return self._context.folder / "supernet"
        if self._temporary is None:
            self._temporary = Path(tempfile.mkdtemp(prefix="supernet-"))
            weakref.finalize(self, shutil.rmtree, self._temporary, ignore_errors=True)
        return self._temporary

    def estimate(
        self,
        architecture: Any,
        fidelity: Mapping[str, float] | None = None,
        report: Any = None,
        weights: Path | None = None,
        inherit: Path | None = None,
    ) -> dict[str, float]:
        """Return the metrics of a network of the space with the supernet's weights.

        Args:
            architecture: The network.
            fidelity: Has no say: there is one supernet.
            report: Not called, as nothing is trained for a single network.
            weights: Where the network goes as a stock checkpoint, its batch norms calibrated.
            inherit: Has no say.

        Raises:
            TrialError: For a network that is none of the space.
            RunError: Where the supernet cannot be trained.
        """
        supernet = self.supernet()
        known = self._scores.get(architecture.key)
        if known is not None and (weights is None or weights.is_file()):
            return dict(known)
        evaluator = self.evaluator(architecture.imgsz or self.imgsz)
        try:
            model = self._taken_out(supernet, architecture, evaluator)
        except NASError as error:
            raise TrialError("build", str(error)) from error
        metrics = known or evaluator.score(model)
        if known is None:
            self._keep(architecture.key, metrics)
        if weights is not None:
            evaluator.save(model, weights, metrics)
        return dict(metrics)

    def _taken_out(
        self, supernet: Supernet, architecture: Architecture, evaluator: Evaluator
    ) -> Any:
        """Return a network with its part of the shared weights, its batch norms calibrated."""
        model = extract(supernet, architecture, self.data.names)
        evaluator.calibrate(model)
        return model

    def supernet(self) -> Supernet:
        """Return the trained supernet, with the averaged weights; the first call trains it."""
        if self._open is None:
            self._open = self._train_and_open()
        return self._open

    def distribution(self) -> dict[str, list[float]]:
        """Return the newest learned probabilities of every choice's options."""
        return self.history()[-1]["probabilities"]

    def history(self) -> list[dict[str, Any]]:
        """Return what was recorded after each epoch in which the distribution was learned."""
        self.supernet()
        return _history(self.folder / LEARNED)

    def close(self) -> None:
        """Let go of the memory; the next network opens the supernet again."""
        for evaluator in self._evaluators.values():
            evaluator.close()
        self._evaluators.clear()
        self._open = None

    @property
    def made_with(self) -> dict[str, Any]:
        """What a supernet must have been trained with to be this one."""
        text = json.dumps(
            [self._definition_of_all(), sorted(map(str, self.settings.overrides.items()))]
        )
        return {
            "epochs": self.epochs,
            "imgsz": self.imgsz,
            "batch": self.settings.batch,
            "seed": self.seed,
            "sampling": self.sampling,
            "distill": self.distill,
            "images": len(self.split[0]),
            "darts": self.learn and f"{self.relaxation}, cost_weight {self.cost_weight:g}",
            "space": f"{self.space.name}-{hashlib.sha256(text.encode()).hexdigest()[:10]}",
        }

    def _definition_of_all(self) -> dict[str, Any]:
        return largest(self.space, self.data.nc, self.data.channels, self.data.keypoints)

    def evaluator(self, imgsz: int) -> Evaluator:
        """Return what measures networks at an image size in pixels."""
        if imgsz not in self._evaluators:
            small = self.space.architecture(self.space.canonical(_smallest(self.space)))
            first = emit(small, self.data.nc, self.task, self.data.keypoints)
            settings = replace(self.settings, imgsz=imgsz)
            self._evaluators[imgsz] = Evaluator(first, self.data, self.split, settings)
        return self._evaluators[imgsz]

    def _train_and_open(self) -> Supernet:
        folder = self.folder
        folder.mkdir(parents=True, exist_ok=True)
        definition, made_with = self._definition_of_all(), self.made_with
        with FileLock(folder / ".lock"):  # of several processes one trains, the others wait
            try:
                self._fit(definition, made_with, folder / FILE)
            except TrialError as error:
                raise RunError(
                    f"the supernet cannot be trained ({error.kind}: {error}); give a lower lr0 or "
                    "batch, or a smaller space"
                ) from error
        supernet = Supernet(definition, ch=self.data.channels, nc=self.data.nc)
        trained = load(folder / FILE, made_with)
        supernet.load_state_dict(trained["ema"])
        if self.learn:
            text = json.dumps(trained["history"], indent=1)
            write_text(folder / LEARNED, text)
        supernet.eval()
        supernet.to(self.evaluator(self.imgsz).device)
        self._scores = _read(folder / SCORES)
        return supernet

    def _fit(self, definition: Mapping[str, Any], made_with: Mapping[str, Any], file: Path) -> None:
        fit(
            definition,
            self.data,
            self.split,
            self._training_settings(),
            steps=self._steps,
            checkpoint=file,
            made_with=made_with,
            distill=self.distill,
            on_epoch=_on_epoch(self.settings.epochs, self._say),
            pause=self._pause,
            trainer=self._trainer,
            **self._start_of_training(),
        )

    def _training_settings(self) -> TrainingSettings:
        """Return how the supernet is trained."""
        overrides = {**self.warmup(self.epochs), **self.settings.overrides}
        together = self.settings.together and not self.learn  # architecture steps are of one GPU
        return replace(self.settings, overrides=overrides, together=together)

    def _start_of_training(self) -> dict[str, Any]:
        """Return what else the training of the supernet is given, see `fit`."""
        return {}

    def _trainer(self, *args: Any, **more: Any) -> SupernetTrainer:
        if not self.learn:
            return of_task(SupernetTrainer, self.task)(*args, **more)

        def flops(network: Architecture) -> float:
            return costs(
                network,
                self.data.nc,
                self.imgsz,
                channels=self.data.channels,
                task=self.task,
                keypoints=self.data.keypoints,
            ).flops

        kind = ContinuousTrainer if self.relaxation == "continuous" else DartsTrainer
        return of_task(kind, self.task)(
            *args,
            space=self.space,
            cost=flops,
            cost_weight=self.cost_weight,
            relaxation=self.relaxation,
            **more,
        )

    def _steps(self, epoch: int, step: int) -> list[Architecture]:
        return [self.space.architecture(point) for point in self._paths(epoch, step)]

    def _keep(self, key: str, metrics: Mapping[str, float]) -> None:
        self._scores[key] = dict(metrics)
        with own(self.folder / SCORES, "a") as file:
            file.write(json.dumps({"key": key, **metrics}) + "\n")


def supernet(config: SearchSettings, data: DataSet) -> SharedWeights:
    """Return the estimator ``supernet`` of a search from random weights."""
    return SharedWeights(
        data,
        detector_space(config).within(space_of(config, data)[1]),
        sampling=config.sampling,
        distill=config.distill,
        learn=config.strategy == "darts",
        cost_weight=config.cost_weight,
        relaxation=config.relaxation,
        **{**training_options(config), "precision": ""},
    )


def check_relaxation(name: str, learn: bool, space: NetworkSpace) -> None:
    """Refuse a relaxation that is none, that nothing learns by, or that the space is too large for.

    Raises:
        NASError: See above.
    """
    if name not in RELAXATIONS:
        raise NASError(
            f"relaxation={name}: no such relaxation.{did_you_mean(name, RELAXATIONS)} Allowed: "
            f"{', '.join(RELAXATIONS)}"
        )
    if name != RELAXATIONS[0] and not learn:
        raise NASError(f"relaxation={name}: of strategy=darts; leave it out")
    if name == "continuous":
        sizes = {n: len(options) for n, options in space.choices.items() if n != "levels"}
        largest = max(sizes, key=sizes.__getitem__)
        if sizes[largest] > MOST_MIXED:
            raise NASError(
                f"relaxation={name}: {largest} has {sizes[largest]} options, and as many networks "
                f"are computed at a time; at most {MOST_MIXED} are. Narrow it in the space file, "
                "or give relaxation=single"
            )


def _on_epoch(
    epochs: int, say: Callable[[str], None] | None
) -> Callable[[int, Mapping[str, float]], None]:
    """Return what says from time to time how far the training of a supernet is."""
    progress = Progress(
        epochs, "supernet: epoch {done}/{total}  {note}  {left} left", keep=True, say=say
    )

    def on_epoch(epoch: int, metrics: Mapping[str, float]) -> None:
        losses = " ".join(f"{name.removeprefix('loss_')} {v:.3f}" for name, v in metrics.items())
        progress(epoch, losses, before=epoch - 1)
        if epoch >= epochs:
            progress.close()

    return on_epoch


def _smallest(space: NetworkSpace) -> dict[str, Any]:
    return {name: options[0] for name, options in space.choices.items()}


def _read(file: Path) -> dict[str, dict[str, float]]:
    """Return the scores that a file holds; what is damaged, as by a kill, is scored again."""
    found: dict[str, dict[str, float]] = {}
    if file.is_file():
        for line in text_of(file, errors="replace").splitlines():
            try:
                row = json_of(line)
                key = row.pop("key")
                if isinstance(key, str) and {*map(type, row.values())} <= {int, float}:
                    found[key] = row
            except (ValueError, AttributeError, KeyError, TypeError):
                continue
    return found


def _history(file: Path) -> list[dict[str, Any]]:
    """Return what was recorded of the distribution.

    Raises:
        NASError: For a file that is damaged.
    """
    try:
        rows = json_of(text_of(file))
        for row in rows:
            parts = [p for options in row["probabilities"].values() for p in options]
            for value in (row["epoch"], row["leaning"], *row["entropy"].values(), *parts):
                if type(value) not in (int, float):
                    raise ValueError(f"{value!r} is not a number")
        if not rows:
            raise ValueError("no epoch in it")
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise NASError(
            f"{file}: is damaged ({in_a_line(error, 120)}); "
            f"delete {file.parent} to train the supernet again"
        ) from error
    return rows
