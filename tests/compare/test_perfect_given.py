"""A perfect model scores exactly 1 in `nas-compare` on every set that is given, end to end."""

import json
import shutil

import pytest

from tests.compare.test_trained import perfect
from yolo_nas_ext.cli import main
from yolo_nas_ext.commands import compare, data

pytestmark = [pytest.mark.realdata, pytest.mark.slow]
MASKS = ("mask_layouts", "soft_masks", "volumes", "dicom")
# What these are of: two volumes a file, colours a voxel, and pictures without a mask.
KEYS = {"volumes/fourd": {"volume": 0}}
WITHOUT = ("volumes/rgb", "dicom/palette")
BOXES = ("brain_tumor", "pcb_defects", "raccoon", "across", "within")
EXACT = 1e-12  # of sums of as many parts


def check(monkeypatch, capsys, folder, task, names):
    monkeypatch.setattr(compare, "Trained", perfect(folder, task))
    code = main(["nas-compare", "models=a.pt", "json=True", f"data={folder}"])
    assert code in (0, 3), folder  # where a file of labels mixes boxes and polygons
    found = json.loads(capsys.readouterr().out.splitlines()[-1])[0]
    for name in names:
        assert found[name] == pytest.approx(1, abs=EXACT), (folder, name)
    return found


@pytest.mark.parametrize("kind", MASKS)
def test_masks(kind, shared_inputs, tmp_path, monkeypatch, capsys):
    sets = [f"{kind}/{folder.name}" for folder in sorted((shared_inputs / kind).iterdir())]
    assert len(sets) >= 6
    for name in sets:
        if name in WITHOUT:
            continue
        keys = {"source": str(shared_inputs / name), "out": str(tmp_path / name), "val": 0.5}
        given = {"empty_masks": True, "jobs": 1, **KEYS.get(name, {})}
        assert data.main({**keys, **given, "task": "segment"}) == 0, name
        found = check(
            monkeypatch, capsys, tmp_path / name, "segment", ("AP", "mask_AP", "froc_cpm", "dice")
        )
        assert found["lesions"] >= 2 and found["patients"] >= 2, name


@pytest.mark.parametrize("more", ({}, {"spacing": 1.25}, {"axis": "coronal"}), ids=str)
def test_hippocampi(more, shared_data, tmp_path, monkeypatch, capsys):
    keys = {"source": str(shared_data / "msd_hippocampus"), "out": str(tmp_path / "set")}
    assert data.main({**keys, "task": "segment", "val": 0.1, **more}) == 3  # one has no mask
    check(monkeypatch, capsys, tmp_path / "set", "segment", ("AP", "mask_AP", "froc_cpm", "dice"))


@pytest.mark.parametrize("name", BOXES)
def test_boxes(name, shared_data, shared_inputs, tmp_path, monkeypatch, capsys):
    given = shared_data / name if (shared_data / name).is_dir() else shared_inputs / name
    shutil.copytree(given, tmp_path / name)
    check(monkeypatch, capsys, tmp_path / name, "detect", ("AP", "froc_cpm"))


@pytest.mark.parametrize("task", ("detect", "segment"))
def test_coco(task, shared_data, tmp_path, monkeypatch, capsys):
    keys = {"source": str(shared_data / "coco128/annotations/instances_train2017.json")}
    keys |= {"images": str(shared_data / "coco128/train2017"), "out": str(tmp_path / "set")}
    data.main({**keys, "task": task})
    names = ("AP", "mask_AP", "froc_cpm") if task == "segment" else ("AP", "froc_cpm")
    check(monkeypatch, capsys, tmp_path / "set", task, names)


def test_classes(shared_data, shared_inputs, tmp_path, monkeypatch, capsys):
    keys = {"source": str(shared_data / "mednist"), "out": str(tmp_path / "set")}
    data.main({**keys, "task": "classify", "class_from": "folder"})
    check(monkeypatch, capsys, tmp_path / "set", "classify", ("accuracy", "auc"))
    given = shared_inputs / "classification/csv"
    check(monkeypatch, capsys, given, "classify", ("accuracy", "auc"))
