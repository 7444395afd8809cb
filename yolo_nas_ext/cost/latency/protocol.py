"""How latency is measured: one protocol for layers, whole models and other devices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from importlib.util import find_spec
from typing import Any

import numpy as np

from yolo_nas_ext.cost.latency.probe import FINE, least_ms
from yolo_nas_ext.errors import NASError, did_you_mean

PACKAGES = {  # behind each runtime
    "onnx": "onnxruntime",
    "torch": "torch",
    "openvino": "openvino",
    "ncnn": "ncnn",
    "litert": "ai_edge_litert",
    "tensorrt": "tensorrt",
}
EXPORTS = {"ncnn": "ncnn", "litert": "litert"}  # runtimes that run what Ultralytics' export makes
RUNTIMES = tuple(PACKAGES)
PRECISIONS = ("fp32", "fp16", "int8")
BOXES, OBJECTS = 150, 10  # that are suppressed where a latency includes it, see `host.suppression`
CLASSES = (1, 80)  # numbers of classes that a profile knows its time at, and a line between them
PROCESSING = {  # by whether non-maximum suppression is in
    False: "from the image tensor to decoded boxes; reading, resizing and NMS are out",
    True: (
        f"from the image tensor to final boxes, with the NMS of {BOXES} boxes or an end-to-end "
        "head's own choice; reading and resizing are out"
    ),
}
# Bounds of a usable measurement: the distance of the quartiles by the median, and the share of a
# run in which its process waits for the processor.
STEADY, WAITED = 0.5, 0.2


@dataclass(frozen=True, slots=True)
class Protocol:
    """The settings of a latency measurement; they are written into every result.

    Attributes:
        runtime: One of `RUNTIMES`.
        device: ``cpu``, or the number of a GPU; ``cuda:0`` is taken for ``0``.
        precision: One of `PRECISIONS`.
        imgsz: Height and width of the image in pixels.
        batch: Images at once; the latency is that of all of them.
        threads: CPU threads of the runtime.
        warmup: Runs of each model before any is timed.
        repeats: Timed runs of each model, in short bursts that alternate between the models.
        nms: Whether boxes are final: suppressed, or those that an end-to-end head chooses.
    """

    runtime: str = "onnx"
    device: str = "cpu"
    precision: str = "fp32"
    imgsz: int = 640
    batch: int = 1
    threads: int = 1
    warmup: int = 3
    repeats: int = 30
    nms: bool = False

    def __post_init__(self) -> None:
        number = self.device.removeprefix("cuda:")
        object.__setattr__(self, "device", "0" if number == "cuda" else number)
        for name, value, known in (
            ("runtime", self.runtime, RUNTIMES),
            ("precision", self.precision, PRECISIONS),
        ):
            if value not in known:
                here = f"; installed here: {', '.join(runtimes_here())}" * (name == "runtime")
                raise NASError(
                    f"{name}={value}: not known.{did_you_mean(value, known)} Allowed: "
                    f"{', '.join(known)}{here}"
                )

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for a file; one without suppression is written as ever."""
        found = asdict(self)
        if not self.nms:
            del found["nms"]
        return {**found, "processing": self.processing}

    @property
    def processing(self) -> str:
        """What is in the number and what is out."""
        return PROCESSING[self.nms]

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Protocol:
        """Return the protocol that `to_dict` described; unknown keys are left out."""
        known = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in data.items() if name in known})

    @property
    def place(self) -> str:
        """The device as torch calls it."""
        return self.device if self.device == "cpu" else f"cuda:{self.device}"

    @property
    def setting(self) -> str:
        """All but the image size, for people."""
        return (
            f"{self.runtime} on {self.device}, {self.precision}, batch {self.batch}, "
            f"{self.threads} thread{'s' if self.threads > 1 else ''}" + ", with NMS" * self.nms
        )

    def __str__(self) -> str:
        return f"{self.setting}, {self.imgsz} px"


def runtimes_here() -> list[str]:
    """Return the runtimes whose package is installed on this machine."""
    return [name for name, package in PACKAGES.items() if find_spec(package)]


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
        waited: Part of the time of a run in which its process had no processor, by the median; 0
            where the device is another.
        least_ms: The least processor time of a run, see `probe.least_ms`; 0 where it is not known.
        by_processor: Whether that is processor time, which other work hardly adds to.
    """

    median_ms: float
    low_ms: float
    high_ms: float
    runs: int
    protocol: Protocol
    runtime_version: str = ""
    device_name: str = ""
    waited: float = 0.0
    least_ms: float = 0.0
    by_processor: bool = False

    @property
    def iqr_ms(self) -> float:
        """Interquartile range in milliseconds."""
        return self.high_ms - self.low_ms

    @property
    def steady(self) -> bool:
        """Whether the times are of the model, not of what else the machine does.

        A small model that waits for its core takes its own time in some runs and much more in
        others. That puts the quartiles apart. A large one waits in every run, which they do not
        show; that the process was idle does.
        """
        return self.iqr_ms <= STEADY * self.median_ms and self.waited <= WAITED

    @property
    def known(self) -> bool:
        """Whether `own_ms` is of the model, whatever else the machine does."""
        return self.steady or self.by_processor

    @property
    def own_ms(self) -> float:
        """Milliseconds of the model: the median, or the least where other work disturbs it."""
        if self.steady:
            return self.median_ms
        return self.least_ms if self.by_processor else self.low_ms

    def beside(self, unit: Measurement, ms: float) -> Measurement:
        """Return this measurement as of a machine on which another network takes some milliseconds.

        The two took turns, so that their ratio holds whatever the machine's speed was. Medians are
        compared where both are steady, else processor times where both have them.

        Args:
            unit: What the other network took in the same turns.
            ms: What it counts as.
        """
        own, others = self.own_ms, unit.own_ms
        if not (self.steady and unit.steady) and self.by_processor and unit.by_processor:
            own, others = self.least_ms, unit.least_ms
        factor = ms * own / others / self.own_ms
        return replace(
            self,
            median_ms=self.median_ms * factor,
            low_ms=self.low_ms * factor,
            high_ms=self.high_ms * factor,
            least_ms=self.least_ms * factor,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for a file."""
        return {
            "median_ms": self.median_ms,
            "low_ms": self.low_ms,
            "high_ms": self.high_ms,
            "iqr_ms": self.iqr_ms,
            "runs": self.runs,
            "protocol": self.protocol.to_dict(),
            "runtime_version": self.runtime_version,
            "device_name": self.device_name,
        }


def summary(
    times: np.ndarray,
    protocol: Protocol,
    runtime_version: str,
    device: str,
    waits: Sequence[float] = (),
) -> Measurement:
    """Return the measurement of some times in milliseconds, see `probe.interleaved`."""
    low, middle, high = (float(v) for v in np.percentile(times, (25, 50, 75)))
    here = protocol.device == "cpu"
    waited = float(np.median(waits)) if len(waits) and here else 0.0
    alone = here and protocol.threads == 1
    return Measurement(
        middle,
        low,
        high,
        len(times),
        protocol,
        runtime_version,
        device,
        waited,
        least_ms(times, waits, alone),
        alone and FINE and len(waits) > 0,
    )
