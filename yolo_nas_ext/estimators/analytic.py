"""Analytic scores as estimators: no network is built and no image is looked at."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from yolo_nas_ext.errors import TrialError
from yolo_nas_ext.estimators.entropy import SCORES
from yolo_nas_ext.space.architecture import Architecture


class Analytic:
    """Fitness is a closed form of the architecture.

    Args:
        score: A key of `entropy.SCORES`.
        imgsz: Image size in pixels.
        channels: Channels of the image.
    """

    seeded = False

    def __init__(self, score: str, *, imgsz: int = 640, channels: int = 3) -> None:
        self.score, self.imgsz, self.channels = score, imgsz, channels
        self.images: Path | None = None
        self.shared = False

    @property
    def fidelity(self) -> dict[str, float]:
        """Image size in pixels."""
        return {"imgsz": self.imgsz}

    def estimate(
        self, architecture: Architecture, fidelity: Mapping[str, float] | None = None,
        report: Any = None, weights: Path | None = None, inherit: Path | None = None,
    ) -> dict[str, float]:  # fmt: skip
        """Return the score as ``fitness``.

        Raises:
            TrialError: For a network that the score rules out.
        """
        imgsz = int((fidelity or {}).get("imgsz", self.imgsz))
        value = self.value(architecture, imgsz)
        if not math.isfinite(value):
            raise TrialError("ruled out", f"{self.score} has no value for a network this thin")
        return {"fitness": value}

    def value(self, architecture: Architecture, imgsz: int) -> float:
        """Return the score of a network at an image size in pixels."""
        return SCORES[self.score](architecture, imgsz, self.channels)
