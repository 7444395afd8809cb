"""Latency in a search: gated by a profile, confirmed by measuring, refused where it is wrong."""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.helpers.devices import NAME, SIZE, made_up
from tests.helpers.shapes import draw
from yolo_nas_ext import cli
from yolo_nas_ext.commands import score
from yolo_nas_ext.config import rules
from yolo_nas_ext.config.search import configure
from yolo_nas_ext.cost.budget import Budget, metric
from yolo_nas_ext.cost.counts import costs
from yolo_nas_ext.cost.latency import runtimes
from yolo_nas_ext.cost.latency.profile import asked, load, save
from yolo_nas_ext.cost.latency.protocol import Measurement, Protocol
from yolo_nas_ext.errors import NASError, TrialError
from yolo_nas_ext.estimators.factory import budget_of
from yolo_nas_ext.host import models
from yolo_nas_ext.network.architecture import Architecture
from yolo_nas_ext.network.emit import to_yaml
from yolo_nas_ext.network.parse import read
from yolo_nas_ext.pipeline import job, latency, plan
from yolo_nas_ext.space.detector import DetectorSpace
from yolo_nas_ext.study.objectives import Goal
from yolo_nas_ext.study.study import Study
from yolo_nas_ext.study.trial import Trial

MEASURED = metric(what="measured")
SPACE = DetectorSpace.load("tiny")


