"""Analytic scores as estimators: no network is built and no image is looked at."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from yolo_nas_ext.errors import TrialError
from yolo_nas_ext.estimators.zero_cost.entropy import SCORES
from yolo_nas_ext.network.architecture import Architecture


class Free:
    """Fitness is a number that is known of an architecture without building it.

    Args:
        score: What the number is called.
        imgsz: Image size in pixels.
    """

    seeded = False

    def __init__(self, score: str, *, imgsz: int = 640) -> None:
        self.score, self.imgsz = score, imgsz

    @property
    def fidelity(self) -> dict[str, float]:
        """Image size in pixels."""
        return {"imgsz": self.imgsz}

    def estimate(
        self,
        architecture: Architecture,
        fidelity: Mapping[str, float] | None = None,
        report: Any = None,
        weights: Path | None = None,
        inherit: Path | None = None,
    ) -> dict[str, float]:
        """Return the score as ``fitness``.

        Raises:
            TrialError: For a network that the score rules out.
        """
        value = self.value(architecture, int((fidelity or {}).get("imgsz", self.imgsz)))
        if not math.isfinite(value):
            raise TrialError("ruled out", f"{self.score} has no value for such a network")
        return {"fitness": value}

    def value(self, architecture: Architecture, imgsz: int) -> float:
        """Return the score of a network at an image size in pixels; not finite if there is none."""
        raise NotImplementedError


class Analytic(Free):
    """Fitness is a closed form of the backbone.

    Args:
        score: A key of `entropy.SCORES`.
        imgsz: Image size in pixels.
        channels: Channels of the image.
    """

    def __init__(self, score: str, *, imgsz: int = 640, channels: int = 3) -> None:
        super().__init__(score, imgsz=imgsz)
        self.channels = channels

    def value(self, architecture: Architecture, imgsz: int) -> float:
        """Return the score of a network at an image size in pixels; infinite if it is ruled out."""
        return SCORES[self.score](architecture, imgsz, self.channels)
