"""ONNX models in int8 by OpenVINO's own tool, NNCF, where it is installed.

Its convolutions stay fused with what follows them, and sums keep the scales of both sides. What no
learned layer follows stays in single precision, as in `int8`.
"""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Callable, Iterable, Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np

from yolo_nas_ext.cost.latency.int8 import RANDOM, after_the_last_layers

PACKAGES = ("openvino", "nncf")


def is_here(runtime: str) -> bool:
    """Say whether a runtime is OpenVINO and its tool is installed."""
    return runtime == "openvino" and all(find_spec(package) for package in PACKAGES)


def quantized(
    model: bytes, images: Iterable[np.ndarray] | None = None, keep: Sequence[str] = ()
) -> Any:
    """Return OpenVINO's model of an ONNX model, in int8.

    Args:
        model: The file's content.
        images: Inputs to take the ranges of activations from, each of the shape that the model
            asks for; without them random ones, as its time alone matters.
        keep: Names of further nodes that stay in single precision.
    """
    import nncf  # pyright: ignore[reportMissingImports]
    import openvino  # pyright: ignore[reportMissingImports]

    logging.getLogger("nncf").setLevel(logging.ERROR)
    network = openvino.Core().read_model(model)
    shown = list(images) if images is not None else _random(network)
    # Nodes that the reader has merged or dropped are not there any more.
    left = {node.get_friendly_name() for node in network.get_ordered_ops()}
    names = [name for name in (*after_the_last_layers(model), *keep) if name in left]
    with contextlib.redirect_stdout(io.StringIO()):  # its bars would stand in a JSON
        return nncf.quantize(
            network,
            nncf.Dataset(shown),
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(shown),
            ignored_scope=nncf.IgnoredScope(names=names),
        )


def session(
    model: bytes, images: Iterable[np.ndarray], threads: int
) -> Callable[[np.ndarray], list[np.ndarray]]:
    """Return what runs an ONNX model in int8 on an image, by OpenVINO."""
    import openvino  # pyright: ignore[reportMissingImports]

    settings = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(quantized(model, images), "CPU", settings)
    outputs = list(compiled.outputs)

    def run(image: np.ndarray) -> list[np.ndarray]:
        found = compiled([image])
        return [np.array(found[output]) for output in outputs]

    return run


def _random(network: Any) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    (only,) = network.inputs
    return [rng.random(tuple(only.shape), dtype=np.float32) for _ in range(RANDOM)]
