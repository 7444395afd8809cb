"""What exporters write in other ways than COCO itself, where its meaning is clear; each counted."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as rle

from yolo_nas_ext.data.coco.boxes import settled
from yolo_nas_ext.errors import NASError
from yolo_nas_ext.files import is_class_name, said

NEEDS = {
    "images": ("file_name",),
    "annotations": ("image_id", "category_id"),
    "categories": ("id",),
}
SIDE = 50_000  # pixels of a picture
NAMES = ("file_name", "filename", "path", "name")  # keys under which exporters write a file's name
Row = dict[str, Any]


def repaired(data: Any, path: Path) -> tuple[dict[str, list[Row]], Counter[str]]:
    """Return the parts of a COCO JSON with whole ids, boxes and names, and how often what was done.

    Args:
        data: The JSON.
        path: Its file, for errors.

    Raises:
        NASError: Where a part is missing or no row of it can be used, or where an id stands for two
            different images or categories.
    """
    if not isinstance(data, dict):
        raise NASError(
            f"{path}: holds a {type(data).__name__}, not an object; give a COCO instances JSON"
        )
    did: Counter[str] = Counter()
    parts = {part: _rows(data, part, path, did) for part in NEEDS}
    categories, kinds = _categories(parts["categories"], path, did)
    images, files = _images(parts["images"], path, did)
    annotations, around = _annotations(parts["annotations"], files, kinds, did)
    settled(images, annotations, around, did)
    info = {"info": data["info"]} if isinstance(data.get("info"), dict) else {}
    return {**info, "images": images, "annotations": annotations, "categories": categories}, did


def _rows(data: dict[str, Any], part: str, path: Path, did: Counter[str]) -> list[Row]:
    """Return the rows of a part that have what is needed."""
    rows = data.get(part)
    if not isinstance(rows, list) or not rows:
        state = "is missing" if part not in data else "is not a list" if rows else "is empty"
        raise NASError(
            f"{path}: '{part}' {state}; a COCO instances JSON needs images, annotations"
            " and categories"
        )
    kept, first = [], ""
    for index, row in enumerate(rows):
        row = dict(row) if isinstance(row, dict) else {}
        if part == "images" and row.get("file_name") is None:
            row["file_name"] = next((row[k] for k in NAMES if row.get(k)), None)
        lacking = [key for key in NEEDS[part] if row.get(key) is None]
        if lacking:
            first = first or f"{part}[{index}] lacks '{lacking[0]}'"
            did[f"{part} without {lacking[0]}, left out"] += 1
        else:
            kept.append(row)
    if not kept:
        raise NASError(f"{path}: {first}; each needs {', '.join(NEEDS[part])}")
    return kept


def identifier(value: Any) -> int | str:
    """Return an id as a whole number where it is one, whatever its type; else as text."""
    if isinstance(value, bool):
        return str(value)
    try:
        number = float(value)
        return (
            int(value if isinstance(value, int) else number) if number.is_integer() else str(value)
        )
    except (TypeError, ValueError, OverflowError):
        return str(value).strip()


def _numbered(keys: Iterable[int | str]) -> Callable[[int | str], int]:
    """Return a function from ids to whole numbers: themselves, and new ones for texts."""
    keys = list(dict.fromkeys(keys))
    top = max((key for key in keys if isinstance(key, int)), default=0)
    texts = {key: top + 1 + i for i, key in enumerate(k for k in keys if isinstance(k, str))}
    return lambda key: key if isinstance(key, int) else texts[key]


def _categories(
    rows: list[Row], path: Path, did: Counter[str]
) -> tuple[list[Row], dict[int | str, int]]:
    """Return a category a name, and the id of the category that each given id stands for."""
    number = _numbered(identifier(row["id"]) for row in rows)
    kinds: dict[int | str, int] = {}
    first: dict[str, int] = {}
    kept: dict[int, Row] = {}
    for row in rows:
        given = identifier(row["id"])
        did["ids that are no whole numbers"] += type(row["id"]) is not int
        name = str(row.get("name") or f"class_{given}")
        own = number(given)
        if not is_class_name(name):
            raise NASError(f"{path}: a category is called {said(name)}; rename it to a plain name")
        if given in kinds and kept[kinds[given]]["name"] != name:
            raise NASError(f"{path}: categories hold id {given} twice; make the ids unique")
        did["categories of one name, joined"] += name in first and first[name] != own
        kinds[given] = first.setdefault(name, own)
        kept.setdefault(kinds[given], {**row, "id": kinds[given], "name": name})
    return list(kept.values()), kinds


def _images(rows: list[Row], path: Path, did: Counter[str]) -> tuple[list[Row], dict[Any, int]]:
    """Return an image a file, and the id of the image that each given id stands for."""
    number = _numbered(
        identifier(row["id"]) if row.get("id") is not None else f"\0{i}"
        for i, row in enumerate(rows)
    )
    files: dict[Any, int] = {}
    first: dict[str, int] = {}
    kept: dict[int, Row] = {}
    for index, row in enumerate(rows):
        given = identifier(row["id"]) if row.get("id") is not None else f"\0{index}"
        did["ids that are no whole numbers"] += type(row.get("id")) is not int
        name = str(row["file_name"])
        if given in files and str(kept[files[given]]["file_name"]) != name:
            raise NASError(f"{path}: images hold id {given} twice; make the ids unique")
        did["images that are listed twice, joined"] += name in first
        files[given] = first.setdefault(name, number(given))
        did["sizes that are no whole numbers"] += any(
            not isinstance(row.get(key), (int, type(None))) for key in ("width", "height")
        )
        size = {key: _whole(row.get(key)) for key in ("width", "height")}
        kept.setdefault(files[given], {**row, **size, "id": files[given], "file_name": name})
    return list(kept.values()), files


def _annotations(
    rows: list[Row], files: dict[Any, int], kinds: dict[int | str, int], did: Counter[str]
) -> tuple[list[Row], dict[int, list[float]]]:
    """Return annotations with an id, a box and the ids of image and category; and outlines' boxes.

    The second is the box around the outline of each annotation that has both, by its id.
    """
    kept: list[Row] = []
    around: dict[int, list[float]] = {}
    seen: set[Any] = set()
    ids: set[int] = set()
    free = max([i for r in rows if isinstance(i := r.get("id"), int)], default=0)
    missing = max(files.values(), default=0) + 1  # the image of what is of none
    for row in rows:
        kind = kinds.get(identifier(row["category_id"]))
        if kind is None:
            did["annotations of a category that is not listed, left out"] += 1
            continue
        image = files.get(identifier(row["image_id"]), missing)
        odd = any(type(row[key]) is not int for key in ("image_id", "category_id"))
        did["ids that are no whole numbers"] += odd
        own = identifier(row.get("id"))
        if not isinstance(own, int) or own in ids:
            free += 1
            own = free
            did["annotations without an id of their own, numbered"] += 1
        ids.add(own)
        box = _box(row.get("bbox"))
        segmentation = _shapes(row.get("segmentation"))
        outer = bounds(segmentation)
        if outer is not None and min(outer[2:]) > 0:
            if box is None or not all(map(math.isfinite, box)) or min(box[2:]) <= 0:
                did["boxes taken from outlines"] += 1
                box = outer
            else:
                around[own] = outer
        crowd = 1 if _whole(row.get("iscrowd")) else 0
        what = (image, kind, crowd, repr(box), repr(segmentation))
        if box is not None and what in seen:
            did["annotations that are there twice, left out"] += 1
            continue
        seen.add(what)
        kept.append(
            {
                **row,
                "id": own,
                "image_id": image,
                "category_id": kind,
                "bbox": box,
                "segmentation": segmentation,
                "iscrowd": crowd,
            }
        )
    return kept, around


def _whole(value: Any) -> int | None:
    """Return a size or a flag as a whole number, if it is one."""
    if isinstance(value, str) and value.strip().lower() in ("true", "false"):
        return int(value.strip().lower() == "true")
    try:
        return round(float(value))
    except (TypeError, ValueError, OverflowError):
        return None


def _box(value: Any) -> list[float] | None:
    """Return the four numbers of a box; None where it has none."""
    if isinstance(value, str):
        value = value.strip("[]() ").replace(",", " ").split()
    try:
        box = [float(v) for v in value]
    except (TypeError, ValueError, OverflowError):
        return None
    return box if len(box) == 4 else None


def _shapes(value: Any) -> Any:
    """Return polygons as a list of lists, also where there is one alone, or points; RLE stays."""
    if isinstance(value, list) and len(value) > 2 and all(map(_is_point, value)):
        return [[number for point in value for number in point]]
    if isinstance(value, list) and value and all(isinstance(v, (int, float)) for v in value):
        return [value]
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], dict):
        value = value[0]
    if isinstance(value, dict) and not _is_mask(value):
        return None
    return value


def _is_mask(value: dict[str, Any]) -> bool:
    """Say whether runs cover their picture, which the library in C takes for granted."""
    size, counts = value.get("size"), value.get("counts")
    if not isinstance(size, list) or [type(v) for v in size] != [int, int]:
        return False
    if not all(0 < v <= SIDE for v in size):
        return False
    if isinstance(counts, str):
        counts = _runs(counts)
    if not isinstance(counts, list) or not all(type(n) is int and n >= 0 for n in counts):
        return False
    return sum(counts) == size[0] * size[1]


def _runs(text: str) -> list[int] | None:
    """Return the runs of a text: numbers in base 32 with a sign, from the third on differences."""
    runs: list[int] = []
    value, shift = 0, 0
    for byte in text.encode("utf-8"):
        digit = byte - 48
        if not 0 <= digit < 64 or shift > 30:
            return None
        value |= (digit & 31) << shift
        shift += 5
        if not digit & 32:
            value -= (1 << shift) if digit & 16 else 0
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value, shift = 0, 0
    return None if shift else runs


def _is_point(value: Any) -> bool:
    """Say whether a part of an outline is a point alone, of which no polygon is made."""
    return (
        isinstance(value, list)
        and len(value) == 2
        and all(isinstance(number, (int, float)) for number in value)
    )


def bounds(segmentation: Any) -> list[float] | None:
    """Return the box around an outline; None where there is none."""
    try:
        if isinstance(segmentation, dict):
            code: Any = segmentation
            if isinstance(code["counts"], list):
                code = rle.frPyObjects(code, *code["size"])
            return [float(v) for v in rle.toBbox(code)]
        points = np.concatenate([np.asarray(p, float).reshape(-1, 2) for p in segmentation])
    except (KeyError, TypeError, ValueError):
        return None
    if not len(points):
        return None
    low, high = points.min(0), points.max(0)
    box = [float(v) for v in (*low, *(high - low))]
    return box if all(map(math.isfinite, box)) else None
