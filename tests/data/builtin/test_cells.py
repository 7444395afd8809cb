"""The drawn cells: the same everywhere, labelled tightly, whole or absent."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from yolo_nas_ext.data.builtin import cells as builtin
from yolo_nas_ext.data.builtin.cells import cells, ensure_cells
from yolo_nas_ext.data.builtin.smears import NAMES, VERSION, draw
from yolo_nas_ext.errors import NASError
from yolo_nas_ext.files import resource

SMALL = {"train": 6, "val": 3, "size": 64}


def digest(folder: Path) -> str:
    """Return a hash of every file's name and bytes below a folder."""
    whole = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            whole.update(path.relative_to(folder).as_posix().encode() + path.read_bytes())
    return whole.hexdigest()


def rows(folder: Path, split: str) -> list[list[float]]:
    """Return every label row of a split as numbers."""
    lines = [p.read_text().splitlines() for p in sorted((folder / "labels" / split).glob("*.txt"))]
    return [[float(v) for v in line.split()] for part in lines for line in part]


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """Point the cache to an empty folder."""
    monkeypatch.setenv("YOLO_NAS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_same_seed_same_bytes_here_and_in_another_process(tmp_path):
    """All files agree, PNG bytes included."""
    first, second = (ensure_cells(tmp_path / name, **SMALL) for name in "ab")
    assert digest(first) == digest(second)
    code = (
        "import sys; from pathlib import Path; from yolo_nas_ext.data.builtin.cells import *;"
        "ensure_cells(Path(sys.argv[1]), train=6, val=3, size=64)"
    )
    root = resource("datasets").parent
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "c")], check=True, cwd=root)
    assert digest(tmp_path / "c" / first.name) == digest(first)


def test_other_seed_and_other_split_differ(tmp_path):
    """No picture occurs twice, neither across splits nor across seeds."""
    a, b = (ensure_cells(tmp_path, **SMALL, seed=seed) for seed in (0, 1))
    assert a != b and digest(a / "images") != digest(b / "images")
    pictures = [p.read_bytes() for p in a.rglob("*.png")]
    assert len(set(pictures)) == 9


def test_an_image_depends_on_its_own_seed_only():
    """Order does not matter: nothing is carried from one image to the next."""
    image, boxes = draw(size=64, seed=(1, 0, 0, 5))
    draw(size=64, seed=(1, 0, 0, 6))
    again, same = draw(size=64, seed=(1, 0, 0, 5))
    assert (image == again).all() and boxes == same
    assert image.shape == (64, 64, 3) and image.dtype == np.uint8


def test_pixels_are_those_of_every_platform():
    """A change of any drawing must raise VERSION, or caches of the old one stay in use."""
    whole = hashlib.sha256()
    for i in range(8):
        image, boxes = draw(size=160, seed=(VERSION, 0, 0, i))
        whole.update(image.tobytes() + repr(boxes).encode())
    assert (VERSION, whole.hexdigest()[:16]) == (1, "c31b48bdec675194")


@pytest.mark.parametrize("size", [64, 160, 200])
def test_labels_are_valid_and_files_pair_up(tmp_path, size):
    """YOLO rows inside [0, 1], one label file an image, none below two pixels."""
    folder = ensure_cells(tmp_path, train=8, val=4, size=size)
    for split, n in (("train", 8), ("val", 4)):
        images = sorted(p.stem for p in (folder / "images" / split).iterdir())
        assert images == sorted(p.stem for p in (folder / "labels" / split).iterdir())
        assert len(images) == n
        for name, x, y, w, h in rows(folder, split):
            assert name in range(len(NAMES))
            assert 0 < w <= 1 and 0 < h <= 1
            assert x - w / 2 > -1e-5 and x + w / 2 < 1 + 1e-5
            assert y - h / 2 > -1e-5 and y + h / 2 < 1 + 1e-5
            assert min(w, h) * size > 1.99
    picture = cv2.imread(str(next((folder / "images" / "val").iterdir())))
    assert picture is not None and picture.shape == (size, size, 3)


def test_second_call_reads_the_marker_and_draws_nothing(tmp_path, monkeypatch):
    """The marker is enough: no drawing."""
    folder = ensure_cells(tmp_path, **SMALL)
    monkeypatch.setattr(builtin, "draw", lambda **_: pytest.fail("drawn again"))
    assert ensure_cells(tmp_path, **SMALL) == folder


@pytest.mark.parametrize("harm", ["no marker", "bad marker", "image gone", "other version"])
def test_a_harmed_folder_is_drawn_again(tmp_path, harm):
    """Whatever is not whole is replaced by the same bytes, and nothing else stays."""
    folder = ensure_cells(tmp_path, **SMALL)
    before, marker = digest(folder), folder / builtin.MARKER
    if harm == "no marker":
        marker.unlink()
    elif harm == "bad marker":
        marker.write_text("[1]")
    elif harm == "other version":
        marker.write_text(marker.read_text().replace('"version": 1', '"version": 0'))
    else:
        next((folder / "images" / "val").iterdir()).unlink()
    assert digest(ensure_cells(tmp_path, **SMALL)) == before
    assert [p.name for p in tmp_path.iterdir()] == [folder.name]


