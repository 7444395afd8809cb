"""ONNX models in int8 by ONNX Runtime's static quantisation: the same for their time and accuracy.

Activations are quantised by tensor to eight bits, weights by channel to seven: on processors
without VNNI sums of products of eight bits overflow. What follows the last convolutions of a head
stays in single precision, since one scale for pixels of boxes and probabilities of classes would
round these to 0.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
RANDOM = 2  # random images from which ranges are taken where time alone matters


def quantized(
    model: bytes, images: Iterable[np.ndarray] | None = None, keep: Sequence[str] = ()
) -> bytes:
    """Return an ONNX model in int8.

    Args:
        model: The file's content.
        images: Inputs to take the ranges of activations from, each of the shape that the model
            asks for. Without them they are random ones: then its time is that of the real model,
            and what it computes is worth nothing.
        keep: Names of further nodes that stay in single precision.
    """
    from onnxruntime import quantization

    feeds = iter(_random(model) if images is None else _named(model, images))

    class Reader(quantization.CalibrationDataReader):
        def get_next(self) -> Any:
            return next(feeds, None)

    with TemporaryDirectory() as folder:
        source, target = Path(folder) / "a.onnx", Path(folder) / "b.onnx"
        source.write_bytes(model)
        with _without_warnings():  # it recommends a preparation that Ultralytics' export has had
            quantization.quantize_static(
                str(source),
                str(target),
                Reader(),
                quant_format=quantization.QuantFormat.QDQ,
                per_channel=True,
                reduce_range=True,
                activation_type=quantization.QuantType.QUInt8,
                weight_type=quantization.QuantType.QInt8,
                nodes_to_exclude=[*after_the_last_layers(model), *keep],
            )
        return target.read_bytes()


def after_the_last_layers(model: bytes) -> list[str]:
    """Return the names of nodes that no layer with learned weights follows.

    Those of boxes' distributions are not learned: they are the numbers from 0 on. Of a model
    without any learned weights, which is a layer that is timed alone, there are none to keep.
    """
    import onnx

    graph = onnx.load_from_string(model).graph
    fixed = {i.name for i in graph.initializer if _counts(i)}
    learned = [
        node
        for node in graph.node
        if node.op_type in WEIGHTED and not (set(node.input[1:]) & fixed)
    ]
    known = {i.name for i in graph.initializer}
    if not any(set(node.input[1:]) & known for node in learned):
        return []
    wanted = {name for node in learned for name in node.input}
    before = {node.name for node in learned}
    for node in reversed(graph.node):  # ONNX' nodes stand in the order of their computation
        if node.name in before or any(name in wanted for name in node.output):
            before.add(node.name)
            wanted |= set(node.input)
    return [node.name for node in graph.node if node.name not in before]


def _counts(initializer: Any) -> bool:
    """Say whether weights are the numbers from 0 on, which turn bins into a distance."""
    from onnx import numpy_helper

    if len(initializer.dims) != 4 or initializer.dims[0] != 1 or initializer.dims[1] < 2:
        return False
    values = numpy_helper.to_array(initializer).reshape(-1)
    return bool((values == np.arange(len(values))).all())


def _shapes(model: bytes) -> dict[str, list[int]]:
    """Return the shapes of a model's inputs by their names."""
    import onnx

    graph = onnx.load_from_string(model).graph
    known = {i.name for i in graph.initializer}
    return {
        i.name: [d.dim_value for d in i.type.tensor_type.shape.dim]
        for i in graph.input
        if i.name not in known
    }


def _random(model: bytes) -> Iterator[dict[str, np.ndarray]]:
    shapes = _shapes(model)
    for seed in range(RANDOM):
        rng = np.random.default_rng(seed)
        yield {name: rng.random(tuple(shape), dtype=np.float32) for name, shape in shapes.items()}


def _named(model: bytes, images: Iterable[np.ndarray]) -> Iterator[dict[str, np.ndarray]]:
    (name,) = _shapes(model)
    for image in images:
        yield {name: image}


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Keep warnings off the log for a while."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
