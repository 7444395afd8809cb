"""Profiles: fitted on a made-up device with an oracle, written, damaged, and measured for real."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import GradientBoostingRegressor

from tests.cost.latency.test_fused_layers import OPS
from tests.helpers.devices import (
    CONSTANT,
    FETCH,
    IN_A_MODEL,
    NAME,
    SIZE,
    layer_ms,
    made_up,
    model_ms,
)
from yolo_nas_ext.commands import profile as profiling
from yolo_nas_ext.commands import profile_networks, profile_sample
from yolo_nas_ext.cost.counts import costs
from yolo_nas_ext.cost.latency import fit as profiles
from yolo_nas_ext.cost.latency import torch_layer, trees
from yolo_nas_ext.cost.latency.features import FAMILIES, family
from yolo_nas_ext.cost.latency.fit import Record, time_layers
from yolo_nas_ext.cost.latency.fused_layers import Op, deployed
from yolo_nas_ext.cost.latency.probe import Clock
from yolo_nas_ext.cost.latency.profile import checksum, load, save
from yolo_nas_ext.cost.latency.protocol import Measurement, Protocol
from yolo_nas_ext.errors import NASError, RunError
from yolo_nas_ext.host import latency as host_latency
from yolo_nas_ext.network.parse import read
from yolo_nas_ext.space.detector import DetectorSpace

SPACE = DetectorSpace.load("tiny")


@pytest.fixture
def few_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks drawn to know a space by: enough for a test of what is done with them."""
    monkeypatch.setattr(profile_sample, "NETWORKS", 40)


