"""What a run folder names that runs code or reaches elsewhere, and one's own run."""

import pytest
import yaml

from tests.helpers.shapes import draw
from yolo_nas_ext import cli, run_dir
from yolo_nas_ext.config.search import configure
from yolo_nas_ext.errors import NASError
from yolo_nas_ext.host import data_yaml, dataset

CODE = "import pathlib; pathlib.Path('marker.txt').write_text('run')"
NAMED = {
    "strategy": "theirs.py:Strategy",
    "estimator": "theirs.py:Estimator",
    "control": "theirs.py:Strategy",
    "blocks": "theirs.py",
    "storage": "sqlite:///theirs.db",
    "latency": "cmd:./theirs.sh {onnx}",
    "ray_address": "ray://theirs:10001",
    "data": "made.yaml",
    "model": "https://theirs/parent.pt",
}


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "theirs.py").write_text(CODE)
    content = {"path": "made", "train": "train", "val": "val", "names": ["a"], "download": CODE}
    (tmp_path / "made.yaml").write_text(yaml.safe_dump(content))
    return tmp_path


def own(place, **keys):
    return run_dir.claim(configure({"project": str(place / "runs"), **keys}, {}, {}))


def theirs(place, **keys):
    folder = place / "got"
    folder.mkdir()
    (folder / "args.yaml").write_text(yaml.safe_dump(keys))
    return folder


@pytest.mark.parametrize("key", NAMED)
def test_what_a_run_of_others_names_is_left_alone_until_it_is_repeated(place, capsys, key):
    folder = theirs(place, **{key: NAMED[key]})
    assert cli.main(["search", f"resume={folder}"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{key}={NAMED[key]} (" in line and f"then repeat {key}= beside it" in line
    assert sorted(p.name for p in place.iterdir()) == ["got", "made.yaml", "theirs.py"]
    config, _ = run_dir.settings({"resume": str(folder), key: NAMED[key]})
    assert config.values[key] == NAMED[key]


@pytest.mark.parametrize("key", NAMED)
def test_ones_own_run_goes_on_where_it_was_started_and_as_it_was(place, monkeypatch, key):
    folder = own(place, **{key: NAMED[key]})
    config, _ = run_dir.settings({"resume": str(folder)})
    assert config.values[key] == NAMED[key]
    file = folder / "args.yaml"
    before = file.read_text()
    file.write_text(before.replace("theirs", "others").replace("made.yaml", "./made.yaml"))
    if key != "data":  # of which the place counts
        with pytest.raises(NASError, match=f"repeat {key}="):
            run_dir.settings({"resume": str(folder)})
    file.write_text(before)
    (place / "elsewhere").mkdir()
    monkeypatch.chdir(place / "elsewhere")
    if key not in ("ray_address", "model", "data"):  # the first two are the same everywhere
        with pytest.raises(NASError, match=f"repeat {key}="):
            run_dir.settings({"resume": str(folder)})


def test_a_plain_run_of_others_is_resumed_as_it_is(place):
    folder = theirs(place, data="cells", strategy="random", ray_address="auto")
    assert run_dir.settings({"resume": str(folder)})[0].strategy == "random"
    assert "signed" not in yaml.safe_load((own(place) / "args.yaml").read_text())


@pytest.mark.parametrize("name", ["blocks", "data"])
def test_an_extraction_asks_for_the_same(place, capsys, name):
    folder = theirs(place, estimator="supernet", storage="sqlite:///x.db", **{name: NAMED[name]})
    assert cli.main(["extract", f"run={folder}"]) == 2
    assert f"repeat {name}= beside it" in capsys.readouterr().err
    assert cli.main(["extract", f"run={folder}", f"{name}={NAMED[name]}"]) == 2
    assert "no record in it (study.db)" in capsys.readouterr().err
    assert cli.main(["extract", f"run={folder}", f"{name}=other"]) == 2
    assert f"the run has {name}={NAMED[name]}" in capsys.readouterr().err


def test_download_code_is_printed_before_it_runs(place, capsys):
    data = draw(place / "shapes")
    content = yaml.safe_load(data.read_text())
    code = f"print('runs')\nfrom shutil import move\nmove({str(place / 'kept')!r}, yaml['path'])"
    data.write_text(yaml.safe_dump({**content, "path": str(place / "away"), "download": code}))
    (place / "shapes").rename(place / "kept")
    moved = place / "kept" / data.name
    dataset.read(moved)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"note: {moved} has no images yet and makes them by download:"
    assert lines[1:5] == [*(f"  {line}" for line in code.splitlines()), "runs"]


def test_what_is_there_is_neither_made_nor_spoken_of(place, capsys):
    data = draw(place / "shapes")
    data.write_text(data.read_text() + f"\ndownload: {CODE!r}\n")
    dataset.read(data)
    assert not (place / "marker.txt").exists() and "download" not in capsys.readouterr().out


@pytest.mark.parametrize("data", ["https://theirs/x.yaml", "http://theirs/x.zip", "ul://a/b/c"])
def test_offline_nothing_is_fetched(place, monkeypatch, data):
    monkeypatch.setattr(data_yaml.utils, "check_file", lambda *_, **__: pytest.fail("fetched"))
    with pytest.raises(NASError, match="YOLO_OFFLINE is set"):
        dataset.read(data)


def test_offline_no_archive_is_fetched(place):
    content = {"train": "a", "val": "b", "names": ["a"], "download": "https://theirs/a.zip"}
    (place / "made.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(NASError, match="cannot be fetched"):
        dataset.read("made.yaml")
    assert data_yaml.download("made.yaml") == "https://theirs/a.zip"
    assert data_yaml.download("cells") == "" == data_yaml.download("coco8.yaml")


def test_a_password_is_not_recorded_and_may_be_given_again(place):
    url = "postgresql://u:geheim@h/db"
    folder = own(place, storage=url)
    assert "geheim" not in (folder / "args.yaml").read_text()
    assert run_dir.settings({"resume": str(folder)})[0].storage == "postgresql://u@h/db"
    assert run_dir.settings({"resume": str(folder), "storage": url})[0].storage == url
    with pytest.raises(NASError) as error:
        run_dir.settings({"resume": str(folder), "storage": "postgresql://u:geheim@other/db"})
    assert "geheim" not in str(error.value)
