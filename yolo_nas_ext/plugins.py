"""What a user adds from a file of their own: a strategy, an estimator, blocks.

``strategy=greedy.py:Greedy`` names a class in a file; ``blocks=residual.py`` a file whose
``BLOCKS`` join the catalogue. The file is run, as a script of the user's is.
"""

from __future__ import annotations

import hashlib
import inspect
import re
import sys
import traceback
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import cloudpickle

from yolo_nas_ext.errors import NASError, in_a_line
from yolo_nas_ext.network import block_check
from yolo_nas_ext.network.blocks import BLOCKS
from yolo_nas_ext.space import schema

PATTERN = re.compile(r"(?P<file>.+\.py):(?P<name>\w+)")


def named(value: str) -> bool:
    """Say whether a value names something in a file, as ``greedy.py:Greedy`` does."""
    return PATTERN.fullmatch(value) is not None


def load(value: str, key: str) -> Any:
    """Return what ``file.py:Name`` names.

    Args:
        value: The file and the name in it.
        key: The user's key, for messages.

    Raises:
        NASError: For a file that is not there or cannot be run, or has no such name.
    """
    match = PATTERN.fullmatch(value)
    assert match
    module = _module(match["file"], f"{key}={value}")
    if not hasattr(module, match["name"]):
        here = ", ".join(n for n in vars(module) if not n.startswith("_")) or "nothing"
        raise NASError(f"{key}={value}: the file has no {match['name']}; it has {here[:200]}")
    return getattr(module, match["name"])


def load_blocks(file: str | None) -> tuple[str, ...]:
    """Add the blocks of a file to the catalogue; a second time does nothing.

    Args:
        file: Whose ``BLOCKS`` is a dictionary of `BlockType` by name; nothing is done without one.

    Returns:
        Their names.

    Raises:
        NASError: For a file without them, or for a block that cannot be used, with the reason.
    """
    if not file:
        return ()
    where = f"blocks={file}"
    found = getattr(_module(file, where), "BLOCKS", None)
    if not isinstance(found, dict) or not found:
        raise NASError(
            f"{where}: needs BLOCKS = {{'name': BlockType(...)}}, see docs/guides/extend.md#a-block"
        )
    for kind, block in found.items():
        if BLOCKS.get(kind) is not block:
            block_check.check(str(kind), block, where)
            schema.admit(kind, block)
    return tuple(found)


def refuses(function: Callable[..., Any], *given: Any, **named: Any) -> str:
    """Return why a function of the user's cannot be called with these arguments, if it cannot."""
    try:
        inspect.signature(function).bind(*given, **named)
    except TypeError as error:
        return str(error)
    except ValueError:  # compiled code has no signature
        return ""
    return ""


def reason(error: BaseException) -> str:
    """Return an exception in a line, with the last line of the user's file that it came through."""
    place = place_of(error)
    return f"{in_a_line(error)}, {place}" if place else in_a_line(error)


def place_of(error: BaseException) -> str:
    """Return ``file.py:line`` of the user's file that an exception came through last, or nothing.

    Such a module is known by its name, which other processes get with it.
    """
    place = ""
    for frame, line in traceback.walk_tb(error.__traceback__):
        path = Path(frame.f_code.co_filename)
        if path.suffix == ".py" and frame.f_globals.get("__name__") == _name(path):
            place = f"{path.name}:{line}"
    return place


def _name(path: Path) -> str:
    """Return the name of a file of the user's as a module."""
    return f"{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"


def _module(file: str, where: str) -> ModuleType:
    """Return a file as a module, which worker processes get by value."""
    path = Path(file).resolve()
    if not path.is_file():
        raise NASError(f"{where}: {file} does not exist; give the path of a Python file")
    name = _name(path)
    if name in sys.modules:
        return sys.modules[name]
    spec = spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise NASError(f"{where}: {file} is no Python file; give one whose name ends with .py")
    module = module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise NASError(f"{where}: {file} cannot be run ({in_a_line(error)})") from error
    cloudpickle.register_pickle_by_value(module)
    return module
