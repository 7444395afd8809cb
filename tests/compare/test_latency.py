"""The latency of compared models: measured together, once, and left out where one has none."""

import pytest

from yolo_nas_ext.compare import latency
from yolo_nas_ext.compare.run import run
from yolo_nas_ext.cost.latency.protocol import Measurement, Protocol
from yolo_nas_ext.errors import NASError


class Stopwatch:
    """Stands in for the measurement: a model's milliseconds are its name's length."""

    def __init__(self, monkeypatch):
        self.asked, self.fail = [], False
        monkeypatch.setattr(latency.models, "build", lambda definition, **_: definition)
        monkeypatch.setattr(latency.latency, "measure_models", self.measure)

    def measure(self, models, protocol, task, sizes):
        self.asked.append(sorted(models))
        if self.fail:
            raise NASError("a: Ultralytics cannot export it")
        return {
            name: Measurement(len(name), len(name) - 0.5, len(name) + 0.5, 30, protocol)
            for name in models
        }


@pytest.fixture
def stopwatch(monkeypatch):
    return Stopwatch(monkeypatch)


def test_latency_is_measured_once(make, stopwatch, monkeypatch, tmp_path):
    protocol = Protocol(imgsz=64)

    def measured(names, protocol=protocol):
        found = latency.measured(make(dict.fromkeys(names, 0.1))[0], protocol)
        return found.latency, {model.name: model.latency_ms for model in found.models}

    how, found = measured(["a", "bb"])
    assert found == {"a": 1, "bb": 2} and how.startswith(f"{protocol}; median")
    assert measured(["bb", "a"])[1] == found and len(stopwatch.asked) == 1
    assert measured(["a"])[1] == {"a": 1} and len(stopwatch.asked) == 1
    # With another model, protocol or machine all are measured again, together.
    measured(["a", "bb", "ccc"])
    assert stopwatch.asked[1:] == [["a", "bb", "ccc"]]
    measured(["a", "bb"], Protocol(imgsz=96))
    monkeypatch.setattr(latency.latency, "device_name_of", lambda _: "another machine")
    measured(["a", "bb"], Protocol(imgsz=96))
    assert len(stopwatch.asked) == 4
    (tmp_path / "latency.json").write_text("{")  # damaged
    measured(["a", "bb"], Protocol(imgsz=96))
    assert len(stopwatch.asked) == 5


def test_what_cannot_be_exported_is_compared_without_latency(make, stopwatch, tmp_path):
    stopwatch.fail = True
    found, _, said = make({"a": 0.3, "yolo": 0.2}, imgsz=64, runtime="onnx")
    run(found)
    assert "note: latency was not measured: a: Ultralytics cannot export it" in said
    assert "- latency: not measured" in (tmp_path / "verdict.md").read_text()
    assert len(found.leaderboard().evaluations) == 4
    assert not (tmp_path / "latency.json").exists()
