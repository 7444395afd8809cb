"""The benchmarks: each is in their table, and what they keep says what the documentation quotes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"
SCRIPTS = sorted(path.name for path in FOLDER.glob("*.py") if path.name != "lib.py")


def script(monkeypatch, name):
    monkeypatch.syspath_prepend(str(FOLDER))
    monkeypatch.delitem(sys.modules, name, raising=False)
    return __import__(name)


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_script_is_in_the_table_and_ends_alike(name):
    assert f"| `{name}" in (FOLDER / "README.md").read_text(encoding="utf-8")
    text = (FOLDER / name).read_text(encoding="utf-8")
    assert "\n    start(main, " in text and "fmt: skip" not in text


def test_the_last_line_is_json_and_a_miss_is_an_exit_code_of_1(tmp_path):
    (tmp_path / "one.py").write_text(
        "import math, sys\nsys.path.append(sys.argv.pop())\nfrom lib import Table, start\n"
        "def main(given):\n"
        "    Table('a', 'b').row(1, 2)\n"
        "    return {**given, 'nothing': math.nan, 'pass': given['n'] > 1}\n"
        "start(main, {'n': 1})\n"
    )

    def run(*arguments):
        command = [sys.executable, str(tmp_path / "one.py"), *arguments, str(FOLDER)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    missed, met, wrong = run(), run("n=2"), run("m=2")
    assert (missed.returncode, met.returncode, wrong.returncode) == (1, 0, 2)
    assert json.loads(missed.stdout.splitlines()[-1]) == {"n": 1, "nothing": None, "pass": False}
    assert met.stdout.splitlines()[0] == "| a | b |"
    assert wrong.stderr == "m: no such key; allowed: n\n"


def test_rows_go_on_after_a_kill(monkeypatch, tmp_path):
    lib, file = script(monkeypatch, "lib"), tmp_path / "rows.jsonl"
    lib.Rows(file).keep({"a": 1})
    file.write_text(file.read_text() + '{"a": ')
    rows = lib.Rows(file)
    rows.keep({"a": 2})
    assert rows == lib.Rows(file) == [{"a": 1}, {"a": 2}]


@pytest.mark.parametrize(
    ("name", "met", "found", "ratio", "trainings"),
    [("brain", True, 0.2369, 0.81, 11.54), ("cells", False, 0.4227, 0.81, 11.83)],
)
def test_the_proof_says_what_the_documentation_quotes(
    monkeypatch, capsys, name, met, found, ratio, trainings
):
    proof = script(monkeypatch, "proof")
    figures = proof.main({**proof.KEYS, "set": name, "only": "table"})
    line, reference = (figures["models"][model] for model in ("found-0", "yolo11n"))
    assert figures["pass"] == met and figures["best baseline"] == "yolo11n"
    assert (line["fitness"], line["trainings"], line["seeds"]) == (found, trainings, 3)
    assert round(line["latency_ms"] / reference["latency_ms"], 2) == ratio
    assert f"{found:.4f}" in capsys.readouterr().out
