"""Latency of whole models in the runtimes that are installed."""

from __future__ import annotations

import random
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from yolo_nas_ext.cost.latency import runtimes
from yolo_nas_ext.cost.latency.protocol import Protocol
from yolo_nas_ext.errors import NASError
from yolo_nas_ext.host.latency import built, measure_models
from yolo_nas_ext.network.emit import emit
from yolo_nas_ext.space.detector import DetectorSpace

SHORT = {"imgsz": 64, "warmup": 0, "repeats": 3}
SPACE = DetectorSpace.load("tiny")
ARCHITECTURE = SPACE.architecture(SPACE.sample(random.Random(0)))


@pytest.mark.parametrize("runtime", ["onnx", "torch", "openvino"])
def test_measures_architectures_definitions_and_modules(runtime: str) -> None:
    if find_spec(runtimes.PACKAGES[runtime]) is None:
        pytest.skip(f"{runtime} is not installed")
    models = {
        "architecture": ARCHITECTURE,
        "definition": emit(ARCHITECTURE, 3),
        "module": built(ARCHITECTURE, nc=3),
    }
    threads = torch.get_num_threads()
    found = measure_models(models, Protocol(runtime=runtime, **SHORT), nc=3)
    assert list(found) == list(models)
    for measured in found.values():
        assert 0 < measured.low_ms <= measured.median_ms <= measured.high_ms
        assert measured.runs == 3 and measured.protocol.runtime == runtime
        assert measured.runtime_version.startswith(runtimes.PACKAGES[runtime])
    assert torch.get_num_threads() == threads


def test_int8_is_another_model() -> None:
    model = {"a": ARCHITECTURE}
    found = measure_models(model, Protocol(precision="int8", **SHORT), nc=3)["a"]
    assert found.protocol.precision == "int8" and found.median_ms > 0


def test_larger_images_take_longer() -> None:
    small, large = (
        measure_models({"a": ARCHITECTURE}, Protocol(imgsz=size, repeats=9, warmup=1))["a"].low_ms
        for size in (64, 320)
    )
    assert large > 3 * small


def test_what_a_runtime_does_not_have_is_refused() -> None:
    with pytest.raises(NASError, match=r"precision=fp16: runtime=onnx .*allowed: fp32, int8"):
        measure_models({"a": ARCHITECTURE}, Protocol(precision="fp16"))
    with pytest.raises(NASError, match=r"device=0: .*give device=cpu"):
        measure_models({"a": ARCHITECTURE}, Protocol(device="0"))


def test_a_missing_runtime_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(runtimes.PACKAGES, "openvino", "openvino-that-is-not-there")
    with pytest.raises(NASError, match=r"runtime=openvino: .*pip install 'yolo-nas-ext\[openvino"):
        measure_models({"a": ARCHITECTURE}, Protocol(runtime="openvino"))


def test_what_no_runtime_can_load_is_one_line(tmp_path: Path) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no model")
    with pytest.raises(NASError, match=r"mine: onnxruntime .* cannot run it") as caught:
        measure_models({"mine": broken}, Protocol(**SHORT))
    assert "\n" not in str(caught.value)
    with pytest.raises(NASError, match="does not exist"):
        measure_models({"mine": tmp_path / "none.onnx"}, Protocol(**SHORT))
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("backbone: 3\n")
    with pytest.raises(NASError, match="mine: Ultralytics cannot build"):
        measure_models({"mine": wrong}, Protocol(**SHORT))
