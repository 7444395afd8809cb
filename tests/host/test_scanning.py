"""Images and labels read once, on all cores, and known again where nothing has changed."""

import os
import pickle
from dataclasses import replace

import cv2
import numpy as np
import pytest
from ultralytics.data import YOLODataset, utils

from yolo_nas_ext.estimators import training
from yolo_nas_ext.estimators.training import ShortTraining
from yolo_nas_ext.host import data_identity, dataset, labels, scan_cache, scanning
from yolo_nas_ext.host.scan_cache import Looked

LABELS = ("0 0.5 0.5 0.4 0.2", "1 0.3 0.4 0.2 0.2\n0 0.6 0.6 0.3 0.3", "", "7 0.5 0.5 0.4 0.2")


@pytest.fixture
def many(tmp_path, monkeypatch):
    """A data set of twelve images that counts as a large one, with what goes wrong in such ones."""
    monkeypatch.setattr(scanning, "WORTH", 1)
    monkeypatch.setenv("YOLO_NAS_CACHE", str(tmp_path / "cache"))
    random = np.random.default_rng(0)
    for part in ("train", "val"):
        (tmp_path / "images" / part).mkdir(parents=True)
        (tmp_path / "labels" / part).mkdir(parents=True)
    for index in range(12):
        part, end = ("val" if index > 9 else "train"), ("png" if index % 3 else "jpg")
        picture = random.integers(0, 256, (24 + index, 32, 3), np.uint8)
        cv2.imwrite(str(tmp_path / "images" / part / f"{index}.{end}"), picture)
        text = LABELS[3 if index == 7 else index % 3]
        (tmp_path / "labels" / part / f"{index}.txt").write_text(text)
    short = tmp_path / "images" / "train" / "6.jpg"
    short.write_bytes(short.read_bytes()[:-300])
    names = "names: {0: a, 1: b}\n"
    (tmp_path / "data.yaml").write_text(
        f"path: {tmp_path}\ntrain: images/train\nval: images/val\n{names}"
    )
    return tmp_path / "data.yaml"


def said(data, *, contents=True):
    """All that is known of a data set, in values that compare."""
    arrays = [
        {k: v.tolist() if isinstance(v, np.ndarray) else str(v) for k, v in label.items()}
        for label in data.labels
    ]
    same = [data.contents.index(one) for one in data.contents]
    kept = data.contents if contents else same
    return arrays, data.images, kept, data.skipped, data.kin, data.together, data.notes


def forbidden(*args, **kwargs):
    raise AssertionError("is read once more")


def test_a_second_start_knows_what_the_first_has_read(many, monkeypatch):
    monkeypatch.setattr(scanning, "WORTH", 100)
    plain = said(dataset.read(many))
    monkeypatch.setattr(scanning, "WORTH", 1)
    assert said(dataset.read(many)) == plain
    monkeypatch.setattr(labels.Reading, "__call__", forbidden)
    assert said(dataset.read(many)) == plain
    assert len(plain[3]) == 2  # half a picture, and a class that is none


def test_what_follows_from_the_files_is_known_as_well(many, monkeypatch):
    """The split and the identity of many images: kept, and as without, until a file changes."""
    monkeypatch.setattr(data_identity, "MANY", 1)
    first = dataset.read(many)
    plain = replace(first, stamp="")
    split = ShortTraining(first, val_fraction=0.3).split
    assert split == ShortTraining(plain, val_fraction=0.3).split
    assert split != ShortTraining(first, val_fraction=0.3, seed=1).split
    known = data_identity.identity(first)
    assert known == data_identity.identity(plain)
    with monkeypatch.context() as patched:
        patched.setattr(training, "hold_out", forbidden)
        again = dataset.read(many)
        assert data_identity.identity(replace(again, labels=()), known) == known  # not read
        assert ShortTraining(again, val_fraction=0.3).split == split
    file = many.parent / "labels" / "train" / "3.txt"
    file.write_text(file.read_text().replace("0.5", "0.4"))
    os.utime(file, ns=(1, 1))
    now = dataset.read(many)
    assert now.stamp != first.stamp
    assert data_identity.changes(known, data_identity.identity(now, known)) == ["other labels"]


def test_a_choice_of_images_is_not_what_was_kept_of_all(many):
    data = dataset.read(many)
    assert data.stamp and not dataset.drawn(data, 4, seed=0).stamp
    assert not dataset.joined(data, dataset.read(many, part="val")).stamp


