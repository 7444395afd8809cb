"""Progress: over one line on a terminal, whole lines now and then in a log."""

import ast
import io
import os
import signal
import subprocess
import threading

import pytest

from yolo_nas_ext import cli, console
from yolo_nas_ext.console import Progress, aligned, clean, quoted, quoted_code

TEXT = "{done} of {total}  {note}  {left} left"


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def time(monkeypatch):
    """A clock for all who ask for the time: seconds in a list."""
    now = [100.0]
    monkeypatch.setattr("tqdm.std.time", lambda: now[0])
    monkeypatch.setattr(console.time, "perf_counter", lambda: now[0])
    return now


def seen(terminal):
    """What stands on a terminal in the end, line by line."""
    lines = [""]
    for part in terminal.getvalue().replace("\n", "\n\r").split("\r"):
        if part.rstrip("\n"):
            lines[-1] = part.rstrip("\n") + lines[-1][len(part.rstrip("\n")) :]
        if part.endswith("\n"):
            lines.append("")
    return [line.rstrip() for line in lines]


def test_a_log_has_whole_lines_now_and_then(time):
    log = io.StringIO()
    with Progress(8, TEXT, stream=log, every=10) as progress:
        for done in range(1, 9):
            time[0] += 4
            progress(done, f"n{done}")
    assert log.getvalue().splitlines() == ["4 of 8  n4  16 s left", "7 of 8  n7  4.0 s left"]


def test_what_an_earlier_run_did_says_nothing_of_the_time(time):
    said = []
    progress = Progress(10, TEXT, every=0, say=said.append)
    for done in (7, 8):
        time[0] += 3
        progress(done, before=done - 1)
    assert said == ["7 of 10    9.0 s left", "8 of 10    6.0 s left"]


def test_the_last_line_can_stay(time):
    said = []
    with Progress(2, TEXT, keep=True, say=said.append) as progress:
        progress(1)
        progress(2)
        assert said == ["2 of 2    0.0 s left"]  # at once
    assert len(said) == 1


def test_a_terminal_shows_one_line_and_keeps_what_is_said(time):
    terminal = Terminal()
    with Progress(3, TEXT, stream=terminal) as progress:
        for done in (1, 2):
            time[0] += 1
            progress(done, "a note that is longer" if done == 1 else "")
        assert seen(terminal) == ["2 of 3    1.0 s left"]
        progress.say("a line")
        progress.show("running ...")
        assert seen(terminal) == ["a line", "running ..."]
    assert seen(terminal) == ["a line", ""]


def test_a_terminal_never_wraps_the_line(time, monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    terminal = Terminal()
    with Progress(3, head="x" * 50, stream=terminal) as progress:
        progress(1)
        assert seen(terminal) == [""]  # the terminal is looked at now and then
        progress.show("y" * 50)
        assert seen(terminal) == ["y" * 18 + "…"]
        time[0] += 1
        progress(2)
        assert seen(terminal) == ["x" * 18 + "…"]


def test_a_log_shows_nothing_that_would_be_written_over():
    log = io.StringIO()
    progress = Progress(3, TEXT, stream=log)
    progress.show("running ...")
    progress.say("done")
    assert log.getvalue() == "done\n"


def test_it_can_be_silent(capsys):
    with Progress(3, TEXT, every=0, keep=True, say=lambda line: None) as progress:
        progress(3)
    assert capsys.readouterr() == ("", "")


def test_what_a_reader_of_lines_raises_ends_the_work():
    def stop(line):
        raise KeyboardInterrupt

    progress = Progress(1, TEXT, keep=True, say=stop)
    with pytest.raises(KeyboardInterrupt):
        progress(1)


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_signal_that_ends_a_process_is_as_ctrl_c(name):
    number = getattr(signal, name)
    signal.signal(number, signal.SIG_DFL)  # nohup would have it ignored
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt), console.stoppable():
        os.kill(os.getpid(), number)
        threading.Event().wait(5)
    assert console.ending() and signal.getsignal(number) == before


def test_results_are_written_to_their_end_whatever_signals_follow():
    with console.stoppable():
        assert not console.ending()
        with console.finishing():
            os.kill(os.getpid(), signal.SIGTERM)
            threading.Event().wait(0.01)
        assert console.ending()


def test_a_signal_that_nohup_ignores_stays_so():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with console.stoppable():
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


NASTY = (
    "plain.yaml",
    "two words",
    "a;$(touch marker)",
    "a`touch marker`'b\"c",
    "-n",
    "\x1b[31mred\x1b]0;title\x07",
    "a\nb\t'\\c",
    "\u202egnp.exe",
    "\x9b31m",
    os.fsdecode(b"bytes-\xff"),
)


@pytest.mark.parametrize("name", NASTY)
def test_a_quoted_name_is_one_word_of_a_shell(tmp_path, name):
    word = quoted(name)
    assert word.isprintable()
    done = subprocess.run(
        ["bash", "-c", f"printf %s. {word}"],
        cwd=tmp_path,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
        capture_output=True,
        check=True,
    )
    assert done.stdout == os.fsencode(name) + b"." and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("code", ["f('a b', x=1)", "f('$HOME')", "f('a`b')", 'f("it\'s")'])
def test_quoted_code_is_one_word_of_a_shell(code):
    done = subprocess.run(
        ["bash", "-c", f"printf %s. {quoted_code(code)}"], capture_output=True, check=True
    )
    assert done.stdout.decode() == f"{code}."
    assert quoted_code(code).startswith('"') == (not set(code) & set('$`"'))


@pytest.mark.parametrize("name", NASTY)
def test_a_terminal_obeys_no_name(name):
    assert clean(name).replace("\n", "").isprintable()
    assert clean(name) == name or not name.isprintable()
    assert aligned([[name, "1"]]).replace("\n", "").isprintable()
    said = []
    console.Progress(1, say=said.append).say(name)
    assert said == [clean(name)]


def test_an_error_is_cleaned_too(capsys):
    assert cli.main(["score", "model=\x1b]0;title\x07.yaml"]) == 2
    assert "model=\\x1b]0;title\\x07.yaml" in capsys.readouterr().err


# The probe runs alone on a device, and the hook where nothing else is loaded yet.
OTHERS = ("console.py", "probe.py")


def test_all_that_is_printed_is_cleaned(root):
    """Names of files, classes and runs hold what a terminal obeys; one function prints."""
    found = [
        f"{path.relative_to(root)}:{node.lineno}"
        for path in sorted((root / "yolo_nas_ext").rglob("*.py"))
        if path.name not in OTHERS and "hook" not in path.parts
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if (isinstance(node, ast.Name) and node.id == "print")
        or (isinstance(node, ast.Attribute) and ast.unparse(node) in ("shlex.quote", "shlex.join"))
        or (isinstance(node, ast.ImportFrom) and node.module == "shlex")
    ]
    assert not found, "console.say and console.quoted: " + ", ".join(found)


def test_what_a_terminal_obeys_is_shown(capsys):
    console.say("a\x1b]0;title\x07b\rc\udcff\nd")
    assert capsys.readouterr().out == "a\\x1b]0;title\\x07b\\x0dc\\xff\nd\n"


def test_silence_is_of_standard_output_alone(capsys):
    other = io.StringIO()
    with console.silence(False):
        console.say("said")
    with console.silence():
        console.say("not said")
        console.say("elsewhere", file=other)
        progress = Progress(2, TEXT, every=0)
        progress(1)
        progress.say("nor this")
        with console.silence(False):
            console.say("still not")
    console.say("again")
    assert capsys.readouterr().out == "said\nagain\n" and other.getvalue() == "elsewhere\n"
