"""How latency is measured: one protocol for layers, whole models and other devices."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from yolo_nas_ext.errors import NASError, did_you_mean

RUNTIMES = ("onnx", "torch", "openvino", "tensorrt")
PRECISIONS = ("fp32", "fp16", "int8")
BURST = 3  # runs of a model in a row; one more before them brings its weights back into the caches
PROCESSING = "from the image tensor to decoded boxes; reading, resizing and NMS are out"

Run = Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Protocol:
    """What a latency is the latency of; it is written into every result.

    Attributes:
        runtime: One of `RUNTIMES`.
        device: ``cpu``, or the number of a GPU.
        precision: One of `PRECISIONS`.
        imgsz: Height and width of the image in pixels.
        batch: Images at once; the latency is that of all of them.
        threads: CPU threads of the runtime.
        warmup: Runs of each model before any is timed.
        repeats: Timed runs of each model, in short bursts that alternate between the models.
        processing: What is in and what is out.
    """

    runtime: str = "onnx"
    device: str = "cpu"
    precision: str = "fp32"
    imgsz: int = 640
    batch: int = 1
    threads: int = 1
    warmup: int = 3
    repeats: int = 30
    processing: str = PROCESSING

    def __post_init__(self) -> None:
        for name, value, known in (
            ("runtime", self.runtime, RUNTIMES), ("precision", self.precision, PRECISIONS),
        ):  # fmt: skip
            if value not in known:
                raise NASError(
                    f"{name}={value}: not known.{did_you_mean(value, known)} Allowed: "
                    f"{', '.join(known)}"
                )

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for a file."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Protocol:
        """Return the protocol that `to_dict` described; unknown keys are left out."""
        known = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in data.items() if name in known})

    def __str__(self) -> str:
        return (
            f"{self.runtime} on {self.device}, {self.precision}, {self.imgsz} px, batch "
            f"{self.batch}, {self.threads} thread{'s' if self.threads > 1 else ''}"
        )


@dataclass(frozen=True, slots=True)
class Measurement:
    """A latency and how it was measured.

    Attributes:
        median_ms: Median in milliseconds.
        low_ms: First quartile.
        high_ms: Third quartile.
        runs: Number of timed runs.
        protocol: Of the measurement.
        runtime_version: Name and version of what ran the model.
        device_name: The processor's name.
    """

    median_ms: float
    low_ms: float
    high_ms: float
    runs: int
    protocol: Protocol
    runtime_version: str = ""
    device_name: str = ""

    @property
    def iqr_ms(self) -> float:
        """Interquartile range in milliseconds."""
        return self.high_ms - self.low_ms

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for a file."""
        return {
            "median_ms": self.median_ms, "low_ms": self.low_ms, "high_ms": self.high_ms,
            "iqr_ms": self.iqr_ms, "runs": self.runs, "protocol": self.protocol.to_dict(),
            "runtime_version": self.runtime_version, "device_name": self.device_name,
        }  # fmt: skip


def interleaved(
    runs: Mapping[str, Run], *, repeats: int, warmup: int = 0, burst: int = BURST,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, np.ndarray]:  # fmt: skip
    """Return the times in milliseconds of callables that take turns.

    A machine whose speed drifts slows all of them alike. Each turn begins with a run that is not
    timed; the order changes from turn to turn.

    Args:
        runs: What to time, by name.
        repeats: Timed runs of each, rounded up to whole bursts.
        warmup: Runs of each before anything is timed.
        burst: Timed runs in a turn.
        progress: Called with the number of turns done and of all.
    """
    for run in runs.values():
        for _ in range(warmup):
            run()
    times: dict[str, list[float]] = {name: [] for name in runs}
    turns = -(-repeats // burst)
    names = list(runs)
    for turn in range(turns):
        start = (turn * 7) % len(names) if names else 0
        for name in (*names[start:], *names[:start]):
            run = runs[name]
            run()
            for _ in range(burst):
                begin = time.perf_counter()
                run()
                times[name].append(1e3 * (time.perf_counter() - begin))
        progress(turn + 1, turns)
    return {name: np.array(values) for name, values in times.items()}


def summary(
    times: np.ndarray, protocol: Protocol, runtime_version: str, device: str
) -> Measurement:
    """Return the measurement of some times in milliseconds."""
    low, middle, high = (float(v) for v in np.percentile(times, (25, 50, 75)))
    return Measurement(middle, low, high, len(times), protocol, runtime_version, device)


def device_name() -> str:
    """Return the name of this machine's processor, the same at every call."""
    for file in ("/proc/device-tree/model", "/proc/cpuinfo"):
        try:
            text = Path(file).read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        if file.endswith("model"):
            return text.strip("\0 \n")
        for line in text.splitlines():
            if line.lower().startswith("model name"):
                return " ".join(line.partition(":")[2].split())
    return platform.processor() or platform.machine() or "unknown"
