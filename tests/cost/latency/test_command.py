"""A command of the user's that prints milliseconds: what it gets, and what it may print."""

from __future__ import annotations

import shlex
import time
from pathlib import Path

import pytest

from yolo_nas_ext.cost.latency.command import Command, is_command
from yolo_nas_ext.errors import NASError


def command(text: str, timeout: float = 20) -> Command:
    return Command.parse(f"cmd:{text}", timeout)


def run(text: str, timeout: float = 20, **files: Path) -> list[float]:
    return command(text, timeout).run(files or {"onnx": Path("a.onnx")}, 64, "nas-1")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no command; give one, as in 'latency=cmd:./bench {onnx}'"),
        ("  ", "no command"),
        ("echo 'a {onnx}", "cannot be split into arguments (No closing quotation)"),
        ("echo 5", "gets no network; say where its file goes: 'latency=cmd:./bench {onnx}'"),
        ("echo {imgsz}", "gets no network"),
        ("echo {onx}", "no such place {onx}. Did you mean 'onnx'? Allowed: {onnx}, {pt}"),
        ("echo {} {onnx}", "no such place {}. Allowed"),
        ("./no-such-bench {onnx}", "./no-such-bench is no programme that can be run here"),
        ("/tmp {onnx}", "/tmp is no programme"),
        ("{onnx}", "{onnx} is no programme"),
    ],
)
def test_what_cannot_measure_is_refused_before_it_runs(text: str, said: str) -> None:
    with pytest.raises(NASError) as caught:
        command(text)
    assert said in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("printed", "found"),
    [
        ("12.5", [12.5]),
        ("loading\\n\\n  3 ms\\n\\n", [3.0]),
        ("1.5 2.5ms 1e1", [1.5, 2.5, 10.0]),
        (".5\\tms", [0.5]),
    ],
)
def test_the_last_line_is_milliseconds(printed: str, found: list[float]) -> None:
    assert run(f"printf '{printed}' {{onnx}}") == found


@pytest.mark.parametrize(
    ("printed", "shown"),
    [
        ("", "nothing"),
        ("done", "'done'"),
        ("12.5\\ndone", "'done'"),
        ("12,5", "'12,5'"),
        ("0", "'0'"),
        ("-3", "'-3'"),
        ("nan", "'nan'"),
        ("1e999", "'1e999'"),
        ("latency 5 ms", "'latency 5 ms'"),
        ("1_000", "'1_000'"),
        ("\\033[31m5", "' [31m5'"),
        ("\\377\\376", "'��'"),
    ],
)
def test_what_else_it_prints_is_shown(printed: str, shown: str) -> None:
    with pytest.raises(NASError) as caught:
        run(f"printf '{printed}' {{onnx}}")
    said = str(caught.value)
    assert f"printed {shown} for nas-1; its last line has to be milliseconds" in said


def test_a_file_stays_one_argument_whatever_it_is_called(tmp_path: Path) -> None:
    name = tmp_path / 'a b\'; touch "$(marker)" `marker` {imgsz} & #.onnx'
    out = tmp_path / "out"
    code = 'printf "%s\\n" "$@" > "$0"; echo 5'
    text = f"sh -c {shlex.quote(code)} {shlex.quote(str(out))} {{onnx}} --size={{imgsz}}"
    assert run(text, onnx=name) == [5.0]
    assert out.read_text().splitlines() == [str(name), "--size=64"]
    assert sorted(tmp_path.iterdir()) == [out]


def test_a_failure_says_its_last_line() -> None:
    with pytest.raises(NASError, match=r"ended with exit code 3 for nas-1: no such board$"):
        run("sh -c 'echo 5; echo reset >&2; echo no such board >&2; exit 3' {onnx}")
    with pytest.raises(NASError, match=r"ended with signal 9 for nas-1$"):
        run("sh -c 'kill -9 $$' {onnx}")


def test_what_takes_too_long_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    begin = time.monotonic()
    marker = tmp_path / "late"
    code = f"(sleep 1; touch {shlex.quote(str(marker))}) & sleep 60"
    with pytest.raises(NASError, match=r"took more than latency_timeout=0\.2 s for nas-1"):
        run(f"sh -c {shlex.quote(code)} {{onnx}}", 0.2)
    assert time.monotonic() - begin < 30  # not a minute
    time.sleep(1)
    assert not marker.exists()


def test_forms_are_those_that_the_command_names() -> None:
    assert command("echo {pt} {onnx} {imgsz}").forms == ("onnx", "pt")
    assert is_command("cmd:a") and is_command(" cmd:a")
    assert not any(map(is_command, (None, "measure", "a.json", "cmd.json")))
