"""Proxies on the device of the user: on one that is pretended, and that mixes with no other."""

import random

import pytest
import torch

from tests.helpers.elsewhere import DEVICE, Pretended
from yolo_nas_ext.config.search import PROXIES as NAMES
from yolo_nas_ext.config.search import configure
from yolo_nas_ext.errors import NASError, TrialError
from yolo_nas_ext.estimators import factory
from yolo_nas_ext.estimators.zero_cost import proxy
from yolo_nas_ext.host import devices, one_batch


def estimator(name, data, **given):
    usual = {"imgsz": 64, "batch": 4, "seed": 1, "estimator": name}
    return factory.make(configure({**usual, **given}, {}, {}), data)


def score(made, space):
    found = made.estimate(space.architecture(space.sample(random.Random(0))))
    return {name: value for name, value in found.items() if name != "az_complexity"}


@pytest.mark.parametrize("name", NAMES)
def test_it_computes_there_what_it_computes_on_the_cpu(name, data, space, monkeypatch):
    monkeypatch.setattr(proxy, "REFERENCES", 1)
    wanted = score(estimator(name, data, device="cpu"), space)
    monkeypatch.setattr(devices, "chosen", lambda device: DEVICE)
    seen = []
    measure = proxy.measure

    def watched(of, capture):
        seen.extend({p.device for p in capture.model.parameters()} | {capture.images.device})
        return measure(of, capture)

    monkeypatch.setattr(proxy, "measure", watched)
    with Pretended():
        found = score(estimator(name, data), space)
    assert set(seen) == {DEVICE}
    assert found == pytest.approx(wanted, rel=1e-5)


def test_the_device_that_is_pretended_mixes_with_no_other():
    with Pretended():
        there = torch.ones(2, device=DEVICE)
        assert (there + 1).cpu().tolist() == [2, 2]
        with pytest.raises(RuntimeError, match="two devices"):
            there + torch.ones(2)


def test_without_double_precision_it_is_the_cpu(monkeypatch):
    monkeypatch.setattr(devices, "chosen", lambda device: torch.device("mps"))
    with one_batch.on_device("mps") as device:
        assert device == torch.device("cpu")


@pytest.mark.parametrize(
    ("said", "kind"),
    [("CUDA out of memory.", "memory"), ("CUDA error: device-side assert", "device")],
)
def test_what_a_gpu_says_is_named(said, kind):
    with pytest.raises(TrialError) as caught, one_batch.on_device("cpu"):
        raise RuntimeError(said)
    assert caught.value.kind == kind
    with pytest.raises(RuntimeError, match="a fault of ours"), one_batch.on_device("cpu"):
        raise RuntimeError("a fault of ours")


def test_a_device_that_is_not_there_is_a_line(data):
    with pytest.raises(NASError, match=r"device=7: cannot train on it"):
        estimator("naswot", data, device="7")


def test_each_process_scores_on_its_own(monkeypatch):
    asked = []
    monkeypatch.setattr(
        devices, "select_device", lambda device, **more: asked.append(device) or "cpu"
    )
    assert devices.chosen("2,3") == torch.device("cpu")
    devices.use("3")
    try:
        devices.chosen("2,3")
    finally:
        devices.use("")
    devices.chosen(None)
    assert asked == ["2", "3", ""]