@pytest.fixture
def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The file of a made-up profile, of this machine and the runtime that is installed."""
    monkeypatch.setattr(latency, "device_name", lambda: NAME)
    monkeypatch.setattr(score, "device_name", lambda: NAME)
    asked.cache_clear()
    version = runtimes.runtime_version("onnx")
    save(replace(made_up(), runtime_version=version), tmp_path / "device.json")
    return str(tmp_path / "device.json")


def settled(**given: Any) -> latency.Timing | None:
    config = configure({"imgsz": SIZE, **given}, {}, {})
    rules.check(config)
    space = DetectorSpace.load(config.space, fix=config.fix)
    return next(iter(latency.settle(config, 3, space)), None)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"max_latency": 8}, r"max_latency=8.0: nothing measures latency; give latency="),
        ({"runtime": "torch"}, r"runtime=torch: nothing measures latency; give latency="),
        ({"latency": "none.json"}, r"latency=none.json: no such file"),
        ({"latency": "measure", "estimator": "madnas"}, r"latency=measure: estimator=madnas"),
        ({"latency": "measure", "jobs": 2}, r"latency=measure: .*leave out jobs"),
        ({"latency": "measure", "precision": "fp16"}, r"precision=fp16: runtime=onnx"),
        ({"latency": "measure", "runtime": "tflite"}, r"runtime=tflite: not known"),
    ],
)
def test_what_cannot_be_known_is_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(NASError, match=said) as caught:
        settled(**given)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"imgsz": 128}, r"the profile is for 64 px, not for imgsz=128"),
        ({"precision": "int8"}, r"the profile is for fp32, not for precision=int8"),
        ({"runtime": "torch"}, r"the profile is for onnx, not for runtime=torch"),
    ],
)
def test_a_profile_of_something_else_is_refused(
    device: str, given: dict[str, Any], said: str
) -> None:
    with pytest.raises(NASError, match=said):
        settled(latency=device, **given)


def test_a_profile_of_another_batch_is_refused(tmp_path: Path) -> None:
    protocol = Protocol(imgsz=SIZE, batch=8)
    save(replace(made_up(), protocol=protocol), tmp_path / "b.json")
    with pytest.raises(NASError, match=r"the profile is for batch 8, not for batch 1"):
        settled(latency=str(tmp_path / "b.json"))


def test_a_profile_of_another_device_warns_and_names_both(
    device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = settled(latency=device, max_latency=8)
    assert found and found.here and not found.notes and found.limit == 8
    monkeypatch.setattr(latency, "device_name", lambda: "a laptop")
    found = settled(latency=device)
    assert found and not found.here
    assert NAME in found.notes[0] and "a laptop" in found.notes[0] and "WARNING" in found.notes[0]


def test_a_missing_runtime_is_named(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(runtimes.PACKAGES, "onnx", "onnxruntime-that-is-not-there")
    with pytest.raises(NASError, match="runtime=onnx: onnxruntime-that-is-not-there is not"):
        settled(latency=device)


def test_the_budget_leaves_the_profiles_margin() -> None:
    profile, architecture = made_up(), SPACE.architecture(SPACE.sample(random.Random(1)))
    ms = profile.predict(architecture, 3, SIZE)
    margin = profile.sizes[SIZE].error(0.9)
    assert 0 < margin < 0.05
    for bound, fits in ((ms * (1 + 1.01 * margin), True), (ms * (1 + 0.99 * margin), False)):
        budget = Budget({"max_latency": bound}, 3, SIZE, profile=profile)
        value, limit = budget.values(architecture)["max_latency"]
        assert (value <= limit) == fits
        assert budget.record(architecture)["latency_ms"] == ms
    assert budget.say("max_latency", 7.123) == "7.13 ms"


class Bench:
    """A timing whose networks take what a table says; it counts what was measured."""

    name, measured = "", MEASURED

    def __init__(self, study: Study, factors: Mapping[int, float]) -> None:
        self.order: list[int] = []
        self.study, self.factors = study, factors

    def measure(self, networks: Mapping[str, Architecture]) -> dict[str, Measurement]:
        self.order += map(int, networks)
        predicted = {t.number: t.metrics["latency_ms"] for t in self.study.trials}
        ms = {n: predicted[int(n)] * self.factors.get(int(n), 1.0) for n in networks}
        return {n: Measurement(v, v - 0.1, v + 0.1, 30, Protocol()) for n, v in ms.items()}


def recorded(path: Path | None = None) -> Study:
    study = Study(SPACE, path, Goal(confirmed={MEASURED: 8.0}))
    if not study.trials:
        for number in range(12):  # the fittest first
            point = SPACE.sample(random.Random(number))
            metrics = {"fitness": 1 - number / 100, "latency_ms": 7.8}
            architecture = SPACE.architecture(point)
            study.add([Trial(number, point, architecture, state="complete", metrics=metrics)])
    return study


def test_the_best_that_measure_above_the_limit_are_left_out(tmp_path: Path) -> None:
    study = recorded(tmp_path / "s.db")
    bench: Any = Bench(study, {0: 1.1, 2: 1.05, 5: 1.04})
    said: list[int] = []
    assert latency.measure_best(study, bench, 3, lambda trial: said.append(trial.number)) == ""
    # Three at first; for the two above the limit two more.
    assert bench.order == said == [0, 1, 2, 3, 4]
    assert study.best.number == 1
    assert study.best.metrics[MEASURED] == pytest.approx(7.8)
    assert study.best.metrics["latency_iqr_ms"] == pytest.approx(0.2)
    assert {t.number for t in study.candidates} == {1, *range(3, 12)}
    again = recorded(tmp_path / "s.db")  # as resuming does
    assert again.best.number == 1 and MEASURED in again.results[0].metrics
    assert latency.measure_best(again, bench, 3) == "" and len(bench.order) == 5


def test_of_what_other_work_disturbs_the_prediction_stands() -> None:
    study = recorded()
    bench: Any = Bench(study, {})
    measure = bench.measure

    def disturbed(networks: Mapping[str, Architecture]) -> dict[str, Measurement]:
        found = measure(networks)
        if "1" in found:  # above the limit, as it waits for its core in half of the runs
            found["1"] = Measurement(16.0, 7.8, 16.2, 30, Protocol())
        return found

    bench.measure = disturbed
    said: list[int] = []
    text = latency.measure_best(study, bench, 3, lambda trial: said.append(trial.number))
    assert text.startswith("the latency of 1 of the best could not be measured")
    assert said == [0, 2] and bench.order == [0, 1, 2]
    assert 1 in {t.number for t in study.candidates}


@pytest.mark.parametrize(
    ("later", "asked", "kept"),
    [
        ([(3.1, 0.1, 0.0)], 2, 3.1),
        # None is steady: the least that was measured.
        ([(4.0, 3.0, 0.0), (6.0, 0.1, 0.5)], 3, 3.5),
        # A steady one, though another median was lower by chance.
        ([(3.6, 0.1, 0.0)], 2, 3.6),
    ],
)
def test_what_was_disturbed_is_measured_again(
    monkeypatch: pytest.MonkeyPatch,
    later: list[tuple[float, float, float]],
    asked: int,
    kept: float,
) -> None:
    from yolo_nas_ext.host import latency

    rounds: list[list[str]] = []
    others = iter([(3.5, 9.0, 0.0), *later])

    def measure(group: Mapping[str, Architecture], protocol: Protocol, **_: Any) -> Any:
        rounds.append(sorted(group))
        ms, spread, waited = next(others)
        other = Measurement(ms, ms, ms + spread, 30, protocol, waited=waited)
        steady = Measurement(3.0, 2.9, 3.1, 30, protocol)
        return {name: steady if name == "steady" else other for name in group}

    monkeypatch.setattr(latency, "measure_models", measure)
    found = settled(latency="measure")
    assert found
    networks = {
        name: SPACE.architecture(SPACE.sample(random.Random(0))) for name in ("steady", "other")
    }
    got = found.measure(networks)
    assert rounds == [["other", "steady"], *[["other"]] * (asked - 1)]
    assert got["steady"].median_ms == 3.0 and got["other"].median_ms == kept


@pytest.mark.parametrize("speed", [0.5, 1.0, 3.0])
def test_beside_the_parent_the_speed_of_the_machine_drops_out(
    monkeypatch: pytest.MonkeyPatch, speed: float
) -> None:
    from yolo_nas_ext.host import latency

    parent, faster, slower = (SPACE.architecture(SPACE.sample(random.Random(n))) for n in range(3))
    takes = {parent: 4.0, faster: 3.6, slower: 4.2}

    def measure(group: Mapping[str, Architecture], protocol: Protocol, **_: Any) -> Any:
        assert parent in group.values()  # takes turns with each group
        ms = {name: speed * takes[network] for name, network in group.items()}
        return {n: Measurement(v, v, v, 30, protocol, least_ms=0.9 * v) for n, v in ms.items()}

    monkeypatch.setattr(latency, "measure_models", measure)
    beside: Any = {"unit": parent, "unit_ms": 5.0, "relative": True}
    found = replace(settled(latency="measure"), limit=5.0, **beside)
    got = found.measure({"a": faster, "b": slower, "c": parent})
    assert [got[n].median_ms for n in "abc"] == pytest.approx([4.5, 5.25, 5.0])
    assert found.of_candidate(parent) == {"latency_ms": 5.0}
    with pytest.raises(TrialError, match=r"5\.25 ms measured > max_latency=5"):
        found.of_candidate(slower)
    assert "takes turns with the parent, which counts as 5 ms" in found.text


@pytest.mark.parametrize(("speed", "takes"), [(0.5, 2.1), (1.1, 4.62), (1.5, 4.2)])
def test_a_machine_that_is_slower_than_its_profile_is_told_by_the_parent(
    monkeypatch: pytest.MonkeyPatch, speed: float, takes: float
) -> None:
    from yolo_nas_ext.host import latency

    parent, other = (SPACE.architecture(SPACE.sample(random.Random(n))) for n in range(2))

    def measure(group: Mapping[str, Architecture], protocol: Protocol, **_: Any) -> Any:
        ms = {name: speed * (4.0 if n == parent else 4.2) for name, n in group.items()}
        return {n: Measurement(v, v, v, 30, protocol) for n, v in ms.items()}

    monkeypatch.setattr(latency, "measure_models", measure)
    found = replace(settled(latency="measure"), unit=parent, unit_ms=4.0)
    assert found.milliseconds(other) == pytest.approx(takes)
    slow = "it took up to 1.5 times as long as its profile says"
    assert (slow in found.disturbed) == (speed == 1.5) and bool(found.disturbed) == (speed == 1.5)


def test_beside_a_disturbed_unit_processor_times_are_compared() -> None:
    mine = Measurement(9.0, 8.9, 9.1, 30, Protocol(), least_ms=8.0, by_processor=True)
    unit = Measurement(30.0, 9.0, 40.0, 30, Protocol(), least_ms=10.0, by_processor=True)
    assert not unit.steady and mine.steady
    assert mine.beside(unit, 5.0).own_ms == pytest.approx(4.0)


def test_a_candidate_is_not_dropped_for_what_other_work_adds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from yolo_nas_ext.host import latency

    def measure(group: Any, protocol: Protocol, **_: Any) -> Any:
        return {name: Measurement(16.0, low, 16.2, 30, protocol) for name in group}

    monkeypatch.setattr(latency, "measure_models", measure)
    found = settled(latency="measure", max_latency=8)
    assert found
    network = SPACE.architecture(SPACE.sample(random.Random(0)))
    low = 7.8
    assert found.of_candidate(network) == {"latency_ms": 7.8}
    low = 15.9
    with pytest.raises(TrialError, match=r"16.00 ms measured > max_latency=8"):
        found.of_candidate(network)


def test_of_what_other_work_disturbs_the_processor_time_is_taken() -> None:
    study = recorded()
    slow = Measurement(20.0, 9.0, 30.0, 30, Protocol(), "", "", 0.9, 7.5, True)
    bench: Any = SimpleNamespace(
        measure=lambda networks: dict.fromkeys(networks, slow), measured=MEASURED, name=""
    )
    assert latency.measure_best(study, bench, 1) == ""
    assert study.best.metrics[MEASURED] == 7.5


def test_what_cannot_be_measured_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(networks: Any) -> Any:
        raise NASError("0: onnxruntime cannot run it")

    bench: Any = SimpleNamespace(measure=fail, measured=MEASURED)
    text = latency.measure_best(recorded(), bench, 3)
    assert text == "the best could not be measured: 0: onnxruntime cannot run it"


def test_each_candidate_is_measured_before_it_is_trained(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(latency, "AGAIN", 0)
    architecture = SPACE.architecture(SPACE.sample(random.Random(0)))
    found = settled(latency="measure", max_latency=0.0001)
    assert found
    fast = replace(found.protocol, warmup=0, repeats=3)
    with pytest.raises(TrialError, match=r"ms measured > max_latency=0.0001"):
        replace(found, protocol=fast).of_candidate(architecture)
    assert (
        0 < replace(found, protocol=fast, limit=None).of_candidate(architecture)["latency_ms"] < 1e3
    )


def test_networks_are_measured_and_predicted_at_their_own_image_size(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(latency, "AGAIN", 0)
    architecture = SPACE.architecture(SPACE.sample(random.Random(0)))
    own = replace(architecture, imgsz=128)
    found = settled(latency="measure")
    assert found
    fast = replace(found, protocol=replace(found.protocol, warmup=0, repeats=3))
    measured = fast.measure({"own": own, "plain": architecture})
    assert measured["own"].protocol.imgsz == 128 and measured["plain"].protocol.imgsz == SIZE
    budget = Budget({"max_latency": 1e3}, 3, imgsz=32, profile=made_up(128, 60))
    assert budget.latency_ms(own) == made_up(128, 60).predict(architecture, 3, 128)
    assert 0 < budget.margin <= 0.05  # where the search's own size is of no network


def test_a_search_keeps_the_limit_and_shows_both(
    device: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    limit = 2.0 * made_up().sizes[SIZE].models[0][1]
    code = cli.main(
        [
            "nas-search",
            "estimator=madnas",
            "trials=2000",
            "population=16",
            f"imgsz={SIZE}",
            f"latency={device}",
            f"max_latency={limit}",
            f"project={tmp_path}",
            "confirm=2",
            "baseline=none",
            "data=cells",
        ]
    )
    out = capfd.readouterr().out
    assert code == 0, out
    assert "over_max_latency" not in out and " over max_latency" in out
    assert "ms measured (" in out and "ms predicted, " in out
    with (tmp_path / "search" / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert all(float(row["latency_ms"]) <= limit for row in rows)
    measured = [row for row in rows if row["latency_measured_ms"]]
    assert len(measured) >= 2
    page = (tmp_path / "search" / "report.html").read_text()
    assert "Latency measured (ms)" in page and NAME in page


def test_objectives_may_be_latency(device: str, capfd: pytest.CaptureFixture[str]) -> None:
    arguments = ["nas-search", "objectives=fitness,latency_ms", f"imgsz={SIZE}"]
    assert cli.main(arguments) == 2
    assert "nothing measures latency_ms; give latency=" in capfd.readouterr().err


def test_scores_show_predictions(
    device: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {"model": "yolo11n", "imgsz": SIZE, "latency": device, "json": True}
    assert score.main(given) == 0
    found = json.loads(capfd.readouterr().out)
    assert found["predicted_ms"] > 0.25 and "latency_ms" not in found
    with pytest.raises(NASError, match=r"threads=2: the profile .* has threads=1"):
        score.main({**given, "threads": 2})
    with pytest.raises(NASError, match=r"imgsz=640: the profile of made-up processor is for 64"):
        score.main({**given, "imgsz": 640})
    monkeypatch.setattr(score, "device_name", lambda: "a laptop")
    assert score.main(given) == 0
    warning = capfd.readouterr().err
    assert NAME in warning and "a laptop" in warning


def test_a_network_of_another_size_is_scored_at_the_one_that_is_asked_for(
    device: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    plain = SPACE.architecture(SPACE.sample(random.Random(0)))
    file = tmp_path / "own.yaml"
    file.write_text(to_yaml(replace(plain, imgsz=2 * SIZE), 3), encoding="utf-8")
    assert score.main({"model": str(file), "imgsz": SIZE, "latency": device, "json": True}) == 0
    found = json.loads(capfd.readouterr().out)
    assert found["px"] == SIZE and found["flops"] == costs(plain, 3, SIZE).flops
    assert found["predicted_ms"] == pytest.approx(load(Path(device)).predict(plain, 3, SIZE))
    assert score.main({"model": str(file), "json": True}) == 0
    found = json.loads(capfd.readouterr().out)
    assert found["px"] == 2 * SIZE and found["flops"] == costs(plain, 3, 2 * SIZE).flops
    assert score.main({"model": f"{file},yolo11n"}) == 0
    lines = capfd.readouterr().out.splitlines()
    assert lines[0].split()[:2] == ["model", "px"]
    assert [line.split()[1] for line in lines[1:3]] == [str(2 * SIZE), "640"]
    with pytest.raises(NASError, match=f"imgsz={2 * SIZE}: the profile of"):
        score.main({"model": str(file), "latency": device})


@pytest.mark.parametrize(
    "strategy",
    ["evolution", *(pytest.param(s, marks=pytest.mark.slow) for s in ("bayes", "local"))],
)
def test_the_limit_may_be_the_latency_of_a_baseline(
    strategy: str, device: str, tmp_path: Path
) -> None:
    yolo26n = read(*models.definition("yolo26n"))
    limit = load(device).predict(yolo26n, 2, SIZE)
    given = {
        "data": str(draw(tmp_path / "data")),
        "space": "yolo",
        "latency": device,
        "imgsz": SIZE,
        "max_latency": limit,
        "estimator": "resolved",
        "trials": 8,
        "confirm": 0,
        "strategy": strategy,
        "project": str(tmp_path),
    }
    made = plan.make(configure(given, {}, {}))
    assert [trial.name for trial in made.baselines] == ["yolo26n"]  # the others are slower
    done = job.search(given)
    assert done.study.trials[0].name == "yolo26n" and len(done.study.complete) == 8
    assert all(made.space.feasible(trial.point) for trial in done.study.trials[1:])


@pytest.fixture
def two(tmp_path: Path) -> tuple[str, str]:
    """The profiles of two devices, of which the second is slow at convolutions of one pixel."""
    first, files = made_up(), []
    at = first.sizes[SIZE]
    other = replace(at, constant=2.0, weights={**at.weights, "conv1": 3.0})
    devices = {"Pi-5": first, "jetson": replace(first, sizes={SIZE: other}, device_name="a GPU")}
    for name, profile in devices.items():
        (tmp_path / name).mkdir()
        save(profile, tmp_path / name / f"{name}.json")
        files.append(str(tmp_path / name / f"{name}.json"))
    asked.cache_clear()
    return files[0], files[1]


def test_a_search_for_two_devices(
    two: tuple[str, str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    profiles = [load(file) for file in two]
    times = [
        [p.predict(SPACE.architecture(SPACE.sample(random.Random(n))), 2, SIZE) for p in profiles]
        for n in range(9)
    ]
    bounds = [1.1 * sorted(column)[4] for column in zip(*times, strict=True)]
    keys = [
        f"data={draw(tmp_path / 'data')}",
        f"imgsz={SIZE}",
        "estimator=resolved",
        "strategy=random",
        "trials=6",
        "baseline=none",
        f"latency={','.join(two)}",
        f"max_latency={bounds[0]},{bounds[1]}",
        f"project={tmp_path}",
    ]
    assert cli.main(["nas-search", *keys]) == 0
    out = capfd.readouterr().out
    assert out.count("WARNING: ") == 2 and "for each device the fastest within 1% of" in out
    with (tmp_path / "search" / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6
    for row in rows:
        for column, bound in zip(("latency_pi_5_ms", "latency_jetson_ms"), bounds, strict=True):
            assert 0 < float(row[column]) <= bound
    page = (tmp_path / "search" / "report.html").read_text()
    assert "For each device" in page and "Latency jetson (ms)" in page
    keys = {row["key"]: row for row in rows}
    best = max(float(row["fitness"]) for row in rows)
    for name in ("pi_5", "jetson"):
        text = (tmp_path / "search" / "devices" / f"{name}.yaml").read_text()
        chosen = next(row for key, row in keys.items() if key in text)
        equal = [row for row in rows if float(row["fitness"]) >= best - 0.01 * abs(best)]
        fastest = min(float(row[f"latency_{name}_ms"]) for row in equal)
        assert float(chosen[f"latency_{name}_ms"]) == fastest
        assert any(line.startswith(name) and chosen["key"] in line for line in out.splitlines())


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"max_latency": "8"}, r"max_latency=8.0: latency= names 2 devices; give one limit for"),
        ({"max_latency": "8,9,10"}, r"names 2 devices"),
        ({"max_latency": "8,0"}, r"max_latency takes a number above 0"),
        ({"max_latency": "8,"}, r"max_latency takes a number"),
        ({"runtime": "onnx"}, r"runtime=onnx: each profile has its own"),
        ({"objectives": "fitness,latency_ms"}, r"Did you mean 'latency_pi_5_ms'"),
    ],
)
def test_what_does_not_fit_two_devices_is_refused(
    two: tuple[str, str], given: dict[str, Any], said: str
) -> None:
    with pytest.raises(NASError, match=said):
        settled(latency=",".join(two), **given)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ("a/pi.json,b/PI.json", "the columns of two devices would both be called 'pi'"),
        ("a.json,pi_measured.json", "cannot be called measured"),
        ("a.json,on_top.json", "cannot be called"),
        ("a.json,measure", "latency=a.json: no such file"),
        ("a.json,", "would both be called 'nothing'"),
    ],
)
def test_devices_have_columns_of_their_own(names: str, said: str) -> None:
    with pytest.raises(NASError, match=said):
        settled(latency=names)


def test_one_of_two_devices_is_here(
    two: tuple[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(latency, "device_name", lambda: NAME)
    config = configure({"imgsz": SIZE, "latency": ",".join(two), "max_latency": "8,20"}, {}, {})
    timings = latency.settle(config, 3, SPACE)
    assert [t.here for t in timings] == [True, False] and [t.limit for t in timings] == [8, 20]
    assert timings[0].bounds == {"latency_pi_5_measured_ms": 8}
    study = Study(SPACE, None, Goal(confirmed=dict(timings[0].bounds)))
    point = SPACE.sample(random.Random(0))
    metrics = {"fitness": 0.5, "latency_pi_5_ms": 7.8, "latency_jetson_ms": 9.0}
    study.add([Trial(0, point, SPACE.architecture(point), state="complete", metrics=metrics)])
    slow = Measurement(8.5, 8.4, 8.6, 30, Protocol())
    monkeypatch.setattr(
        latency.Timing, "measure", lambda self, networks: dict.fromkeys(networks, slow)
    )
    assert latency.measure_best(study, timings[0], 1) == ""
    assert not study.candidates and "latency_pi_5_measured_ms" in study.results[0].metrics


def stub(folder: Path) -> Path:
    """A command that prints a number by the size of the file it gets, and lists its calls."""
    script = folder / "my bench"
    script.write_text(
        f"#!/bin/sh\necho \"$1\" >> '{folder}/calls'\necho starting\n"
        'wc -c < "$1" | awk \'{ printf "%.3f ms\\n", $1 / 100000 }\'\n',
        encoding="utf-8",
    )
    script.chmod(0o755)
    return script


def test_a_search_by_a_command_of_ones_own(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    script = stub(tmp_path)
    keys = [
        f"data={draw(tmp_path / 'data')}",
        f"imgsz={SIZE}",
        "space=yolo",
        "estimator=resolved",
        "strategy=random",
        "trials=5",
        "baseline=none",
        f"latency=cmd:'{script}' {{pt}}",
        "latency_repeats=2",
        f"project={tmp_path}",
    ]
    assert cli.main(["nas-search", *keys, "max_latency=25"]) == 0
    out = capfd.readouterr().out
    assert f"note: latency: cmd:'{script}' {{pt}} says" in out
    assert "failed (latency: " in out and "ms measured > max_latency=25)" in out
    with (tmp_path / "search" / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    kept = {row["key"]: float(row["latency_ms"]) for row in rows if row["latency_ms"]}
    assert 0 < len(kept) < 5 and max(kept.values()) <= 25
    lines = (tmp_path / "search" / "latency.jsonl").read_text().splitlines()
    known = {row["network"]: row["runs_ms"] for row in map(json.loads, lines)}
    assert {key: runs[0][0] for key, runs in known.items() if key in kept} == kept
    calls = len((tmp_path / "calls").read_text().splitlines())
    assert calls == 2 * len(known)  # each network is measured once
    assert cli.main(["nas-search", f"resume={tmp_path / 'search'}", "trials=6"]) == 0
    more = len((tmp_path / "calls").read_text().splitlines()) - calls
    assert more in (0, 2)  # of the sixth network alone, unless it is the one that was tried first


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("printf done {pt}", "printed 'done' for nas-"),
        ("false {pt}", "ended with exit code 1 for nas-"),
        ("sh -c 'sleep 99' {pt}", "took more than latency_timeout=0.1 s for nas-"),
        ("no-such-bench {pt}", "no-such-bench is no programme"),
    ],
)
def test_a_command_that_cannot_measure_is_said_before_anything_is_written(
    command: str, said: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    keys = [f"data={draw(tmp_path / 'data')}", f"imgsz={SIZE}", f"project={tmp_path / 'runs'}"]
    keys += ["latency_timeout=0.1"] * ("sleep" in command)
    assert cli.main(["nas-search", *keys, f"latency=cmd:{command}"]) == 2
    (line,) = capfd.readouterr().err.strip().splitlines()
    assert line.startswith("nas-search: latency=cmd:") and said in line
    assert not (tmp_path / "runs").exists()


def test_a_search_for_final_boxes_says_so_and_predicts_them(tmp_path: Path) -> None:
    asked.cache_clear()
    at = replace(made_up().sizes[SIZE], suppression=(1.0, 2.0), choice=(0.1, 0.2))
    file = str(tmp_path / "nms.json")
    save(replace(made_up(), sizes={SIZE: at}), Path(file))
    plain, found = settled(latency=file), settled(latency=file, nms=True)
    assert plain and found and found.protocol.nms and not plain.protocol.nms
    assert "NMS are out" in plain.text and "from the image tensor to final boxes" in found.text
    assert found.latency_of == f"{plain.latency_of}, with NMS"  # other numbers, not compared
    config = configure({"imgsz": SIZE, "latency": file, "nms": True}, {}, {})
    data: Any = SimpleNamespace(nc=1, channels=3, keypoints=(17, 3))
    network = SPACE.architecture(SPACE.sample(random.Random(1)))
    more = 0.1 if network.head.end2end else 1.0
    predicted = made_up().predict(network, 1, SIZE) + more
    found_ms = budget_of(config, data).latency_ms(network)
    assert found_ms == pytest.approx(predicted, rel=1e-4)  # a file has five digits of each layer
    measured = settled(latency="measure", nms=True)
    assert measured and measured.protocol.nms and measured.text.endswith("resizing are out")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"nms": True}, r"nms=True: nothing measures latency"),
        ({"nms": True, "latency": "cmd:echo {pt}"}, r"nms=True: the command of latency= decides"),
        ({"nms": True, "latency": "measure", "task": "classify"}, r"nms=True: the task has no box"),
        ({"nms": True, "latency": "a.json", "estimator": "madnas"}, r"nms=True: estimator=madnas"),
    ],
)
def test_suppression_is_refused_where_it_means_nothing(given: dict[str, Any], said: str) -> None:
    with pytest.raises(NASError, match=said):
        settled(**given)


def test_a_profile_that_does_not_know_suppression_is_refused(device: str) -> None:
    with pytest.raises(NASError, match=r"nms=True: latency=.*device\.json does not know the time"):
        settled(latency=device, nms=True)


def test_a_baseline_that_cannot_be_read_is_measured_too(
    device: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its definition, at the end of a search with a profile and before its training without."""
    asked = []

    def measure(self: latency.Timing, networks: Mapping[str, Any]) -> dict[str, Measurement]:
        asked.extend(networks.values())
        return {name: SimpleNamespace(known=True, own_ms=7.0, iqr_ms=0.1) for name in networks}  # pyright: ignore[reportReturnType]

    monkeypatch.setattr(latency.Timing, "measure", measure)
    data = draw(tmp_path / "shapes")
    given = {"data": str(data), "imgsz": SIZE, "baseline": "yolov5n", "space": "tiny", "trials": 1}
    given |= {"epochs": 1, "threads": 1, "confirm": 0, "batch": 8, "project": str(tmp_path)}
    for way in (device, "measure"):
        done = job.search({**given, "latency": way, "name": Path(way).stem, "verbose": False})
        (trial,) = done.study.complete
        assert trial.name == "yolov5n" and trial.architecture is None
        name = MEASURED if way == device else "latency_ms"
        assert trial.metrics[name] == 7.0
        assert asked.pop()["head"][-1][2] == "Detect" and not asked
