"""What a data set is when a run begins, so that resuming it on another one is noticed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from yolo_nas_ext.host.dataset import DataSet

MASK = "mask_file"  # key of the host's under which a label names a picture


def traits(data: DataSet) -> dict[str, Any]:
    """Return what candidates learn from, in a few plain values for a run's settings.

    Images are known by name and size in bytes, wherever their folder is: reading all of them would
    take longer than many a resumed run.

    Args:
        data: The training images.
    """
    objects = sum(len(label["cls"]) for label in data.labels)
    return {
        "images": len(data.images),
        "objects": objects,
        "classes": list(data.names.values()),
        "labels": _digest(part for label in data.labels for part in _written(label)),
        "files": _digest(_seen(image) for image in data.images),
    }


def changes(before: Mapping[str, Any], data: DataSet) -> list[str]:
    """Return what is not as it was, in words; nothing where all is.

    Args:
        before: From `traits`.
        data: What is there now.
    """
    now = traits(data)
    found = []
    for name in ("images", "objects"):
        if before.get(name) != now[name]:
            found.append(f"{before.get(name)} training {name} then, {now[name]} now")
    if before.get("classes") != now["classes"]:
        then = ", ".join(map(str, before.get("classes") or ()))
        found.append(f"classes {then} then, {', '.join(now['classes'])} now")
    if not found:  # or these would follow from it
        said = {"files": "images of other names or sizes", "labels": "other labels"}
        found = [text for name, text in said.items() if before.get(name) != now[name]]
    return found


def _digest(parts: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()[:16]


def _written(label: Mapping[str, Any]) -> Iterable[bytes]:
    """Yield which image a label is of and what it says, of whichever task."""
    yield json.dumps([Path(label["im_file"]).name]).encode()
    for name in sorted(label):
        values = label[name] if isinstance(label[name], list) else [label[name]]
        yield from (value.tobytes() for value in values if isinstance(value, np.ndarray))
        if name == MASK:
            yield _seen(str(label[name]))


def _seen(file: str) -> bytes:
    """Return a file's name and size."""
    path = Path(file)
    return json.dumps([path.name, path.stat().st_size if path.is_file() else 0]).encode()
