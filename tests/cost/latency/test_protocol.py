"""Timing callables in turns, and what is said of a protocol."""

from __future__ import annotations

import numpy as np
import pytest

from yolo_nas_ext.cost.latency import probe, runtimes
from yolo_nas_ext.cost.latency.probe import device_name, interleaved, layer_ms, of_group
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


def test_the_least_processor_time_is_the_models_own(monkeypatch: pytest.MonkeyPatch) -> None:
    machine, waits = Machine(monkeypatch), dict[str, list[float]]()
    others = iter([0.01, 0.03, 0.0, 0.02] * 9)

    def run() -> None:
        machine.work(0.004)
        machine.wait(next(others) + 0.001)

    times = interleaved({"a": run}, repeats=6, waits=waits)["a"]
    assert times.min() == pytest.approx(5.0)
    assert summary(times, Protocol(), "", "", waits["a"]).least_ms == pytest.approx(4.0)
    for other in (Protocol(threads=2), Protocol("torch", device="0")):  # computed elsewhere, too
        assert summary(times, other, "", "", waits["a"]).least_ms == pytest.approx(5.0)


def test_a_layer_that_waits_has_its_processor_time(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch)

    def busy(seconds: float) -> None:
        machine.work(seconds)
        machine.wait(3 * seconds)

    runs = (lambda: busy(0.001)), (lambda: busy(0.005))
    assert layer_ms(*runs, 4) == pytest.approx(1.0)
    assert layer_ms(*runs, 4, alone=False) == pytest.approx(4.0)


def test_one_disturbed_model_decides_for_its_group() -> None:
    assert of_group([5.0, 9.0], [4.9, 8.7]) == [5.0, 9.0]
    assert of_group([5.0, 19.0], [4.9, 8.7]) == [4.9, 8.7]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            {"runtime": "coreml"},
            r"runtime=coreml: not known.* Allowed: onnx, .*; installed here: .*onnx",
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
