"""The lowest versions that are declared: they are safe ones, and the package runs with them."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from tests.helpers.shapes import draw

tomllib = pytest.importorskip("tomllib")  # from Python 3.11 on

# What was wrong before a version, of what reads others' files or runs what they hold.
SAFE = {
    "filelock": "3.20.3",  # CVE-2025-68146, CVE-2026-22701: a link in the place of a lock
    "jinja2": "3.1.6",  # CVE-2025-27516
    "matplotlib": "3.10",  # Figure.get_figure(root=True)
    "monai": "1.5.1",  # CVE-2025-58755: archives that write outside their folder
    "onnx": "1.18",  # CVE-2025-51480
    "pillow": "11.3",  # CVE-2025-48379
    "ray": "2.52",  # CVE-2025-62593
    "scikit-learn": "1.5",  # CVE-2024-5206
    "torch": "2.6",  # CVE-2025-32434: weights_only=True ran code
    "tqdm": "4.66.3",  # CVE-2024-34062
}
UV = (sys.executable, "-m", "uv")
# Too large to be fetched for a test; the environment's own takes their place.
LARGE = re.compile(r"(torch|torchvision|triton|nvidia.*|cuda.*)==")


@pytest.fixture(scope="module")
def declared(root):
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = [*project["dependencies"], *project["optional-dependencies"]["ray"]]
    return {(r := Requirement(line)).name: r for line in lines}


@pytest.mark.parametrize("name", SAFE)
def test_the_least_version_is_a_safe_one(declared, name):
    floors = [s.version for s in declared[name].specifier if s.operator == ">="]
    assert floors and Version(floors[0]) >= Version(SAFE[name])


def test_every_dependency_has_a_least_version(declared):
    assert all(any(s.operator == ">=" for s in r.specifier) for r in declared.values())


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_search_runs_with_the_lowest_direct_versions(root, tmp_path):
    """Resolved by uv, whose index has to be in reach; all but torch are those versions."""
    version = ".".join(map(str, sys.version_info[:2]))
    how = ["--resolution", "lowest-direct", "--python-version", version, "-q"]
    command = [*UV, "pip", "compile", root / "pyproject.toml", *how, "--no-header", "--no-annotate"]
    compiled = subprocess.run(command, capture_output=True, text=True)
    if compiled.returncode:
        pytest.skip(f"no index in reach: {compiled.stderr[:200]}")
    pins = [line for line in compiled.stdout.splitlines() if "==" in line]
    (tmp_path / "pins.txt").write_text("\n".join(p for p in pins if not LARGE.match(p)))
    install = [*UV, "pip", "install", "-q", "--no-deps", "--python", sys.executable]
    target = tmp_path / "site"
    subprocess.run([*install, "--target", target, "-r", tmp_path / "pins.txt"], check=True)
    env = {**os.environ, "PYTHONPATH": f"{target}{os.pathsep}{root}"}
    pinned = {name: found for name, _, found in (p.partition("==") for p in pins)}
    code = "import matplotlib as a, numpy as b, optuna as c"
    code += "; print(*[m.__version__ for m in (a, b, c)])"
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert done.stdout.split() == [pinned[n] for n in ("matplotlib", "numpy", "optuna")]
    keys = ["trials=2", "epochs=1", "imgsz=64", "batch=4", "baseline=none", "confirm=0"]
    given = [f"data={draw(tmp_path / 'shapes')}", f"project={tmp_path}", *keys]
    command = [sys.executable, "-m", "yolo_nas_ext"]
    subprocess.run([*command, "search", *given], env=env, check=True)
    assert (tmp_path / "search" / "report.html").is_file()
    scans = tmp_path / "lesions"
    subprocess.run([*command, "data", "demo=lesions", f"out={scans}"], env=env, check=True)
    out = tmp_path / "converted"
    subprocess.run([*command, "data", f"source={scans}", f"out={out}"], env=env, check=True)
    assert Path(out, "data.yaml").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("resolution", ["highest", "lowest-direct"])
@pytest.mark.parametrize("version", ["3.10", "3.11", "3.12", "3.13"])
def test_every_python_has_versions_of_all_that_is_declared(root, version, resolution):
    """Resolved by uv, whose index has to be in reach; no interpreter of that version is needed."""
    how = ["--python-version", version, "--resolution", resolution, "-q", "--no-header"]
    command = [*UV, "pip", "compile", root / "pyproject.toml", *how, "--no-annotate"]
    done = subprocess.run(command, capture_output=True, text=True)
    if re.search(r"connect|dns error|timed out", done.stderr):
        pytest.skip(f"no index in reach: {done.stderr[:200]}")
    assert done.returncode == 0, done.stderr[-1000:]
    assert re.search(r"^ultralytics==8\.4\.", done.stdout, re.M)


def test_the_code_is_of_the_oldest_python(root):
    for file in (root / "yolo_nas_ext").rglob("*.py"):
        ast.parse(file.read_text(encoding="utf-8"), str(file), feature_version=(3, 10))
