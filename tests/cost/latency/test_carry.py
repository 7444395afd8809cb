"""A profile of one device becomes one of another by ten whole networks."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.helpers.devices import SIZE, layer_ms, made_up
from yolo_nas_ext.commands import profile as profiling
from yolo_nas_ext.commands import profile_sample
from yolo_nas_ext.cost.latency import carry, runtimes
from yolo_nas_ext.cost.latency.features import family, parameters
from yolo_nas_ext.cost.latency.fit import Model
from yolo_nas_ext.cost.latency.fused_layers import Op, deployed
from yolo_nas_ext.cost.latency.profile import load, save
from yolo_nas_ext.cost.latency.protocol import Measurement, Protocol
from yolo_nas_ext.errors import NASError
from yolo_nas_ext.host import latency as host_latency
from yolo_nas_ext.network.parse import read
from yolo_nas_ext.space.detector import DetectorSpace

SPACE = DetectorSpace.load("tiny")
# Another device: four times as slow, convolutions of one pixel and what only moves numbers more so.
FACTORS = {"conv1": 6.0, "concat": 8.0, "add": 8.0, "split": 8.0}


def there(ops: Sequence[Op]) -> float:
    """What a whole model takes on the other device."""
    own = sum(FACTORS.get(family(op), 4.0) * layer_ms(op) for op in ops)
    return 1.5 + own + 6e-7 * sum(map(parameters, ops))


def tables(n: int, seed: int) -> list[list[Op]]:
    rng = random.Random(seed)
    drawn = [SPACE.architecture(SPACE.sample(rng)) for _ in range(n)]
    return [list(deployed(architecture, 3, SIZE)) for architecture in drawn]


def test_ten_networks_are_enough() -> None:
    before, pool = made_up(), tables(60, 1)
    ten = [pool[i] for i in carry.chosen(before, pool, SIZE, carry.NETWORKS)]
    models = {SIZE: [Model(str(i), ops, there(ops)) for i, ops in enumerate(ten)]}
    now = carry.carried(before, "other", "onnxruntime 2", Protocol(imgsz=SIZE), models, about={})
    errors = [abs(now.predict(ops, imgsz=SIZE) / there(ops) - 1) for ops in tables(60, 2)]
    assert np.median(errors) < 0.03 and np.quantile(errors, 0.9) < 0.07
    assert now.device_name == "other" and now.sizes[SIZE].error(0.5) < 0.1
    assert before.device_name in now.about["from"] and now.layers == before.layers


def test_the_chosen_differ_and_large_ones_come_first() -> None:
    profile, pool = made_up(), tables(40, 3)
    ten = carry.chosen(profile, pool, SIZE, 10)
    times = [profile.predict(pool[i], imgsz=SIZE) for i in ten]
    assert len(set(ten)) == 10 and times == sorted(times, reverse=True)
    assert carry.chosen(profile, pool[:3], SIZE, 10) == carry.chosen(profile, pool[:3], SIZE, 3)


def test_too_few_networks_and_other_sizes_are_refused() -> None:
    models = [Model("a", ops, 1.0) for ops in tables(3, 1)]
    for size, said in ((SIZE, "3 networks were measured at 64 px, at least 4"), (96, "imgsz=96")):
        with pytest.raises(NASError, match=said):
            carry.carried(made_up(), "b", "c", Protocol(imgsz=size), {size: models}, about={})


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """A desktop's profile, and few networks to choose from."""
    monkeypatch.setattr(profiling, "DRAWN", 6)
    monkeypatch.setattr(profile_sample, "MODELS", 2)
    save(made_up(), tmp_path / "desktop.json")
    return str(tmp_path / "desktop.json")


