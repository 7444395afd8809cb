"""Files are whole or not there, whatever happens while they are written."""

import os
import stat
from pathlib import Path

import pytest
import yaml

from yolo_nas_ext import cli
from yolo_nas_ext.errors import NASError
from yolo_nas_ext.files import (
    is_class_name,
    is_folder_name,
    json_of,
    own,
    refuse_links,
    replacing,
    resource,
    text_of,
    write_json,
    write_text,
    yaml_of,
)


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


def nested(start, parts):
    """A YAML in which every key holds the one before."""
    more = (f"a{i}: &a{i} {parts.replace('*', f'*a{i - 1}')}\n" for i in range(1, 3000))
    return f"a0: &a0 {start}\n" + "".join(more)


BOMBS = {
    "far larger than it is": [
        nested("[x,x,x,x,x,x,x,x,x,x]", "[*,*,*,*,*,*,*,*,*,*]"),
        nested("{x: y}", "{a: *, b: *, c: *, d: *, e: *, f: *, g: *, h: *}"),
        f"a: &a {'x' * 100_000}\nb: [{','.join(['*a'] * 1000)}]",
    ],
    "within one another": ["[" * 5000, "{a: " * 5000, "- " * 5000 + "x", nested("x", "[*]")],
    "holds itself": ["a: &a [*a]", "&a {b: *a}", "? &a [*a]\n: 1"],
    "at most 1,000,000 are read": ["x" * 1_000_001],
    "more than 100 digits": ["a: " + "9" * 400, "a: 0x" + "f" * 5000, "[0b" + "1" * 400 + "]"],
    "Error": [
        "a: 2024-99-99",
        *(f"!!{tag} z" for tag in ("bool", "float", "int", "timestamp")),
    ],
    "could not determine a constructor": ["!!python/object/apply:os.mkdir [marker]"],
}
EACH = [(why, text) for why, texts in BOMBS.items() for text in texts]


@pytest.mark.parametrize(("why", "text"), EACH, ids=range(len(EACH)))
def test_a_yaml_is_read_within_bounds(why, text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(yaml.YAMLError, match=why):
        yaml_of(text)
    assert list(tmp_path.iterdir()) == []


def test_what_is_within_bounds_is_read_as_by_pyyaml():
    for folder in ("cfg", "datasets"):
        for path in resource(folder).rglob("*.yaml"):
            text = path.read_text("utf-8")
            assert yaml_of(text) == yaml.safe_load(text), path
    text = "x: &x {a: [1, 2]}\ny: {<<: *x, b: *x}\nz: 2024-01-02\n? [1]\n: no"
    with pytest.raises(yaml.YAMLError, match="unhashable"):
        yaml_of(text)
    text = text.partition("?")[0]
    assert yaml_of(text) == yaml.safe_load(text) and yaml_of("") is None


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "9" * 5000, "9" * 400, "{"])
def test_a_json_that_cannot_be_read_is_one_kind_of_error(text):
    with pytest.raises(ValueError):
        json_of(text)
    assert json_of('{"a": [1, null]}') == {"a": [1, None]}


@pytest.mark.parametrize(
    "given",
    [
        "search space={bomb} data=d.yaml",
        "search resume={run}",
        "compare resume={run}",
        "compare models={bomb} data={good}",
        "extract run={run}",
        "scale model={bomb} flops=2x",
        "score model={bomb}",
        "profile spaces={bomb}",
        "profile import={deep}",
        "score model=yolov8n latency={deep}",
    ],
)
def test_every_command_ends_in_one_line(tmp_path, monkeypatch, capsys, given):
    (tmp_path / "run").mkdir()
    good = resource("datasets").joinpath("cells.yaml")
    paths = {name: tmp_path / name for name in ("run", "bomb.yaml", "deep.json")}
    for name in ("bomb.yaml", "run/args.yaml"):
        (tmp_path / name).write_text(BOMBS["far larger than it is"][0])
    paths["deep.json"].write_text("[" * 100_000)
    monkeypatch.chdir(tmp_path / "run")
    named = {"bomb": paths["bomb.yaml"], "run": paths["run"], "deep": paths["deep.json"]}
    assert cli.main(given.format(good=good, **named).split()) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "far larger than it is" in line or "nested too deep" in line
    assert [p.name for p in (tmp_path / "run").iterdir()] == ["args.yaml"]


OUTSIDE = ("../a", "a/../../b", "/a", "..", "a\nb", "\x1b[2J", "C:\\a", "", "a" * 300)


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_name_that_leads_out_of_its_folder_is_none(name):
    assert not is_class_name(name) and not is_folder_name(name)


def test_a_class_may_have_a_slash_where_no_folder_is_made_of_it():
    assert is_class_name("N/A") and not is_folder_name("N/A")
    assert is_class_name("left kidney") and is_folder_name("left kidney")


def test_what_is_no_file_or_too_large_is_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, Path("/dev/zero")):
        with pytest.raises(OSError, match="it is no file"):
            text_of(path)
    (tmp_path / "a.json").write_text("12345")
    with pytest.raises(ValueError, match="it has 5 bytes, at most 4 are read"):
        text_of(tmp_path / "a.json", 4)


@pytest.mark.parametrize("text", ["a: 1\nb: 2\na: 3", "x: {p: 1, p: 2}", "names: {0: a, 0: b}"])
def test_a_key_that_stands_twice_is_refused(text):
    with pytest.raises(yaml.YAMLError, match=r"stands twice"):
        yaml_of(text)


def test_keys_of_other_types_and_merges_are_no_twins():
    assert yaml_of("1: a\n'1': b") == {1: "a", "1": "b"}
    merged = yaml_of("x: &x {p: 1}\ny: {<<: *x, p: 2}")
    assert merged["y"] == {"p": 2}


@pytest.mark.parametrize("text", ["a:\t1\nb:\t[1,\t2]\n", '{\n\t"a": 1,\n\t"b":\t[1, 2]\n}'])
def test_tabs_between_values_are_spaces(text):
    assert yaml_of(text) == {"a": 1, "b": [1, 2]}


def test_tabs_that_indent_are_refused():
    with pytest.raises(yaml.YAMLError):
        yaml_of("a:\n\tb: 1")
