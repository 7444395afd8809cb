import hashlib
import os
import shutil
from pathlib import Path

import pytest

from tests.helpers.shapes import draw
from yolo_nas_ext.errors import NASError
from yolo_nas_ext.host.dataset import read


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    return draw(tmp_path_factory.mktemp("shapes"))


@pytest.fixture
def folder(drawn, tmp_path):
    shutil.copytree(drawn.parent, tmp_path / "set")
    return tmp_path / "set"


def state(folder):
    return {
        p.relative_to(folder): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in folder.rglob("*")
        if p.is_file()
    }


def test_reads_what_the_host_reads(folder):
    """The oracle: Ultralytics' own data set over the same folder."""
    from ultralytics.data import YOLODataset

    data = read(folder / "data.yaml")
    host = YOLODataset(data.data["train"], data=data.data, task="detect", imgsz=64)
    assert list(data.images) == host.im_files and data.nc == 2 and data.channels == 3
    for mine, theirs in zip(data.labels, host.labels, strict=True):
        assert mine["shape"] == theirs["shape"]
        assert sorted(map(tuple, mine["bboxes"])) == sorted(map(tuple, theirs["bboxes"]))
        assert sorted(mine["cls"].ravel()) == sorted(theirs["cls"].ravel())


def test_a_folder_without_yaml(folder):
    (folder / "data.yaml").unlink()
    assert read(folder).names == {0: "class_0", 1: "class_1"}
    (folder / "classes.txt").write_text("square\nround\n")
    data = read(folder)
    assert data.names == {0: "square", 1: "round"} and data.yaml is None and len(data.images) == 12


def test_a_yaml_that_only_names_the_classes_of_a_folder(folder):
    (folder / "data.yaml").write_text("names: [square, round]")
    data = read(folder)
    assert data.names == {0: "square", 1: "round"} and data.yaml is None and len(data.images) == 12
    (folder / "data.yaml").write_text("names: {0: square, 5: round}")
    with pytest.raises(NASError, match="key 'names'"):
        read(folder)


def test_hidden_files_are_no_images(folder):
    (folder / "images" / "train" / "._000.png").write_bytes(b"left by macOS")
    data = read(folder)
    assert len(data.images) == 12 and not data.skipped


def test_a_folder_with_a_yaml_uses_it(folder):
    assert read(folder).yaml == folder / "data.yaml"


def test_nothing_is_written_and_nothing_changed(folder):
    truncated = folder / "images" / "train" / "photo.jpg"
    import cv2
    import numpy as np

    cv2.imwrite(str(truncated), np.zeros((64, 64, 3), np.uint8))
    truncated.write_bytes(truncated.read_bytes()[:-2])  # Ultralytics would rewrite this file
    before = state(folder)
    read(folder)
    assert state(folder) == before


def test_a_corrupt_image_is_named_and_skipped(folder):
    bad = folder / "images" / "train" / "003.png"
    bad.write_bytes(bad.read_bytes()[:80])
    (folder / "images" / "train" / "004.png").write_bytes(b"no image")
    data = read(folder)
    assert len(data.images) == 10 and len(data.skipped) == 2
    assert "003.png" in data.skipped[0] and "004.png" in data.skipped[1]


def test_missing_and_empty_labels_are_backgrounds(folder):
    (folder / "labels" / "train" / "000.txt").unlink()
    (folder / "labels" / "train" / "001.txt").write_text("\n")
    assert [len(label["cls"]) for label in read(folder).labels[:2]] == [0, 0]


def test_polygons_become_boxes(folder):
    for file in (folder / "labels" / "train").glob("*.txt"):
        file.write_text("1 0.1 0.2 0.5 0.2 0.5 0.6 0.1 0.6\n")
    label = read(folder).labels[0]
    assert label["bboxes"][0] == pytest.approx([0.3, 0.4, 0.4, 0.4]) and len(label["segments"]) == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder(folder):
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o500 if path.is_dir() else 0o400)
    assert len(read(folder).images) == 12


def put(name, text):
    return lambda folder: (folder / "labels" / "train" / name).write_text(text)


