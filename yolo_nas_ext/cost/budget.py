"""Budget: upper bounds on what a network may cost, and how such numbers are written."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from yolo_nas_ext.console import short
from yolo_nas_ext.cost.counts import Costs, costs
from yolo_nas_ext.cost.latency.profile import Profile
from yolo_nas_ext.errors import NASError, did_you_mean
from yolo_nas_ext.network.architecture import Architecture
from yolo_nas_ext.network.rows import KEYPOINTS

# Limit: (attribute of Costs, its unit for people).
LIMITS: dict[str, tuple[str, str]] = {
    "max_params": ("params", " parameters"),
    "max_flops": ("flops", "FLOPs"),
    "max_memory": ("memory", "B of activations"),
    "max_layers": ("layers", " layers"),
    "max_latency": ("latency_ms", " ms"),  # with a device profile, which costs know nothing of
}
MARGIN = 0.05  # most that is left between a predicted latency and its limit


@dataclass(frozen=True)
class Budget:
    """Bounds that a candidate must meet before anything is built.

    Args:
        limits: Upper bounds by name: ``max_params``, ``max_flops``, ``max_memory`` (bytes),
            ``max_layers``; with a profile also ``max_latency`` (milliseconds).
        nc: Number of classes.
        imgsz: Image size in pixels, of networks that have none of their own.
        channels: Channels of the image.
        task: What the networks do.
        keypoints: See `cost.counts.costs`.
        profile: The device whose latency is predicted.

    Raises:
        NASError: For a limit that is not known, or no number above 0.
    """

    limits: Mapping[str, float] = field(default_factory=dict)
    nc: int = 80
    imgsz: int = 640
    channels: int = 3
    task: str = "detect"
    keypoints: tuple[int, int] = KEYPOINTS
    profile: Profile | None = None

    def __post_init__(self) -> None:
        for name, bound in self.limits.items():
            if name not in LIMITS:
                known = f"Allowed: {', '.join(LIMITS)}"
                raise NASError(f"{name}: no such limit.{did_you_mean(name, LIMITS)} {known}")
            if not 0 < bound < math.inf:
                raise NASError(f"{name}={bound}: give a number above 0, or leave it out")

    @property
    def margin(self) -> float:
        """How much above its prediction a latency is taken to be: nine of ten networks are below.

        It is known from the networks that the profile was calibrated on, each predicted from the
        others.
        """
        if self.profile is None:
            return 0.0
        sizes = self.profile.sizes
        used = [sizes[self.imgsz]] if self.imgsz in sizes else sizes.values()
        return min(max(at.error(0.9) for at in used), MARGIN)

    def latency_ms(self, architecture: Architecture) -> float:
        """Return the predicted latency of an architecture in milliseconds; memoised."""
        assert self.profile is not None
        return _latency(
            self.profile,
            architecture,
            self.nc,
            self.imgsz,
            self.channels,
            self.task,
            self.keypoints,
        )

    def costs(self, architecture: Architecture) -> Costs:
        """Return what an architecture costs for this budget's data; memoised."""
        imgsz = architecture.imgsz or self.imgsz
        return _costs(architecture, self.nc, imgsz, self.channels, self.task, self.keypoints)

    def record(self, architecture: Architecture) -> dict[str, float]:
        """Return the costs that are recorded with a trial."""
        found = self.costs(architecture)
        latency = {"latency_ms": self.latency_ms(architecture)} if self.profile else {}
        return {
            "params": found.params,
            "flops": found.flops,
            "memory_bytes": found.memory,
            "layers": found.layers,
            **latency,
        }

    def values(
        self, subject: Architecture, *, careful: bool = True
    ) -> dict[str, tuple[float, float]]:
        """Return ``{limit: (value, bound)}`` of an architecture.

        Args:
            subject: The architecture.
            careful: Whether a latency is taken to be above its prediction by `margin`.
        """
        if not self.limits:
            return {}
        costs = self.costs(subject)._asdict()
        if "max_latency" in self.limits:
            costs["latency_ms"] = self.latency_ms(subject) * (1 + self.margin * careful)
        return {name: (costs[LIMITS[name][0]], bound) for name, bound in self.limits.items()}

    def say(self, name: str, value: float) -> str:
        """Return a value of a limit with its unit, rounded up so that it can serve as a bound."""
        if name == "max_latency":
            return f"{math.ceil(100 * value) / 100:g} ms"
        return short(value, up=True) + LIMITS[name][1]


@lru_cache(maxsize=100_000)
def _costs(
    architecture: Architecture,
    nc: int,
    imgsz: int,
    channels: int,
    task: str,
    keypoints: tuple[int, int],
) -> Costs:
    return costs(architecture, nc, imgsz, channels=channels, task=task, keypoints=keypoints)


@lru_cache(maxsize=100_000)
def _latency(
    profile: Profile,
    architecture: Architecture,
    nc: int,
    imgsz: int,
    channels: int,
    task: str,
    keypoints: tuple[int, int],
) -> float:
    return profile.predict(
        architecture, nc, imgsz, channels=channels, task=task, keypoints=keypoints
    )
