"""What docstrings and comments say of the package itself: the names in backticks are there."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "yolo_nas_ext"
SUFFIXES = {"csv", "db", "html", "json", "md", "png", "pt", "txt", "yaml"}  # of files
NAME = re.compile(r"(?<!`)`([A-Za-z_]\w*(?:\.\w+)*)(?:\(\))?`(?!`)")
MODULES = {
    path.relative_to(PACKAGE).with_suffix("").as_posix().removesuffix("/__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
    if path != PACKAGE / "__init__.py"
}
TOP = {name for name in MODULES if "/" not in name}
FILES = sorted(PACKAGE.rglob("*.py"))


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (line, text) of every docstring and comment of a module."""
    source = path.read_text(encoding="utf-8")
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            if text := ast.get_docstring(node, clean=False):
                yield node.body[0].lineno, text
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


@cache
def members(path: Path) -> dict[str, ast.AST]:
    """Return what a module defines or imports, by name."""
    return dict(_defined(ast.parse(path.read_text(encoding="utf-8")).body))


def _defined(body: list[ast.stmt]) -> Iterator[tuple[str, ast.AST]]:
    for node in body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node.name, node
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = (name for target in targets for name in ast.walk(target))
            yield from ((name.id, node) for name in names if isinstance(name, ast.Name))
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            yield from ((alias.asname or alias.name, node) for alias in node.names)
        elif isinstance(node, (ast.If, ast.Try)):
            yield from _defined(node.body)


def has(path: Path, names: list[str]) -> bool:
    """Say whether a module has a name, and the class of that name the next one."""
    found = members(path).get(names[0])
    if found is None or len(names) == 1 or not isinstance(found, ast.ClassDef):
        return found is not None
    own = dict(_defined(found.body))
    selves = (node for node in ast.walk(found) if isinstance(node, ast.Attribute))
    own |= {node.attr: node for node in selves if isinstance(node.ctx, ast.Store)}
    return names[1] in own or bool(found.bases)  # which may be inherited


def resolves(name: str, asker: Path) -> bool:
    """Say whether a dotted name is a module of the package, or something in one.

    A name begins at the package's root, at the asker's folder, or with a module that is alone in
    having its name.
    """
    steps = name.split(".")
    for first in range(len(steps), 0, -1):
        tail, rest = "/".join(steps[:first]), steps[first:]
        beside = f"{asker.parent.relative_to(PACKAGE).as_posix()}/{tail}"
        found = {m for m in (tail, beside) if m in MODULES}
        if not found:
            found = {m for m in MODULES if m.endswith(f"/{tail}")}
        if any(not rest or has(MODULES[m], rest) for m in found):
            return True
    return False


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_names_of_modules_in_backticks_are_there(path: Path) -> None:
    stems = {name.rpartition("/")[2] for name in MODULES}
    wrong = [
        f"{path.relative_to(ROOT)}:{line}: `{name}`"
        for line, text in texts(path)
        for name in NAME.findall(text)
        if "." in name
        and name.rpartition(".")[2] not in SUFFIXES
        and name.partition(".")[0] in TOP | stems
        and not resolves(name, path)
    ]
    assert not wrong, "\n".join(wrong)
