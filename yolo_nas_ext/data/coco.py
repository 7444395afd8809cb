"""COCO JSON to a YOLO data set: remapped, checked, and split so that rare classes reach both parts.

Longer than 300 lines because reading, checking and writing share one pass over untrusted input.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import os
import random
import secrets
import shutil
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml
from PIL import Image
from pycocotools import mask as rle
from pycocotools.coco import COCO

from yolo_nas_ext.data.masks import join
from yolo_nas_ext.errors import NASError, did_you_mean

TASKS = ("detect", "segment")
SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
"""What the host reads on every platform without a further package."""

EMPTY = -1  # stands for "no object" where images are picked by class
NAMED = 20  # skipped images named on the screen; the rest are in conversion.json


@dataclass(frozen=True, slots=True)
class Summary:
    """What a conversion wrote and what it left out.

    Attributes:
        train: Number of training images.
        val: Number of validation images.
        boxes: Number of objects written.
        names: Class names by new index.
        empty: Images written without an object.
        crowds: Crowd annotations left out.
        degenerate: Boxes left out: not finite, outside the image, or a side below `min_box_px`.
        orphans: Annotations whose image the file does not list.
        skipped: (file name, reason) of each image left out.
    """

    train: int
    val: int
    boxes: int
    names: tuple[str, ...]
    empty: int
    crowds: int
    degenerate: int
    orphans: int
    skipped: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class _Item:
    """An image on disk, its name in the output, and (category id, numbers in [0, 1]) an object."""

    source: Path
    name: str
    linkable: bool
    objects: tuple[tuple[int, tuple[float, ...]], ...]


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


def _inspect(path: Path) -> tuple[int, int, bool]:
    """Return width and height in pixels as the host sees them, and whether a hard link is safe.

    Raises:
        OSError: The file cannot be decoded to its end.
    """
    try:
        with Image.open(path) as image:
            width, height = image.size
            # The host rewrites a JPEG without an end mark in place: through a link, the original.
            jpeg = image.format in ("JPEG", "MPO")
            if image.getexif().get(0x0112, 1) in (5, 6, 7, 8):
                width, height = height, width
            image.draft(
                "L", (max(width // 8, 1), max(height // 8, 1))
            )  # reads all, computes an eighth
            image.load()
        if not jpeg:
            return width, height, True
        with path.open("rb") as file:
            file.seek(-2, os.SEEK_END)
            return width, height, file.read() == b"\xff\xd9"
    except Exception as error:  # for damaged files Pillow raises nearly anything
        raise OSError(str(error) or type(error).__name__) from error


def _outline(segmentation: Any, width: int, height: int) -> tuple[float, ...] | None:
    """Return COCO polygons or RLE as one polygon (x, y, x, y, ...) in [0, 1]; None without area."""
    parts: list[np.ndarray] = []
    try:
        if isinstance(segmentation, dict):
            code: Any = segmentation
            if list(code["size"]) != [height, width]:
                return None
            if isinstance(code["counts"], list):
                code = rle.frPyObjects(code, height, width)
            how = cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE
            with warnings.catch_warnings():  # pycocotools 2.0 speaks numpy 1 to numpy 2
                warnings.simplefilter("ignore", DeprecationWarning)
                mask = rle.decode(code)
            found = cv2.findContours(mask, *how)[0]
            parts = [contour.reshape(-1, 2).astype(float) for contour in found]
        elif isinstance(segmentation, list):
            parts = [np.asarray(polygon, float).reshape(-1, 2) for polygon in segmentation]
    except (KeyError, TypeError, ValueError):
        return None
    parts = [part for part in parts if len(part) >= 3 and np.isfinite(part).all()]
    if not parts:
        return None
    points = np.clip(join(parts) / (width, height), 0.0, 1.0)
    return tuple(float(v) for v in points.reshape(-1)) if np.ptp(points, 0).all() else None


def _object(
    row: Mapping[str, Any], width: int, height: int, *, task: str, min_box_px: float
) -> tuple[float, ...] | None:
    """Return xywh of the clipped box, or a polygon, in [0, 1]; None if degenerate."""
    try:
        x, y, w, h = (float(v) for v in row["bbox"])
    except (TypeError, ValueError, OverflowError):
        return None
    if not all(map(math.isfinite, (x, y, w, h))):
        return None
    x0, y0, x1, y1 = max(x, 0.0), max(y, 0.0), min(x + w, width), min(y + h, height)
    if min(x1 - x0, y1 - y0) <= 0 or min(x1 - x0, y1 - y0) < min_box_px:
        return None
    if task == "segment":
        return _outline(row.get("segmentation"), width, height)
    return (x0 + x1) / 2 / width, (y0 + y1) / 2 / height, (x1 - x0) / width, (y1 - y0) / height


def _stratified(
    classes: Sequence[frozenset[int]], n: int, rng: random.Random, *, spare: bool
) -> set[int]:
    """Pick n of the images so that each class gets its share, the rarest class first.

    Args:
        classes: The classes in each image; an empty set counts as a class of its own.
        n: How many to pick, at most ``len(classes)``.
        rng: Decides among equals.
        spare: Leave at least one image of each class unpicked, as long as that is possible.

    Returns:
        Indices into `classes`.
    """
    held = [part or frozenset((EMPTY,)) for part in classes]
    total = Counter(name for part in held for name in part)
    share = n / max(len(held), 1)
    order = list(range(len(held)))
    rng.shuffle(order)
    members: dict[int, list[int]] = {name: [] for name in total}
    for i in order:
        for name in held[i]:
            members[name].append(i)
    picked: set[int] = set()
    have: Counter[int] = Counter()

    def take(candidates: Sequence[int], slack: int | None, wanted: int, name: int | None) -> None:
        """Pick candidates that bring no class more than `slack` above its share, until `wanted`."""
        for i in candidates:
            if len(picked) >= n or (name is not None and have[name] >= wanted):
                return
            most = {
                c: min(math.ceil(share * total[c]) + (slack or 0), total[c] - spare)
                for c in held[i]
            }
            if i not in picked and (slack is None or all(have[c] < most[c] for c in most)):
                picked.add(i)
                have.update(held[i])

    for name in sorted(total, key=lambda name: (total[name], name)):
        for slack in (0, 2):
            take(members[name], slack, int(share * total[name] + 0.5), name)
    for slack in (0, 1, 3, None):  # fill up; at the very end with whatever is left
        take(order, slack, n, None)
    return picked


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


# COCO's own bounds of small, medium and large, in square pixels.
AREAS = (("small", 0.0, 32.0**2), ("medium", 32.0**2, 96.0**2), ("large", 96.0**2, math.inf))


def _areas(rows: Sequence[Mapping[str, Any]]) -> frozenset[int]:
    """Return which of COCO's sizes occur among annotations, as classes that no category has."""
    sizes = [row.get("area") for row in rows if not row.get("iscrowd")]
    return frozenset(
        EMPTY - 1 - index
        for index, (_, low, high) in enumerate(AREAS)
        if any(isinstance(size, (int, float)) and low <= size < high for size in sizes)
    )


