"""Latency of GPUs, on ones that torch is told of."""

import pytest
import torch

from yolo_nas_ext.config.search import configure
from yolo_nas_ext.cost.latency import runtimes
from yolo_nas_ext.cost.latency.protocol import Protocol
from yolo_nas_ext.pipeline import latency
from yolo_nas_ext.space.detector import DetectorSpace


@pytest.fixture
def gpus(monkeypatch):
    """Two of different make."""
    names = ["NVIDIA A100", "NVIDIA T4"]
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index=0: names[index])
    monkeypatch.setattr(runtimes, "busy_note", str)


@pytest.mark.parametrize(
    ("given", "device", "place"),
    [
        ("cpu", "cpu", "cpu"),
        ("1", "1", "cuda:1"),
        ("cuda:1", "1", "cuda:1"),
        ("cuda", "0", "cuda:0"),
    ],
)
def test_a_gpu_has_one_name(given, device, place):
    protocol = Protocol(device=given)
    assert (protocol.device, protocol.place) == (device, place)


def test_another_gpu_is_not_this_machine(gpus, monkeypatch):
    assert latency.named_here(Protocol(runtime="torch", device="1")) == "NVIDIA T4"

    def none(index):
        raise AssertionError("Torch not compiled with CUDA enabled")

    monkeypatch.setattr(torch.cuda, "get_device_name", none)
    assert latency.named_here(Protocol(device="0")) == latency.device_name()


@pytest.mark.parametrize(
    ("keys", "device"),
    [
        ({"device": "1", "runtime": "torch"}, "1"),
        ({"device": "cuda:1,0", "runtime": "torch"}, "1"),
        ({"device": "1"}, "cpu"),  # onnx is measured on the CPU
        ({"runtime": "torch"}, "cpu"),
    ],
)
def test_candidates_are_measured_where_the_user_says(gpus, keys, device):
    config = configure({"latency": "measure", **keys}, {}, {})
    (timing,) = latency.settle(config, 3, DetectorSpace.load("tiny", "detect"))
    assert timing.protocol.device == device
