"""The completion as the shells run it, and that it knows every key."""

import shutil
import subprocess
from importlib import import_module

import pytest

from yolo_nas_ext.cli import main
from yolo_nas_ext.commands.completion import script
from yolo_nas_ext.config.names import STRATEGIES
from yolo_nas_ext.config.settings import keys
from yolo_nas_ext.host.plugin.startup import COMMANDS

ASK = """
source {file}
COMP_LINE={line!r} COMP_POINT={point}
_yolo_nas
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    found = tmp_path_factory.mktemp("shell") / "yolo-nas.bash"
    found.write_text(script("bash"))
    return found


@pytest.fixture
def complete(file, tmp_path):
    """What bash offers for a line, in a folder with one data set."""
    (tmp_path / "mine.yaml").touch()

    def complete(line, before=""):
        code = before + ASK.format(file=file, line=line, point=len(line))
        done = subprocess.run(
            ["bash", "--norc", "-c", code], capture_output=True, text=True, cwd=tmp_path
        )
        assert done.returncode == 0 and done.stderr == "", done.stderr
        return done.stdout.split()

    return complete


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("yolo nas-sea", ["nas-search"]),
        ("yolo tra", []),  # which is left to the usual completion
        ("yolo train mod", []),
        ("yolo nas-search strat", ["strategy="]),
        ("yolo nas-search strategy=", [*STRATEGIES]),
        ("yolo nas-search trials=3 strategy=ev", ["evolution"]),
        ("yolo nas-search verbose=F", ["False"]),
        ("yolo nas-search effort=", ["quick", "normal", "thorough"]),
        ("yolo nas-search data=m", ["mine.yaml"]),
        ("yolo nas-search trials=", []),
        ("/usr/bin/yolo-nas-search max_f", ["max_flops="]),
        ("yolo-nas-search", []),
    ],
)
def test_bash_offers(complete, line, offered):
    assert complete(line) == offered


def test_bash_offers_all_commands(complete):
    assert complete("yolo ") == list(COMMANDS)


def test_a_whole_word_where_bash_does_not_cut_at_the_equals_sign(complete):
    assert complete("yolo nas-search task=po", "COMP_WORDBREAKS=' '\n") == ["task=pose"]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_key_is_completed(command, complete):
    module = import_module(f"yolo_nas_ext.config.{command.removeprefix('nas-')}")
    known = dict.fromkeys(key for kind in module.HELP for key in keys(kind))
    assert complete(f"yolo {command} ") == [f"{key}=" for key in known]


ZSH = """
compdef() {{ : }}
compset() {{ print -- cut }}
compadd() {{ print -- "$@" }}
_files() {{ print -- files }}
source {file}
words=({line}) CURRENT={current} PREFIX={word}
_yolo_nas
"""


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("yolo nas", f"-- {' '.join(COMMANDS)}\nfiles"),
        ("yolo train mod", "files"),
        ("yolo nas-search effort=q", "cut\n-- quick normal thorough"),
        ("yolo nas-search data=m", "cut\nfiles"),
        ("yolo nas-completion sh", "-S = -- shell"),
        ("yolo-nas-search task=", "cut\n-- detect segment semantic classify obb pose"),
    ],
)
def test_zsh_offers(tmp_path, line, offered):
    file = tmp_path / "yolo-nas.zsh"
    file.write_text(script("zsh"))
    words = line.split()
    code = ZSH.format(file=file, line=line, current=len(words), word=words[-1])
    done = subprocess.run(["zsh", "-f", "-c", code], capture_output=True, text=True)
    assert (done.stdout.strip(), done.stderr) == (offered, "")


def test_the_command_prints_it(capsys):
    assert main(["nas-completion", "shell=zsh"]) == 0
    assert capsys.readouterr().out == script("zsh")
    assert main(["nas-completion", "shell=fish"]) == 2
    assert "one of bash, zsh" in capsys.readouterr().err
