"""Decoded images in a file that processes share."""

import json
import subprocess
import sys

import pytest
from ultralytics.data import base

from tests.helpers.shapes import draw
from tests.helpers.trained import train
from yolo_nas_ext.host.dataset import read
from yolo_nas_ext.host.models import definition
from yolo_nas_ext.host.training import image_cache

SPLITS = (list(range(9)), [9, 10, 11]), (list(range(3, 12)), [0, 1, 2])


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return draw(tmp_path_factory.mktemp("shapes"))


@pytest.fixture
def opened(monkeypatch):
    """Image files that are opened, in order."""
    files = []
    imread = base.imread
    monkeypatch.setattr(base, "imread", lambda f, *a, **k: files.append(f) or imread(f, *a, **k))
    image_cache.forget()
    return files


def run(data, split=SPLITS[0], **more):
    content, scale = definition("yolov8n")
    overrides = {"nbs": 4, "mosaic": 1.0, "close_mosaic": 0}
    model = {**content, "scale": scale}
    return train(model, data, split, epochs=1, overrides=overrides, **more).metrics


def test_mapped_images_give_the_same_numbers_and_are_decoded_once(path, tmp_path, opened):
    data = read(path)
    plain = [run(data, split) for split in SPLITS]
    opened.clear()
    image_cache.forget()
    shared = {"images": tmp_path / "images", "shared": True}
    assert run(data, SPLITS[0], **shared) == plain[0]
    assert sorted(opened) == sorted(data.images)
    assert run(data, SPLITS[1], **shared) == plain[1]  # other images of the same set
    image_cache.forget()  # as in another process
    assert run(data, SPLITS[0], **shared) == plain[0]
    assert len(opened) == len(data.images)
    (file,) = (tmp_path / "images").glob("*.images")
    assert file.stat().st_size == len(data.images) * 64 * 64 * 3
    assert not list((tmp_path / "images").glob("*.tmp"))


OTHER = """
import json, sys
from pathlib import Path
import tests.host.training.test_image_cache as here
from ultralytics.data import base
here.base.imread = None  # nothing can be decoded
data = here.read(sys.argv[1])
print(json.dumps(here.run(data, images=Path(sys.argv[2]), shared=True)))
"""


def test_another_process_decodes_nothing(path, tmp_path, opened, root):
    metrics = run(read(path), images=tmp_path, shared=True)
    command = [sys.executable, "-c", OTHER, str(path), str(tmp_path)]
    out = subprocess.run(command, capture_output=True, text=True, check=True, cwd=root)
    assert json.loads(out.stdout.splitlines()[-1]) == metrics


def test_a_file_is_used_only_where_memory_holds_them_not(path, tmp_path, opened, monkeypatch):
    data = read(path)
    run(data, images=tmp_path / "images")
    assert not (tmp_path / "images").exists()
    image_cache.forget()
    monkeypatch.setattr(image_cache, "MEMORY", 0.0)
    run(data, images=tmp_path / "images")
    assert list((tmp_path / "images").glob("*.images"))


def test_without_room_on_the_disk_images_are_read_at_every_use(path, tmp_path, opened, monkeypatch):
    data = read(path)
    plain = run(data)
    image_cache.forget()
    monkeypatch.setattr(image_cache, "MEMORY", 0.0)
    monkeypatch.setattr(image_cache, "DISK", 0.0)
    assert run(data, images=tmp_path / "images") == plain
    assert not list((tmp_path / "images").glob("*.images"))


def test_what_changed_on_disk_is_not_taken_from_the_file(path, tmp_path, opened):
    import shutil

    folder = tmp_path / "set"
    shutil.copytree(path.parent, folder)
    shared = {"images": tmp_path / "images", "shared": True}
    before = run(read(folder / "data.yaml"), **shared)
    for file in (folder / "images" / "train").glob("*.png"):
        shutil.copy(folder / "images" / "val" / "000.png", file)
    assert run(read(folder / "data.yaml"), **shared) != before  # this process has the old ones
    image_cache.forget()
    assert run(read(folder / "data.yaml"), **shared) != before