@pytest.fixture
def usual_models(few_networks: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Models to calibrate on without a search for small ones, where others are what is tested."""
    monkeypatch.setattr(profile_sample, "BELOW", (4.0,))


def test_networks_that_were_not_profiled_are_predicted() -> None:
    profile, rng = made_up(), random.Random(5)
    errors = []
    for _ in range(40):
        architecture = SPACE.architecture(SPACE.sample(rng))
        true = model_ms(deployed(architecture, 7, SIZE))
        errors.append(abs(profile.predict(architecture, 7, SIZE) / true - 1))
    assert np.median(errors) < 0.02 and max(errors) < 0.08
    at = profile.sizes[SIZE]
    assert at.constant == pytest.approx(CONSTANT, rel=0.3)
    assert at.weights["conv"] == pytest.approx(IN_A_MODEL, rel=0.1)
    assert at.fetch == pytest.approx(FETCH, rel=0.3)
    assert 0 < at.error(0.5) <= at.error(0.9) < 0.05


def test_measured_layers_count_as_measured() -> None:
    profile = made_up()
    op = next(iter(profile.layers))
    assert profile.alone([op, op]) == [layer_ms(op)] * 2


def test_a_profile_comes_back_from_its_file(tmp_path: Path) -> None:
    save(made_up(), tmp_path / "device.json")
    profile = load(tmp_path / "device.json")
    architecture = SPACE.architecture(SPACE.sample(random.Random(0)))
    assert profile.device_name == NAME and profile.protocol == made_up().protocol
    # The file keeps five digits of a time.
    assert profile.predict(architecture, 7, SIZE) == pytest.approx(
        made_up().predict(architecture, 7, SIZE), rel=1e-4
    )
    with pytest.raises(NASError, match=r"imgsz=640: the profile of made-up processor is for 64 px"):
        profile.predict(architecture, 7, 640)


def _edited(data: dict[str, Any]) -> str:
    data["sizes"][str(SIZE)]["constant"] = 0.0
    return json.dumps(data)


def _later(data: dict[str, Any]) -> str:
    return json.dumps({**data, "schema": 99})


def _without(data: dict[str, Any]) -> str:
    content = {name: value for name, value in data.items() if name not in ("forest", "sha256")}
    return json.dumps({**content, "sha256": checksum(content)})


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda data: json.dumps(data)[:-200], "damaged, not a JSON file"),
        (_edited, "damaged or edited by hand"),
        (_later, "of schema 99, this version reads 2"),
        (_without, "not a whole device profile"),
        (lambda data: "[1, 2]", "no device profile"),
    ],
)
def test_a_damaged_profile_is_one_clear_line(
    damage: Callable[[dict[str, Any]], str], said: str, tmp_path: Path
) -> None:
    path = tmp_path / "device.json"
    path.write_text(damage(made_up().to_dict()))
    with pytest.raises(NASError, match=said) as caught:
        load(path)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)


def test_a_missing_profile_is_named() -> None:
    with pytest.raises(NASError, match=r"latency=nowhere.json: no such file; .*nas-profile"):
        load("nowhere.json")


def test_trees_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    rows = rng.random((300, 4))
    values = rows[:, 0] * np.sign(rows[:, 1] - 0.5) + 0.1 * rng.random(300)
    model = GradientBoostingRegressor(n_estimators=30, max_depth=4, random_state=0)
    model.fit(rows, values)
    mine = trees.Forest.from_dict(json.loads(json.dumps(trees.of(model).to_dict())))
    others = rng.random((200, 4))
    assert mine.predict(others) == pytest.approx(model.predict(others), abs=1e-3)


@pytest.mark.usefixtures("few_networks")
def test_any_number_of_layers_from_the_front_is_a_sample() -> None:
    spaces = [DetectorSpace.load(name) for name in ("tiny", "yolo")]
    ops = profile_sample.layers(spaces, [64, 128])
    assert ops == profile_sample.layers(spaces, [64, 128]) and len(set(ops)) == len(ops)
    front = ops[:200]
    assert {family(op) for op in front} >= set(FAMILIES) - {"average", "transposed"}
    stems = [op.h_in for op in front if op.c_in == 3]
    assert {64, 128} <= set(stems)


@pytest.mark.usefixtures("few_networks")
@pytest.mark.parametrize(("names", "count"), [(("tiny", "yolo", "damo"), 18), (("damo",), 12)])
def test_every_third_network_of_a_space_is_small(
    names: Sequence[str], count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(profile_sample, "MODELS", count)
    spaces = [DetectorSpace.load(name) for name in names]
    drawn = profile_sample.models(spaces, seed=3)
    assert len(drawn) == len(set(drawn)) == count
    if len(names) == 1:  # the same every time, which takes its time to be seen
        assert drawn == profile_sample.models(spaces, seed=3)
    for index in range(len(spaces)):
        flops = [costs(architecture).flops for architecture, _ in drawn[index :: len(spaces)]]
        small = flops[profile_sample.SMALL - 1 :: profile_sample.SMALL]
        usual = [n for n in flops if n not in small]
        assert len(usual) >= 2 * len(small) > 0 and max(small) < min(usual)


@pytest.mark.usefixtures("few_networks")
def test_a_small_network_is_small_for_its_image_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profile_sample, "MODELS", profile_sample.SMALL)
    space = DetectorSpace.load("tiny", sizes=(1280,))
    drawn, _ = profile_sample.models([space])[profile_sample.SMALL - 1]
    rng = random.Random(1)
    others = [space.architecture(space.sample(rng)) for _ in range(30)]
    assert costs(drawn, imgsz=1280).flops < min(costs(a, imgsz=1280).flops for a in others)


def test_a_profile_without_a_time_for_parameters_is_as_it_was(tmp_path: Path) -> None:
    made = made_up()
    sizes = {size: replace(at, fetch=0.0) for size, at in made.sizes.items()}
    before = replace(made, sizes=sizes).to_dict()
    assert before["schema"] == 1 and "fetch" not in before["sizes"][str(SIZE)]
    path = tmp_path / "before.json"
    path.write_text(json.dumps(before))
    assert load(path).to_dict() == before  # shared records know it by its checksum
    assert made.to_dict()["schema"] == 2


def measure_models(
    models: Mapping[str, Any], protocol: Protocol, **more: Any
) -> dict[str, Measurement]:
    """What whole models take on the made-up device; see `host.latency.measure_models`."""
    times = {
        name: model_ms(deployed(read(definition), definition["nc"], protocol.imgsz))
        for name, definition in models.items()
    }
    return {name: Measurement(ms, ms, ms, 1, protocol) for name, ms in times.items()}


def test_a_killed_run_goes_on(tmp_path: Path) -> None:
    path, identity = tmp_path / "a.timed", {"device": NAME}
    record = Record(path, identity)
    record.add(OPS[0], 1.5, 2.0)
    record.note("models 64", [3.0], 4.0)
    record.close()
    with path.open("a") as file:
        file.write('[["conv", 16')  # a kill in the middle of a line
    again = Record(path, identity)
    assert again.known == {OPS[0]: 1.5} and again.notes == {"models 64": [3.0]}
    assert again.seconds == 6.0
    again.add(OPS[1], 2.5, 1.0)
    again.close()
    third = Record(path, identity)
    assert third.known == {OPS[0]: 1.5, OPS[1]: 2.5}
    third.close()
    other = Record(path, {"device": "another"})
    assert not other.known and other.seconds == 0
    other.close()
    other.delete()
    assert not path.exists()


def test_layers_are_timed_until_the_time_is_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    timed: list[Op] = []
    monkeypatch.setattr(profiles, "time_layer", lambda op, protocol: timed.append(op) or 1.0)
    record = Record(tmp_path / "a.timed", {})
    found = time_layers(OPS[:3], Protocol(), record, seconds=60, what="layers")
    assert found == dict.fromkeys(OPS[:3], 1.0) and timed == OPS[:3]
    found = time_layers(OPS, Protocol(), record, seconds=0, what="layers")
    assert timed == OPS[:4] and len(found) == 4  # three known, and one before the clock is read
    record.close()


@pytest.mark.parametrize("runtime", ["onnx", "torch"])
def test_more_work_takes_longer(runtime: str) -> None:
    small, large = (
        profiles.time_layer(Op("conv", c, c, 40, 40, 40, 40, 3, 1, 1, True, 1), Protocol(runtime))
        for c in (16, 160)
    )
    assert large > 2 * small > 0


@pytest.mark.parametrize("op", OPS, ids=lambda op: f"{op.kind}-{op.c_in}")
def test_a_layer_of_torch_has_the_shape_of_the_layer(op: Op) -> None:
    torch_layer.layer_run(op, 2, Protocol("torch"))()
    make = torch_layer.Tensors(1, "cpu", torch_layer.torch.float32)
    y: Any = torch_layer.MAKERS[op.kind](op, make)()
    if op.kind == "decode":
        assert y.shape == (1, 4 + op.c_out, op.w)
    elif op.kind == "split":
        assert sum(part.shape[1] for part in y) == op.c_out
    else:
        assert y.shape == (1, op.c_out, op.h, op.w)


@pytest.mark.usefixtures("usual_models")
def test_the_command_profiles_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(profile_sample, "MODELS", 2)
    monkeypatch.setattr(profiling, "FEWEST", 4)  # a busy machine times few in these seconds
    out = tmp_path / "mine.json"
    given = {"imgsz": 32, "spaces": "tiny", "minutes": 0.1, "out": str(out), "force": True}
    assert profiling.main(given) == 0
    profile = load(out)
    architecture = SPACE.architecture(SPACE.sample(random.Random(3)))
    assert 0.05 < profile.predict(architecture, 3, 32) < 100
    assert profile.protocol.threads == 1 and profile.about["spaces"] == ["tiny"]
    said = capsys.readouterr().out
    assert "2 networks of" in said and "yolo nas-search latency=" in said
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.usefixtures("usual_models")
def test_layers_have_their_time_however_long_networks_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A profile of a few layers would be none; what was timed is kept for the next time."""

    def slow(op: Op, protocol: Protocol) -> float:
        time.sleep(0.02)
        return layer_ms(op)

    class SlowClock(Clock):
        @property
        def spent(self) -> float:
            return super().spent + 60  # as if whole models had taken a minute

    monkeypatch.setattr(profiles, "time_layer", slow)
    monkeypatch.setattr(host_latency, "measure_models", measure_models)
    monkeypatch.setattr(profile_networks, "Clock", SlowClock)
    out = tmp_path / "few.json"
    given = {"imgsz": "32,64", "spaces": "tiny", "minutes": 0.02, "out": str(out)}
    with pytest.raises(NASError, match=r"minutes=0.02: \d+ layers were timed, at least 50 are"):
        profiling.main(given)
    assert not out.is_file()
    monkeypatch.setattr(profiles, "time_layer", lambda op, protocol: layer_ms(op))
    assert profiling.main(given) == 0
    assert len(load(out).layers) >= profiling.FEWEST
    assert capsys.readouterr().out.rstrip().endswith("imgsz=32 sizes=32,64")


@pytest.mark.usefixtures("usual_models")
def test_an_interrupted_command_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    timed: list[Op] = []

    def stop(op: Op, protocol: Protocol) -> float:
        if len(timed) == 40:
            monkeypatch.setattr(profiles, "time_layer", lambda op, protocol: layer_ms(op))
            raise KeyboardInterrupt
        timed.append(op)
        return layer_ms(op)

    def measure(models: Mapping[str, Any], protocol: Protocol, **more: Any) -> Any:
        measured.append(protocol.imgsz)
        return measure_models(models, protocol, **more)

    measured: list[int] = []
    monkeypatch.setattr(profiles, "time_layer", stop)
    monkeypatch.setattr(host_latency, "measure_models", measure)
    given = {"imgsz": 32, "spaces": "tiny", "out": str(tmp_path / "a.json")}
    assert profiling.main(given) == 3
    assert "goes on with what was timed" in capsys.readouterr().out
    assert [file.name for file in tmp_path.iterdir()] == [".a.json.timed"]
    assert profiling.main(given) == 0
    assert "going on with 40 layers" in capsys.readouterr().out and measured == [32]
    profile = load(tmp_path / "a.json")
    assert set(timed) <= set(profile.layers) and profile.sizes[32].error(0.9) < 0.05


def disturbed(models: Mapping[str, Any], protocol: Protocol, **more: Any) -> dict[str, Measurement]:
    """The same on a machine where other work slows every other network a lot."""
    true = measure_models(models, protocol)
    return {
        name: Measurement(ms.median_ms * 9, ms.low_ms, 9 * ms.high_ms, 1, protocol, "", "", 0.8)
        if index % 2
        else ms
        for index, (name, ms) in enumerate(true.items())
    }


@pytest.mark.usefixtures("usual_models")
def test_a_profile_that_other_work_made_useless_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(profiles, "time_layer", lambda op, protocol: layer_ms(op))
    monkeypatch.setattr(host_latency, "measure_models", disturbed)
    given = {"imgsz": 32, "spaces": "tiny", "minutes": 0.02, "out": str(tmp_path / "a.json")}
    with pytest.raises(RunError, match=r"not written: .* off by \d+% \(median\), more than 15%"):
        profiling.main(given)
    assert not list(tmp_path.iterdir())  # nor is what was timed gone on with
    assert profiling.main({**given, "force": True}) == 0
    assert "WARNING: its networks at 32 px" in capsys.readouterr().out
    assert load(tmp_path / "a.json").sizes[32].error(0.5) > 0.15


@pytest.mark.usefixtures("usual_models")
def test_what_other_work_disturbs_is_measured_at_another_time_and_the_least_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []

    def measure(models: Mapping[str, Any], protocol: Protocol, **more: Any) -> Any:
        calls.append(len(models))
        true = measure_models(models, protocol)
        if len(calls) == 2:  # by then the machine does nothing else
            return true
        return {
            n: replace(ms, median_ms=3 * ms.median_ms, least_ms=ms.median_ms * 1.5)
            for n, ms in true.items()
        }

    monkeypatch.setattr(profiles, "time_layer", lambda op, protocol: layer_ms(op))
    monkeypatch.setattr(host_latency, "measure_models", measure)
    given = {"imgsz": 32, "spaces": "tiny", "minutes": 0.02, "out": str(tmp_path / "a.json")}
    assert profiling.main(given) == 0
    assert len(calls) == 2
    assert load(tmp_path / "a.json").sizes[32].error(0.9) < 0.05


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"imgsz": 100}, "imgsz=100: not allowed; imgsz takes multiples of 32"),
        ({"runtime": "tflite"}, "runtime=tflite: not known"),
        ({"precision": "fp16"}, "precision=fp16: runtime=onnx"),
        ({"runtime": "tensorrt"}, "runtime=tensorrt: layers are timed in onnx, torch, openvino"),
        ({"minute": 3}, r"minute=3: unknown key. Did you mean 'minutes'"),
        ({"import": "none.json"}, "import=none.json: no such file"),
        ({"import": "none.json", "imgsz": 320}, "imgsz=320: not with import="),
        ({"bundle": "probe"}, "give the name of a zip"),
        ({"bundle": "probe.zip", "runtime": "torch"}, "a bundle is timed by ONNX Runtime, and"),
    ],
)
def test_bad_input_is_one_line(given: dict[str, Any], said: str) -> None:
    with pytest.raises(NASError, match=said) as caught:
        profiling.main(given)
    assert "\n" not in str(caught.value)


