"""The identity of a data set: whether a resumed run meets the data that it began with.

Everything that a training learns from is in it: class names, every array of every label, the masks
and the content of every image. (The statistics of scans are another thing, which the field calls a
data set's fingerprint: `data.scans.fingerprint`.)
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from yolo_nas_ext.console import short
from yolo_nas_ext.host.dataset import DataSet, kept_of
from yolo_nas_ext.host.scanning import MANY

MASK = "mask_file"  # key of Ultralytics under which a label names a picture
YAML_KEYS = ("channels", "kpt_shape", "flip_idx", "label_mapping")  # that say what labels mean
WORTH_SAYING = 1e9  # bytes; less is read before anyone has finished a line about it
WORDS = {
    "files": "images of other names or sizes",
    "labels": "other labels",
    "yaml": f"other {', '.join(YAML_KEYS[:-1])} or {YAML_KEYS[-1]} in the YAML",
    "content": "images or masks of other content",
}


def identity(
    data: DataSet,
    before: Mapping[str, Any] | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Return what a training learns from, in a few plain values for the record of a run.

    Files are known by their names, wherever their folder is. Their content is read in two cases
    only: nothing is recorded yet, or a size or a modification time is not the recorded one.

    Args:
        data: The images and labels.
        before: What this function returned earlier.
        say: Prints a line before much is read.

    Returns:
        Counts of ``images`` and ``objects``, and the ``classes``. Digests: of all ``labels``; of
        the ``files``' names and sizes; of the ``yaml`` keys that say what labels mean; of the
        ``content`` of images and masks. And ``seen``, a digest of sizes and modification times: it
        decides whether content is read.
    """
    masks = [str(label[MASK]) for label in data.labels if MASK in label]
    looked = len(data.images) >= MANY and len(data.contents) == len(data.images)
    if not looked:
        return _identity(data, masks, looked, before or {}, say)
    # What was read of many images is kept by sizes and times, and so is this.
    make = partial(_identity, data, masks, looked, {}, say)
    found = kept_of(data, ["identity", _meaning(data)], make)
    same = before and before.get("seen") == found["seen"] and before.get("content")
    return {**found, "content": same or found["content"]}


def _identity(
    data: DataSet,
    masks: list[str],
    looked: bool,
    before: Mapping[str, Any],
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Return the same; of images that were looked at the content is known already."""
    pictures = [*data.images, *masks]
    stats = [_stat(file) for file in pictures]
    seen = _digest(json.dumps(stat).encode() for stat in stats)
    known = before.get("content") if before.get("seen") == seen else None
    return {
        "images": len(data.images),
        "objects": sum(len(label["cls"]) for label in data.labels),
        "classes": list(data.names.values()),
        "labels": _digest(part for label in data.labels for part in _written(label)),
        "files": _digest(_named(stat) for stat in stats[: len(data.images)]),
        "yaml": _digest([json.dumps(_meaning(data), sort_keys=True, default=str).encode()]),
        # Of many images what was read of them is in their digests already.
        "content": known or (_looked(data) if looked else _contents(pictures, stats, say)),
        "seen": seen,
    }


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return what is not as it was, in words; nothing where all is.

    What an earlier version did not record is not compared.

    Args:
        before: From `identity`.
        now: From `identity`, later.
    """
    found = []
    for name in ("images", "objects"):
        if before.get(name) != now[name]:
            found.append(f"{before.get(name)} training {name} then, {now[name]} now")
    if before.get("classes") != now["classes"]:
        then = ", ".join(map(str, before.get("classes") or ()))
        found.append(f"classes {then} then, {', '.join(now['classes'])} now")
    if found:  # all else would follow from it
        return found
    names = [name for name in WORDS if before.get(name, now[name]) != now[name]]
    if "files" in names and "content" in names:
        names.remove("content")
    return [WORDS[name] for name in names]


def digest(of: Mapping[str, Any]) -> str:
    """Return a short name for an identity: the same for data sets that differ in times alone."""
    kept = {name: value for name, value in of.items() if name != "seen"}
    return _digest([json.dumps(kept, sort_keys=True).encode()])


def first_digest(data: DataSet) -> str:
    """Return what comparisons called a data set before it had an identity.

    It covers file names, classes and boxes alone. Trainings that are recorded under it are found
    by it.
    """
    parts = [json.dumps(data.names, sort_keys=True).encode()]
    for file, label in zip(data.images, data.labels, strict=True):
        parts.append(Path(file).name.encode())
        parts += [label[name].tobytes() for name in ("cls", "bboxes") if name in label]
    return _digest(parts)


def _digest(parts: Iterable[bytes]) -> str:
    found = hashlib.sha256()
    for part in parts:
        found.update(part)
    return found.hexdigest()[:16]


def _meaning(data: DataSet) -> dict[str, Any]:
    """Return the keys of a data YAML that change what a label or an image says."""
    found = {}
    for name in YAML_KEYS:
        value = data.data.get(name)
        if isinstance(value, Mapping):  # whose keys may be numbers, in any order
            value = sorted((str(key), value[key]) for key in value)
        if value is not None:
            found[name] = value
    return found


def _written(label: Mapping[str, Any]) -> Iterator[bytes]:
    """Yield which image a label is of and what it says, of whichever task."""
    yield json.dumps([os.path.basename(label["im_file"])]).encode()
    for name in sorted(label):
        values = label[name] if isinstance(label[name], list) else [label[name]]
        yield from (value.tobytes() for value in values if isinstance(value, np.ndarray))
        if name == MASK:
            yield _named(_stat(str(label[name])))


def _named(stat: tuple[str, int, int]) -> bytes:
    """Return a file's name and size."""
    return json.dumps(stat[:2]).encode()


def _stat(file: str) -> tuple[str, int, int]:
    """Return a file's name, its size in bytes and when it was modified; zeros where it is gone."""
    name = os.path.basename(file)
    try:
        found = os.stat(file)
    except OSError:
        return name, 0, 0
    return name, found.st_size, found.st_mtime_ns


def _contents(
    files: list[str], stats: list[tuple[str, int, int]], say: Callable[[str], None]
) -> str:
    """Return a digest of names and contents, whose files are read side by side."""
    total = sum(size for _, size, _ in stats)
    if total > WORTH_SAYING:
        say(
            f"reading {len(files)} images once ({short(total)}B), so that a resumed run notices "
            "where one of them changes"
        )
    with ThreadPoolExecutor() as pool:
        sizes, times = [size for _, size, _ in stats], [time for *_, time in stats]
        found = pool.map(_content, files, sizes, times)
        return _digest(
            json.dumps([name]).encode() + content
            for (name, _, _), content in zip(stats, found, strict=True)
        )


def _looked(data: DataSet) -> str:
    """Return a digest of names and of the digests that reading the images has left."""
    names = (os.path.basename(image) for image in data.images)
    return _digest(f"{n}\0{c}\0".encode() for n, c in zip(names, data.contents, strict=True))


@cache  # a search and its final comparison have their training images in common
def _content(file: str, size: int, time: int) -> bytes:
    """Return the digest of a file's content; nothing of one that cannot be read."""
    found = hashlib.sha256()
    try:
        with open(file, "rb") as stream:
            while block := stream.read(1 << 20):
                found.update(block)
    except OSError:
        return b""
    return found.digest()
