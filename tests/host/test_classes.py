"""Folders of classes, in the layouts that people have."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from yolo_nas_ext.errors import NASError
from yolo_nas_ext.host.dataset import read


def made(folder, *parts, classes=("cat", "dog"), n=5):
    """Draw n pictures a class and part."""
    rng = np.random.default_rng(0)
    for part in parts:
        for name in classes:
            place = folder / part / name
            place.mkdir(parents=True, exist_ok=True)
            for index in range(n):
                array = rng.integers(0, 255, (16, 16, 3), dtype=np.uint8)
                Image.fromarray(array).save(place / f"{name}{index}.png")
    return folder


def parts_of(data):
    return {Path(image).parent.parent.name for image in data.images}


@pytest.mark.parametrize(
    ("parts", "val"),
    [
        (("train", "val", "test"), "val"),
        (("train", "valid", "test"), "valid"),
        (("train", "validation"), "validation"),
        (("Train", "Val"), "Val"),
        (("TRAINING", "VALIDATION", "TESTING"), "VALIDATION"),
        (("train", "test"), "test"),
    ],
)
def test_parts(parts, val, tmp_path):
    folder = made(tmp_path, *parts)
    train, measured = (read(folder, "classify", part) for part in ("train", "val"))
    assert parts_of(train) == {parts[0]} and parts_of(measured) == {val}
    assert train.names == {0: "cat", 1: "dog"} and not train.notes
    assert train.data["val"] == str(folder / val)


def test_hidden_folders_are_no_classes(tmp_path):
    folder = made(tmp_path, "train", "val")
    for name in (".ipynb_checkpoints", "__MACOSX"):
        made(folder, "train", classes=(name,), n=1)
    data = read(folder, "classify")
    assert data.names == {0: "cat", 1: "dog"} and data.nc == 2 and len(data.images) == 10
    assert sorted({int(label["cls"][0, 0]) for label in data.labels}) == [0, 1]


@pytest.mark.parametrize("part", ["", "train"])
def test_one_folder_without_a_split(part, tmp_path):
    folder = made(tmp_path, part, n=10)
    train, val = (read(folder, "classify", part) for part in ("train", "val"))
    assert len(train.images) == 16 and len(val.images) == 4
    assert not set(train.images) & set(val.images)
    assert all(set(map(len, data.classes)) == {1} for data in (train, val))
    assert {c for held in val.classes for c in held} == {0, 1}
    assert any("has no val: 20%" in note for note in train.notes)


def test_classes_of_one_side_alone(tmp_path):
    folder = made(made(tmp_path, "train"), "val", classes=("cat", "bird"))
    data = read(folder, "classify", "val")
    assert len(data.images) == 5 and any("left out of val: bird" in note for note in data.notes)


def test_what_is_no_folder_of_classes(tmp_path):
    with pytest.raises(NASError, match="two or more"):
        read(made(tmp_path, "train", "val", classes=("cat",)), "classify")
    with pytest.raises(NASError, match="no folder test/"):
        read(made(tmp_path, "train", "val"), "classify", "test")


@pytest.mark.realdata
def test_a_table_beside_the_classes(shared_inputs):
    data = read(shared_inputs / "classification" / "csv", "classify")
    assert data.names == {0: "cat", 1: "dog"} and len(data.images) == 12


def test_a_class_without_images_is_said(tmp_path):
    folder = made(made(tmp_path, "train", "val"), "train", classes=("bird",), n=1)
    (folder / "train/empty").mkdir()
    train, val = (read(folder, "classify", part) for part in ("train", "val"))
    assert "train has no image of 1 of its 4 classes: empty" in train.notes
    assert "val has no image of 2 of its 4 classes: bird, empty" in val.notes


def test_images_of_one_class_alone_are_refused(tmp_path):
    folder = made(tmp_path, "train", "val")
    for file in (folder / "train/dog").iterdir():
        file.unlink()
    with pytest.raises(NASError, match=r"train: all 5 images are of class cat"):
        read(folder, "classify")


def test_a_part_without_images_is_named(tmp_path):
    folder = made(tmp_path, "train")
    (folder / "val/cat").mkdir(parents=True)
    with pytest.raises(NASError, match=r"val: no images in .*val"):
        read(folder, "classify", "val")
