"""What version 0.1 wrote, before its modules were moved, is still read, resumed and extracted."""

import json
import shutil
import subprocess
import sys

import pytest
from ultralytics import YOLO

from yolo_nas_ext.cli import main
from yolo_nas_ext.console import number
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
        assert number(known[file.stem.removeprefix("nas-")]) in lines
        YOLO(file)


def test_its_profile_predicts_what_it_predicted(folder, capsys):
    given = [f"latency={folder / 'device.json'}", "model=yolo11n", "imgsz=64", "json=True"]
    assert main(["score", *given]) == 0
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert said["predicted_ms"] == pytest.approx(0.8964622757176964, rel=1e-9)
    assert (said["key"], said["params"], said["flops"]) == ("0280480fd6", 2624080, 66124928)
    assert said["madnas"] == pytest.approx(1753.3361416035045, rel=1e-12)


@pytest.mark.usefixtures("catalogue")
@pytest.mark.parametrize(
    "keys",
    [
        ["blocks=residual.py", "space=own.yaml", "estimator=resolved"],
        ["estimator=lean.py:Lean", "space=../nano.yaml", "epochs=1", "imgsz=32", "batch=32"],
        ["strategy=greedy.py:Greedy", "estimator=resolved"],
    ],
    ids=["block", "estimator", "strategy"],
)
def test_what_its_guide_told_users_to_write_goes_on(folder, monkeypatch, keys):
    monkeypatch.chdir(folder / "guide")
    more = ["data=cells", "baseline=none", "trials=2", "confirm=0", "project=runs"]
    assert main(["search", *keys, *more]) == 0


def test_a_copy_of_its_data_yaml_goes_on(folder):
    """Ultralytics runs its `download:`, in a process that has loaded nothing of ours."""
    code = (
        "from yolo_nas_ext.data.synthetic import cells\n"
        "from yolo_nas_ext.data.phantoms import lesions, nuclei\n"
        "from yolo_nas_ext.data.recipes import recipe\n"
        "from yolo_nas_ext.host import startup\n"
        "print(cells.__module__, startup.__name__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    today = "yolo_nas_ext.data.builtin.cells yolo_nas_ext.host.plugin.startup"
    assert done.stdout.strip() == today


def test_a_path_that_never_was_is_not_found():
    with pytest.raises(ModuleNotFoundError, match=r"yolo_nas_ext\.space\.nothing"):
        __import__("yolo_nas_ext.space.nothing")