def names(text, train="train: images/train"):
    content = f"{train}\nval: images/val\nnames: {text}"
    return lambda folder: (folder / "data.yaml").write_text(content)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (put("002.txt", "0 .5 .5 .1 .1\n2 .5 .5 .1 .1"), r"002\.txt, line 2: class 2 .*0 to 1"),
        (put("002.txt", "-1 .5 .5 .1 .1"), r"line 1: class -1 is out of range"),
        (put("002.txt", "0.5 .5 .5 .1 .1"), r"line 1: class 0\.5 is out of range"),
        (put("002.txt", "cat .5 .5 .1 .1"), r"line 1: 'cat .* is not numbers"),
        (put("002.txt", "nan .5 .5 .1 .1"), r"line 1: class nan is out of range"),
        (put("002.txt", "1e400 .5 .5 .1 .1"), r"line 1: class 1e400 is out of range"),
        (put("002.txt", "0 .5 nan .1 .1"), r"line 1: coordinates .* not relative"),
        (put("002.txt", "0 .5 .5 -0.005 .1"), r"line 1: a box of width -0\.005"),
        (lambda f: (f / "labels/train/002.txt").write_bytes(b"\xff\xfe\0"), r"002\.txt: not a t"),
        (put("002.txt", "0 .5 .5 .1"), r"line 1: 4 values; a box has 5"),
        (put("002.txt", "0 50 60 10 10"), r"line 1: coordinates .* not relative"),
        (put("002.txt", "0 .5 .5 .1 .1\n0 0 0 0 1 1 1"), r"mixes boxes and polygons"),
        (lambda f: shutil.rmtree(f / "labels"), "no labels at all"),
        (lambda f: shutil.rmtree(f / "images" / "val"), "val"),
        (lambda f: (f / "data.yaml").write_text("train: images/train\nval: images/val"), "names"),
        (lambda f: (f / "data.yaml").write_text("val: images/val"), "key 'train' is missing"),
        (lambda f: (f / "data.yaml").write_text("[1, 2]"), "holds no keys"),
        (lambda f: (f / "data.yaml").write_text("a: ["), "not a YAML file"),
        (names("{-1: a, 0: b}"), r"key 'names': the classes are -1, 0; number the 2 of them from"),
        (names("{one: a, two: b}"), r"key 'names': the classes are one, two;"),
        (names("[a, b]\nchannels: 0"), "channels=0: give a whole number"),
        (names("[a, b]\nchannels: rgb"), "channels=rgb: give a whole number"),
        (names("[a, b]\ntrain: [1, 2]", train=""), r"key 'train': \[1, 2\]; give a folder"),
        (names("[a, b]\npath: nowhere\ndownload: exit(3)"), "its download code exits with 3"),
        (lambda f: [p.unlink() for p in (f / "images/val").iterdir()], "val: no images"),
        (lambda f: [p.unlink() for p in (f / "images/train").iterdir()], "train: no images"),
        (lambda f: [p.write_bytes(b"x") for p in (f / "images/train").iterdir()], "none of 12"),
    ],
)
def test_bad_data_is_one_clear_line(folder, damage, message):
    damage(folder)
    with pytest.raises(NASError, match=message) as caught:
        read(folder / "data.yaml")
    assert "\n" not in str(caught.value)


def test_a_folder_that_is_no_data_set(tmp_path):
    with pytest.raises(NASError, match=r"no data\.yaml and no folder images/train"):
        read(tmp_path)
    with pytest.raises(NASError, match="data=cel: no such file or folder"):
        read("cel")


@pytest.mark.realdata
def test_brain_tumour_slices(shared_data):
    data = read(shared_data / "brain_tumor")
    assert len(data.images) == 893 and data.nc == 2 and not data.skipped
    assert sum(not len(label["cls"]) for label in data.labels) == 15  # without labels in the source


def test_the_part_that_a_search_does_not_look_at(folder):
    train, val = (read(folder, part=part) for part in ("train", "val"))
    for data, part in ((train, "train"), (val, "val")):
        assert {Path(i).parent.name for i in data.images} == {part}
        assert all(Path(label["im_file"]).parent.name == part for label in data.labels)
    assert train.data == val.data and train.names == val.names
    shutil.rmtree(folder / "labels" / "val")
    with pytest.raises(NASError, match="val: no labels at all"):
        read(folder, part="val")