def test_predictions_include_suppression_where_that_is_asked_for(tmp_path: Path) -> None:
    network = SPACE.architecture(SPACE.sample(random.Random(3)))
    network = replace(network, head=replace(network.head, end2end=False))
    final = replace(network, head=replace(network.head, end2end=True))
    plain = made_up()
    with pytest.raises(NASError, match=r"nms=True: a\.json does not know the time"):
        plain.with_nms("a.json")
    at = replace(plain.sizes[SIZE], suppression=(1.0, 2.58), choice=(0.1, 0.89))
    save(replace(plain, sizes={SIZE: at}), tmp_path / "a.json")
    known = load(tmp_path / "a.json")
    before = known.predict(network, 21, SIZE)
    as_ever = plain.predict(network, 21, SIZE)  # a file has five digits of each layer
    assert before == pytest.approx(as_ever, rel=1e-4)
    assert known.predict(final, 21, SIZE) == pytest.approx(before)
    asked = known.with_nms("a.json")
    assert asked.predict(network, 21, SIZE) == pytest.approx(before + 1.4)
    assert asked.predict(final, 21, SIZE) == pytest.approx(before + 0.3)
    assert asked.predict(network, 21, SIZE, task="classify") == pytest.approx(
        known.predict(network, 21, SIZE, task="classify")
    )
    assert asked.to_dict() == known.to_dict()