def _choose(
    coco: COCO,
    found: list[tuple[dict[str, Any], Path]],
    *,
    classes: int | None,
    max_images: int | None,
    rng: random.Random,
) -> tuple[list[tuple[dict[str, Any], Path]], set[int]]:
    """Return the subset of the images and the ids of the most frequent categories of them all."""
    kinds = [
        Counter(a["category_id"] for a in coco.imgToAnns.get(row["id"], ()) if not a.get("iscrowd"))
        for row, _ in found
    ]
    frequency = Counter(category for kind in kinds for category in kind.elements())
    keep = set(sorted(coco.cats, key=lambda key: (-frequency[key], key))[:classes])
    if max_images is not None and max_images < len(found):
        present = [
            (frozenset(kind) & keep) | _areas(coco.imgToAnns.get(row["id"], ()))
            for kind, (row, _) in zip(kinds, found, strict=True)
        ]
        found = [found[i] for i in sorted(_stratified(present, max_images, rng, spare=False))]
    return found, keep


def _split(
    items: Sequence[_Item], val_fraction: float, rng: random.Random
) -> dict[str, list[_Item]]:
    """Return the items of train and val, at least one each."""
    n_val = min(max(int(len(items) * val_fraction + 0.5), 1), len(items) - 1)
    present = [frozenset(category for category, _ in item.objects) for item in items]
    chosen = _stratified(present, n_val, rng, spare=True)
    return {
        "train": [item for i, item in enumerate(items) if i not in chosen],
        "val": [item for i, item in enumerate(items) if i in chosen],
    }


