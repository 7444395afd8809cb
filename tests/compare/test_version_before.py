"""A comparison that version 0.1.0 wrote goes on: its trainings and latencies are found."""

import json
import shutil
from dataclasses import replace

import pytest

from tests.helpers.version_before import recorded, restored, rows
from yolo_nas_ext.cli import main
from yolo_nas_ext.compare import definitions, latency
from yolo_nas_ext.errors import NASError
from yolo_nas_ext.estimators.training import UntouchedTraining


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = restored("compare", tmp_path, "runs/compare")
    shutil.copytree(found / "models", tmp_path / "runs" / "search" / "finals" / "models")
    return found


def test_nothing_is_trained_again(folder, monkeypatch, capsys):
    monkeypatch.setattr(UntouchedTraining, "estimate", None)
    assert main(["nas-compare", f"resume={folder}", "runtime=none"]) == 0
    assert "4 of 4 trainings are recorded already" in capsys.readouterr().out
    measured = {"latency_ms": "", "latency_iqr_ms": ""}  # which runtime=none leaves out
    assert rows(folder) == [{**row, **measured} for row in recorded("compare")]
    # They are found again under the names that they have now.
    assert main(["nas-compare", f"resume={folder}", "runtime=none"]) == 0
    assert "4 of 4 trainings are recorded already" in capsys.readouterr().out


def test_a_sitting_of_fewer_seeds_forgets_no_training(folder, monkeypatch, capsys):
    monkeypatch.setattr(UntouchedTraining, "estimate", None)
    for keys, found in ((["seeds=1"], "2 of 2"), (["seeds=2"], "4 of 4")):
        assert main(["nas-compare", f"resume={folder}", "runtime=none", *keys]) == 0
        assert f"{found} trainings are recorded already" in capsys.readouterr().out


def test_a_folder_of_a_search_is_refused_as_such(folder, capsys):
    (folder / "args.yaml").write_text("data: cells\nspace: tiny\n")
    assert main(["nas-compare", f"resume={folder}"]) == 2
    assert "is not of a comparison" in capsys.readouterr().err


def test_other_settings_are_refused(folder):
    with pytest.raises(NASError, match=r"lr0=0.1: the comparison in .* has lr0=0.02"):
        definitions.settings({"resume": str(folder), "lr0": 0.1})


def test_latencies_are_found_on_the_machine_that_measured_them(folder, monkeypatch):
    kept = json.loads((folder / "latency.json").read_text())
    monkeypatch.setattr(latency.runtimes, "runtime_version", lambda _: kept["runtime_version"])
    monkeypatch.setattr(latency.latency, "device_name_of", lambda _: kept["device_name"])
    monkeypatch.setattr(latency.latency, "measure_models", None)
    config, _ = definitions.settings({"resume": str(folder)})
    comparison = replace(definitions.prepare(config), folder=folder)
    protocol = latency.protocol(config)
    assert protocol is not None
    found = latency.measured(comparison, protocol)
    before = {row["model"]: float(row["latency_ms"]) for row in recorded("compare")}
    assert {model.name: model.latency_ms for model in found.models} == before
