"""Files are whole or not there, whatever happens while they are written."""

import stat

import pytest

from yolo_nas_ext.errors import NASError
from yolo_nas_ext.files import own, refuse_links, replacing, write_json, write_text


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


@pytest.fixture
def victim(tmp_path):
    """A file of somebody else's, and a folder with it."""
    (tmp_path / "elsewhere").mkdir()
    path = tmp_path / "elsewhere" / "marker.txt"
    path.write_text("theirs")
    return path


def test_a_link_is_replaced_and_what_it_leads_to_stays(tmp_path, victim):
    (tmp_path / "best.yaml").symlink_to(victim)
    write_text(tmp_path / "best.yaml", "ours")
    assert victim.read_text() == "theirs" and (tmp_path / "best.yaml").read_text() == "ours"
    assert not (tmp_path / "best.yaml").is_symlink()


def test_a_new_file_has_a_name_that_nobody_can_put_a_link_at(tmp_path, victim, monkeypatch):
    names = set()
    for _ in range(3):
        with replacing(tmp_path / "a.yaml") as temporary:
            names.add(temporary.name)
    assert len(names) == 3
    monkeypatch.setattr("secrets.token_hex", lambda n: "guessed")
    (tmp_path / ".a.yaml-guessed.tmp").symlink_to(victim)
    with pytest.raises(FileExistsError), replacing(tmp_path / "a.yaml"):
        pass
    assert victim.read_text() == "theirs"


@pytest.mark.parametrize("mode", ["a", "w"])
def test_a_file_that_is_added_to_is_no_link(tmp_path, victim, mode):
    (tmp_path / "scores.jsonl").symlink_to(victim)
    with pytest.raises(NASError, match=r"scores\.jsonl: is a link to .*marker\.txt"):
        own(tmp_path / "scores.jsonl", mode)
    assert victim.read_text() == "theirs"
    with own(tmp_path / "plain.jsonl", mode) as file:
        file.write("ours")
    assert (tmp_path / "plain.jsonl").read_text() == "ours"


@pytest.mark.parametrize("name", ["study.db", ".lock", "weights", "deep/er/.best.yaml.tmp"])
def test_a_folder_with_links_to_elsewhere_is_refused(tmp_path, victim, name):
    run = tmp_path / "run"
    (run / name).parent.mkdir(parents=True)
    (run / "model.pt").touch()
    (run / "same.pt").symlink_to("model.pt")  # within
    refuse_links(run, "resume")
    for target in (victim.parent if name == "weights" else victim, tmp_path / "not_there"):
        (run / name).unlink(missing_ok=True)
        (run / name).symlink_to(target)
        with pytest.raises(NASError, match=rf"^resume=.*: {name} in it is a link to ") as error:
            refuse_links(run, "resume")
        assert "\n" not in str(error.value) and error.value.code == 2
        refuse_links(run, "resume", follow=True)
    (tmp_path / "named").symlink_to(run)
    (run / name).unlink()
    refuse_links(tmp_path / "named", "resume")
