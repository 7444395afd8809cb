"""The guides' own code and commands, taken from their pages: with small budgets, or as they are."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from ultralytics.cfg import entrypoint

from tests.helpers.parents import checkpoint
from yolo_nas_ext.cli import main
from yolo_nas_ext.data.builtin.cells import ensure_cells

GUIDES = sorted((Path(__file__).parents[2] / "docs" / "guides").glob("*.md"))
# What makes a guide take seconds; its commands are the same ones.
SMALL = {
    "trials": 2,
    "epochs": 1,
    "final_epochs": 1,
    "imgsz": 64,
    "seeds": 1,
    "batch": 8,
}
SEARCH = ("epochs=1", "final_epochs=1", "baseline=none")  # where a search names none
PARENT = "yolo11n.pt"  # that a guide starts from
LONGEST = 30  # lines of a file that is added


def blocks(guide, language):
    """(title, text) of every code block of a language."""
    text = guide.read_text(encoding="utf-8")
    pattern = rf'^```{language}(?: title="([^"]+)")?\n(.*?)^```$'
    return re.findall(pattern, text, re.S | re.M)


def files(guide, folder):
    for language in ("python", "yaml"):
        for title, text in blocks(guide, language):
            assert title, f"{guide.name}: a file without a title"
            (folder / title).write_text(text, encoding="utf-8")


def commands(guide):
    joined = (text.replace("\\\n", " ") for _, text in blocks(guide, "sh"))
    return [line for text in joined for line in text.splitlines() if line]


def small(command, cells):
    """The command with small numbers, on few images."""
    for key, value in SMALL.items():
        command = re.sub(rf"(?<![_\w]){key}=\d+", f"{key}={value}", command)
    if "nas-search" in command:
        for key in SEARCH:
            command += "" if f" {key.partition('=')[0]}=" in command else f" {key}"
    command = re.sub(r"(nas-score model=)\S+", r"\1yolo11n", command)  # one in place of three
    command = re.sub(r"\bmax_latency=\d+", "max_latency=1000", command)  # of a busy machine
    return re.sub(r"\bdata=cells(/data\.yaml)?(?!\S)", f"data={cells / 'data.yaml'}", command)


@pytest.mark.parametrize(
    "guide",
    [pytest.param(g, marks=[pytest.mark.slow] * (g.stem == "scans"), id=g.stem) for g in GUIDES],
)
@pytest.mark.usefixtures("catalogue")
def test_a_guide_with_small_budgets(guide, tmp_path, tmp_path_factory, monkeypatch):
    cells = ensure_cells(tmp_path_factory.mktemp("cells"), train=12, val=4, size=64)
    monkeypatch.chdir(tmp_path)
    files(guide, tmp_path)
    if PARENT in guide.read_text(encoding="utf-8"):
        checkpoint(tmp_path).rename(tmp_path / PARENT)
    for command in commands(guide):
        name, *arguments = shlex.split(small(command, cells))
        if name == "cat":
            assert Path(arguments[0]).stat().st_size > 100, command
        elif arguments[0].startswith("nas-"):
            assert main(arguments) == 0, command
        else:
            assert name == "yolo"
            entrypoint(f"yolo {' '.join(arguments)}")


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: guide.stem)
def test_a_guide_as_it_is(guide, tmp_path, request):
    """In a shell, by the commands that are installed."""
    files(guide, tmp_path)
    if PARENT in guide.read_text(encoding="utf-8"):
        weights = request.getfixturevalue("shared_data") / "yolo11n_coco" / PARENT
        shutil.copyfile(weights, tmp_path / PARENT)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    script = "set -euo pipefail\n" + "\n".join(commands(guide))
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


def test_what_is_added_is_short():
    extend = next(guide for guide in GUIDES if guide.stem == "extend")
    shown = blocks(extend, "python")
    assert len(shown) == 3
    for title, text in shown:
        assert len(text.splitlines()) <= LONGEST, title
