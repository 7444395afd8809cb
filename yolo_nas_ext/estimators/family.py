"""The family of a parent: one supernet that is cut out of a fine-tuned network, and learns from it.

The parent is fine-tuned first and stays as it is; then the supernet begins with its weights and is
trained with it as teacher. A network of the family is handed over without a training of its own.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from yolo_nas_ext.config.search import SearchSettings
from yolo_nas_ext.console import Progress
from yolo_nas_ext.errors import NASError, RunError, TrialError
from yolo_nas_ext.estimators.factory import space_of, training_options
from yolo_nas_ext.estimators.training import TUNED, FineTuning
from yolo_nas_ext.estimators.weight_sharing import SharedWeights
from yolo_nas_ext.estimators.weight_sharing import supernet as from_random
from yolo_nas_ext.files import json_of, replacing, write_text
from yolo_nas_ext.host.dataset import DataSet, joined
from yolo_nas_ext.host.supernet.evaluator import Evaluator
from yolo_nas_ext.host.supernet.family import Beginning, FamilyTrainer
from yolo_nas_ext.host.supernet.model import Supernet, extract
from yolo_nas_ext.host.supernet.trainer import SupernetTrainer, of_task
from yolo_nas_ext.host.training import quantised
from yolo_nas_ext.host.training.augmented import augmented_batches
from yolo_nas_ext.host.training.settings import TrainingSettings
from yolo_nas_ext.host.transfer import parents
from yolo_nas_ext.host.transfer.prepare import number_of_images
from yolo_nas_ext.host.transfer.weights import Source, load, transfer, unset
from yolo_nas_ext.network.architecture import Architecture
from yolo_nas_ext.network.emit import emit
from yolo_nas_ext.network.rows import Task
from yolo_nas_ext.space.parent import ParentSpace
from yolo_nas_ext.space.supernet.slots import corners

PARENT_FILE, PARENT_METRICS = "parent.pt", "parent.json"


class Family(SharedWeights):
    """Fitness on the held-out images with weights cut out of a fine-tuned parent.

    The first network that is asked for has the parent fine-tuned, and the supernet trained after
    it. The parent's own network is the fine-tuned parent.

    Args:
        data: The data set; its val part is not used.
        space: The space of the parent, in which nothing is larger than it.
        parent_epochs: Of the parent's fine-tuning.
        digest: Of the parent's checkpoint.
        **more: As of `SharedWeights`; ``inherit`` is the parent, ``distill`` its weight as a
            teacher, and ``epochs`` are the supernet's.

    Raises:
        NASError: As `SharedWeights`.
    """

    keys = TUNED

    def __init__(
        self, data: DataSet, space: ParentSpace, *, parent_epochs: int, digest: str, **more: Any
    ) -> None:
        super().__init__(data, space, **more)
        self.parent_epochs, self._digest = parent_epochs, digest
        self._elsewhere: dict[tuple[str, int], Evaluator] = {}  # by data and image size
        self._largest: Source | None = None  # the network that others are fitted to

    @property
    def made_with(self) -> dict[str, Any]:
        """What a supernet must have been trained with to be this one."""
        sizes = self.space.choices.get("imgsz", ())
        return {
            **super().made_with,
            "parent": self._digest,
            "parent_epochs": self.parent_epochs,
            "sizes": ", ".join(map(str, sizes)),
        }

    def estimate(
        self,
        architecture: Any,
        fidelity: Mapping[str, float] | None = None,
        report: Any = None,
        weights: Path | None = None,
        inherit: Path | None = None,
    ) -> dict[str, float]:
        """Return the metrics of a network of the family; see `SharedWeights.estimate`."""
        if architecture != self._parents_network:
            return super().estimate(architecture, fidelity, report, weights, inherit)
        self._tune_parent()
        if weights is not None:
            weights.parent.mkdir(parents=True, exist_ok=True)
            with replacing(weights) as temporary:
                shutil.copyfile(self.folder / PARENT_FILE, temporary)
        return _metrics(self.folder / PARENT_METRICS)

    def measured(
        self, data: DataSet, weights: Path, imgsz: int, precision: str = ""
    ) -> dict[str, float]:
        """Return the metrics of a network that was handed over on another part of the data.

        Args:
            data: The part, such as val.
            weights: The network's checkpoint.
            imgsz: Image size in pixels.
            precision: In which it is measured besides, see `host.training.quantised`.

        Raises:
            NASError: For a checkpoint that cannot be read.
            TrialError: Where Ultralytics cannot measure it.
        """
        key = data.source, imgsz
        if key not in self._elsewhere:
            both, count = joined(self.data, data), len(self.data.images)
            split = self.split[0], list(range(count, len(both.images)))
            settings = replace(self.settings, imgsz=imgsz)
            origin = emit(self._parents_network, self.data.nc, self.task, self.data.keypoints)
            self._elsewhere[key] = Evaluator(origin, both, split, settings)
        evaluator = self._elsewhere[key]
        metrics = evaluator.score(load(weights).model.eval())
        if precision:
            metrics |= quantised.measured(
                evaluator.trainer, precision, metrics, self.settings.int8_by
            )
        return metrics

    def close(self) -> None:
        """Let go of the memory; the next network opens the supernet again."""
        for evaluator in self._elsewhere.values():
            evaluator.close()
        self._elsewhere.clear()
        self._largest = None
        super().close()

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what another process opens for itself."""
        return {**super().__getstate__(), "_elsewhere": {}, "_largest": None}

    def _taken_out(
        self, supernet: Supernet, architecture: Architecture, evaluator: Evaluator
    ) -> Any:
        """Return a network that is fitted to the largest one, with its part of the weights.

        Channels that it lacks are made up for, and its batch norms are estimated: the least squares
        of `host.transfer.regression`, around the shared weights.
        """
        names = self.data.names
        if self._largest is None:
            seen = augmented_batches(
                self.data,
                self.split[0],
                self.settings,
                images=number_of_images(self.imgsz),
                seed=self.seed,
            )
            model = extract(supernet, self._parents_network, names)
            self.evaluator(self.imgsz).calibrate(model)
            images = torch.cat(list(seen)).to(evaluator.device)
            self._largest = Source(self._parents_network, model, "the supernet", images=images)
        supernet.activate(architecture)  # says what the space has not
        task = Task(self.data.nc, self.task, self.data.keypoints)
        model = unset(architecture, task, self.data.channels).to(evaluator.device)
        transfer(model, architecture, self._largest, names)
        model.names = dict(names)
        return model.eval()

    @property
    def _parents_network(self) -> Any:
        space: Any = self.space
        return space.architecture(space.origin)

    def _fit(self, definition: Mapping[str, Any], made_with: Mapping[str, Any], file: Path) -> None:
        self._tune_parent()
        super()._fit(definition, made_with, file)

    def _tune_parent(self) -> None:
        """Fine-tune the parent, unless that is done.

        Raises:
            RunError: Where it cannot be trained.
        """
        folder = self.folder
        if (folder / PARENT_METRICS).is_file():
            return
        folder.mkdir(parents=True, exist_ok=True)
        epochs = self.parent_epochs
        progress = Progress(
            epochs, "parent: epoch {done}/{total}  {left} left", keep=True, say=self._say
        )

        def on_epoch(epoch: int, metrics: Mapping[str, float]) -> None:
            progress(epoch, before=epoch - 1)

        tuning = self._tuning()
        try:
            metrics = tuning.estimate(
                self._parents_network, report=on_epoch, weights=folder / PARENT_FILE
            )
        except TrialError as error:
            raise RunError(
                f"the parent cannot be fine-tuned ({error.kind}: {error}); give a lower lr0 or "
                "batch"
            ) from error
        finally:
            progress.close()
        write_text(folder / PARENT_METRICS, json.dumps(metrics))

    def _tuning(self) -> FineTuning:
        """Return the fine-tuning of the parent, on the same images."""
        tuning = FineTuning(
            self.data,
            val_fraction=self.val_fraction,
            inherit=self.source,
            task=self.task,
            epochs=self.parent_epochs,
            imgsz=self.imgsz,
            batch=self.settings.batch,
            seed=self.seed,
            device=self.settings.device,
            together=self.settings.together,
            threads=self.settings.threads,
            overrides=self.settings.overrides,
        )
        tuning.settings = replace(tuning.settings, measure=self.settings.measure)
        tuning.use_context(self._context)
        return tuning

    def _trainer(self, *args: Any, **more: Any) -> SupernetTrainer:
        parent = self.folder / PARENT_FILE
        return of_task(FamilyTrainer, self.task)(*args, parent=parent, **more)

    def _start_of_training(self) -> dict[str, Any]:
        return {"initial": self._begin, "half": True}

    def _begin(self) -> Beginning:
        """Return what fills the supernet with the fine-tuned parent, the most important first."""
        source = self.prepared(load(self.folder / PARENT_FILE))
        return Beginning(source, list(dict.fromkeys(corners(self.space))))

    def _training_settings(self) -> TrainingSettings:
        sizes = self.space.choices.get("imgsz", (self.imgsz,))
        return replace(super()._training_settings(), imgsz=max(sizes))


def supernet(config: SearchSettings, data: DataSet) -> SharedWeights:
    """Return the estimator ``supernet`` of a search: with ``model=`` the family of that parent."""
    if not config.model:
        return from_random(config, data)
    parent = parents.load(str(config.model), config.parent_key)
    space: Any = space_of(config, data)[0]
    return Family(
        data,
        space,
        parent_epochs=config.final_epochs,
        digest=parent.digest,
        sampling=config.sampling,
        distill=config.distill,
        **{**training_options(config), "precision": ""},  # of what is handed over, at the end
    )


def _metrics(file: Path) -> dict[str, float]:
    """Return what was measured of the parent.

    Raises:
        NASError: For a file that is damaged.
    """
    try:
        found = json_of(file.read_text(encoding="utf-8"))
        if not {*map(type, found.values())} <= {int, float}:
            raise ValueError("what is no number")
    except (OSError, ValueError, AttributeError) as error:
        raise NASError(
            f"{file}: is damaged ({type(error).__name__}); delete it to fine-tune the parent again"
        ) from error
    return found
