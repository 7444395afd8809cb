"""The folder of a run: claimed before anything is read, and tidied by whoever holds it."""

import pytest

from yolo_nas_ext import run_dir
from yolo_nas_ext.config.search import configure
from yolo_nas_ext.errors import NASError


def settings(folder, **more):
    return configure({"project": str(folder), **more}, {}, {})


def test_a_taken_name_is_refused_before_images_are_read(tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    monkeypatch.setattr(run_dir, "identity", lambda *_, **__: pytest.fail("images were read"))
    with pytest.raises(NASError, match=r"name=mine: .* exists"):
        run_dir.claim(settings(tmp_path, name="mine"), data="a data set")


@pytest.mark.parametrize("error", [KeyboardInterrupt, NASError("broken")])
def test_where_reading_the_images_ends_the_folder_goes(tmp_path, monkeypatch, error):
    def identity(data, say):
        raise error

    monkeypatch.setattr(run_dir, "identity", identity)
    with pytest.raises((KeyboardInterrupt, NASError)):
        run_dir.claim(settings(tmp_path), data="a data set")
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_was_writing_goes_when_the_folder_is_held(tmp_path):
    (tmp_path / "weights").mkdir()
    left = tmp_path / "weights" / ".best.pt-0123abcd.tmp"
    left.touch()
    (tmp_path / "best.pt").touch()
    with run_dir.locked(tmp_path):
        assert not left.exists() and (tmp_path / "best.pt").exists()
