"""Budget: upper bounds on what a network may cost, and how such numbers are written."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from yolo_nas_ext.console import short
from yolo_nas_ext.cost.counts import Costs, costs
from yolo_nas_ext.cost.latency.fused_layers import deployed
from yolo_nas_ext.cost.latency.profile import Profile
from yolo_nas_ext.cost.size import file_bytes
from yolo_nas_ext.errors import NASError, did_you_mean
from yolo_nas_ext.network.architecture import Architecture
from yolo_nas_ext.network.rows import KEYPOINTS

# Limit: (attribute of Costs, its unit for people).
LIMITS: dict[str, tuple[str, str]] = {
    "max_params": ("params", " parameters"),
    "max_flops": ("flops", "FLOPs"),
    "max_memory": ("memory", "B of activations"),
    "max_layers": ("layers", " layers"),
    "max_size": ("size", "B on disk"),
    "max_latency": ("latency_ms", " ms"),  # with a device profile, which costs know nothing of
}
LATENCY, SIZE = "max_latency", "max_size"
MARGIN = 0.05  # most that is left between a predicted latency and its limit


def metric(device: str = "", what: str = "") -> str:
    """Return the name of a metric of latency.

    Args:
        device: The device where there are several; empty for the one.
        what: ``measured`` or ``iqr``; what is predicted if empty.
    """
    return "_".join(filter(None, ("latency", device, what, "ms")))


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
        devices: Where there are several: their profiles by name. Their limits are called as in
            ``max_latency:pi``, and the latencies that they predict as in ``latency_pi_ms``.
        precision: In which the size of the file is counted.

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
    devices: Mapping[str, Profile] = field(default_factory=dict)
    precision: str = "fp32"

    def __post_init__(self) -> None:
        known = [*LIMITS, *(f"{LATENCY}:{device}" for device in self.devices)]
        for name, bound in self.limits.items():
            if name not in known:
                said = did_you_mean(name, known)
                raise NASError(f"{name}: no such limit.{said} Allowed: {', '.join(known)}")
            if not 0 < bound < math.inf:
                raise NASError(f"{name}={bound}: give a number above 0, or leave it out")

    @property
    def margin(self) -> float:
        """How much above its prediction a latency is taken to be: nine of ten networks are below.

        It is known from the networks that the profile was calibrated on, each predicted from the
        others.
        """
        return 0.0 if self.profile is None else self.margin_of(self.profile)

    def margin_of(self, profile: Profile) -> float:
        """Return the same of a device."""
        sizes = profile.sizes
        used = [sizes[self.imgsz]] if self.imgsz in sizes else sizes.values()
        return min(max(at.error(0.9) for at in used), MARGIN)

    @property
    def profiles(self) -> dict[str, Profile]:
        """The devices by name; the name of a single one is empty."""
        return {**({"": self.profile} if self.profile else {}), **self.devices}

    def latency_ms(self, architecture: Architecture, device: str = "") -> float:
        """Return the predicted latency of an architecture in milliseconds; memoised."""
        return _latency(
            self.profiles[device],
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
        latency = {metric(name): self.latency_ms(architecture, name) for name in self.profiles}
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
        found = {}
        for name, bound in self.limits.items():
            limit, _, device = name.partition(":")
            if limit == LATENCY:
                margin = self.margin_of(self.profiles[device]) * careful
                found[name] = (self.latency_ms(subject, device) * (1 + margin), bound)
            else:
                value = self.size(subject) if name == SIZE else costs[LIMITS[name][0]]
                found[name] = (value, bound)
        return found

    def size(self, architecture: Architecture) -> int:
        """Return the bytes of an architecture's file in the budget's precision; memoised."""
        return _size(
            self.precision,
            architecture,
            self.nc,
            architecture.imgsz or self.imgsz,
            self.channels,
            self.task,
            self.keypoints,
        )

    def say(self, name: str, value: float) -> str:
        """Return a value of a limit with its unit, rounded up so that it can serve as a bound."""
        if name.partition(":")[0] == LATENCY:
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
def _size(
    precision: str,
    architecture: Architecture,
    nc: int,
    imgsz: int,
    channels: int,
    task: str,
    keypoints: tuple[int, int],
) -> int:
    ops = deployed(architecture, nc, imgsz, channels, task=task, keypoints=keypoints)
    return file_bytes(ops, precision)


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
