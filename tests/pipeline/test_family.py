"""A family from the command: a front of finished networks, measured on val and taken out."""

import csv

import pytest
from ultralytics import YOLO

from tests.helpers.devices import made_up
from tests.helpers.parents import checkpoint
from tests.helpers.shapes import draw
from yolo_nas_ext.cli import main
from yolo_nas_ext.cost.latency.profile import save


def searched(folder, *more):
    """Search for a family in a folder."""
    keys = ["imgsz=64", "epochs=1", "final_epochs=1", "batch=4", "trials=6"]
    given = [f"data={draw(folder / 'shapes')}", f"model={checkpoint(folder, nc=2)}", "threads=1"]
    own = ["estimator=supernet", "workers=0", f"project={folder}", "name=s"]
    assert main(["search", *given, *keys, *own, *more]) == 0
    return folder / "s"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return searched(tmp_path_factory.mktemp("family"), "sizes=64,96")


def rows(file):
    return list(csv.DictReader(file.read_text(encoding="utf-8").splitlines()))


def test_every_network_of_the_front_is_finished_and_measured_on_val(run):
    family, trials = rows(run / "family.csv"), rows(run / "trials.csv")
    assert family and {row["key"] for row in family} == {
        file.stem.removeprefix("nas-") for file in (run / "pareto").glob("*.pt")
    }
    assert [float(row["flops"]) for row in family] == sorted(float(r["flops"]) for r in family)
    assert {row["state"] for row in trials} == {"complete"}
    held = {row["key"]: row["fitness"] for row in trials}
    for row in family:
        assert 0 <= float(row["val"]) <= 1
        assert float(row["held_out"]) == pytest.approx(float(held[row["key"]]), abs=1e-4)
        assert YOLO(run / row["file"]).overrides["imgsz"] == int(row["imgsz"])
    # No network costs more than the parent, which is the limit where none is given.
    flops = {row["name"]: float(row["flops"]) for row in trials}
    assert max(float(row["flops"]) for row in family) <= flops["mine"]


def test_the_best_within_a_limit_is_taken_out_later(run, tmp_path, capsys):
    family = rows(run / "family.csv")
    cheapest, bound = family[0], float(family[0]["flops"])
    assert main(["extract", f"run={run}", f"max_flops={bound}", f"out={tmp_path}"]) == 0
    within = [r for r in rows(run / "trials.csv") if r["flops"] and float(r["flops"]) <= bound]
    best = max(within, key=lambda row: float(row["fitness"]))
    assert best["key"] in capsys.readouterr().out and cheapest["key"]
    assert main(["extract", f"run={run}", "max_flops=9", f"out={tmp_path}"]) == 2
    assert "max_flops=9: no network that the search" in capsys.readouterr().err
    assert main(["extract", f"run={run}", "max_latency=9", f"out={tmp_path}"]) == 2
    assert "knows no latency_ms" in capsys.readouterr().err


def test_a_limit_for_each_device_of_the_run(run, tmp_path, capsys):
    assert main(["extract", f"run={run}", "max_latency=9,8", f"out={tmp_path}"]) == 2
    assert "max_latency=9,8: the run's latency=None names 1 device" in capsys.readouterr().err


@pytest.mark.slow
def test_a_family_for_two_devices(tmp_path, capsys):
    profile = made_up()
    for name in ("pi", "desk"):
        save(profile, tmp_path / f"{name}.json")
    devices = f"latency={tmp_path / 'pi.json'},{tmp_path / 'desk.json'}"
    run = searched(tmp_path, devices, "sizes=64")
    columns = ("latency_pi_ms", "latency_desk_ms")
    family = rows(run / "family.csv")
    assert all(float(row[name]) > 0 for row in family for name in columns)
    assert "ms pi    ms desk" in capsys.readouterr().out
    times = [float(family[0][name]) for name in columns]
    limits = ",".join(map(str, times))
    assert main(["extract", f"run={run}", f"max_latency={limits}", f"out={tmp_path}"]) == 0
    assert family[0]["key"] in capsys.readouterr().out
    assert main(["extract", f"run={run}", f"max_latency={times[0]}", f"out={tmp_path}"]) == 2
    assert "names 2 devices; give one limit for each" in capsys.readouterr().err


@pytest.mark.slow
def test_a_network_that_is_taken_out_is_trained_on(run, tmp_path, capsys):
    key = rows(run / "family.csv")[0]["key"]
    assert main(["extract", f"run={run}", f"key={key}", "tune=1", f"out={tmp_path}"]) == 0
    assert "on val after 1 epochs more" in capsys.readouterr().out
    assert YOLO(tmp_path / f"nas-{key}.pt").ckpt["train_args"]["epochs"] == 1
