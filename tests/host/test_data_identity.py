"""A run that is resumed on other data than it began with says what differs."""

import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from PIL import Image

from tests.helpers.shapes import draw, draw_for, relabel
from yolo_nas_ext import run_dir
from yolo_nas_ext.cli import main
from yolo_nas_ext.data.builtin.cells import ensure_cells
from yolo_nas_ext.host import dataset
from yolo_nas_ext.host.data_identity import changes, digest, identity
from yolo_nas_ext.pipeline import plan


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    return ensure_cells(tmp_path_factory.mktemp("cells"), train=6, val=3, size=64)


@pytest.fixture
def cells(original, tmp_path):
    return shutil.copytree(original, tmp_path / "cells")


class Invented:
    """Stands in for the short trainings."""

    seeded = False
    fidelity = {"epochs": 1.0}  # noqa: RUF012

    def estimate(self, architecture, fidelity=None, report=None, weights=None):
        return {"fitness": int(architecture.key, 16) % 1000 / 1000}


def first(cells, kind):
    return sorted((cells / kind / "train").iterdir())[0]


def one_label_less(cells):
    file = first(cells, "labels")
    file.write_text("".join(file.read_text().splitlines(keepends=True)[1:]))


def one_label_moved(cells):
    file = first(cells, "labels")
    c, x, *rest = file.read_text().split(" ")
    file.write_text(" ".join([c, f"{float(x) * 0.9:.6f}", *rest]))


def one_image_less(cells):
    first(cells, "images").unlink()


def another_picture(cells):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(first(cells, "images"))


def other_classes(cells):
    content = yaml.safe_load((cells / "data.yaml").read_text())
    content["names"][0] = "other"
    (cells / "data.yaml").write_text(yaml.safe_dump(content))


CHANGES = [
    (one_label_less, "training objects then, "),
    (one_label_moved, "other labels"),
    (one_image_less, "6 training images then, 5 now"),
    (another_picture, "images of other names or sizes"),
    (other_classes, "other"),
]


@pytest.mark.parametrize(("change", "said"), CHANGES)
def test_what_has_changed(cells, change, said):
    data = cells / "data.yaml"
    before = identity(dataset.read(data))
    recorded = yaml.safe_load(yaml.safe_dump(before))
    assert identity(dataset.read(data), recorded) == recorded == before
    change(cells)
    (text, *_) = changes(before, identity(dataset.read(data), before))
    assert said in text


def test_a_data_set_that_was_moved_or_touched_is_the_same(cells, tmp_path):
    before = identity(dataset.read(cells / "data.yaml"))
    for file in (cells / "images" / "train").iterdir():
        file.touch()
    moved = Path(shutil.move(cells, tmp_path / "elsewhere"))
    now = identity(dataset.read(moved), before)  # as a folder, whose YAML names the old one
    assert changes(before, now) == [] and digest(before) == digest(now)


def test_two_objects_that_change_places_between_images_are_noticed(cells):
    files = sorted((cells / "labels" / "train").iterdir())[:2]
    before = identity(dataset.read(cells / "data.yaml"))
    texts = [file.read_text() for file in files]
    for file, text in zip(files, reversed(texts), strict=True):
        file.write_text(text)
    assert changes(before, identity(dataset.read(cells / "data.yaml")))


# Every kind of data set


def uncompressed(folder):
    """Make bitmaps of the pictures, so that another picture has a file of the same size."""
    for file in folder.rglob("*.png"):
        cv2.imwrite(str(file.with_suffix(".bmp")), cv2.imread(str(file)))
        file.unlink()


def with_masks(folder):
    """Give a data set masks, and return its YAML."""
    file = draw(folder, train=4, val=2)
    for image in sorted((folder / "images").rglob("*.png")):
        mask = folder / "masks" / image.relative_to(folder / "images")
        mask.parent.mkdir(parents=True, exist_ok=True)
        picture = np.zeros((64, 64), np.uint8)
        picture[16:48, 16:48] = 1
        cv2.imwrite(str(mask), picture)
    uncompressed(folder / "images")
    content = yaml.safe_load(file.read_text())
    file.write_text(yaml.safe_dump({**content, "masks_dir": "masks"}))
    return file


