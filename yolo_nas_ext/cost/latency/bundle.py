"""A device elsewhere: the models to time there as a zip, and the times it brought back.

The models read their weights from one file that they share, as their values matter for no time:
that keeps thousands of models small.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
from onnx import TensorProto

from yolo_nas_ext.cost.latency import probe
from yolo_nas_ext.cost.latency.fit import FEW, Model, more_copies
from yolo_nas_ext.cost.latency.fused_layers import Op, deployed
from yolo_nas_ext.cost.latency.int8 import quantized
from yolo_nas_ext.cost.latency.onnx_layer import TILE, layer_model
from yolo_nas_ext.cost.latency.protocol import Protocol
from yolo_nas_ext.errors import NASError, RunError
from yolo_nas_ext.files import json_of, replacing, text_of
from yolo_nas_ext.network.architecture import Architecture

BUNDLE = 1  # of the manifest; a result of another number is refused
WEIGHTS = "weights.bin"
INLINE = 4096  # bytes up to which weights stay in their model
SCALE = np.float32(1 / 24)  # of the weights: activations stay as they are at a fan-in of 576
LAYERS = 1500  # an image size
README = """Times the models in this folder on this device.
It needs Python 3.8 or newer, numpy and {package}; one that is too old is named at once.

    python probe.py

It goes on where it was if it is stopped. Bring back result.json, then:

    yolo nas-profile import=result.json out=device.json
"""


class ExportedModel(NamedTuple):
    """A whole model: the network, its number of classes, its image size and its export.

    That is an ONNX model, or the file or folder that Ultralytics exports for another runtime.
    """

    architecture: Architecture
    nc: int
    imgsz: int
    model: bytes | Path


class DeviceTimes(NamedTuple):
    """The times that a device brought back, as `cost.latency.fit.fit` takes them."""

    device_name: str
    runtime_version: str
    protocol: Protocol
    layers: dict[Op, float]
    models: dict[int, list[Model]]
    about: dict[str, Any]


def write(
    path: Path,
    protocol: Protocol,
    layers: Sequence[Op],
    models: Sequence[ExportedModel],
    *,
    seconds: float,
    about: Mapping[str, Any],
) -> None:
    """Write the zip.

    Args:
        path: The file.
        protocol: How the device is to measure; its image size is that of no model.
        layers: What is to be timed on its own, the ones that matter most first.
        models: Whole models.
        seconds: After which no further layer is timed.
        about: What the profile is going to say besides.

    Raises:
        RunError: Where it cannot be written.
    """
    manifest: dict[str, Any] = {
        "bundle": BUNDLE,
        "protocol": protocol.to_dict(),
        "threads": protocol.threads,
        "warmup": protocol.warmup,
        "repeats": protocol.repeats,
        "seconds": seconds,
        "layers": [],
        "models": {},
        "ops": [list(op) for op in layers],
        "networks": {},
        "about": dict(about),
        "needs": {"opset": 0, "ir": 0},
    }
    int8 = protocol.precision == "int8"
    largest = 0
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with (
            replacing(path) as temporary,
            zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as file,
        ):

            def add(name: str, model: bytes) -> str:
                nonlocal largest
                model = quantized(model) if int8 else model
                small, bytes_read = shared_weights(model)
                for what, version in versions(small).items():
                    manifest["needs"][what] = max(manifest["needs"][what], version)
                largest = max(largest, bytes_read)
                file.writestr(f"probe/{name}", small)
                return name

            for index, op in enumerate(layers):
                more = more_copies(op)
                names = [
                    add(f"models/layer{index}-{n}.onnx", layer_model(op, n, protocol.batch))
                    for n in (FEW, FEW + more)
                ]
                manifest["layers"].append([*names, more])
            for index, exported in enumerate(models):
                whole = f"models/whole{index}"
                if isinstance(exported.model, Path):
                    name = _copied(file, whole, exported.model)
                else:
                    name = add(f"{whole}.onnx", exported.model)
                manifest["models"].setdefault(str(exported.imgsz), []).append(name)
                network = exported.architecture.to_dict()
                manifest["networks"][name] = {"architecture": network, "nc": exported.nc}
            values = np.resize(TILE * SCALE, largest // 4 + 1).astype(np.float32)
            file.writestr(f"probe/models/{WEIGHTS}", values.tobytes())
            script = Path(probe.__file__).read_text(encoding="utf-8")
            file.writestr("probe/probe.py", script)
            package = probe.PACKAGES.get(protocol.runtime, probe.PACKAGES["onnx"])
            file.writestr("probe/README.txt", README.format(package=package))
            file.writestr(f"probe/{probe.MANIFEST}", json.dumps(manifest))
    except OSError as error:
        raise RunError(f"bundle={path}: cannot be written ({error.strerror})") from error


def _copied(file: zipfile.ZipFile, name: str, model: Path) -> str:
    """Write a model that is a file or a folder into the zip, and return what it is called there."""
    if model.is_dir():
        for part in sorted(model.glob("*.ncnn.*")):
            file.write(part, f"probe/{name}/{part.name}")
        return name
    file.write(model, f"probe/{name}{model.suffix}")
    return f"{name}{model.suffix}"


def versions(model: bytes) -> dict[str, int]:
    """Return the versions of ONNX' operators and format that a model is written in."""
    found = onnx.load_from_string(model)
    opsets = [each.version for each in found.opset_import if each.domain in ("", "ai.onnx")]
    return {"opset": max(opsets, default=0), "ir": found.ir_version}