def _convert(
    coco: COCO,
    rows: Sequence[tuple[dict[str, Any], Path]],
    keep: set[int],
    *,
    task: str,
    min_box_px: float,
) -> tuple[list[_Item], Counter[str], list[tuple[str, str]]]:
    """Open each image and turn its annotations of the kept categories into objects."""
    items: list[_Item] = []
    counts: Counter[str] = Counter()
    skipped: list[tuple[str, str]] = []
    stems: set[str] = set()
    for row, path in rows:
        try:
            width, height, linkable = _inspect(path)
        except OSError as error:
            skipped.append((str(row["file_name"]), f"cannot be decoded ({error})"))
            continue
        said = row.get("width") or width, row.get("height") or height
        if said != (width, height):
            reason = f"is {width}x{height} px, the annotations say {said[0]}x{said[1]}"
            skipped.append((str(row["file_name"]), reason))
            continue
        objects = []
        for annotation in coco.imgToAnns.get(row["id"], ()):
            if annotation["category_id"] not in keep:
                continue
            if annotation.get("iscrowd"):
                counts["crowds"] += 1
                continue
            values = _object(annotation, width, height, task=task, min_box_px=min_box_px)
            if values is None:
                counts["degenerate"] += 1
            else:
                objects.append((annotation["category_id"], values))
        stem = path.stem
        while stem.lower() in stems:  # a/1.jpg and b/1.jpg would share a label file
            stem = f"{stem}_{row['id']}"
        stems.add(stem.lower())
        items.append(_Item(path, stem + path.suffix.lower(), linkable, tuple(objects)))
    return items, counts, skipped


def _write(work: Path, parts: Mapping[str, Sequence[_Item]], remap: Mapping[int, int]) -> None:
    """Write images (linked where that is possible) and label files below `work`."""
    for split, items in parts.items():
        images, labels = work / "images" / split, work / "labels" / split
        images.mkdir(parents=True)
        labels.mkdir(parents=True)
        for item in items:
            target = images / item.name
            if item.linkable:
                with contextlib.suppress(OSError):  # another disk, or a file system without links
                    os.link(os.path.realpath(item.source), target)
            if not target.exists():
                shutil.copyfile(item.source, target)
            lines = (
                " ".join((str(remap[category]), *(f"{v:.6f}" for v in values))) + "\n"
                for category, values in item.objects
            )
            (labels / f"{target.stem}.txt").write_text("".join(lines), "utf-8", newline="\n")


