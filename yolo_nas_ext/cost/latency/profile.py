"""Latency predicted from a device profile: a sum over the layers as the device executes them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from yolo_nas_ext.cost.latency.features import Floats, family, features, moved, parameters, work
from yolo_nas_ext.cost.latency.fused_layers import Op, deployed
from yolo_nas_ext.cost.latency.protocol import CLASSES, Protocol
from yolo_nas_ext.cost.latency.trees import Forest
from yolo_nas_ext.errors import NASError, RunError
from yolo_nas_ext.files import json_of, resource, text_of, write_text
from yolo_nas_ext.network.architecture import Architecture
from yolo_nas_ext.network.rows import KEYPOINTS

SCHEMA, BEFORE = 2, 1  # of the file, and of one without `fetch`; other numbers are refused
CHECKSUM = "sha256"
BOXED = ("detect", "segment", "pose")  # tasks whose boxes are suppressed as those of detection are
Base = tuple[float, float, float]  # milliseconds a multiply-add, a number moved, and at least


@dataclass(frozen=True)
class Calibration:
    """How the layers' times add up to that of a whole model at one image size.

    Attributes:
        constant: Milliseconds that every model takes.
        weights: What a millisecond of a family's layers on their own counts in a model.
        models: (name, measured, predicted by the others) of the models that it was fitted on,
            in milliseconds.
        fetch: Milliseconds that a parameter takes besides. A layer on its own finds its parameters
            in the processor's cache, which those of a large model are too many for.
        suppression: Milliseconds of non-maximum suppression at 1 and at 80 classes; nothing where
            it was not measured.
        choice: The same of what an end-to-end head does in the place of it.
    """

    constant: float
    weights: Mapping[str, float]
    models: Sequence[tuple[str, float, float]] = ()
    fetch: float = 0.0
    suppression: tuple[float, ...] = ()
    choice: tuple[float, ...] = ()

    def error(self, share: float) -> float:
        """Return the relative error that this share of models stay within, each left out."""
        errors = [abs(guess / ms - 1) for _, ms, guess in self.models]
        return float(np.quantile(errors, share)) if errors else 0.0


@dataclass(frozen=True, eq=False)
class Profile:
    """A device: what its layers take, measured and predicted.

    Attributes:
        device_name: Its processor.
        runtime_version: Name and version of what ran the models.
        protocol: How it was measured; its image size is the first of `sizes`.
        sizes: Calibration by image size in pixels.
        layers: Measured milliseconds of layers.
        base: By family, a straight line that the trees correct.
        forest: Predicts the logarithm of what a layer takes by its base, for layers not measured.
        about: What else the file says: spaces, seconds, date.
        nms: Whether predictions include non-maximum suppression, see `with_nms`; not in the file.
    """

    device_name: str
    runtime_version: str
    protocol: Protocol
    sizes: Mapping[int, Calibration]
    layers: Mapping[Op, float]
    base: Mapping[str, Base]
    forest: Forest
    about: Mapping[str, Any] = field(default_factory=dict)
    nms: bool = False
    _known: dict[Op, float] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_known", dict(self.layers))

    def predict(
        self,
        subject: Architecture | Sequence[Op],
        nc: int = 80,
        imgsz: int = 640,
        *,
        channels: int = 3,
        task: str = "detect",
        keypoints: tuple[int, int] = KEYPOINTS,
    ) -> float:
        """Return the latency of a network in milliseconds.

        Args:
            subject: The network, or its layers at that size.
            nc: Number of classes.
            imgsz: Image size in pixels, one of `sizes`, of a network that has none of its own.
            channels: Channels of the image.
            task: What the network does.
            keypoints: Number of keypoints and numbers a point, of the task pose.

        Raises:
            NASError: For an image size that was not profiled.
        """
        ops, more = subject, 0.0
        if isinstance(ops, Architecture):
            imgsz = ops.imgsz or imgsz
        at = self.at(imgsz)
        if isinstance(ops, Architecture):
            if self.nms and task in BOXED:
                more = _at_classes(at.choice if ops.head.end2end else at.suppression, nc)
            ops = deployed(ops, nc, imgsz, channels, task=task, keypoints=keypoints)
        return self.constant(imgsz) + float(sum(self.shares(ops, imgsz))) + more

    def with_nms(self, where: str) -> Profile:
        """Return the profile whose predictions of architectures include suppression.

        Args:
            where: What the profile is called in messages.

        Raises:
            NASError: For a profile that does not know its time.
        """
        if not all(at.suppression and at.choice for at in self.sizes.values()):
            raise NASError(
                f"nms=True: {where} does not know the time of non-maximum suppression, as it is of "
                "an earlier version or of a device elsewhere; profile the device again by yolo "
                "nas-profile, or leave nms out"
            )
        return replace(self, nms=True)

    def at(self, imgsz: int) -> Calibration:
        """Return the calibration at an image size.

        Raises:
            NASError: For one that was not profiled.
        """
        if imgsz not in self.sizes:
            known = ", ".join(map(str, self.sizes))
            raise NASError(
                f"imgsz={imgsz}: the profile of {self.device_name} is for {known} px; profile the "
                f"device again with imgsz={imgsz}"
            )
        return self.sizes[imgsz]

    def constant(self, imgsz: int) -> float:
        """Return what every model takes, in milliseconds."""
        return self.sizes[imgsz].constant

    def shares(self, ops: Sequence[Op], imgsz: int) -> list[float]:
        """Return what layers take within a model, in milliseconds."""
        at = self.sizes[imgsz]
        return [
            ms * at.weights[family(op)] + at.fetch * parameters(op)
            for op, ms in zip(ops, self.alone(ops), strict=True)
        ]

    def alone(self, ops: Sequence[Op]) -> list[float]:
        """Return what layers take on their own, in milliseconds: measured, else predicted."""
        known = self._known
        if missing := [op for op in dict.fromkeys(ops) if op not in known]:
            values = based(self.base, missing) * np.exp(self.forest.predict(features(missing)))
            known.update(zip(missing, values.tolist(), strict=True))
        return [known[op] for op in ops]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for a file, with their checksum."""
        fetches = any(at.fetch for at in self.sizes.values())  # else the file is as it was before
        content: dict[str, Any] = {
            "schema": SCHEMA if fetches else BEFORE,
            "device": self.device_name,
            "runtime_version": self.runtime_version,
            "protocol": self.protocol.to_dict(),
            "about": dict(self.about),
            "sizes": {
                str(size): {
                    "constant": at.constant,
                    "weights": dict(at.weights),
                    **({"fetch": at.fetch} if fetches else {}),
                    **({"suppression": [*at.suppression]} if at.suppression else {}),
                    **({"choice": [*at.choice]} if at.choice else {}),
                    "models": [list(model) for model in at.models],
                }
                for size, at in self.sizes.items()
            },
            "layers": {
                "fields": [*Op._fields, "ms"],
                "rows": [[*map(_plain, op), float(f"{ms:.5g}")] for op, ms in self.layers.items()],
            },
            "base": {name: list(line) for name, line in self.base.items()},
            "forest": self.forest.to_dict(),
        }
        return {**content, CHECKSUM: checksum(content)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], where: str = "profile") -> Profile:
        """Return the profile that `to_dict` described.

        Args:
            data: What a file holds.
            where: What it is called in messages.

        Raises:
            NASError: For one that is damaged, edited by hand or of another version.
        """
        if not isinstance(data, Mapping) or "schema" not in data:
            raise NASError(f"{where}: no device profile; make one by yolo nas-profile")
        if data["schema"] not in (SCHEMA, BEFORE):
            raise NASError(
                f"{where}: of schema {data['schema']}, this version reads {SCHEMA}; profile the "
                "device again by yolo nas-profile"
            )
        content = {name: value for name, value in data.items() if name != CHECKSUM}
        if data.get(CHECKSUM) != checksum(content):
            raise NASError(
                f"{where}: damaged or edited by hand, as its checksum is another; copy it again, "
                "or profile the device again by yolo nas-profile"
            )
        try:
            return cls(
                data["device"],
                data["runtime_version"],
                Protocol.from_dict(data["protocol"]),
                {
                    int(size): Calibration(
                        at["constant"],
                        at["weights"],
                        [(n, a, b) for n, a, b in at["models"]],
                        at.get("fetch", 0.0),
                        tuple(map(float, at.get("suppression", ()))),
                        tuple(map(float, at.get("choice", ()))),
                    )
                    for size, at in data["sizes"].items()
                },
                {
                    Op(*row[:-1])._replace(act=bool(row[Op._fields.index("act")])): row[-1]
                    for row in data["layers"]["rows"]
                },
                {name: (a, b, c) for name, (a, b, c) in data["base"].items()},
                Forest.from_dict(data["forest"]),
                data["about"],
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise NASError(f"{where}: not a whole device profile ({error!r})") from error


def _at_classes(ends: Sequence[float], nc: int) -> float:
    """Return what is between the milliseconds at the fewest classes and at the most, or beyond."""
    low, high = CLASSES
    return ends[0] + (ends[1] - ends[0]) * (nc - low) / (high - low)


def based(base: Mapping[str, Base], ops: Sequence[Op]) -> Floats:
    """Return what layers take by the straight line of their family, in milliseconds."""
    lines = np.array([base[family(op)] for op in ops])
    return (lines * terms(ops)).sum(axis=1)


def terms(ops: Sequence[Op]) -> Floats:
    """Return what a family's line weighs: multiply-adds, numbers moved and one."""
    return np.array([(work(op), moved(op), 1.0) for op in ops])


def _plain(value: Any) -> Any:
    return int(value) if isinstance(value, bool) else value


def checksum(content: Mapping[str, Any]) -> str:
    """Return the digest of a file's content, whatever its layout."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def load(name: str | Path) -> Profile:
    """Return a profile from a file, or a shipped one by its name.

    Raises:
        NASError: For one that is not there or cannot be used.
    """
    path = Path(name)
    shipped = resource("cfg", "devices", f"{name}.json")
    if not path.is_file() and shipped.is_file():
        path = shipped
    try:
        data = json_of(text_of(path))
    except FileNotFoundError as error:
        raise NASError(
            f"latency={name}: no such file; make a profile of the device by yolo nas-profile "
            "out=device.json, or give latency=measure"
        ) from error
    except (OSError, UnicodeDecodeError, ValueError) as error:
        reason = " ".join(str(error).split())[:120]
        raise NASError(
            f"latency={name}: damaged, not a JSON file ({reason}); copy it again, or profile the "
            "device again by yolo nas-profile"
        ) from error
    return Profile.from_dict(data, f"latency={name}")


@lru_cache(maxsize=8)
def asked(file: str, nms: bool = False) -> Profile:
    """Return a profile that the key ``latency`` names, read once.

    Args:
        file: What the key names.
        nms: Whether predictions include suppression.

    Raises:
        NASError: See `load` and `Profile.with_nms`.
    """
    return load(file).with_nms(f"latency={file}") if nms else load(file)


def save(profile: Profile, path: Path) -> None:
    """Write a profile, whole or not at all.

    Raises:
        RunError: Where the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(profile.to_dict()) + "\n")
    except OSError as error:
        raise RunError(f"out={path}: cannot be written ({error.strerror})") from error
