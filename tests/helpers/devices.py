"""A made-up device whose times follow a formula, so that its profile has an oracle."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from yolo_nas_ext.commands import profile_sample
from yolo_nas_ext.cost.latency.features import moved, parameters, work
from yolo_nas_ext.cost.latency.fit import Model, fit
from yolo_nas_ext.cost.latency.fused_layers import Op, deployed
from yolo_nas_ext.cost.latency.profile import Profile
from yolo_nas_ext.cost.latency.protocol import Protocol
from yolo_nas_ext.space.detector import DetectorSpace

NAME, SIZE, CONSTANT, IN_A_MODEL, FETCH = "made-up processor", 64, 0.25, 1.2, 2e-7


def layer_ms(op: Op) -> float:
    """What a layer takes on its own: the work, the bytes, and a step that no line follows."""
    return (4e-8 * work(op) * (1.5 if op.kernel == 1 else 1.0) + 3e-7 * moved(op) + 2e-3) * (
        1.3 if op.c_out % 16 else 1.0
    )


def model_ms(ops: Sequence[Op]) -> float:
    """What a whole model takes."""
    return CONSTANT + IN_A_MODEL * sum(map(layer_ms, ops)) + FETCH * sum(map(parameters, ops))


@lru_cache
def made_up(imgsz: int = SIZE, layers: int = 500, name: str = NAME) -> Profile:
    """The profile of the device from a part of the layers of the space `tiny`."""
    spaces = [DetectorSpace.load("tiny")]
    ops = profile_sample.layers(spaces, [imgsz])[:layers]
    models = [
        Model(a.key, table := deployed(a, nc, imgsz), model_ms(table))
        for a, nc in profile_sample.networks(spaces, 20, seed=1)
    ]
    return fit(
        name,
        "onnxruntime 1.0",
        Protocol(imgsz=imgsz),
        {op: layer_ms(op) for op in ops},
        {imgsz: models},
        about={"spaces": ["tiny"]},
    )
