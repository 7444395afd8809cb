"""Where `cfg/` and `datasets/` are: inside the package in a wheel, beside it in a checkout."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any


def resource(*parts: str) -> Path:
    """Return the path of a shipped file or folder, for example ``resource("cfg", "nas.yaml")``.

    Args:
        *parts: Path components; the first is ``cfg`` or ``datasets``.

    Returns:
        An existing or, for an unknown name, the would-be path below the shipped folder.
    """
    package = Path(str(resources.files("yolo_nas_ext")))
    root = package if (package / parts[0]).is_dir() else package.parent
    return root.joinpath(*parts)


def write_text(path: Path, text: str) -> Path:
    """Write a file whole or not at all."""
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)
    return path


def write_json(path: Path, content: Any) -> None:
    """Write a file whole or not at all."""
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(
        json.dumps(content, indent=1, ensure_ascii=False) + "\n", "utf-8", newline="\n"
    )
    if path.name == "state.json":
        temporary.chmod(0o600)
    os.replace(temporary, path)


def replace(path: Path, fill: Callable[[Path], object]) -> None:
    """Let `fill` write a temporary file beside `path` and move it there."""
    temporary = path.with_name(f".{path.stem}-{os.getpid()}{path.suffix}")
    try:
        fill(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
