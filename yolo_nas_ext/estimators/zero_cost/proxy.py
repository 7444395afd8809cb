"""Zero-cost proxies as estimators: the network is built by Ultralytics, and sees one batch."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch

from yolo_nas_ext.config.search import SearchSettings
from yolo_nas_ext.cost.counts import costs
from yolo_nas_ext.data.splits import hold_out
from yolo_nas_ext.errors import NASError, TrialError
from yolo_nas_ext.estimators.factory import detector_space
from yolo_nas_ext.estimators.zero_cost.proxies import PROXIES, Capture, az_nas, measure
from yolo_nas_ext.host import devices, one_batch
from yolo_nas_ext.host.dataset import DataSet
from yolo_nas_ext.network.architecture import Architecture
from yolo_nas_ext.network.emit import emit
from yolo_nas_ext.network.rows import rows
from yolo_nas_ext.space.detector import DetectorSpace

T = TypeVar("T")
CPU = torch.device("cpu")
REFERENCES = 16  # networks of the space among which AZ-NAS ranks one


class Untrained:
    """Fitness is a proxy of the untrained network on a batch of the training images.

    No picture of a patient that trainings hold out is among them.

    Args:
        proxy: A key of `proxies.PROXIES`.
        data: The data set; its val part is not used.
        task: Ultralytics' task.
        imgsz: Image size in pixels.
        batch: Number of images, drawn by the seed from the part that trainings train on.
        seed: Of weights, images and what the proxy draws.
        val_fraction: Part of the training images that is held out.
        device: Where networks are run, see `host.one_batch.on_device`.

    Raises:
        NASError: For a task whose networks cannot be evaluated untrained.
    """

    seeded = True

    def __init__(
        self,
        proxy: str,
        data: DataSet,
        *,
        task: str = "detect",
        imgsz: int = 128,
        batch: int = 16,
        seed: int = 0,
        val_fraction: float = 0.25,
        device: str | None = None,
    ) -> None:
        devices.pool(device)
        if task not in one_batch.TASKS:
            raise NASError(
                f"estimator={proxy}: is of task={', '.join(one_batch.TASKS)}, not {task}; give "
                "estimator=short"
            )
        self.proxy, self.data, self.task = proxy, data, task
        self.imgsz, self.seed, self.device = imgsz, seed, device
        train_on, _ = hold_out(data.classes, fraction=val_fraction, seed=seed, groups=data.groups)
        self.chosen = random.Random(seed).sample(train_on, min(batch, len(train_on)))
        self._batches: dict[int, dict[str, Any]] = {}

    @property
    def fidelity(self) -> dict[str, float]:
        """Image size in pixels and number of images."""
        return {"imgsz": self.imgsz, "images": len(self.chosen)}

    def estimate(
        self,
        architecture: Architecture,
        fidelity: Mapping[str, float] | None = None,
        report: Any = None,
        weights: Path | None = None,
        inherit: Path | None = None,
    ) -> dict[str, float]:
        """Return the proxy's value as ``fitness``; higher is better.

        Raises:
            TrialError: For a network that cannot be built or evaluated.
        """
        value = self.measured(PROXIES[self.proxy], architecture, fidelity or {})
        if not math.isfinite(value):
            raise TrialError("nan", f"{self.proxy} is {value}")
        return {"fitness": value}

    def measured(
        self,
        proxy: Callable[[Capture], T],
        architecture: Architecture,
        fidelity: Mapping[str, float],
    ) -> T:
        """Return what a proxy says of a network, which runs on the device."""
        with one_batch.on_device(self.device) as device:
            return measure(proxy, self.capture(architecture, fidelity, device))

    def capture(
        self,
        architecture: Architecture,
        fidelity: Mapping[str, float],
        device: torch.device = CPU,
    ) -> Capture:
        """Return the untrained network and the batch on a device, as a proxy is given them.

        Weights are drawn on the CPU, so that they are the same ones on all devices.
        """
        imgsz = int(fidelity.get("imgsz", self.imgsz))
        seed = int(fidelity.get("seed", self.seed))
        if imgsz not in self._batches:
            self._batches[imgsz] = one_batch.batch(self.data, self.chosen, imgsz=imgsz)
        batch = one_batch.moved(self._batches[imgsz], device)
        definition = emit(architecture, self.data.nc, self.task)
        model = one_batch.build(definition, self.data, task=self.task, seed=seed)
        count = len(rows(architecture, self.data.nc)[0])
        return Capture(
            model.to(device),
            batch["img"],
            lambda m, images: one_batch.loss(m, batch, images),
            one_batch.outputs,
            partial(_features, count),
            seed,
        )


def _features(count: int, model: Any, images: Any) -> Any:
    return one_batch.features(model, images, count)


class AzNas(Untrained):
    """AZ-NAS: expressivity, progressivity, trainability and complexity, ranked together.

    Fitness is the sum of the logarithms of the four ranks, as parts of their number, among a fixed
    sample of the space and the network itself; 0 is the best of all in all four.

    Args:
        space: Where the networks to rank among are drawn from.
        data: The data set.
        **more: As of `Untrained`.
    """

    def __init__(self, space: DetectorSpace, data: DataSet, **more: Any) -> None:
        super().__init__("az_nas", data, **more)
        self._space = space
        self._references: list[dict[str, float]] = []

    def estimate(
        self,
        architecture: Architecture,
        fidelity: Mapping[str, float] | None = None,
        report: Any = None,
        weights: Path | None = None,
        inherit: Path | None = None,
    ) -> dict[str, float]:
        """Return the ranks' sum as ``fitness`` and the four scores.

        Raises:
            TrialError: For a network that cannot be built or evaluated.
        """
        if not self._references:
            rng = random.Random(self.seed)
            drawn = [self._space.sample(rng) for _ in range(REFERENCES)]
            self._references = [self.scores(self._space.architecture(p), {}) for p in drawn]
        mine = self.scores(architecture, fidelity or {})
        fitness = log_ranks([mine, *self._references])[0]
        return {"fitness": fitness, **{f"az_{name}": value for name, value in mine.items()}}

    def scores(self, architecture: Architecture, fidelity: Mapping[str, float]) -> dict[str, float]:
        """Return the four scores of a network."""
        found = self.measured(az_nas, architecture, fidelity)
        flops = costs(architecture, self.data.nc, self.imgsz, channels=self.data.channels).flops
        if not all(map(math.isfinite, found.values())):
            raise TrialError("nan", f"az_nas is {found}")
        return {**found, "complexity": float(flops)}


def untrained(config: SearchSettings, data: DataSet) -> Untrained:
    """Return the estimator of a search that has a proxy's name."""
    return Untrained(config.estimator, data, **_options(config))


def untrained_az_nas(config: SearchSettings, data: DataSet) -> AzNas:
    """Return the estimator ``az_nas`` of a search."""
    return AzNas(detector_space(config), data, **_options(config))


def _options(config: SearchSettings) -> dict[str, Any]:
    names = ("task", "imgsz", "batch", "seed", "val_fraction", "device")
    return {name: getattr(config, name) for name in names}


def log_ranks(scores: Sequence[Mapping[str, float]]) -> list[float]:
    """Return for each of some networks the sum over scores of ln(rank / number), the best n / n."""
    n = len(scores)
    return [
        sum(
            math.log(sum(other[name] <= value for other in scores) / n)
            for name, value in mine.items()
        )
        for mine in scores
    ]
