"""A profile of one device becomes one of another by ten whole networks."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.helpers.devices import SIZE, layer_ms, made_up
from yolo_nas_ext.commands import profile as profiling
from yolo_nas_ext.commands import profile_sample
from yolo_nas_ext.cost.latency import carry
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
