"""What stays in single precision when a network is quantised, and what its numbers become."""

from __future__ import annotations

from functools import cache

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from yolo_nas_ext.cost.latency.int8 import after_the_last_layers, quantized
from yolo_nas_ext.host.training.quantised import onnx_session


@cache
def head() -> bytes:
    """A convolution, then what turns its 4 bins into a distance, as the head of boxes has it."""
    rng = np.random.default_rng(0)
    weights = {
        "learned": rng.normal(0, 0.3, (4, 3, 3, 3)),
        "bins": np.arange(4.0).reshape(1, 4, 1, 1),
    }
    nodes = [
        helper.make_node("Conv", ["image", "learned"], ["logits"], "conv", pads=[1, 1, 1, 1]),
        helper.make_node("Softmax", ["logits"], ["shares"], "softmax", axis=1),
        helper.make_node("Conv", ["shares", "bins"], ["distance"], "expectation"),
        helper.make_node("Mul", ["distance", "stride"], ["boxes"], "pixels"),
    ]
    stored = [numpy_helper.from_array(v.astype(np.float32), n) for n, v in weights.items()]
    stored.append(numpy_helper.from_array(np.float32([64.0]), "stride"))
    made = {"image": 3, "boxes": 1}
    first, last = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, channels, 8, 8])
        for name, channels in made.items()
    )
    graph = helper.make_graph(nodes, "head", [first], [last], stored)
    opset = helper.make_opsetid("", 17)
    return helper.make_model(graph, opset_imports=[opset], ir_version=8).SerializeToString()


def images(n: int) -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    return [rng.random((1, 3, 8, 8), dtype=np.float32) for _ in range(n)]


def test_what_no_learned_layer_follows_stays_as_it_is() -> None:
    assert after_the_last_layers(head()) == ["softmax", "expectation", "pixels"]
    graph = onnx.load_from_string(quantized(head(), images(4))).graph
    kinds = [node.op_type for node in graph.node]
    assert kinds.count("Conv") == 2 and "QuantizeLinear" in kinds
    by_name = {tensor.name: tensor for tensor in graph.initializer}
    assert by_name["bins"].data_type == TensorProto.FLOAT and "learned" not in by_name


def test_what_is_computed_is_about_the_same() -> None:
    whole, small = (onnx_session(m, 1) for m in (head(), quantized(head(), images(20))))
    for image in images(3):
        assert small(image)[0] == pytest.approx(whole(image)[0], abs=2.0)  # of 192 pixels


def test_ranges_are_those_of_the_images() -> None:
    dark = onnx_session(quantized(head(), [image / 100 for image in images(4)]), 1)
    error = abs(dark(images(1)[0])[0] - onnx_session(head(), 1)(images(1)[0])[0])
    assert error.max() > 2.0  # bright ones are out of range


def test_a_layer_alone_has_nothing_to_keep() -> None:
    graph = onnx.load_from_string(head()).graph
    del graph.node[0], graph.initializer[0]
    graph.input[0].CopyFrom(
        helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 4, 8, 8])
    )
    alone = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    assert after_the_last_layers(alone.SerializeToString()) == []