def shared_weights(model: bytes) -> tuple[bytes, int]:
    """Return an ONNX model whose large weights lie in the shared file, and the bytes it reads.

    Copies of a layer begin at other places of the file, so that no runtime takes them for equal.
    Biases get values, as fresh networks have none and would fade to numbers too small to be normal.
    """
    graph = onnx.load_from_string(model)
    largest, start = 0, 0
    biases = {n.input[2] for n in graph.graph.node if n.op_type == "Conv" and len(n.input) > 2}
    for index, tensor in enumerate(graph.graph.initializer):
        count = int(np.prod(tensor.dims))
        if tensor.name in biases and tensor.data_type == TensorProto.FLOAT:
            tensor.ClearField("float_data")
            tensor.raw_data = np.resize(np.roll(TILE, index), count).tobytes()
        size = len(tensor.raw_data)
        if size <= INLINE or tensor.data_type not in (TensorProto.FLOAT, TensorProto.INT8):
            continue
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", WEIGHTS), ("offset", start), ("length", size)):
            entry = tensor.external_data.add()
            entry.key, entry.value = key, str(value)
        largest = max(largest, start + size)
        start = (start + 4 * 4099) % (4096 * 4 * 16)
    return graph.SerializeToString(), largest


def read(path: Path) -> DeviceTimes:
    """Return the times that a device brought back.

    Raises:
        NASError: For a file that is no whole result of this version.
    """
    try:
        found = json_of(text_of(path))
        manifest = found["manifest"]
        if manifest["bundle"] != BUNDLE:
            raise NASError(
                f"import={path}: of bundle version {manifest['bundle']}, this version reads "
                f"{BUNDLE}; make a new one by yolo nas-profile bundle=probe.zip"
            )
        layers = {
            Op(*op): float(ms)
            for op, ms in zip(manifest["ops"], found["layers"], strict=True)
            if ms is not None
        }
        models = {
            int(size): [
                _model(name, manifest["networks"][name], int(size), ms)
                for name, ms in zip(group, _of_group(group), strict=True)
            ]
            for size, group in found["models"].items()
        }
        if not ((layers or not manifest["ops"]) and all(models.values()) and models):
            raise ValueError("nothing was timed")
        return DeviceTimes(
            str(found["device"]),
            str(found["runtime_version"]),
            Protocol.from_dict(manifest["protocol"]),
            layers,
            models,
            manifest["about"],
        )
    except FileNotFoundError as error:
        raise NASError(f"import={path}: no such file; give the result.json of a bundle") from error
    except (OSError, ValueError, LookupError, TypeError, ArithmeticError, AttributeError) as error:
        reason = " ".join(str(error).split())[:100]
        raise NASError(
            f"import={path}: not a whole result of a bundle ({type(error).__name__}: {reason}); "
            "run probe.py to its end on the device and copy result.json again"
        ) from error


def _of_group(group: Mapping[str, Sequence[float]]) -> list[float]:
    """Return the milliseconds of a group of models; a script of before wrote quartiles alone."""
    medians = [quartiles[1] for quartiles in group.values()]
    return probe.of_group(medians, [(*row, row[1])[3] for row in group.values()])


def _model(name: str, network: Mapping[str, Any], imgsz: int, ms: float) -> Model:
    architecture = Architecture.from_dict(network["architecture"])
    return Model(architecture.key, deployed(architecture, network["nc"], imgsz), ms)
