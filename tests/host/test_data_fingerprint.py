"""A search that is resumed on other data than it began with says what differs."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from yolo_nas_ext import run_dir
from yolo_nas_ext.cli import main
from yolo_nas_ext.data.builtin.cells import ensure_cells
from yolo_nas_ext.host import dataset
from yolo_nas_ext.host.data_fingerprint import changes, traits
from yolo_nas_ext.pipeline import plan


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    return ensure_cells(tmp_path_factory.mktemp("cells"), train=6, val=3, size=64)


@pytest.fixture
def cells(original, tmp_path):
    return shutil.copytree(original, tmp_path / "cells")


class Judged:
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
    before = traits(dataset.read(data))
    assert changes(yaml.safe_load(yaml.safe_dump(before)), dataset.read(data)) == []
    change(cells)
    (text, *_) = changes(before, dataset.read(data))
    assert said in text


def test_a_data_set_that_was_moved_or_touched_is_the_same(cells, tmp_path):
    before = traits(dataset.read(cells / "data.yaml"))
    for file in (cells / "images" / "train").iterdir():
        file.touch()
    moved = Path(shutil.move(cells, tmp_path / "elsewhere"))
    assert changes(before, dataset.read(moved)) == []  # as a folder, whose YAML names the old one


def test_two_objects_that_change_places_between_images_are_noticed(cells):
    files = sorted((cells / "labels" / "train").iterdir())[:2]
    before = traits(dataset.read(cells / "data.yaml"))
    texts = [file.read_text() for file in files]
    for file, text in zip(files, reversed(texts), strict=True):
        file.write_text(text)
    assert changes(before, dataset.read(cells / "data.yaml"))


def test_resuming_on_changed_data(cells, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(plan, "make_estimator", lambda config, data: Judged())
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
