"""Bad input: one clear line, exit code 2, nothing written."""

import os
import shutil
import subprocess
import sys
from importlib import import_module

import pytest
import yaml

from yolo_nas_ext.cli import COMMANDS, main
from yolo_nas_ext.config.settings import keys, page
from yolo_nas_ext.data.builtin.cells import ensure_cells


@pytest.fixture(scope="session")
def cells(tmp_path_factory):
    return ensure_cells(tmp_path_factory.mktemp("cells"), train=16, val=4, size=64)


@pytest.fixture
def broken(cells, tmp_path):
    """A copy of the data set that a test may break."""
    folder = tmp_path / "data"
    shutil.copytree(cells, folder)
    for cache in folder.rglob("*.cache"):
        cache.unlink()
    return folder


@pytest.fixture
def refuses(tmp_path, monkeypatch, capsys):
    """Run the command in an empty folder and return its one line of complaint."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.chdir(home)

    def run(*arguments, command="nas-search"):
        code = main([command, *(str(a) for a in arguments)])
        out, err = capsys.readouterr()
        assert code == 2, out + err
        assert out == "" and err.count("\n") == 1 and err.startswith("nas-"), err
        assert list(home.iterdir()) == []
        return err

    return run


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trails=3"], "unknown key. Did you mean 'trials'?"),
        (["trials=x"], "trials takes a whole number"),
        (["lr0=fast"], "'lr0=fast' is of invalid type str"),
        (["mosaic=7"], "between 0.0 and 1.0"),
        (["optimizer=Adm"], "Did you mean 'Adam'"),
        (["plots=True"], "plots=True: a search sets this itself"),
        (["data=nowhere.yaml"], "nowhere.yaml"),
        (["data=cell"], "Did you mean 'cells"),
        (["task=detekt"], "task=detekt"),
        (["resume=nothing"], "resume=nothing: not the folder of a run"),
    ],
)
def test_keys_and_names(refuses, arguments, message):
    assert message in refuses(*arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["strategy=evoluton"], "Did you mean 'evolution'"),
        (["estimator=shrt"], "Did you mean 'short'"),
        (["space=tinny"], "Did you mean 'tiny'"),
        (["baseline=yolo11q"], "Did you mean 'yolo11n'"),
        (["max_params=10K"], "the smallest network found has"),
        (["max_params=1M", "max_flops=1K"], "nothing in the space fits max_flops"),
        (["imgsz=100"], "a multiple of 32"),
    ],
)
def test_settings(refuses, cells, arguments, message):
    assert message in refuses(f"data={cells / 'data.yaml'}", *arguments)


def test_no_labels_at_all(refuses, broken):
    shutil.rmtree(broken / "labels")
    assert "label" in refuses(f"data={broken / 'data.yaml'}")


def test_label_out_of_range(refuses, broken):
    files = sorted((broken / "labels" / "train").glob("*.txt"))[3:7]  # more than a tenth
    for file in files:
        file.write_text("1 0.5 0.5 0.1 0.1\n7 0.5 0.5 0.1 0.1\n")
    file = files[0]
    line = refuses(f"data={broken / 'data.yaml'}")
    assert file.name in line and "7" in line and "2" in line


@pytest.mark.parametrize("split", ["train", "val"])
def test_empty_split(refuses, broken, split):
    for file in (broken / "images" / split).iterdir():
        file.unlink()
    assert split in refuses(f"data={broken / 'data.yaml'}")


def test_unknown_block_in_a_space(refuses, cells, tmp_path):
    space = tmp_path / "mine.yaml"
    content = {
        "stem": {"width": 16},
        "stages": {n: {"block": "c2q", "width": 32} for n in ("p2", "p3", "p4")},
        "levels": "3-4",
        "neck": {"block": "c2f", "width": 32},
    }
    space.write_text(yaml.safe_dump(content))
    assert "p2.block has the option 'c2q'" in refuses(
        f"data={cells / 'data.yaml'}", f"space={space}"
    )


def test_unwritable_project(refuses, cells, tmp_path):
    if os.geteuid() == 0:  # root may write into any folder, but not into a file
        project = tmp_path / "file"
        project.write_text("")
    else:
        project = tmp_path / "locked"
        project.mkdir(mode=0o500)
    line = refuses(f"data={cells / 'data.yaml'}", f"project={project / 'runs'}")
    assert "cannot write there" in line


def test_unknown_command(refuses):
    assert "Did you mean 'search'" in refuses(command="nas-serch")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_lists_every_key_in_a_hundred_columns(command, capsys):
    assert main([command, "help"]) == 0
    text = capsys.readouterr().out
    module = import_module(f"yolo_nas_ext.config.{command.removeprefix('nas-')}")
    known = [key for kind in module.HELP for key in keys(kind).values()]
    for key in known:
        usual = "" if key.usual in (None, "") else f" {key.usual}"
        assert f"\n{key.name}:{usual} # ({key.kind}) " in text
    assert max(map(len, text.splitlines())) <= 100
    for kind in module.HELP:
        assert page(kind) in text and yaml.safe_load(page(kind)).keys() == keys(kind).keys()
    assert "\n\n\n" not in text and text.endswith("\n") and not text.endswith("\n\n")


def test_help_loads_nothing_heavy():
    code = (
        "import sys; from yolo_nas_ext.cli import main, COMMANDS\n"
        "for command in COMMANDS: main([command, 'help'])\n"
        "print(*{m.partition('.')[0] for m in sys.modules} & {'torch', 'ultralytics', 'numpy'})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == ""
