"""COCO JSON to a YOLO data set: remapped, checked, split so that rare classes reach both parts."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import random
import secrets
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml
from PIL import ImageOps
from pycocotools.coco import COCO

from yolo_nas_ext.data.coco.annotations import PART, find_images, read
from yolo_nas_ext.data.coco.objects import inspect, rectangle, relative
from yolo_nas_ext.data.coco.subset import choose, stratified
from yolo_nas_ext.data.groups import groups, merged
from yolo_nas_ext.data.near_copies import firsts
from yolo_nas_ext.data.pictures import opened
from yolo_nas_ext.data.splits import hold_out
from yolo_nas_ext.errors import NASError, did_you_mean

TASKS = ("detect", "segment")
OBJECTS = "objects"  # what crowds may be taken for
OUTLINES = "outlines"  # what boxes may be taken for
WITHOUT = "task=detect takes boxes, boxes=outlines takes them for outlines"


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
        test: Number of test images, where an existing split is kept.
        repairs: How often what was done to make sense of the file.
        vanished: Classes of which no object was written, and how many the file has of each.
        notes: What the user should know.
        bare: Objects with a box and no outline where outlines are asked for. Their images are left
            out, and they count among the degenerate; or their boxes are taken for outlines.
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
    test: int = 0
    repairs: Mapping[str, int] = field(default_factory=dict)
    vanished: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    bare: int = 0


@dataclass(frozen=True, slots=True)
class _Item:
    """An image on disk, its name in the output, and (category id, numbers in [0, 1]) an object."""

    source: Path
    name: str
    linkable: bool
    objects: tuple[tuple[int, tuple[float, ...]], ...]
    part: str = ""
    turn: bool = False  # whether it is written turned, as a training would not turn it
    look: bytes = b""


def _split(
    items: Sequence[_Item], val_fraction: float, rng: random.Random, seed: int, notes: list[str]
) -> dict[str, list[_Item]]:
    """Return the items of train and val, at least one each, copies of one source on one side."""
    names = groups([item.source.as_posix() for item in items])
    own = [item.source.with_suffix("").as_posix() for item in items]
    unnamed = [i.look if n == o else b"" for i, n, o in zip(items, names, own, strict=True)]
    together = merged(names, _contents(items), [own[first] for first in firsts(unnamed)])
    n = len(set(together))
    if 1 < n < len(items):
        notes.append(
            f"{len(items)} images are {n} groups by their names, by equal content or by how they "
            "look: each is on one side"
        )
        present = [{category for category, _ in item.objects} for item in items]
        sides = hold_out(present, fraction=val_fraction, seed=seed, groups=together)
        return {
            part: [items[i] for i in side]
            for part, side in zip(("train", "val"), sides, strict=True)
        }
    n_val = min(max(int(len(items) * val_fraction + 0.5), 1), len(items) - 1)
    present = [frozenset(category for category, _ in item.objects) for item in items]
    chosen = stratified(present, n_val, rng, spare=True)
    return {
        "train": [item for i, item in enumerate(items) if i not in chosen],
        "val": [item for i, item in enumerate(items) if i in chosen],
    }


def _contents(items: Sequence[_Item]) -> list[str]:
    """Return for each image what is equal for files of equal content."""
    sizes = Counter(item.source.stat().st_size for item in items)
    return [
        hashlib.sha256(item.source.read_bytes()).hexdigest()
        if sizes[item.source.stat().st_size] > 1
        else str(item.source)
        for item in items
    ]


def _kept(
    items: Sequence[_Item], val_fraction: float, rng: random.Random, seed: int, notes: list[str]
) -> dict[str, list[_Item]]:
    """Return the items of the parts that the file says.

    Raises:
        NASError: Where it says none of an image, or no train.
    """
    without = [item for item in items if not item.part]
    if without:
        raise NASError(
            f"split=keep: {len(without)} of {len(items)} images say no part, such as "
            f"{without[0].source.name}; folders, names of JSONs or a 'split' of each image say it. "
            "Give a folder with train and val as source=, or leave split= out"
        )
    found = {p: [item for item in items if item.part == p] for p in ("train", "val", "test")}
    if not found["train"]:
        raise NASError("split=keep: no image is in train; leave split= out to draw a split")
    if not found["val"]:
        notes.append("the split has no val: a part of train is drawn for it")
        found |= _split(found["train"], val_fraction, rng, seed, notes)
    return {part: side for part, side in found.items() if side}


def _convert(
    coco: COCO,
    rows: Sequence[tuple[dict[str, Any], Path]],
    keep: set[int],
    *,
    task: str,
    min_box_px: float,
    crowds: str,
    boxes: str,
) -> tuple[list[_Item], Counter[str], list[tuple[str, str]]]:
    """Open each image and turn its annotations of the kept categories into objects."""
    items: list[_Item] = []
    counts: Counter[str] = Counter()
    skipped: list[tuple[str, str]] = []
    stems: set[str] = set()
    for row, path in rows:
        try:
            seen = inspect(path)
        except OSError as error:
            skipped.append((str(row["file_name"]), f"cannot be decoded ({error})"))
            continue
        width, height = seen.size
        said = row.get("width") or width, row.get("height") or height
        turn = seen.orientation if said != seen.size and said == seen.stored else 1
        if said != seen.size and turn == 1:
            reason = f"is {width}x{height} px, the annotations say {said[0]}x{said[1]}"
            skipped.append((str(row["file_name"]), reason))
            continue
        counts["turned"] += turn != 1
        counts["pages"] += seen.pages > 1
        objects = []
        bare = 0
        for annotation in coco.imgToAnns.get(row["id"], ()):
            if annotation["category_id"] not in keep:
                continue
            if annotation.get("iscrowd") and crowds != OBJECTS:
                counts["crowds"] += 1
                continue
            how = {"min_box_px": min_box_px, "orientation": turn}
            values = relative(annotation, *said, task=task, **how)
            if values is None and (box := relative(annotation, *said, task="detect", **how)):
                bare += 1  # an object is there, and its outline is not
                values = rectangle(box) if boxes == OUTLINES else None
            if values is None:
                counts["degenerate"] += 1
            else:
                objects.append((annotation["category_id"], values))
        counts["bare"] += bare
        if bare and boxes != OUTLINES:
            reason = f"has {bare} objects with a box and no outline"
            skipped.append((str(row["file_name"]), reason))
            continue
        stem = path.stem
        while stem.lower() in stems:  # a/1.jpg and b/1.jpg would share a label file
            stem = f"{stem}_{row['id']}"
        stems.add(stem.lower())
        suffix = path.suffix.lower() if seen.understood else ".png"
        part = str(row.get(PART, ""))
        upright = not seen.understood
        items.append(
            _Item(path, stem + suffix, seen.linkable, tuple(objects), part, upright, seen.look)
        )
    return items, counts, skipped


def write_split(work: Path, parts: Mapping[str, Sequence[_Item]], remap: Mapping[int, int]) -> None:
    """Write images (linked where that is possible) and label files below `work`."""
    for split, items in parts.items():
        images, labels = work / "images" / split, work / "labels" / split
        images.mkdir(parents=True)
        labels.mkdir(parents=True)
        for item in items:
            target = images / item.name
            if item.turn:
                with opened(item.source) as image:
                    ImageOps.exif_transpose(image).save(target)
            elif item.linkable:
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
    crowds: str = "leave",
    split: str = "draw",
    boxes: str = "leave",
) -> Summary:
    """Write a COCO data set as images/, labels/, data.yaml and conversion.json below `out`.

    Crowds and degenerate boxes are left out and counted; images that are missing, damaged or of
    another size than annotated are left out and named; images without objects stay as background.
    An object with a box and no outline is no background: where outlines are asked for, its image is
    left out and named. Nothing appears at `out` unless all of it does.

    Args:
        annotations: The instances JSON, or a folder with one a part, see `annotations.read`.
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
        crowds: ``leave`` them out, or take them for ``objects``, as brushes of some tools draw
            everything as a crowd.
        split: ``draw`` one, or ``keep`` that of the file.
        boxes: In the task segment, of objects with a box and no outline: ``leave`` their images
            out, or take the boxes for ``outlines``.

    Returns:
        The counts.

    Raises:
        NASError: A missing or malformed input, fewer than two usable images, no object left, or an
            `out` that is not empty or cannot be written.
    """
    annotations, images, out = Path(annotations), Path(images), Path(out)
    _check(images, out, val_fraction, task, min_box_px, max_images, classes)
    coco, did = read(annotations)
    notes: list[str] = []
    found, skipped = find_images(coco, images, did)
    rng = random.Random(seed)
    found, keep = choose(coco, found, classes=classes, max_images=max_images, rng=rng)
    items, counts, damaged = _convert(
        coco, found, keep, task=task, min_box_px=min_box_px, crowds=crowds, boxes=boxes
    )
    skipped += damaged
    inside = os.path.realpath(images)
    items = [  # a hard link to what lies elsewhere would be somebody else's file
        item
        if os.path.realpath(item.source).startswith(f"{inside}{os.sep}")
        else replace(item, linkable=False)
        for item in items
    ]
    if len(items) < 2:
        why = f"; the first problem: {skipped[0][0]} {skipped[0][1]}" if skipped else ""
        why += f"; {WITHOUT}" if counts["bare"] and boxes != OUTLINES else ""
        raise NASError(
            f"{images}: {len(items)} usable image(s) of {annotations.name}, at least 2 are"
            f" needed to split{why}"
        )
    occurring = {category for item in items for category, _ in item.objects}
    if not occurring:
        raise NASError(
            f"{annotations}: no object is left in {len(items)} images ({counts['crowds']} crowds,"
            f" {counts['degenerate']} degenerate or without an outline); lower min_box_px or check"
            " the boxes"
        )
    remap = {key: i for i, key in enumerate(sorted(keep if all_classes else occurring))}
    if split == "keep":
        parts = _kept(items, val_fraction, rng, seed, notes)
    else:
        parts = _split(items, val_fraction, rng, seed, notes)
        if len({item.part for item in items} - {""}) > 1:
            notes.append("the file has a split; a new one is drawn, and split=keep keeps its own")
    notes += _said(counts, boxes)
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
        test=len(parts.get("test", ())),
        repairs={what: n for what, n in did.items() if n},
        vanished=_vanished(coco, found, keep - occurring),
        notes=tuple(notes),
        bare=counts["bare"],
    )
    options = {
        "val_fraction": val_fraction,
        "seed": seed,
        "task": task,
        "min_box_px": min_box_px,
        "max_images": max_images,
        "classes": classes,
        "all_classes": all_classes,
        "crowds": crowds,
        "split": split,
        "boxes": boxes,
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


def _said(counts: Counter[str], boxes: str) -> list[str]:
    """Return what was found in the images, for the user."""
    said = []
    if counts["bare"]:
        objects = f"{counts['bare']} objects have a box and no outline"
        said.append(
            f"{objects}: their boxes are taken for outlines"
            if boxes == OUTLINES
            else f"{objects}: their images are left out, as they are no background; {WITHOUT}"
        )
    if counts["turned"]:
        said.append(
            f"{counts['turned']} images are turned by EXIF and annotated as they are stored: their "
            "annotations were turned"
        )
    if counts["pages"]:
        said.append(
            f"{counts['pages']} images have several pages, of which a training reads the first "
            "alone"
        )
    return said


def _vanished(
    coco: COCO, found: Sequence[tuple[dict[str, Any], Path]], gone: set[int]
) -> dict[str, int]:
    """Return the classes of which nothing is left, and how many objects the images had of each."""
    here = Counter(a["category_id"] for row, _ in found for a in coco.imgToAnns.get(row["id"], ()))
    return {str(coco.cats[key]["name"]): here[key] for key in sorted(gone) if here[key]}


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
    data = {**{part: f"images/{part}" for part in parts}, "names": names}
    text = yaml.safe_dump(data, sort_keys=False, allow_unicode=True)
    try:
        work.mkdir(parents=True)
        write_split(work, parts, remap)
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
