"""A COCO JSON that is read and checked, and the images that it lists."""

from __future__ import annotations

import contextlib
import io
import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

from pycocotools.coco import COCO

from yolo_nas_ext.errors import NASError

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
"""What Ultralytics reads on every platform without a further package."""


def load(path: Path) -> COCO:
    """Read and check a COCO JSON, so that what follows may trust its keys."""
    try:
        data = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise NASError(
            f"{path}: cannot be read ({error.strerror}); give a COCO instances JSON"
        ) from error
    except (ValueError, RecursionError) as error:
        raise NASError(
            f"{path}: is not valid JSON ({error}); give a COCO instances JSON"
        ) from error
    if not isinstance(data, dict):
        raise NASError(
            f"{path}: holds a {type(data).__name__}, not an object; give a COCO instances JSON"
        )
    needs = {
        "images": ("id", "file_name"),
        "annotations": ("id", "image_id", "category_id", "bbox"),
        "categories": ("id", "name"),
    }
    for part, keys in needs.items():
        rows = data.get(part)
        if not isinstance(rows, list) or not rows:
            state = "is missing" if part not in data else "is not a list" if rows else "is empty"
            raise NASError(
                f"{path}: '{part}' {state}; a COCO instances JSON needs images, annotations"
                " and categories"
            )
        for i, row in enumerate(rows):
            lacking = [k for k in keys if not isinstance(row, dict) or row.get(k) is None]
            if lacking:
                raise NASError(
                    f"{path}: {part}[{i}] lacks '{lacking[0]}'; each needs {', '.join(keys)}"
                )
            wrong = [k for k in keys if k.endswith("id") and not _is_int(row[k])]
            if wrong:
                raise NASError(
                    f"{path}: {part}[{i}].{wrong[0]}={row[wrong[0]]!r} is not an integer;"
                    " correct the file"
                )
        ids = Counter(row["id"] for row in rows)
        if len(ids) < len(rows):
            raise NASError(
                f"{path}: {part} hold id {ids.most_common(1)[0][0]} twice; make the ids unique"
            )
    known = {row["id"] for row in data["categories"]}
    for i, row in enumerate(data["annotations"]):
        if row["category_id"] not in known:
            raise NASError(
                f"{path}: annotations[{i}].category_id={row['category_id']} is not among the"
                " categories; add it there or remove the annotation"
            )
    coco: Any = COCO()
    coco.dataset = data
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
    return coco


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def find_images(
    coco: COCO, images: Path
) -> tuple[list[tuple[dict[str, Any], Path]], list[tuple[str, str]]]:
    """Return the (row, path) of images that are there, by id, and (name, reason) of the others."""
    found, skipped = [], []
    for key in sorted(coco.imgs):
        row = coco.imgs[key]
        name = str(row["file_name"])
        path = Path(os.path.abspath(images / name))
        if not path.is_relative_to(os.path.abspath(images)):  # a foreign JSON may name any file
            skipped.append((name, "is outside the images folder"))
        elif path.suffix.lower() not in SUFFIXES:
            skipped.append((name, f"is not one of {', '.join(SUFFIXES)}"))
        elif not path.is_file():
            skipped.append((name, "is not in the images folder"))
        else:
            found.append((row, path))
    return found, skipped
