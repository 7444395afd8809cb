"""The folder of a run: claimed before anything is read, and tidied by whoever holds it."""

import pytest
from filelock import FileLock

from yolo_nas_ext import cli, run_dir
from yolo_nas_ext.config.search import configure
from yolo_nas_ext.errors import NASError


def settings(folder, **more):
    return configure({"project": str(folder), **more}, {}, {})


def test_a_taken_name_is_refused_before_images_are_read(tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "args.yaml").touch()
    monkeypatch.setattr(run_dir, "identity", lambda *_, **__: pytest.fail("images were read"))
    with pytest.raises(NASError, match=r"name=mine: .* exists"):
        run_dir.claim(settings(tmp_path, name="mine"), data="a data set")


@pytest.mark.parametrize("left", [(), (".lock",), (".lock", ".args.yaml.x.tmp")])
def test_a_folder_that_was_left_before_anything_was_written_is_taken_over(tmp_path, left):
    (tmp_path / "mine").mkdir()
    for name in left:
        (tmp_path / "mine" / name).touch()
    found = settings(tmp_path, name="mine")
    assert run_dir.claim(found) == tmp_path / "mine"
    assert (tmp_path / "mine" / "args.yaml").is_file()


def test_a_folder_in_which_another_process_begins_is_not(tmp_path):
    (tmp_path / "mine").mkdir()
    with FileLock(tmp_path / "mine" / ".lock"):
        with pytest.raises(NASError, match=r"name=mine: .* exists"):
            run_dir.claim(settings(tmp_path, name="mine"))
    assert not (tmp_path / "mine" / "args.yaml").exists()


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


LINKS = {"study.db": "marker.txt", "weights": ".", ".lock": "marker.txt", "args.yaml": "args.yaml"}


@pytest.mark.parametrize("name", LINKS)
@pytest.mark.parametrize(
    "given",
    [["nas-search", "resume={}"], ["nas-compare", "resume={}"], ["nas-extract", "run={}"]],
    ids=lambda given: given[0],
)
def test_a_run_folder_with_links_to_elsewhere_is_left_alone(tmp_path, capsys, name, given):
    run, elsewhere = tmp_path / "run", tmp_path / "elsewhere"
    for folder in (run, elsewhere):
        folder.mkdir()
        (folder / "args.yaml").write_text("models: [yolo11n]\ndata: cells.yaml\n")
    (elsewhere / "marker.txt").write_text("theirs")
    (run / name).unlink(missing_ok=True)
    (run / name).symlink_to(elsewhere / LINKS[name])
    assert cli.main([argument.format(run) for argument in given]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f": {name} in it is a link to {elsewhere}" in line and "follow_links=True" in line
    assert sorted(p.name for p in elsewhere.iterdir()) == ["args.yaml", "marker.txt"]
    assert (elsewhere / "marker.txt").read_text() == "theirs"


def test_links_that_are_wanted_are_not_a_setting_of_the_run(tmp_path):
    folder = run_dir.claim(settings(tmp_path, follow_links=True))
    assert "follow_links" not in run_dir.saved(folder)
    (folder / "weights").symlink_to(tmp_path)
    with pytest.raises(NASError, match="weights in it is a link"):
        run_dir.settings({"resume": str(folder)})
    config, _ = run_dir.settings({"resume": str(folder), "follow_links": True})
    assert config.resume == str(folder)