def import_coco(
    annotations: Path,
    images: Path,
    out: Path,
    *,
    val_fraction: float = 0.2,
    seed: int = 0,
    task: str = "detect",
    min_box_px: float = 2.0,
    max_images: int | None = None,
    classes: int | None = None,
    all_classes: bool = False,
) -> Summary:
    """Write a COCO data set as images/, labels/, data.yaml and conversion.json below `out`.

    Crowds and degenerate boxes are left out and counted; images that are missing, damaged or of
    another size than annotated are left out and named; images without objects stay as background.
    Nothing appears at `out` unless all of it does.

    Args:
        annotations: The instances JSON.
        images: Folder that its ``file_name`` are relative to.
        out: Folder to create; may exist if it is empty.
        val_fraction: Share of the images for validation, between 0 and 1, both excluded.
        seed: Decides the split and the subset; the same one gives the same.
        task: ``detect`` for boxes or ``segment`` for polygons.
        min_box_px: Smallest side in pixels, after clipping to the image, that an object may have.
        max_images: Keep a subset of this many images, damaged ones among them, in which classes and
            COCO's sizes of objects have their shares.
        classes: Keep only this many categories, those with the most objects.
        all_classes: Keep categories that do not occur, too.

    Returns:
        The counts.

    Raises:
        NASError: A missing or malformed input, fewer than two usable images, no object left, or an
            `out` that is not empty or cannot be written.
    """
    annotations, images, out = Path(annotations), Path(images), Path(out)
    _check(images, out, val_fraction, task, min_box_px, max_images, classes)
    coco = load(annotations)
    found, skipped = find_images(coco, images)
    rng = random.Random(seed)
    found, keep = _choose(coco, found, classes=classes, max_images=max_images, rng=rng)
    items, counts, damaged = _convert(coco, found, keep, task=task, min_box_px=min_box_px)
    skipped += damaged
    if len(items) < 2:
        why = f"; the first problem: {skipped[0][0]} {skipped[0][1]}" if skipped else ""
        raise NASError(
            f"{images}: {len(items)} usable image(s) of {annotations.name}, at least 2 are"
            f" needed to split{why}"
        )
    occurring = {category for item in items for category, _ in item.objects}
    if not occurring:
        raise NASError(
            f"{annotations}: no object is left in {len(items)} images ({counts['crowds']} crowds,"
            f" {counts['degenerate']} degenerate); lower min_box_px or check the boxes"
        )
    remap = {key: i for i, key in enumerate(sorted(keep if all_classes else occurring))}
    parts = _split(items, val_fraction, rng)
    summary = Summary(
        train=len(parts["train"]),
        val=len(parts["val"]),
        boxes=sum(len(item.objects) for item in items),
        names=tuple(str(coco.cats[key]["name"]) for key in remap),
        empty=sum(not item.objects for item in items),
        crowds=counts["crowds"],
        degenerate=counts["degenerate"],
        orphans=sum(a["image_id"] not in coco.imgs for a in coco.anns.values()),
        skipped=tuple(skipped),
    )
    options = {
        "val_fraction": val_fraction,
        "seed": seed,
        "task": task,
        "min_box_px": min_box_px,
        "max_images": max_images,
        "classes": classes,
        "all_classes": all_classes,
    }
    record = {
        "source": annotations.name,
        "options": options,
        "counts": asdict(summary),
        "remap": {str(key): {"index": i, "name": summary.names[i]} for key, i in remap.items()},
        "split": {split: [item.name for item in part] for split, part in parts.items()},
    }
    _publish(out, parts, remap, summary, record)
    return summary


def _check(
    images: Path,
    out: Path,
    val_fraction: float,
    task: str,
    min_box_px: float,
    max_images: int | None,
    classes: int | None,
) -> None:
    """Refuse options and folders that cannot work, before anything is read."""
    if task not in TASKS:
        raise NASError(
            f"task={task!r}: must be one of {', '.join(TASKS)}.{did_you_mean(task, TASKS)}"
        )
    if not 0 < val_fraction < 1:
        raise NASError(f"val={val_fraction!r}: must be between 0 and 1, both excluded; try val=0.2")
    if not (math.isfinite(min_box_px) and min_box_px >= 0):
        raise NASError(f"min_box_px={min_box_px!r}: must be 0 or more pixels; try min_box_px=2")
    if max_images is not None and max_images < 2:
        raise NASError(f"subset={max_images!r}: must be 2 images or more; leave it out to keep all")
    if classes is not None and classes < 1:
        raise NASError(f"classes={classes!r}: must be 1 or more; leave it out to keep all")
    if not images.is_dir():
        raise NASError(
            f"images={images}: is not a folder; give the one that the JSON's file names refer to"
        )
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise NASError(f"out={out}: exists and is not an empty folder; give a new one or remove it")