def listed(folder):
    """Draw a data set whose YAML names files that list the images."""
    file = draw_for("detect", folder)
    uncompressed(folder)
    for part in ("train", "val"):
        images = sorted((folder / "images" / part).iterdir())
        (folder / f"{part}.txt").write_text("".join(f"{image}\n" for image in images))
    content = yaml.safe_load(file.read_text())
    file.write_text(yaml.safe_dump({**content, "train": "train.txt", "val": "val.txt"}))
    return file


KINDS = ("detect", "segment", "semantic", "obb", "pose", "classify", "masks", "list", "folder")


@pytest.fixture(params=KINDS)
def kind(request, tmp_path):
    """A data set of each kind: its folder, and how to read it."""
    name, folder = request.param, tmp_path / "set"
    task = {"masks": "semantic", "list": "detect", "folder": "detect"}.get(name, name)
    if name == "masks":
        source = with_masks(folder)
    elif name == "list":
        source = listed(folder)
    else:
        source = draw_for(task, folder)
        uncompressed(folder)
    if name == "folder":
        source.unlink()
        source = folder
    return name, folder, lambda: dataset.read(source, task)


def picture(folder):
    """The first of the training pictures."""
    found = sorted(f for f in folder.rglob("*.*") if f.suffix in (".bmp", ".png"))
    return next(f for f in found if "train" in f.parts and "masks" not in f.parts)


def test_touched_pictures_are_the_same(kind):
    _, folder, read = kind
    before = identity(read())
    os.utime(picture(folder), (1, 1))
    now = identity(read(), before)
    assert now["seen"] != before["seen"] and changes(before, now) == []
    assert digest(before) == digest(now)


def test_another_picture_of_the_same_size_is_noticed(kind):
    _, folder, read = kind
    before, file = identity(read()), picture(folder)
    size = file.stat().st_size
    cv2.imwrite(str(file), 255 - cv2.imread(str(file)))
    os.utime(file, (1, 1))  # or it may be written within a tick of the file system's clock
    assert file.stat().st_size == size
    now = identity(read(), before)
    assert changes(before, now) == ["images or masks of other content"]
    assert digest(before) != digest(now)


def test_another_label_is_noticed(kind):
    name, folder, read = kind
    before = identity(read())
    if name == "classify":
        (folder / "train" / "dark" / "0.bmp").rename(folder / "train" / "light" / "zero.bmp")
    elif name == "masks":
        file = sorted((folder / "masks" / "train").iterdir())[0]
        cv2.imwrite(str(file), 1 - cv2.imread(str(file), cv2.IMREAD_GRAYSCALE))
        os.utime(file, (1, 1))
    else:
        file = first(folder, "labels")
        *rest, last = file.read_text().splitlines()[-1].split()
        changed = " ".join([*rest, f"{float(last) * 0.9:.6f}"])
        file.write_text("\n".join([*file.read_text().splitlines()[:-1], changed]))
    now = identity(read(), before)
    assert changes(before, now) and digest(before) != digest(now)


def test_keypoints_alone_are_noticed(tmp_path):
    source = draw_for("pose", tmp_path)
    before = identity(dataset.read(source, "pose"))
    relabel(tmp_path, lambda c, *row: (c, *row[:4], *(min(v + 0.01, 2) for v in row[4:])))
    now = identity(dataset.read(source, "pose"), before)
    assert changes(before, now) == ["other labels"]


