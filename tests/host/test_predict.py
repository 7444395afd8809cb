"""What a checkpoint sees: pictures by their names, boxes and masks in their pixels."""

import cv2
import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from ultralytics import YOLO

from yolo_nas_ext.errors import NASError
from yolo_nas_ext.host.predict import NONE, Trained


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for index in range(3):
        cv2.imwrite(str(folder / f"{index}.png"), rng.integers(0, 255, (40, 72, 3), np.uint8))
    (folder / "damaged.png").write_bytes(b"no picture")
    return folder


@pytest.mark.parametrize("task", ["detect", "segment", "classify"])
def test_pictures_come_under_their_names(task, pictures, tmp_path, monkeypatch):
    suffix = {"detect": "", "segment": "-seg", "classify": "-cls"}[task]
    YOLO(f"yolo11n{suffix}.yaml").save(tmp_path / "model.pt")
    monkeypatch.chdir(pictures)
    model = Trained(tmp_path / "model.pt", "cpu")
    assert model.task == task and model.params > 1e6
    seen = list(model.see(["2.png", "damaged.png", "0.png"], imgsz=64))
    assert sorted(view.file for view in seen) == ["0.png", "2.png"]
    for view in seen:
        assert view.shape == (40, 72) and view.boxes.shape[1] == 6
        assert (view.boxes[:, [0, 2]] <= 72).all() and (view.boxes[:, [1, 3]] <= 40).all()
        assert (view.masks is not None) == (task == "segment")
        assert view.masks is None or view.masks.shape == (len(view.boxes), 40, 72)
        assert view.scores.shape == ((1000,) if task == "classify" else (0,))
    assert sorted(f.name for f in pictures.iterdir()) == ["0.png", "1.png", "2.png", "damaged.png"]


def saved(name, task, folder, **keys):
    """Write a network of Ultralytics' with other keys as ``model.pt``."""
    torch.manual_seed(0)  # of which the pictures of these tests are seen as something
    definition = {**YOLO(f"{name}.yaml").model.yaml, **keys}
    file = folder / f"{name}.yaml"
    file.write_text(yaml.safe_dump(definition))
    YOLO(file, task=task).save(folder / "model.pt")


@pytest.mark.parametrize("channels", (1, 3))
def test_pictures_in_memory_are_seen_as_files_are(channels, tmp_path):
    saved("yolo11n-seg", "segment", tmp_path, channels=channels, nc=2)
    rng = np.random.default_rng(1)
    pictures = [rng.integers(0, 255, (40, 72, 3)[: 2 + (channels == 3)], np.uint8) for _ in "ab"]
    for index, picture in enumerate(pictures):
        Image.fromarray(picture).save(tmp_path / f"{index}.png")
    seer = Trained(tmp_path / "model.pt", "cpu")
    files = list(seer.see([str(tmp_path / f"{i}.png") for i in range(2)], imgsz=64))
    memory = seer.look(pictures, imgsz=64, least=0.001)
    for one, other in zip(files, memory, strict=True):
        assert len(one.boxes) and one.shape == other.shape == (40, 72)
        np.testing.assert_array_equal(one.boxes, other.boxes)
        np.testing.assert_array_equal(one.masks, other.masks)


def test_semantic_models_say_how_sure_they_are(pictures, tmp_path):
    for nc in (1, 3):
        saved("yolo26n-sem", "semantic", tmp_path, nc=nc)
        (view,) = Trained(tmp_path / "model.pt", "cpu").see([str(pictures / "0.png")], imgsz=64)
        assert view.classes.shape == view.sure.shape == (40, 72) and len(view.boxes) == 0
        assert set(np.unique(view.classes)) <= {*range(nc), NONE}
        assert (view.sure >= 0.5 if nc == 1 else view.sure >= 1 / 3).all() and view.sure.max() <= 1


def test_what_is_no_checkpoint(tmp_path):
    with pytest.raises(NASError, match="no such checkpoint"):
        Trained(tmp_path / "absent.pt")
    (tmp_path / "damaged.pt").write_bytes(b"x")
    with pytest.raises(NASError, match="cannot be loaded"):
        Trained(tmp_path / "damaged.pt")
