"""What makes boxes final, in a latency: of heads that need suppression and of end-to-end ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from ultralytics.utils.nms import non_max_suppression

from yolo_nas_ext.cost.latency.protocol import BOXES, OBJECTS, Protocol
from yolo_nas_ext.errors import NASError
from yolo_nas_ext.host import latency, suppression
from yolo_nas_ext.host.suppression import Boxes

SIZE = 64


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("yolo11n", Boxes(80, 84)),
        ("yolo11n-seg", Boxes(80, 84, 32)),
        ("yolo11n-obb", Boxes(80, 84, 1, True)),
        ("yolo26n", None),
    ],
)
def test_a_head_says_what_it_puts_out(name: str, found: Boxes | None) -> None:
    module: Any = latency.built(f"{name}.yaml", where=name)
    assert suppression.of_module(module, SIZE, name) == found
    if found:
        module.eval()
        out = module(torch.zeros(1, 3, SIZE, SIZE))[0]
        shape = out.shape if isinstance(out, torch.Tensor) else out[0].shape
        assert shape == (1, 4 + found.nc * (name != "yolo11n-obb") + found.extra, 84) or (
            shape[1] == 4 + found.nc + found.extra and shape[2] == 84
        )


def test_a_classifier_has_none() -> None:
    module = latency.built("yolo11n-cls.yaml", where="c")
    with pytest.raises(NASError, match="nms=True: c finds no boxes that could be suppressed"):
        suppression.of_module(module, SIZE, "c")


@pytest.mark.parametrize("nc", [1, 3, 80])
def test_the_same_boxes_are_suppressed_at_every_turn(nc: int) -> None:
    made = suppression.predictions(Boxes(nc, 8400), 1, 640)
    assert made.shape == (1, 4 + nc, 8400)
    assert int((made[0, 4:] > suppression.CONFIDENCE).any(0).sum()) == BOXES
    found: Any = non_max_suppression(made.clone(), nc=nc, iou_thres=suppression.OVERLAP)
    (left,) = found
    assert OBJECTS <= len(left) < BOXES / 2
    run = suppression.suppression(Boxes(nc, 8400), Protocol())
    run()
    run()  # of boxes that the first one has not changed
    assert torch.equal(suppression.predictions(Boxes(nc, 8400), 1, 640), made)


@pytest.mark.parametrize("runtime", [pytest.param("onnx", marks=pytest.mark.slow), "torch"])
def test_final_boxes_are_those_of_the_branch_that_needs_no_suppression(
    runtime: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import onnx

    called = []
    real = suppression.suppression

    def counted(boxes: Boxes, protocol: Protocol) -> Any:
        run = real(boxes, protocol)
        return lambda: (called.append(boxes), run())

    monkeypatch.setattr(suppression, "suppression", counted)
    for nms in (False, True):
        protocol = Protocol(runtime, imgsz=SIZE, nms=nms)
        for name in ("yolo11n", "yolo26n"):
            latency.load(f"{name}.yaml", protocol, where=name)()
            ran, called[:] = [*called], []
            last = [Boxes(80, 84)] * (nms and name == "yolo11n")
            assert ran[: len(last)] == last and bool(ran) == bool(last)
    if runtime == "onnx":
        shapes = []
        for nms in (False, True):
            file = latency.exported("yolo26n.yaml", Protocol(imgsz=SIZE, nms=nms))
            out = onnx.load_from_string(file).graph.output[0].type.tensor_type.shape.dim
            shapes.append([d.dim_value for d in out])
        assert shapes == [[1, 84, 84], [1, 84, 6]] or shapes == [[1, 84, 84], [1, 300, 6]]


def test_a_file_says_its_boxes(tmp_path: Path) -> None:
    for name, expected in (("yolo11n", Boxes(80, 84)), ("yolo26n", None)):
        protocol = Protocol(imgsz=SIZE, nms=True)
        file = tmp_path / f"{name}.onnx"
        file.write_bytes(latency.exported(f"{name}.yaml", protocol))
        assert suppression.of_file(file, name) == expected


def test_the_number_says_what_is_inside() -> None:
    without, within = Protocol(), Protocol(nms=True)
    assert "NMS are out" in without.processing and "final boxes" in within.processing
    assert within.to_dict()["processing"] == within.processing
    assert "nms" not in without.to_dict()  # as ever
    assert Protocol.from_dict(within.to_dict()) == within != without
    assert str(within).endswith("1 thread, with NMS, 640 px")
