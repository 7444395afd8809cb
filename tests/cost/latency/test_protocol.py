"""Timing callables in turns, and what is said of a protocol."""

from __future__ import annotations

import numpy as np
import pytest

from yolo_nas_ext.cost.latency import probe, runtimes
from yolo_nas_ext.cost.latency.probe import device_name, interleaved
from yolo_nas_ext.cost.latency.protocol import Protocol, summary
from yolo_nas_ext.errors import NASError


def test_turns_alternate_and_the_first_run_of_each_is_not_timed() -> None:
    order: list[str] = []
    runs = {name: (lambda name=name: order.append(name)) for name in "abc"}
    times = interleaved(runs, repeats=6, warmup=1, burst=3)
    assert {name: len(values) for name, values in times.items()} == {"a": 6, "b": 6, "c": 6}
    assert order[:3] == ["a", "b", "c"]  # warm-up
    assert order[3:15] == ["a"] * 4 + ["b"] * 4 + ["c"] * 4
    assert sorted(order[15:]) == ["a"] * 4 + ["b"] * 4 + ["c"] * 4


class Machine:
    """A machine whose time passes by what runs on it: as a whole, and with the processor."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = self.used = 0.0
        monkeypatch.setattr(probe.time, "perf_counter", lambda: self.now)
        monkeypatch.setattr(probe.time, "process_time", lambda: self.used)

    def work(self, seconds: float) -> None:
        self.used += seconds
        self.now += seconds

    def wait(self, seconds: float) -> None:
        self.now += seconds


def test_a_drifting_machine_slows_all_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    machine, turns = Machine(monkeypatch), iter(range(1, 1000))

    def slower() -> None:
        machine.work(2e-5 * next(turns))

    times = interleaved({"a": slower, "b": slower}, repeats=60)
    medians = [np.median(times[name]) for name in "ab"]
    assert medians[0] == pytest.approx(medians[1], rel=0.25)


def test_summary_names_quartiles_and_protocol() -> None:
    found = summary(np.arange(1.0, 6.0), Protocol(imgsz=320), "onnxruntime 1", "a processor")
    assert (found.low_ms, found.median_ms, found.high_ms, found.iqr_ms) == (2.0, 3.0, 4.0, 2.0)
    written = found.to_dict()
    assert Protocol.from_dict(written["protocol"]) == Protocol(imgsz=320)
    assert written["runtime_version"] == "onnxruntime 1" and written["device_name"] == "a processor"
    assert "NMS" in written["protocol"]["processing"]


def test_unknown_runtime_and_precision_are_refused() -> None:
    with pytest.raises(NASError, match=r"runtime=onx: .*Did you mean 'onnx'"):
        Protocol(runtime="onx")
    with pytest.raises(NASError, match=r"precision=fp8: .*fp32, fp16, int8"):
        Protocol(precision="fp8")


def test_the_device_has_a_name() -> None:
    assert device_name() == device_name() != ""


def test_a_run_that_waits_for_the_processor_is_known_by_its_idle_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine, waits = Machine(monkeypatch), dict[str, list[float]]()
    runs = {"waits": lambda: machine.wait(0.002), "works": lambda: machine.work(0.002)}
    times = interleaved(runs, repeats=6, waits=waits)
    assert {name: len(found) for name, found in waits.items()} == {"waits": 6, "works": 6}
    assert min(waits["waits"]) > 0.5 and max(waits["works"]) < 0.2
    even = np.array([2.0, 2.1, 2.2])
    assert not summary(even, Protocol(), "", "", waits["waits"]).steady
    assert summary(even, Protocol(), "", "", [0.0, 0.05, 0.9]).steady
    # A GPU's work is waited for, by a process that is idle.
    assert summary(even, Protocol("torch", device="0"), "", "", waits["waits"]).steady
    assert not summary(np.array([3.2, 3.3, 7.6, 7.7]), Protocol(), "", "").steady
    assert len(times["works"]) == 6


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            {"runtime": "ncnn"},
            r"runtime=ncnn: not known.* Allowed: onnx, .*; installed here: .*onnx",
        ),
        ({"runtime": "onxx"}, r"Did you mean 'onnx'\?.*installed here"),
        ({"device": "0"}, r"device=0: runtime=onnx is measured on the CPU.*Devices here: cpu"),
        ({"device": "7", "runtime": "torch"}, r"torch has no such device here; devices here: cpu"),
        ({"device": "npu", "runtime": "torch"}, r"device=npu: .*devices here: cpu"),
    ],
)
def test_a_message_lists_what_there_is_here(given, said):
    with pytest.raises(NASError, match=said):
        runtimes.check(Protocol(**given))


def test_a_runtime_that_is_not_installed_names_those_that_are(monkeypatch):
    monkeypatch.setitem(runtimes.PACKAGES, "openvino", "openvino_that_is_not_there")
    with pytest.raises(
        NASError, match=r"openvino_that_is_not_there is not installed.*runtime=onnx"
    ):
        runtimes.check(Protocol(runtime="openvino"))
