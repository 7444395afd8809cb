"""The stub of `nas_search`, by which an editor completes its keys; made of the settings.

python -m yolo_nas_ext.config.stub > yolo_nas_ext/python/nas_search.pyi
"""

from __future__ import annotations

import json

from yolo_nas_ext.config.search import FROM_WEIGHTS, KEYS
from yolo_nas_ext.config.settings import Key
from yolo_nas_ext.console import say

# The model is the first argument, and one trial once more is the command's.
LEFT_OUT = ("model", "pretrained", "rerun", "trial")
# What a key takes in Python, by the kind of its value; numbers may have a suffix, as in 2.5G.
TYPES = {
    "str": "str | Path",
    "int": "int",
    "float": "float",
    "bool": "bool",
    "number": "float | str",
    "list": "str | Sequence[Any] | Mapping[str, Any]",
}
HEAD = """\
# Made by `python -m yolo_nas_ext.config.stub`; a test holds that it is up to date.
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from yolo_nas_ext.python.result import SearchResult

def nas_search(
    model: Any = None,
    *,
    callbacks: Mapping[str, Callable[..., Any] | Sequence[Callable[..., Any]]] | None = None,
"""


def stub() -> str:
    """Return the text of the stub."""
    lines = [_parameter(key) for key in KEYS.values() if key.name not in LEFT_OUT]
    return f"{HEAD}{''.join(lines)}    **training: Any,\n) -> SearchResult: ...\n"


def _parameter(key: Key) -> str:
    kind = TYPES[key.kind]
    default = key.parse(key.usual)
    shown = "..."
    if key.name not in FROM_WEIGHTS:  # which has other defaults with a parent
        plain = isinstance(default, (bool, int, float, type(None)))
        shown = repr(default) if plain else shown
        shown = json.dumps(default) if isinstance(default, str) else shown
    return f"    {key.name}: {kind}{' | None' if default is None else ''} = {shown},\n"


if __name__ == "__main__":
    say(stub(), end="")
