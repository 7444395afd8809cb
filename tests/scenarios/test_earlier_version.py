"""What version 0.1 wrote, before its modules were moved, is still read, resumed and extracted."""

import json
import shutil

import pytest
from ultralytics import YOLO

from yolo_nas_ext.cli import main
from yolo_nas_ext.space.detector import DetectorSpace
from yolo_nas_ext.study.study import Study

# Made by: yolo nas-search data=cells space=nano.yaml baseline=none trials=3 epochs=1 imgsz=64
# confirm=0 project=runs name=short, and name=supernet estimator=supernet sampling=spos batch=16;
# yolo nas-profile imgsz=64 minutes=0.05.
KEYS = ["8f847bcae9", "fad5374e01", "79bde874d3"]
FITNESS = [0.010685230445046564, 0.010600473101706356, 0.010595326210173993]


@pytest.fixture
def folder(root, tmp_path, monkeypatch):
    """A copy of what it wrote; relative paths are those that it was given."""
    shutil.copytree(root / "tests" / "fixtures" / "v0.1", tmp_path / "runs")
    monkeypatch.chdir(tmp_path / "runs")
    return tmp_path / "runs"


def trials(folder):
    found = Study(DetectorSpace.load("nano.yaml"), folder / "study.db").trials
    return [(t.architecture.key, t.fitness) for t in found]


def test_its_record_is_read(folder):
    assert trials(folder / "short") == list(zip(KEYS, FITNESS, strict=True))


def test_its_run_is_resumed(folder):
    assert main(["search", f"resume={folder / 'short'}", "trials=4"]) == 0
    after = trials(folder / "short")
    assert after[:3] == list(zip(KEYS, FITNESS, strict=True)) and len(after) == 4
    assert (folder / "short" / "report.html").is_file()
    YOLO(folder / "short" / "best.pt")


def test_networks_are_extracted_from_its_supernet(folder, capsys):
    assert main(["extract", f"run={folder / 'supernet'}", f"out={folder / 'out'}"]) == 0
    lines = capsys.readouterr().out
    files = sorted((folder / "out").glob("*.pt"))
    assert files and all(str(file) in lines for file in files)
    # What it recorded of the same network with the same weights.
    study = Study(DetectorSpace.load("nano.yaml"), folder / "supernet" / "study.db")
    known = {t.architecture.key: t.fitness for t in study.trials}
    for file in files:
        assert f"{known[file.stem.removeprefix('nas-')]:.4f}" in lines
        YOLO(file)


def test_its_profile_predicts_what_it_predicted(folder, capsys):
    given = [f"latency={folder / 'device.json'}", "model=yolo11n", "imgsz=64", "json=True"]
    assert main(["score", *given]) == 0
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert said["predicted_ms"] == pytest.approx(0.8964622757176964, rel=1e-9)
    assert (said["key"], said["params"], said["flops"]) == ("0280480fd6", 2624080, 66124928)
    assert said["madnas"] == pytest.approx(1753.3361416035045, rel=1e-12)
