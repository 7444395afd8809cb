"""Energy in a search and in a table of scores: by counters of this machine, or by a command."""

from __future__ import annotations

import csv
import json
import random
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.powercap import powercap
from tests.helpers.shapes import draw
from yolo_nas_ext import cli
from yolo_nas_ext.config import rules
from yolo_nas_ext.config.search import configure
from yolo_nas_ext.cost import energy as counters
from yolo_nas_ext.errors import NASError, TrialError
from yolo_nas_ext.pipeline import energy
from yolo_nas_ext.space.detector import DetectorSpace

SIZE = 64
SPACE = DetectorSpace.load("tiny")


def settled(**given: Any) -> energy.Energy:
    config = configure({"imgsz": SIZE, **given}, {}, {})
    rules.check(config)
    found = energy.settle(config, 3, SPACE, None)
    assert found
    return found


@pytest.fixture
def stub(tmp_path: Path) -> Path:
    """A command that prints joules by the size of the file it gets, and lists its calls."""
    script = tmp_path / "joules"
    script.write_text(
        f"#!/bin/sh\necho \"$1\" >> '{tmp_path}/calls'\n"
        'wc -c < "$1" | awk \'{ printf "%.6f J\\n", $1 / 1e8 }\'\n',
        encoding="utf-8",
    )
    script.chmod(0o755)
    return script


def test_a_search_measures_each_candidate_by_a_command(
    stub: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    keys = [
        f"data={draw(tmp_path / 'data')}",
        f"imgsz={SIZE}",
        "estimator=resolved",
        "strategy=random",
        "trials=3",
        "baseline=none",
        "confirm=0",
        f"energy=cmd:{stub} {{pt}}",
        "latency_repeats=1",
        "objectives=fitness,energy_mj",
        f"project={tmp_path}",
    ]
    assert cli.main(["nas-search", *keys]) == 0
    out = capfd.readouterr().out
    assert f"note: energy: cmd:{stub} {{pt}} says" in out
    with (tmp_path / "search" / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3 and all(float(row["energy_mj"]) > 0.1 for row in rows)
    kept = (tmp_path / "search" / "energy.jsonl").read_text().splitlines()
    by_key = {row["network"]: row["runs_j"] for row in map(json.loads, kept)}
    for row in rows:
        assert 1000 * by_key[row["key"]][0][0] == pytest.approx(float(row["energy_mj"]))
    calls = (tmp_path / "calls").read_text().splitlines()
    assert len(calls) == len(kept)  # each network once
    page = (tmp_path / "search" / "report.html").read_text()
    assert "Energy of an image (mJ)" in page and f"measured by cmd:{stub}" in page


def test_counters_of_this_machine_measure_each_candidate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from yolo_nas_ext.host import latency

    folder = powercap(tmp_path, {"intel-rapl:0": "package-0"})
    monkeypatch.setattr(counters, "POWERCAP", folder)
    monkeypatch.setattr(counters, "SECONDS", 0.0)
    file = folder / "intel-rapl:0" / "energy_uj"
    seen = []

    def load(model: Any, protocol: Any, **_: Any) -> Any:
        seen.append(protocol)
        return lambda: file.write_text(str(int(file.read_text()) + 2500))

    monkeypatch.setattr(latency, "load", load)
    found = settled(energy="rapl", runtime="torch", precision="fp16")
    assert "whole processor, at rest included" in found.text
    network = SPACE.architecture(SPACE.sample(random.Random(0)))
    assert found.of_candidate(network) == {"energy_mj": 2.5}
    assert (seen[0].runtime, seen[0].precision, seen[0].imgsz) == ("torch", "fp16", SIZE)
    monkeypatch.setattr(latency, "load", lambda *_, **__: lambda: None)
    with pytest.raises(TrialError, match="did not move"):
        found.of_candidate(network)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"energy": "rapl"}, r"energy=rapl: this machine has no counter of energy .*joules"),
        ({"energy": "battery"}, r"energy=battery: no such energy. Allowed: rapl, or a command"),
        ({"energy": "cmd:echo 5"}, r"energy=cmd:echo 5: gets no network; .*'energy=cmd:"),
        ({"energy": "cmd:echo no {pt}"}, r"printed .* for nas-\w+; its last line has to be joules"),
        ({"energy": "rapl", "jobs": 2}, r"energy=rapl: what trains beside a network"),
        ({"energy": "rapl", "estimator": "madnas"}, r"energy=rapl: estimator=madnas looks at"),
        ({"objectives": "fitness,energy_mj"}, r"nothing measures energy_mj; give energy=rapl"),
        ({"limits": "energy_mj:5"}, r"nothing measures energy_mj"),
    ],
)
def test_what_cannot_be_known_is_one_line(
    given: dict[str, Any], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counters, "POWERCAP", tmp_path)
    with pytest.raises(NASError, match=said) as caught:
        settled(**given)
    assert "\n" not in str(caught.value)


def test_scores_have_a_column_of_energy(
    stub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    keys = ["nas-score", "model=yolo11n,yolov8n", f"imgsz={SIZE}"]
    assert cli.main([*keys, f"energy=cmd:{stub} {{pt}}", "json=True"]) == 0
    small, large = (row["energy_mj"] for row in json.loads(capfd.readouterr().out))
    assert 0 < small < large  # the file of YOLOv8n is larger
    monkeypatch.setattr(counters, "POWERCAP", tmp_path)
    assert cli.main([*keys, "energy=rapl"]) == 2
    captured = capfd.readouterr()
    assert captured.err.count("\n") == 1 and "energy=rapl: this machine has no" in captured.err