def test_what_the_yaml_says_of_labels_is_noticed(tmp_path):
    source = draw_for("pose", tmp_path)
    before = identity(dataset.read(source, "pose"))
    content = yaml.safe_load(source.read_text())
    source.write_text(yaml.safe_dump({**content, "flip_idx": [1, 0]}))
    (text,) = changes(before, identity(dataset.read(source, "pose"), before))
    assert "flip_idx" in text


def test_content_is_read_once(cells):
    """What is as it was by size and time is not read again: it could not even be."""
    data = dataset.read(cells / "data.yaml")
    before = identity(data)
    file = first(cells, "images")
    seen = file.stat()
    file.write_bytes(b"x" * seen.st_size)
    os.utime(file, ns=(seen.st_atime_ns, seen.st_mtime_ns))
    assert identity(data, before) == before
    os.utime(file)
    assert changes(before, identity(data, before)) == ["images or masks of other content"]


def test_the_record_of_an_earlier_version_is_compared_as_far_as_it_goes(cells):
    data = dataset.read(cells / "data.yaml")
    whole = identity(data)
    earlier = {name: whole[name] for name in ("images", "objects", "classes", "labels", "files")}
    assert changes(earlier, identity(data, earlier)) == []
    one_label_moved(cells)
    now = identity(dataset.read(cells / "data.yaml"), earlier)
    assert changes(earlier, now) == ["other labels"]


def test_the_data_tell_the_records_of_comparisons_apart(tmp_path):
    data, other, fewer = (
        digest(identity(dataset.read(draw(tmp_path / name, train=n, val=6))))
        for name, n in (("data", 16), ("other", 16), ("fewer", 15))
    )
    assert data == other  # wherever the folder is
    assert data != fewer


# Runs


def test_resuming_on_changed_data(cells, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(plan, "make_estimator", lambda config, data: Invented())
    data, folder = cells / "data.yaml", tmp_path / "runs" / "s"
    keys = [
        f"data={data}",
        f"project={folder.parent}",
        "name=s",
        "imgsz=64",
        "baseline=none",
        "space=tiny",
        "strategy=random",
    ]
    assert main(["search", *keys, "trials=2"]) == 0
    assert main(["search", f"resume={folder}", "trials=3"]) == 0  # as nothing has changed
    one_image_less(cells)
    before = {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    capsys.readouterr()
    assert main(["search", f"resume={folder}", "trials=4"]) == 2
    error = capsys.readouterr().err.strip()
    assert "\n" not in error and "6 training images then, 5 now" in error
    assert error.endswith(f"give data={data} beside resume= to go on all the same")
    assert {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()} == before
    assert main(["search", f"resume={folder}", "trials=4", f"data={data}"]) == 0
    assert "has changed since the run began (6 training images then, 5 now" in (
        capsys.readouterr().out
    )
    assert "has changed since the run began" in (folder / "report.html").read_text()
    assert main(["search", f"resume={folder}", "trials=4"]) == 0  # it was accepted


def test_a_run_of_an_earlier_version_is_resumed(cells, tmp_path):
    (tmp_path / "args.yaml").write_text("data: x\n")
    data = dataset.read(cells / "data.yaml")
    assert run_dir.check_data(tmp_path, data, accepted=False) == ""


def test_the_record_of_a_run_of_an_earlier_version_is_completed(cells, tmp_path):
    data = dataset.read(cells / "data.yaml")
    whole = identity(data)
    earlier = {name: whole[name] for name in ("images", "objects", "classes", "labels", "files")}
    settings = tmp_path / "args.yaml"
    settings.write_text(yaml.safe_dump({"data": "x", run_dir.TRAITS: earlier}))
    assert run_dir.check_data(tmp_path, data, accepted=False) == ""
    assert yaml.safe_load(settings.read_text())[run_dir.TRAITS] == whole
    os.utime(first(cells, "images"), (1, 1))
    assert run_dir.check_data(tmp_path, data, accepted=False) == ""
    assert yaml.safe_load(settings.read_text())[run_dir.TRAITS] == identity(data)
