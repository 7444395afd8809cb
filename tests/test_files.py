"""Files are whole or not there, whatever happens while they are written."""

import stat

import pytest

from yolo_nas_ext.files import replacing, write_json, write_text


def test_a_file_is_replaced_when_all_of_it_is_written(tmp_path):
    path = write_text(tmp_path / "a.txt", "old")
    with replacing(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old" and temporary.parent == tmp_path
    assert path.read_text() == "new" and list(tmp_path.iterdir()) == [path]


def test_after_an_error_the_file_is_as_it_was(tmp_path):
    path = write_text(tmp_path / "a.txt", "old")
    with pytest.raises(RuntimeError), replacing(path) as temporary:
        temporary.write_text("half of")
        raise RuntimeError
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_two_writers_do_not_meet(tmp_path):
    path = tmp_path / "a.txt"
    with replacing(path) as first, replacing(path) as second:
        first.write_text("first")
        second.write_text("second")
    assert path.read_text() == "first" and list(tmp_path.iterdir()) == [path]


def test_permissions_are_those_of_any_new_file_or_of_a_private_one(tmp_path):
    usual, private = tmp_path / "usual.json", tmp_path / "private.json"
    write_json(usual, {})
    write_json(private, {}, private=True)
    (tmp_path / "plain").touch()
    assert stat.S_IMODE(usual.stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
