"""A training that is done twice, so that a search knows beforehand what is chance."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from yolo_nas_ext.errors import NASError
from yolo_nas_ext.estimators.base import Context
from yolo_nas_ext.estimators.training import PARTS, Training
from yolo_nas_ext.files import json_of, text_of, write_text
from yolo_nas_ext.host.metrics import parted
from yolo_nas_ext.metrics.noise import Noise, noise
from yolo_nas_ext.network.architecture import Architecture

FILE = "noise.json"  # in the run folder
TASKS = ("detect", "segment", "pose", "obb")  # whose metrics are made of boxes


class Twice:
    """Evaluates a network as a training does, and once more with another seed on the same images.

    Args:
        training: How. Its fitness is Ultralytics' own, and its task one of `TASKS`.
    """

    seeded = True

    def __init__(self, training: Training) -> None:
        self.training = training.in_parts(PARTS)
        self._folder: Path | None = None

    @property
    def fidelity(self) -> dict[str, float]:
        """Those of the training."""
        return self.training.fidelity

    def use_context(self, context: Context) -> None:
        """Keep what is found in the run folder."""
        self._folder = context.folder
        self.training.use_context(context)

    def estimate(
        self,
        architecture: Architecture,
        fidelity: Mapping[str, float] | None = None,
        report: Any = None,
        weights: Path | None = None,
        inherit: Path | None = None,
    ) -> Mapping[str, float]:
        """Return the metrics of the first training; a re-evaluation is one training.

        Raises:
            TrialError: For a candidate that cannot be trained.
        """
        fidelity = dict(fidelity or {})
        first = self.training.estimate(architecture, fidelity, report, weights, inherit)
        without, metrics = parted(first)
        if self._folder and "seed" not in fidelity and without:  # of one image nothing is told
            again = {**fidelity, "replicate": 1}
            second = self.training.estimate(architecture, again, None, None, inherit)
            found = {
                "fitness": [first["fitness"], second["fitness"]],
                "without": [without, parted(second)[0]],
            }
            write_text(self._folder / FILE, json.dumps(found) + "\n")
        return metrics


def read(folder: Path) -> Noise | None:
    """Return what is known of the noise of a run; None where it was not measured.

    Raises:
        NASError: For a damaged file.
    """
    file = folder / FILE
    if not file.is_file():
        return None
    try:
        found = json_of(text_of(file))
        (first, second), without = found["fitness"], found["without"]
        return noise(float(first), float(second), *([float(v) for v in w] for w in without))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise NASError(
            f"resume={folder}: {file} is damaged ({error!r}); delete it to go on without"
        ) from error