def test_another_runtime_of_this_machine(
    few: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def measure(models: Mapping[str, Any], protocol: Protocol, **_: Any) -> dict[str, Measurement]:
        times = {n: there(deployed(read(d), d["nc"], SIZE)) for n, d in models.items()}
        assert len(times) <= 10 and protocol.threads == 2
        return {n: Measurement(ms, ms, ms, 1, protocol, least_ms=ms) for n, ms in times.items()}

    monkeypatch.setattr(host_latency, "measure_models", measure)
    out = tmp_path / "two.json"
    given = {"from": few, "threads": 2, "spaces": "tiny", "out": str(out)}
    assert profiling.main(given) == 0
    assert "networks of" in capsys.readouterr().out
    assert load(out).protocol.threads == 2
    with pytest.raises(NASError, match=r"imgsz=96: the profile of .* is for 64 px"):
        profiling.main({**given, "imgsz": 96})
    with pytest.raises(NASError, match=r"latency=none\.json: no such file"):
        profiling.main({**given, "from": "none.json"})


@pytest.mark.slow
def test_a_device_elsewhere(few: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    zipped, out = tmp_path / "ten.zip", tmp_path / "pi.json"
    assert profiling.main({"from": few, "bundle": str(zipped), "spaces": "tiny"}) == 0
    assert "0 layers, " in capsys.readouterr().out
    with zipfile.ZipFile(zipped) as archive:
        archive.extractall(tmp_path)
    folder = tmp_path / "probe"
    assert len(json.loads((folder / "manifest.json").read_text())["networks"]) <= 10
    subprocess.run([sys.executable, "-I", str(folder / "probe.py")], check=True)
    result = {"import": str(folder / "result.json"), "out": str(out), "force": True}
    with pytest.raises(NASError, match="its bundle has ten whole networks; give from= the profile"):
        profiling.main(result)
    assert profiling.main({**result, "from": few}) == 0
    assert load(out).predict(tables(1, 5)[0], imgsz=SIZE) > 0


# What stands for the packages of runtimes: a network takes its file's bytes as microseconds.
NCNN = """
import time
from pathlib import Path
__version__ = "1.0.stub"
class Mat:
    def __init__(self, array):
        assert array.shape == (3, SIDE, SIDE) and array.dtype == "float32"
class Extractor:
    def __init__(self, size): self.size = size
    def __enter__(self): return self
    def __exit__(self, *error): pass
    def input(self, name, mat): assert name == "in0" and isinstance(mat, Mat)
    def extract(self, name):
        end = time.perf_counter() + self.size / 1e6
        while time.perf_counter() < end: pass
        return 0, [name]
class Net:
    class opt: num_threads = 0
    def load_param(self, path): return 0 if Path(path).read_text() == "layers" else -1
    def load_model(self, path): self.size = len(Path(path).read_bytes()); return 0
    def input_names(self): return ["in0"]
    def output_names(self): return ["out0"]
    def create_extractor(self): return Extractor(self.size)
"""
LITERT = """
import time
class Interpreter:
    def __init__(self, model_content, num_threads): self.size = len(model_content)
    def allocate_tensors(self): pass
    def get_input_details(self): return [{"index": 7, "shape": [1, 3, 8, 8]}]
    def set_tensor(self, index, image): assert index == 7 and image.shape == (1, 3, 8, 8)
    def invoke(self):
        end = time.perf_counter() + self.size / 1e6
        while time.perf_counter() < end: pass
"""


@pytest.fixture
def stubs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with packages that stand for the runtimes."""
    folder = tmp_path / "stubs"
    (folder / "ai_edge_litert").mkdir(parents=True)
    (folder / "ncnn.py").write_text(NCNN.replace("SIDE", str(SIZE)))
    (folder / "ai_edge_litert" / "__init__.py").write_text("__version__ = '2.0.stub'\n")
    (folder / "ai_edge_litert" / "interpreter.py").write_text(LITERT)
    monkeypatch.setattr(runtimes, "runtime_version", lambda runtime: f"{runtime} stub")
    monkeypatch.syspath_prepend(str(folder))
    for name in ("ncnn", "ai_edge_litert", "ai_edge_litert.interpreter"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return folder


def exported(form: str, folder: Path, microseconds: int) -> Path:
    """What Ultralytics exports, of a network that takes so long."""
    if form == "litert":
        file = folder / "network.tflite"
        file.write_bytes(bytes(microseconds))
        return file
    place = folder / "network_ncnn_model"
    place.mkdir()
    (place / "model.ncnn.param").write_text("layers")
    (place / "model.ncnn.bin").write_bytes(bytes(microseconds))
    (place / "model_ncnn.py").write_text("no part of a bundle")
    return place


@pytest.mark.parametrize(
    ("runtime", "version", "name"),
    [("ncnn", "ncnn 1.0.stub", "whole0"), ("litert", "ai_edge_litert 2.0.stub", "whole0.tflite")],
)
def test_a_device_elsewhere_that_runs_ncnn_or_litert(
    runtime: str,
    version: str,
    name: str,
    few: str,
    stubs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[int] = []

    def written(model: Any, form: str, protocol: Protocol, folder: Path, **_: Any) -> Path:
        made.append(1000 + 500 * len(made))
        return exported(form, folder, made[-1])

    monkeypatch.setattr(host_latency, "written", written)
    zipped, out = tmp_path / "ten.zip", tmp_path / "pi.json"
    given = {"bundle": str(zipped), "spaces": "tiny", "runtime": runtime}
    with pytest.raises(NASError, match=f"runtime={runtime}: .* give from= the profile"):
        profiling.main(given)
    assert profiling.main({**given, "from": few}) == 0
    with zipfile.ZipFile(zipped) as archive:
        archive.extractall(tmp_path)
    folder = tmp_path / "probe"
    assert (folder / "models" / name).exists() and not [*folder.rglob("*.onnx")]
    assert not [*folder.rglob("model_ncnn.py")]
    assert version.split()[0] in (folder / "README.txt").read_text()
    env = {**os.environ, "PYTHONPATH": str(stubs)}
    subprocess.run([sys.executable, str(folder / "probe.py")], check=True, env=env)
    found = json.loads((folder / "result.json").read_text())
    assert found["runtime_version"] == version
    medians = [row[1] for row in found["models"][str(SIZE)].values()]
    assert len(medians) == len(made) and min(medians) >= 1.0  # the milliseconds of the first
    result = {"import": str(folder / "result.json"), "out": str(out), "force": True}
    assert profiling.main({**result, "from": few}) == 0
    assert load(out).protocol.runtime == runtime and load(out).runtime_version == version


@pytest.mark.parametrize("runtime", ["ncnn", "litert"])
def test_whole_networks_are_measured_here_in_ncnn_and_litert(
    runtime: str, stubs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forms = []

    class Exporter:
        def __init__(self, overrides: Mapping[str, Any]) -> None:
            self.form = overrides["format"]

        def __call__(self, model: Any) -> Path:
            forms.append(self.form)
            return exported(self.form, Path(model.pt_path).parent, 2000)

    monkeypatch.setattr(host_latency, "Exporter", Exporter)
    protocol = Protocol(runtime, imgsz=SIZE, warmup=0, repeats=3)
    found = host_latency.measure_models({"a": "yolo11n.yaml"}, protocol)["a"]
    assert forms == [runtime] and found.median_ms >= 2.0
    with pytest.raises(NASError, match=f"a: runtime={runtime} runs no ONNX file"):
        host_latency.load("a.onnx", protocol, where="a")
    if runtime == "ncnn":
        with pytest.raises(NASError, match="batch=2: runtime=ncnn takes one image"):
            runtimes.check(replace(protocol, batch=2))
    with pytest.raises(NASError, match=f"precision=int8: runtime={runtime}"):
        runtimes.check(replace(protocol, precision="int8"))


@pytest.mark.slow
def test_ncnn_itself_runs_what_ultralytics_exports() -> None:
    pytest.importorskip("ncnn")
    pytest.importorskip("pnnx")
    protocol = Protocol("ncnn", imgsz=SIZE)
    (boxes,) = host_latency.load("yolo11n.yaml", protocol)()
    assert boxes.shape == (84, 84) and np.isfinite(boxes).all()