def _publish(
    out: Path,
    parts: Mapping[str, Sequence[_Item]],
    remap: Mapping[int, int],
    summary: Summary,
    record: Mapping[str, Any],
) -> None:
    """Write everything beside `out` and rename it, so that `out` is whole or absent."""
    out = Path(os.path.abspath(out))  # "." has no name to put a sibling beside
    work = out.parent / f".{out.name}-{os.getpid()}-{secrets.token_hex(4)}"
    names = dict(enumerate(summary.names))
    data = {"train": "images/train", "val": "images/val", "names": names}
    text = yaml.safe_dump(data, sort_keys=False, allow_unicode=True)
    try:
        work.mkdir(parents=True)
        _write(work, parts, remap)
        (work / "data.yaml").write_text(text, "utf-8", newline="\n")
        (work / "conversion.json").write_text(
            json.dumps(record, indent=1) + "\n", "utf-8", newline="\n"
        )
        if out.exists():
            out.rmdir()  # checked to be empty; Windows does not rename onto a folder
        os.rename(work, out)
    except OSError as error:
        raise NASError(
            f"out={out}: cannot be written ({error.strerror or error}); give a folder on a"
            " writable disk with room"
        ) from error
    finally:
        shutil.rmtree(work, ignore_errors=True)


_KEYS: dict[str, tuple[type, ...]] = {
    "source": (str, Path),
    "images": (str, Path),
    "out": (str, Path),
    "val": (int, float),
    "seed": (int,),
    "task": (str,),
    "min_box_px": (int, float),
    "subset": (int,),
    "classes": (int,),
    "all_classes": (bool,),
}
_ARGUMENTS = {"val": "val_fraction", "subset": "max_images"}
OPTIONS = tuple(key for key in _KEYS if key not in ("source", "images", "out"))
_EXAMPLE = "yolo nas-data source=instances.json images=train2017 out=my_data"


def main(settings: dict[str, Any]) -> int:
    """Run ``yolo nas-data``: check the keys, convert, print a table.

    Args:
        settings: Keys and values of the command; ``source``, ``images`` and ``out`` are required,
            the others are options of `import_coco`: ``val`` its `val_fraction`, ``subset`` its
            `max_images`.

    Returns:
        0, or 3 when images were skipped; each is named, beyond the first 20 in conversion.json.

    Raises:
        NASError: A key is unknown, missing or of the wrong type, or `import_coco` refuses it.
    """
    for key, value in settings.items():
        if key not in _KEYS:
            raise NASError(
                f"{key}: unknown key of nas-data; known: {', '.join(_KEYS)}."
                f"{did_you_mean(key, _KEYS)}"
            )
        allowed = _KEYS[key]
        if value is None and key in ("subset", "classes"):
            continue
        if not isinstance(value, allowed) or (isinstance(value, bool) and bool not in allowed):
            kinds = " or ".join(kind.__name__ for kind in allowed if kind is not Path)
            raise NASError(
                f"{key}={value!r}: must be {kinds}, not {type(value).__name__}; as in {_EXAMPLE}"
            )
    for key in ("source", "images", "out"):
        if not str(settings.get(key, "")):
            raise NASError(f"{key}: is required; as in {_EXAMPLE}")
    options = {
        _ARGUMENTS.get(k, k): v for k, v in settings.items() if k not in ("source", "images", "out")
    }
    out = Path(settings["out"])
    summary = import_coco(Path(settings["source"]), Path(settings["images"]), out, **options)
    table = {
        "train images": summary.train,
        "val images": summary.val,
        "without objects": summary.empty,
        "classes": len(summary.names),
        "objects": summary.boxes,
        "crowds left out": summary.crowds,
        "degenerate left out": summary.degenerate,
        "without an image": summary.orphans,
        "images skipped": len(summary.skipped),
    }
    for name, count in table.items():
        print(f"{name:<20}{count:>9,}")
    for name, reason in summary.skipped[:NAMED]:
        print(f"skipped: {name} {reason}")
    if len(summary.skipped) > NAMED:
        print(f"skipped: {len(summary.skipped) - NAMED} more, named in {out / 'conversion.json'}")
    print(f"data={out / 'data.yaml'}")
    return 3 if summary.skipped else 0
