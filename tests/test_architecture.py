"""The arrows of the design, held by reading the imports of every module."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "yolo_nas_ext"
# Importer -> what it may import. A folder is one part, except the hook, which stands outside of
# the package once it is installed.
PARTS = {
    "network": "",
    "data": "",
    "config": "",
    "space": "network",
    "cost": "network",
    "metrics": "data",
    "study": "metrics network space",
    "plugins": "network space",
    "host": "cost data network space",
    "strategies": "plugins space study",
    "estimators": "config cost data host metrics network plugins space",
    "executors": "study",
    "report": "network study",
    "run_dir": "config host network",
    "trackers": "",
    "loop": "executors network space strategies study",
    "vectorized": "config cost estimators network space study",
    "compare": "config cost data estimators executors host metrics report run_dir study",
    "pipeline": "compare config cost data estimators executors host loop metrics network plugins "
    "report run_dir space strategies study trackers vectorized",
    "commands": "compare config cost data estimators executors host loop metrics network pipeline "
    "plugins report run_dir space strategies study vectorized",
    "api": "config cost executors loop pipeline space strategies study",
    "cli": "commands config pipeline host.plugin",
    "python": "config host pipeline report study",
}
# The ways in, which have no part of their own.
DOORS = {"__main__": "cli", "hook": "cli host.plugin python"}
EVERYONE = {"errors", "files", "console"}
NO_TORCH = {"network", "space", "strategies", "study"}
TOP_LEVEL = set(
    "yolo_nas_ext cfg tests datasets benchmarks docs .ci "
    "pyproject.toml README.md Makefile LICENSE CHANGELOG.md CITATION.cff .gitignore "
    "Dockerfile .dockerignore".split()
)

MODULES = {
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}
ARROWS = sorted(set(MODULES) - {"yolo_nas_ext"})  # the root only names what is public


def imports(module: str) -> Iterator[str]:
    """Full names of what a module imports, wherever in it the import stands."""
    path = MODULES[module]
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) + 1 - node.level]
            source = ".".join([*above, *filter(None, [node.module])]) if node.level else node.module
            for name in node.names:
                whole = f"{source}.{name.name}"
                yield whole if whole in MODULES else str(source)


def part(module: str) -> str:
    """The part of the package that a module belongs to."""
    parts = module.split(".")
    return "hook" if parts[1:3] == ["host", "hook"] else parts[1]


@pytest.mark.parametrize("module", ARROWS)
def test_arrows(module: str) -> None:
    own = part(module)
    if own in EVERYONE:
        arrows = ""
    else:
        assert own in PARTS or own in DOORS, f"{module}: give this new part its arrows in the table"
        arrows = PARTS[own] if own in PARTS else DOORS[own]
    allowed = {own, *arrows.split(), *EVERYONE}
    for name in imports(module):
        root = name.partition(".")[0]
        if name != "yolo_nas_ext" and root == "yolo_nas_ext":  # its root has only __version__
            inside = (f"{name}.".startswith(f"yolo_nas_ext.{arrow}.") for arrow in allowed)
            assert any(inside), f"{module} may not import {name}"
        if root == "ultralytics":
            assert own == "host", f"{module}: Ultralytics is imported in host/ alone"
        if root in ("torch", "torchvision"):
            assert own not in NO_TORCH, f"{module} may not import {root}"


def test_no_cycles() -> None:
    graph = {m: {n for n in imports(m) if n in ARROWS and n != m} for m in ARROWS}
    # A package's own __init__ runs before its modules do and may gather them.
    graph = {m: {n for n in names if not m.startswith(f"{n}.")} for m, names in graph.items()}
    cycles = []
    while True:
        try:
            list(TopologicalSorter(graph).static_order())
            break
        except CycleError as error:  # taken apart, so that the next one is found too
            imported, importer, *_ = error.args[1]
            graph[importer].discard(imported)
            cycles.append(" imports ".join(reversed(error.args[1])))
    assert not cycles


def test_the_root_is_small() -> None:
    names = {
        m.split(".")[1] for m in MODULES if m.count(".") == 1 and MODULES[m].name != "__init__.py"
    }
    assert len(names) + 1 <= 10, sorted(names)  # and __init__


def test_every_folder_says_what_lives_in_it_and_what_it_may_import() -> None:
    for module, path in MODULES.items():
        if path.name == "__init__.py" and module.count("."):
            about = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
            assert about.count(".") >= 2 and "import" in about, module


def test_importing_the_package_is_light() -> None:
    code = (
        "import sys, yolo_nas_ext; yolo_nas_ext.NASError; "
        "print(*{m.partition('.')[0] for m in sys.modules} & {'torch', 'ultralytics', 'numpy'})"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=PACKAGE.parent, capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == ""


def test_top_level() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=PACKAGE.parent,
        capture_output=True,
        text=True,
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    found = {line.partition("/")[0] for line in listed.stdout.splitlines()}
    assert found <= TOP_LEVEL, f"does not belong here: {sorted(found - TOP_LEVEL)}"