def test_a_kill_in_the_middle_leaves_nothing_that_is_taken_for_the_set(tmp_path):
    """A process that dies while drawing leaves a hidden folder, swept when it is old."""
    code = (
        "import os, sys; from pathlib import Path;"
        "from yolo_nas_ext.data.builtin import cells as s;"
        "draw = s.draw; n = [];"
        "s.draw = lambda **k: (n.append(0), len(n) > 3 and os._exit(9), draw(**k))[2];"
        "s.ensure_cells(Path(sys.argv[1]), train=6, val=3, size=64)"
    )
    root = resource("datasets").parent
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False, cwd=root)
    assert done.returncode == 9
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".cells-")
    os.utime(left, (0, 0))  # long ago: swept by the next run
    folder = ensure_cells(tmp_path, **SMALL)
    assert list(tmp_path.iterdir()) == [folder] and len(rows(folder, "train")) > 6


def test_racing_draws_leave_one_whole_set(tmp_path):
    """Four at once: one folder, whole, and no remains."""
    found: list[Path] = []
    threads = [
        threading.Thread(target=lambda: found.append(ensure_cells(tmp_path, **SMALL)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4 and len(set(found)) == 1
    assert list(tmp_path.iterdir()) == [found[0]]
    assert digest(found[0]) == digest(ensure_cells(tmp_path / "alone", **SMALL))


def test_a_cache_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    """No folder can be made below a file; a full disk is told apart by its reason."""
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(NASError, match="YOLO_NAS_CACHE") as error:
        ensure_cells(file, **SMALL)
    assert str(file) in str(error.value) and "\n" not in str(error.value)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(NASError, match="No space left on device"):
        ensure_cells(tmp_path / "cache", **SMALL)
    assert not list((tmp_path / "cache").iterdir())


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the superuser may write anywhere"
)
def test_a_read_only_cache_is_an_error_until_the_set_is_there(tmp_path):
    """Reading needs no write permission."""
    folder = ensure_cells(tmp_path, **SMALL)
    tmp_path.chmod(0o500)
    try:
        assert ensure_cells(tmp_path, **SMALL) == folder
        with pytest.raises(NASError, match="YOLO_NAS_CACHE"):
            ensure_cells(tmp_path, **SMALL, seed=1)
    finally:
        tmp_path.chmod(0o700)


@pytest.mark.parametrize(
    "wrong", [{"train": 0}, {"val": 1.5}, {"size": 16}, {"seed": -1}, {"val": True}]
)
def test_numbers_out_of_range_are_named(tmp_path, wrong):
    """The message begins with the key."""
    with pytest.raises(NASError, match=f"cells: {next(iter(wrong))}="):
        ensure_cells(tmp_path, **{**SMALL, **wrong})


def test_cells_changes_only_the_paths(cache, monkeypatch):
    """Ultralytics' other keys are left as they are."""
    # Images of 64 px take a fifth of the time.
    monkeypatch.setattr(builtin, "draw", lambda *, size, seed: draw(size=64, seed=seed))
    data = {"path": Path("x"), "train": "y", "val": "z", "names": {0: "a"}}
    cells(data)
    assert data["names"] == {0: "a"}
    for split in ("train", "val"):
        assert Path(data[split]).is_dir() and cache.resolve() in Path(data[split]).parents


def test_ultralytics_takes_the_shipped_yaml_and_our_own(cache, tmp_path, monkeypatch):
    """Ultralytics finds 240 and 60 images in the cache, and none in its own folder."""
    utils = pytest.importorskip("ultralytics.data.utils")
    monkeypatch.setattr(utils, "check_font", lambda *_: None)  # would ask the internet
    monkeypatch.setattr(utils, "DATASETS_DIR", tmp_path / "never")
    shipped = resource("datasets", "cells.yaml")
    data = utils.check_det_dataset(str(shipped))
    again = utils.check_det_dataset(str(shipped))
    own = utils.check_det_dataset(str(ensure_cells() / "data.yaml"))
    for found in (data, again, own):
        assert found["names"] == dict(enumerate(NAMES)) and found["nc"] == 3
        for split, n in (("train", 240), ("val", 60)):
            assert len(list(Path(found[split]).glob("*.png"))) == n
            assert cache.resolve() in Path(found[split]).resolve().parents
    assert not (tmp_path / "never").exists()
    assert not (shipped.parent / yaml.safe_load(shipped.read_text("utf-8"))["val"]).exists()
