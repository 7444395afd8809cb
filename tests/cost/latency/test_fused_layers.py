"""Layers as they are executed, against Ultralytics' own export; layers as models of their own."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import onnxruntime
import pytest

from yolo_nas_ext.cost.latency.fused_layers import Op, deployed
from yolo_nas_ext.cost.latency.onnx_layer import MAKERS, layer_model
from yolo_nas_ext.cost.latency.protocol import Protocol
from yolo_nas_ext.cost.latency.runtimes import load
from yolo_nas_ext.host import models
from yolo_nas_ext.host.latency import exported
from yolo_nas_ext.network.parse import read

OPS = [
    Op("conv", 16, 24, 16, 16, 8, 8, 3, 2, 1, True, 1),
    Op("conv", 16, 16, 8, 8, 8, 8, 5, 1, 16, pad=2),
    Op("pool", 16, 16, 8, 8, 8, 8, 5, 1, pad=2),
    Op("add", 16, 16, 8, 8, 8, 8),
    Op("concat", 40, 40, 8, 8, 8, 8, groups=3),
    Op("split", 40, 40, 8, 8, 8, 8, groups=2),
    Op("upsample", 16, 16, 8, 8, 16, 16, stride=2),
    Op("average", 16, 16, 8, 8, 1, 1),
    Op("transposed", 16, 8, 8, 8, 16, 16, 2, 2),
    Op("attention", 128, 64, 4, 4, 4, 4, 32),
    Op("decode", 64, 3, 1, 84, 1, 84, groups=3),
    Op("decode", 4, 3, 1, 84, 1, 84, groups=3),
]


@pytest.mark.parametrize(
    ("name", "task"),
    [
        ("yolov8n", "detect"),
        ("yolo11n", "detect"),
        ("yolo26n", "detect"),
        ("yolo11n", "obb"),
        ("yolo11n", "semantic"),
        ("yolo26n", "semantic"),
        ("yolo26n", "segment"),
        ("yolo26n", "pose"),
        ("yolo26n", "obb"),
    ],
)
def test_convolutions_are_those_of_the_export_by_ultralytics(name: str, task: str) -> None:
    architecture = read(*models.definition(name, task))
    protocol = Protocol(imgsz=64)
    graph = onnx.load_from_string(exported(architecture, protocol, task=task)).graph
    shapes = {w.name: tuple(w.dims) for w in graph.initializer}
    theirs = Counter(shapes[node.input[1]] for node in graph.node if node.op_type == "Conv")
    bins = architecture.head.reg_max
    theirs[1, bins, 1, 1] -= bins > 1 and task != "semantic"  # boxes from bins, a part of decoding
    mine = Counter(
        (op.c_out, op.c_in // op.groups, op.kernel, op.kernel)
        for op in deployed(architecture, 80, 64, task=task)
        if op.kind == "conv"
    )
    assert mine == +theirs


def test_every_kind_has_a_model() -> None:
    assert {op.kind for op in OPS} == set(MAKERS)


@pytest.mark.parametrize("op", OPS, ids=lambda op: f"{op.kind}-{op.c_in}")
def test_a_layer_runs_alone_and_its_copies_differ(op: Op) -> None:
    model = layer_model(op, 2)
    onnx.checker.check_model(onnx.load_from_string(model))
    load(model, Protocol(), str(op))()
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    feed = {i.name: rng.random(i.shape, dtype=np.float32) for i in session.get_inputs()}
    found = [np.asarray(value) for value in session.run(None, feed)]
    assert len(found) % 2 == 0 and all(np.isfinite(value).all() for value in found)
    if op.kind == "conv":  # of the same input, by weights of their own
        assert not np.array_equal(found[0], found[1])
