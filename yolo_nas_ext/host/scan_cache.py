"""What was read of images and labels, kept in arrays: nothing that a file holds is run."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pickle
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ultralytics.data import dataset as theirs
from ultralytics.data import utils

from yolo_nas_ext.files import json_of, replacing, text_of, write_text
from yolo_nas_ext.host.pictures import Seen

FOLDER = "labels"  # in the cache folder
VERSION = 2  # of the files' layout and of what is read
KEPT = 40  # files in the folder; the oldest go
# What a `.cache` of Ultralytics is made of, by which alone it is read.
HARMLESS = {
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    *((f"numpy.{core}.multiarray", "_reconstruct") for core in ("core", "_core")),
    *((f"numpy.{core}.multiarray", "scalar") for core in ("core", "_core")),
    *((f"numpy.{core}.numeric", "_frombuffer") for core in ("core", "_core")),
}


@dataclass(slots=True)
class Looked:
    """What was read of an image.

    Attributes:
        seen: What it is.
        label: Ultralytics' label dictionary; None where the image or its labels cannot be used.
        wrong: Why its labels cannot be used.
    """

    seen: Seen
    label: dict[str, Any] | None = None
    wrong: str = ""


def stamps(images: Sequence[str], files: Sequence[str]) -> np.ndarray:
    """Return sizes and times of images and label files, (n, 4) whole numbers; -1 of none."""
    return np.array(
        [(*_stamp(i), *_stamp(f)) for i, f in zip(images, files, strict=True)], np.int64
    )


def _stamp(file: str) -> tuple[int, int]:
    try:
        found = os.stat(file)
    except OSError:
        return -1, -1
    return found.st_size, found.st_mtime_ns


def stamp(file: Path, images: Sequence[str], now: np.ndarray) -> str:
    """Return a digest of images and label files as they are, read as a file of `place` says."""
    found = hashlib.sha256(file.stem.encode())
    found.update(_joined(images).tobytes())
    found.update(now.tobytes())
    return found.hexdigest()


def place(folder: Path, images: Sequence[str], what: str) -> Path:
    """Return the file of what is known of the images in a folder, read in some way."""
    folders = {os.path.dirname(image) for image in images}
    where = os.path.commonpath({os.path.abspath(folder) for folder in folders})
    about = f"{VERSION}\0{where}\0{what}"
    return (
        folder / FOLDER / f"{hashlib.sha256(about.encode('utf-8', 'replace')).hexdigest()[:16]}.npz"
    )


def load(file: Path, images: Sequence[str], now: np.ndarray) -> dict[int, Looked]:
    """Return what is known of images, by their index: of those whose files are as they were."""
    try:
        with file.open("rb") as stream, np.load(stream) as held:
            return _taken(dict(held), images, now)
    except (OSError, ValueError, KeyError, IndexError, TypeError, EOFError, zipfile.BadZipFile):
        return {}  # there is none, or it is damaged: read again


def _taken(
    held: Mapping[str, np.ndarray], images: Sequence[str], now: np.ndarray
) -> dict[int, Looked]:
    """Return the same of arrays; `save` says what they are."""
    names = _texts(held["images"])
    wrongs, reasons, contents = (_texts(held[n]) for n in ("wrongs", "reasons", "contents"))
    at = {name: index for index, name in enumerate(names)}
    rows = np.array([at.get(image, -1) for image in images])
    same = (rows >= 0) & (held["stamps"][rows] == now).all(1)
    ends, corners, sights = (
        np.concatenate([[0], held[n].cumsum()]).tolist() for n in ("counts", "corners", "sights")
    )
    shapes, pages, outlined = (held[n].tolist() for n in ("shapes", "pages", "outlined"))
    looks = held["looks"].tobytes()
    cls, boxes, outlines = held["cls"], held["bboxes"], held["segments"]
    points = held["keypoints"] if held["keypoints"].ndim == 3 else None
    found: dict[int, Looked] = {}
    for index in np.flatnonzero(same).tolist():
        row = int(rows[index])
        shape = tuple(shapes[row]) if shapes[row][0] > 0 else None
        look = looks[sights[row] : sights[row + 1]]
        seen = Seen(shape, wrongs[row], contents[row], pages[row], look)
        label = None
        if shape and not reasons[row]:
            start, end = ends[row], ends[row + 1]
            label = {
                "im_file": images[index],
                "shape": shape,
                "cls": cls[start:end],
                "bboxes": boxes[start:end],
                "segments": [outlines[corners[i] : corners[i + 1]] for i in range(start, end)]
                if outlined[row]
                else [],
                "keypoints": None if points is None else points[start:end],
                "normalized": True,
                "bbox_format": "xywh",
            }
        found[index] = Looked(seen, label, reasons[row])
    return found


def save(file: Path, images: Sequence[str], now: np.ndarray, looked: Sequence[Looked]) -> None:
    """Write what is known of images.

    Raises:
        OSError: Where the folder cannot be written.
    """
    labels = [one.label for one in looked]
    there = [label for label in labels if label is not None]
    outlines = [s for label in there for s in label["segments"] or [_NONE] * len(label["cls"])]
    points = [label["keypoints"] for label in there if label["keypoints"] is not None]
    file.parent.mkdir(parents=True, exist_ok=True)
    with replacing(file) as temporary, temporary.open("wb") as out:
        np.savez(
            out,
            images=_joined(images),
            stamps=now,
            shapes=np.array([one.seen.shape or (0, 0) for one in looked], np.int32),
            pages=np.array([one.seen.pages for one in looked], np.int32),
            looks=np.frombuffer(b"".join(one.seen.look for one in looked), np.uint8),
            sights=np.array([len(one.seen.look) for one in looked], np.int64),
            contents=_joined([one.seen.content for one in looked]),
            wrongs=_joined([one.seen.wrong for one in looked]),  # why an image cannot be used
            reasons=_joined([one.wrong for one in looked]),  # why its labels cannot
            counts=np.array([0 if label is None else len(label["cls"]) for label in labels]),
            outlined=np.array([bool(label and label["segments"]) for label in labels]),
            cls=_stacked([label["cls"] for label in there], (0, 1)),
            bboxes=_stacked([label["bboxes"] for label in there], (0, 4)),
            corners=np.array([len(outline) for outline in outlines], np.int64),
            segments=_stacked(outlines, (0, 2)),
            keypoints=_stacked(points, (0,)),
        )
    _tidy(file.parent)


def kept(folder: Path, about: str, make: Callable[[], Any], worth: bool) -> Any:
    """Return what was made before of the same texts, else make it and keep it.

    Args:
        folder: The cache folder.
        about: All that it follows from.
        make: Returns it, of what JSON knows.
        worth: Whether it is worth a file.
    """
    if not worth:
        return make()
    digest = hashlib.sha256(f"{VERSION}\0{about}".encode("utf-8", "replace")).hexdigest()[:16]
    file = folder / FOLDER / f"{digest}.json"
    with contextlib.suppress(OSError, ValueError):
        return json_of(text_of(file))
    found = make()
    with contextlib.suppress(OSError):  # a full disk costs the next start some time
        file.parent.mkdir(parents=True, exist_ok=True)
        write_text(file, json.dumps(found))
        _tidy(file.parent)
    return found


def _tidy(folder: Path) -> None:
    """Delete the oldest files."""
    for kind in ("*.npz", "*.json"):
        files = sorted(folder.glob(kind), key=lambda file: file.stat().st_mtime, reverse=True)
        for old in files[KEPT:]:
            old.unlink(missing_ok=True)


_NONE = np.zeros((0, 2), np.float32)


def _stacked(arrays: Sequence[np.ndarray], empty: tuple[int, ...]) -> np.ndarray:
    return np.concatenate(arrays) if len(arrays) else np.zeros(empty, np.float32)


def _joined(texts: Sequence[str]) -> np.ndarray:
    """Return texts as bytes, each with a zero behind it, which no path or message has."""
    text = "".join(f"{one}\0" for one in texts)
    return np.frombuffer(text.encode("utf-8", "surrogateescape"), np.uint8)


def _texts(array: np.ndarray) -> list[str]:
    return array.tobytes().decode("utf-8", "surrogateescape").split("\0")[:-1]


def of_host(images: Sequence[str], files: Sequence[str], about: Any) -> dict[str, dict[str, Any]]:
    """Return the labels that Ultralytics has kept of these files, by image; nothing if not of them.

    Args:
        images: All images of the part, in Ultralytics' order.
        files: Their label files.
        about: What else Ultralytics' digest is of, as it calls it.
    """
    file = Path(files[0]).parent.with_suffix(".cache")
    if not file.is_file():
        return {}
    try:
        with file.open("rb") as stream:
            np.lib.format.read_magic(stream)
            np.lib.format.read_array_header_1_0(stream)
            held = _Harmless(stream).load().item()
        if held["version"] != theirs.DATASET_CACHE_VERSION:
            return {}
        if held["hash"] != utils.get_hash([*files, *images, str(about)]):
            return {}
        return {str(label["im_file"]): label for label in held["labels"]}
    except Exception:  # a damaged or hostile file fails in many ways
        return {}


class _Harmless(pickle.Unpickler):
    """Makes arrays, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in HARMLESS:
            raise pickle.UnpicklingError(f"{module}.{name}")
        return super().find_class(module, name)
