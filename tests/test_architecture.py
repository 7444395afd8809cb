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
    "errors": "",
    "resources": "",
    "config": "",
    "commands": "",
    "objectives": "",
    "handed": "",
    "space": "handed",
    "cost": "space",
    "recorded": "",
    "study": "recorded space objectives",
    "tables": "space",
    "host": "space cost",
    "data": "host config",
    "plugins": "space",
    "strategies": "plugins space study objectives",
    "estimators": "plugins host data cost space config",
    "standings": "",
    "report": "standings study cost space objectives",
    "progress": "report study cost space objectives",
    "contest": "runfolder estimators host report standings",
    "latencies": "contest runfolder host cost",
    "outcome": "contest runfolder report standings config commands",
    "finals": "comparison outcome contest runfolder estimators host report standings study space "
    "config",
    "comparison": "outcome latencies contest cost runfolder estimators host report standings "
    "recorded config commands",
    "shared": "recorded study objectives space",
    "control": "study",
    "executors": "study",
    "loop": "job pruning executors shared strategies estimators data report cost study objectives "
    "space config",
    "repeats": "study objectives",
    "inner": "estimators report study cost space config",
    "pruning": "study",
    "parents": "study space",
    "timing": "study host cost space config",
    "plan": "plugins timing parents pruning executors strategies estimators data cost host study "
    "objectives space config",
    "runfolder": "estimators host space config",
    "results": "plugins finals runfolder parents estimators report data host study space config",
    "job": "plugins timing comparison finals extract plan runfolder results control inner parents "
    "repeats "
    "executors shared strategies estimators data report progress cost host study objectives space "
    "config",
    "score": "estimators host cost space config commands",
    "profiling": "host cost space config commands",
    "compare": "comparison host data cost space config commands",
    "scale": "estimators host cost space config commands",
    "extract": "plugins runfolder estimators host study space config commands",
    "cli": "scale compare extract job loop profiling score data config host",
    "__main__": "cli",
    "hook": "cli host",
}
EVERYONE = {"errors", "resources"}
TOP_LEVEL = set(
    "yolo_nas_ext cfg tests datasets benchmarks docs .ci "
    "pyproject.toml README.md Makefile LICENSE CHANGELOG.md .gitignore".split()
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
    assert own in PARTS, f"{module}: give this new part its arrows in the table"
    allowed = {own, *PARTS[own].split(), *EVERYONE}
    for name in imports(module):
        root = name.partition(".")[0]
        if name != "yolo_nas_ext" and root == "yolo_nas_ext":  # its root has only __version__
            assert part(name) in allowed, f"{module} may not import {name}"
        if root == "ultralytics":
            assert own == "host", f"{module}: Ultralytics is imported in host/ alone"
        if root in ("torch", "torchvision"):
            assert own not in ("space", "strategies", "study"), f"{module} may not import {root}"


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
        cwd=PACKAGE.parent, capture_output=True, text=True,
    )  # fmt: skip
    if listed.returncode:
        pytest.skip("not a git checkout")
    found = {line.partition("/")[0] for line in listed.stdout.splitlines()}
    assert found <= TOP_LEVEL, f"does not belong here: {sorted(found - TOP_LEVEL)}"
