"""The cache: where it is, and what is in it is whole."""

import sys
import threading
from pathlib import Path

import pytest

from yolo_nas_ext.data.builtin import cache
from yolo_nas_ext.errors import NASError


def test_cache_folder_follows_the_variables(tmp_path, monkeypatch):
    """Ours first, then the platform's, then the home folder."""
    monkeypatch.setenv("YOLO_NAS_CACHE", str(tmp_path / "own"))
    assert cache.cache_folder() == (tmp_path / "own").resolve()
    monkeypatch.delenv("YOLO_NAS_CACHE")
    for platform, variable in (("linux", "XDG_CACHE_HOME"), ("win32", "LOCALAPPDATA")):
        monkeypatch.setattr(sys, "platform", platform)
        monkeypatch.setenv(variable, str(tmp_path / variable))
        assert cache.cache_folder() == tmp_path / variable / "yolo_nas_ext"
        monkeypatch.delenv(variable)
        assert cache.cache_folder().is_relative_to(Path.home())


def test_a_set_is_made_once_by_whoever_comes_first(tmp_path):
    """Four at once, and one that fails before them: nothing of it is left."""
    folder, made = tmp_path / "set", []

    def make(work):
        (work / "new").mkdir()
        (work / "new" / cache.DONE).write_text("{}")
        made.append(work)
        (work / "new").rename(folder)

    with pytest.raises(ZeroDivisionError):
        cache.ensure(folder, lambda work: 1 / 0, room="room")
    threads = [
        threading.Thread(target=cache.ensure, args=(folder, make), kwargs={"room": "room"})
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1 and not made[0].exists()
    assert {p.name for p in tmp_path.iterdir()} <= {"set", ".set.lock"}


def test_a_cache_that_cannot_be_written_says_how_much_room_it_needs(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(NASError, match="folder with 100 MB free"):
        cache.ensure(tmp_path / "file" / "set", lambda work: None, room="100 MB free")


def test_a_dictionary_keeps_its_other_keys(tmp_path):
    data = {"path": "x", "train": "y", "names": {0: "a"}}
    cache.point(data, tmp_path)
    assert data == {
        "path": tmp_path,
        "names": {0: "a"},
        **{part: str(tmp_path / "images" / part) for part in ("train", "val")},
    }
