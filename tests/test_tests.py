"""The tests go through the door: none of them names what a module keeps for itself."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent
FILES = sorted(ROOT.rglob("*.py"))
PACKAGE = "yolo_nas_ext"
PRIVATE = re.compile(r"_[A-Za-z]\w*")  # and no name of Python's own, as __init__
# A name in a text that is looked up in the package, as monkeypatch and subprocesses do.
PATH = re.compile(rf"{PACKAGE}(?:\.\w+)*?\.(_[A-Za-z]\w*)")


def private_uses(source: str) -> Iterator[tuple[int, str]]:
    """Yield (line, use) of every private name of the package that a module's source names.

    That is an import of one, an attribute of a name that was imported from the package, one in a
    text with the path of a module, and the name of an attribute that is set on such a name.
    """
    tree = ast.parse(source)
    ours: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == PACKAGE:
            ours |= {alias.asname or alias.name for alias in node.names}
            for alias in node.names:
                if PRIVATE.fullmatch(alias.name):
                    yield node.lineno, f"import of {node.module}.{alias.name}"
        elif isinstance(node, ast.Import):
            ours |= {
                alias.asname or alias.name.partition(".")[0]
                for alias in node.names
                if alias.name.partition(".")[0] == PACKAGE
            }
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and PRIVATE.fullmatch(node.attr):
            if _root(node.value) in ours:
                yield node.lineno, ast.unparse(node)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from ((node.lineno, found[0]) for found in PATH.finditer(node.value))
        elif isinstance(node, ast.Call) and len(node.args) > 1:
            owner, name = node.args[:2]
            named = isinstance(name, ast.Constant) and isinstance(name.value, str)
            if named and PRIVATE.fullmatch(str(name.value)) and _root(owner) in ours:
                yield node.lineno, f"{ast.unparse(owner)}.{name.value}"


def _root(node: ast.AST) -> str:
    """Return the name that a chain of attributes begins with."""
    while isinstance(node, ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_no_private_name_of_the_package_is_used(path: Path) -> None:
    found = sorted(set(private_uses(path.read_text(encoding="utf-8"))))
    assert not found, "\n".join(f"{path.relative_to(ROOT)}:{line}: {use}" for line, use in found)


def test_the_check_sees_every_way_in() -> None:
    source = f"""
from {PACKAGE} import files
from {PACKAGE}.files import _replace, resource as found
import {PACKAGE}.loop as loop
files._hidden(); loop._search; found._more; files.shown; other._theirs
patch("{PACKAGE}.files._text")
patch.setattr(files, "_set", 1)
"""
    uses = [use for _, use in private_uses(source.replace(PACKAGE, "yolo_nas_" + "ext"))]
    names = ["_replace", "_hidden", "_search", "_more", "_text", "_set"]
    assert all(any(use.endswith(name) for use in uses) for name in names)
    assert len(uses) == len(names)
