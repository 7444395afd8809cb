"""A search from trained weights as a user types it, through Ultralytics' own trainer."""

import csv
import io
import os
import subprocess
import sys

import pytest
from ultralytics import YOLO

from tests.helpers.parents import small
from yolo_nas_ext.cli import main
from yolo_nas_ext.data.builtin.cells import ensure_cells
from yolo_nas_ext.estimators.training import ShortTraining
from yolo_nas_ext.host import dataset
from yolo_nas_ext.network.parse import read

SHORT = ["imgsz=64", "epochs=1", "batch=8", "threads=1", "final_epochs=1", "final_batch=8"]
LEAN = """
from yolo_nas_ext import ShortTraining, costs, training_options


class Lean(ShortTraining):
    def __init__(self, config, data):
        super().__init__(data, **training_options(config))

    def estimate(self, architecture, *more, **named):
        metrics = super().estimate(architecture, *more, **named)
        millions = costs(architecture, self.data.nc, self.imgsz).params / 1e6
        return {**metrics, "fitness": metrics["map50"] - 0.01 * millions}
"""
NATIVE = """
import sys
sys.modules["yolo_nas_ext"] = None  # as if it were not installed
from ultralytics import YOLO
file, data, folder = sys.argv[1:]
model = YOLO(file)
metrics = model.val(data=data, imgsz=64, workers=0, project=folder, verbose=False, plots=False)
assert metrics.box.map >= 0
model.train(data=data, imgsz=64, epochs=1, batch=8, workers=0, project=folder, plots=False,
            verbose=False, amp=False)
"""


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    return ensure_cells(tmp_path_factory.mktemp("cells"), train=24, val=8, size=64) / "data.yaml"


@pytest.fixture(scope="module")
def mine(cells, tmp_path_factory):
    """A tiny network after an epoch of training."""
    file = tmp_path_factory.mktemp("parents") / "mine.pt"
    training = ShortTraining(dataset.read(cells), epochs=1, imgsz=64, batch=8, threads=1)
    training.estimate(small(), weights=file)
    return file


def rows(file):
    return list(csv.DictReader(io.StringIO(file.read_text(encoding="utf-8"))))


def search(*keys):
    assert main(["search", *SHORT, "confirm=0", *map(str, keys)]) == 0


@pytest.fixture(scope="module")
def run(cells, mine, tmp_path_factory):
    project = tmp_path_factory.mktemp("runs")
    search(f"data={cells}", f"model={mine}", f"project={project}", "trials=6", "name=s")
    return project / "s"


def test_from_the_parent_to_the_finished_network(run, mine):
    parent, *others = rows(run / "trials.csv")
    assert parent["name"] == "mine" and parent["state"] == "complete"
    assert float(parent["inherited_percent"]) > 99
    flops = float(parent["flops"])
    assert all(float(row["flops"]) <= flops for row in others)
    assert all(float(row["inherited_percent"]) > 0 for row in others if row["state"] == "complete")
    assert any(row["name"].startswith("parent ") for row in others)
    assert any(not row["name"] for row in others)
    finals = {row["model"]: row for row in rows(run / "finals" / "comparison.csv")}
    assert {"mine", "mine (stock)"} <= finals.keys()
    assert float(finals["mine"]["inherited_percent"]) > 99
    assert "- initial weights: mine.pt" in (run / "verdict.md").read_text()
    found = read(run / "best.yaml")
    assert found.imgsz in (64, 96, 128) and YOLO(run / "best.pt").task == "detect"
    assert "The networks" in (run / "report.html").read_text()


def test_an_estimator_of_the_users_starts_from_the_parent_too(cells, mine, tmp_path):
    """As in docs/guides/extend.md."""
    (tmp_path / "lean.py").write_text(LEAN)
    keys = (f"data={cells}", f"model={mine}", f"project={tmp_path}", "trials=2", "pencils=False")
    own = f"estimator={tmp_path / 'lean.py'}:Lean"
    search(*keys, own, "finalists=0", "strategy=random")  # which scores no changes first
    first, second = rows(tmp_path / "search" / "trials.csv")
    assert first["state"] == second["state"] == "complete"
    assert float(first["inherited_percent"]) > 99 and float(second["inherited_percent"]) > 0
    assert float(first["fitness"]) < float(first["map50"])


@pytest.mark.slow
def test_the_finished_network_is_a_parent_again(run, cells, tmp_path):
    keys = (f"model={run / 'best.pt'}", f"data={cells}", f"project={tmp_path}", "trials=2")
    search(*keys, "finalists=0", "pencils=False")
    (first, *_) = rows(tmp_path / "search" / "trials.csv")
    assert first["name"] == "best" and float(first["inherited_percent"]) > 99


@pytest.mark.slow
@pytest.mark.parametrize("safe", ["0", "1"])
def test_stock_ultralytics_goes_on_with_it(run, cells, tmp_path, safe):
    arguments = [str(run / "best.pt"), str(cells), str(tmp_path)]
    environment = {**os.environ, "ULTRALYTICS_SAFE_LOAD": safe}
    subprocess.run(
        [sys.executable, "-c", NATIVE, *arguments],
        check=True,
        env=environment,
        cwd=tmp_path,
        capture_output=True,
    )


@pytest.mark.slow
def test_within_the_measured_latency_of_the_parent(cells, mine, tmp_path, capsys):
    keys = (f"data={cells}", f"model={mine}", f"project={tmp_path}", "trials=3", "pencils=False")
    search(*keys, "finalists=0", "latency=measure")
    assert "the latency of mine at 64 px" in capsys.readouterr().out
    first, *others = rows(tmp_path / "search" / "trials.csv")
    assert first["state"] == "complete" and float(first["latency_ms"]) > 0
    assert all(row["state"] == "complete" or "latency:" in row["error"] for row in others)


@pytest.mark.slow
def test_a_parent_that_cannot_be_changed_is_the_baseline(cells, tmp_path):
    YOLO("yolo12n.yaml", verbose=False).save(tmp_path / "twelve.pt")
    keys = (f"data={cells}", f"model={tmp_path / 'twelve.pt'}", f"project={tmp_path}", "trials=2")
    search(*keys, "space=tiny")
    first, second = rows(tmp_path / "search" / "trials.csv")
    assert (first["name"], first["key"], second["name"]) == ("twelve", "", "")
    assert {first["state"], second["state"]} == {"complete"} and not second.get("inherited_percent")
    said = (tmp_path / "search" / "verdict.md").read_text()
    assert "- mixture: " in said and "twelve (stock)" in said


@pytest.mark.realdata
@pytest.mark.slow
def test_weights_of_coco(shared_data, cells, tmp_path, capsys):
    file = shared_data / "yolo11n_coco" / "yolo11n.pt"
    keys = (f"data={cells}", f"model={file}", f"project={tmp_path}", "trials=4", "fix=imgsz:64")
    search(*keys)
    out = capsys.readouterr().out
    first, *_ = rows(tmp_path / "search" / "trials.csv")
    assert first["name"] == "yolo11n" and "max_flops=" in out
    assert f"yolo val model={tmp_path / 'search' / 'best.pt'}" in out
