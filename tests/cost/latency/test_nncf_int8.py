"""OpenVINO's own quantisation: used where it is installed, for whole networks and for accuracy."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.cost.latency.test_int8 import head, images
from yolo_nas_ext.config.search import configure
from yolo_nas_ext.cost.latency import nncf_int8, runtimes
from yolo_nas_ext.cost.latency.protocol import Protocol
from yolo_nas_ext.estimators.factory import int8_by, training_options
from yolo_nas_ext.host.training.quantised import onnx_session


def test_it_is_openvinos_alone_and_needs_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nncf_int8, "PACKAGES", ("onnx",))
    assert nncf_int8.is_here("openvino")
    assert not nncf_int8.is_here("onnx") and not nncf_int8.is_here("torch")
    monkeypatch.setattr(nncf_int8, "PACKAGES", ("onnx", "no_such_package"))
    assert not nncf_int8.is_here("openvino")


@pytest.mark.parametrize(
    ("runtime", "precision", "by"),
    [
        ("openvino", "int8", "openvino"),
        ("onnx", "int8", ""),
        ("openvino", "fp32", ""),
    ],
)
def test_accuracy_is_measured_by_the_tool_that_time_is(
    runtime: str, precision: str, by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nncf_int8, "PACKAGES", ("onnx",))
    given = {"runtime": runtime, "precision": precision, "latency": "measure"}
    config = configure(given, {}, {})
    assert int8_by(config) == by
    assert training_options(config).get("int8_by", "") == by


def test_whole_networks_are_quantised_by_it_and_layers_as_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compiled: list[Any] = []

    class Core:
        def read_model(self, model: bytes) -> str:
            return "QDQ" if b"QuantizeLinear" in model else "plain"

        def compile_model(self, network: Any, device: str, settings: Any) -> Any:
            compiled.append(network)
            request = SimpleNamespace(infer=lambda: None)
            return SimpleNamespace(inputs=[], create_infer_request=lambda: request)

    monkeypatch.setitem(sys.modules, "openvino", SimpleNamespace(Core=Core))
    monkeypatch.setattr(nncf_int8, "quantized", lambda model: "by its own tool")
    for packages in (("onnx",), ("no_such_package",)):
        monkeypatch.setattr(nncf_int8, "PACKAGES", packages)
        for whole in (True, False):
            runtimes.load(head(), Protocol("openvino", precision="int8"), whole=whole)
    runtimes.load(head(), Protocol("openvino"), whole=True)
    assert compiled == ["by its own tool", "QDQ", "QDQ", "QDQ", "plain"]


@pytest.mark.slow
def test_what_is_computed_is_about_the_same_and_nothing_is_printed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("openvino")
    pytest.importorskip("nncf")
    small, whole = nncf_int8.session(head(), images(20), 1), onnx_session(head(), 1)
    for image in images(3):
        found, expected = small(image)[0], whole(image)[0]
        assert found == pytest.approx(expected, abs=2.0)  # of 192 pixels
        assert not np.array_equal(found, expected)
    assert capsys.readouterr().out == ""