def test_what_has_changed_is_read_again_alone(many, monkeypatch):
    dataset.read(many)
    file = many.parent / "labels" / "train" / "0.txt"
    file.write_text("1 0.5 0.5 0.25 0.25")
    (many.parent / "images" / "train" / "3.jpg").unlink()
    read, seen = labels.Reading.__call__, []
    monkeypatch.setattr(
        labels.Reading, "__call__", lambda *args: seen.append(args[1]) or read(*args)
    )
    found = dataset.read(many)
    assert [os.path.basename(image) for image in seen] == ["0.jpg"]
    assert found.labels[0]["cls"].tolist() == [[1.0]] and len(found.images) == 7


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 and then nothing", pickle.dumps({})])
def test_a_damaged_file_is_made_anew(many, damage):
    plain = said(dataset.read(many))
    for file in (many.parent / "cache").rglob("*.*"):
        file.write_bytes(damage)
    assert said(dataset.read(many)) == plain


@pytest.mark.parametrize("python", [None, "/bin/false", "/no/such/program"])
def test_processes_read_the_same_by_header(many, monkeypatch, python):
    plain = said(dataset.read(many), contents=False)
    for module in (scanning, dataset):
        monkeypatch.setattr(module, "MANY", 1)
    if python:
        monkeypatch.setattr(scanning.sys, "executable", python)
    found = dataset.read(many)
    assert said(found, contents=False) == plain
    assert found.contents != dataset.read(many.parent, part="val").contents


@pytest.mark.parametrize("task", ["detect", "segment"])
def test_polygons_and_poses_come_back_as_they_were(tmp_path, task):
    outlines = [np.array([[0, 0], [1, 0], [1, 1]], np.float32), np.eye(4, 2, dtype=np.float32)]
    images = ["a.png", "b.png", "ü\udcff.png"]
    boxes = np.arange(8, dtype=np.float32).reshape(2, 4)
    base = {"normalized": True, "bbox_format": "xywh", "shape": (4, 5)}
    points = np.ones((2, 3, 3), np.float32) if task == "detect" else None
    whole = {**base, "im_file": "a.png", "cls": np.ones((2, 1), np.float32), "bboxes": boxes}
    whole |= {"segments": outlines, "keypoints": points}
    none = {n: v[:0] if isinstance(v, (list, np.ndarray)) else v for n, v in whole.items()}
    looked = [
        Looked(scan_cache.Seen((4, 5), "", "x", 2, b"\0\1"), whole),
        Looked(scan_cache.Seen((4, 5)), {**none, "im_file": "b.png"}),
        Looked(scan_cache.Seen(None, "too small")),
    ]
    now = scan_cache.stamps(images, images)
    scan_cache.save(tmp_path / "a.npz", images, now, looked)
    found = scan_cache.load(tmp_path / "a.npz", images, now)
    for index, one in enumerate(looked):
        back = found[index]
        assert (back.seen, back.wrong) == (one.seen, one.wrong)
        assert sorted((back.label or {}).items(), key=repr).__repr__() == repr(
            sorted((one.label or {}).items(), key=repr)
        )
    assert not scan_cache.load(tmp_path / "a.npz", images, now + 1)


def test_labels_of_ultralytics_are_taken_where_they_are_of_these_files(many, monkeypatch):
    images = str(many.parent / "images" / "train")
    about = {"names": {0: "a", 1: "b"}, "channels": 3}
    held = YOLODataset(images, data=about, task="detect", imgsz=32)
    every = sorted(map(str, (many.parent / "images" / "train").iterdir()))
    files = (every, utils.img2label_paths(every))
    nc = (False, 2, None, False)
    found = scan_cache.of_host(*files, nc)
    assert len(found) == len(held.labels) > 5
    assert not scan_cache.of_host(*files, (False, 3, None, False))
    plain = said(dataset.read(many), contents=False)
    for file in (many.parent / "cache" / scan_cache.FOLDER).iterdir():
        file.unlink()
    monkeypatch.setattr(scanning, "MANY", 1)
    monkeypatch.setattr(scanning.sys, "executable", "/bin/false")
    monkeypatch.setattr(labels, "look", lambda image, *a, **k: scan_cache.Seen((9, 9)))
    read, seen = labels.Reading.__call__, []
    monkeypatch.setattr(
        labels.Reading, "__call__", lambda *args: seen.append(args[1]) or read(*args)
    )
    again = dataset.read(many)
    assert again.images and all(label["shape"] == (9, 9) for label in again.labels)
    assert {*seen} & {*found} == set() and len(plain[1]) <= len(again.images)


class Bad:
    """What runs a command where it is read without care."""

    def __reduce__(self):
        return os.system, ("touch was_run",)


def test_nothing_in_a_file_of_ultralytics_is_run(many, monkeypatch):
    monkeypatch.chdir(many.parent)
    file = many.parent / "labels" / "train.cache"
    with file.open("wb") as out:
        np.save(out, {"version": Bad()}, allow_pickle=True)
    image = str(many.parent / "labels" / "train" / "0.txt")
    assert scan_cache.of_host([image], [image], None) == {}
    assert not (many.parent / "was_run").exists()
