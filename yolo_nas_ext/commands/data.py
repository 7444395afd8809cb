"""`yolo nas-data`: keys, and what is said on the screen."""

from __future__ import annotations

import csv
import re
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from yolo_nas_ext.config.fields import checked, optional, real, size, text, whole
from yolo_nas_ext.data.builtin import demo
from yolo_nas_ext.data.coco.convert import import_coco
from yolo_nas_ext.data.scans import convert, pairing
from yolo_nas_ext.data.scans.fingerprint import Fingerprint, fingerprint
from yolo_nas_ext.data.scans.intensity import window
from yolo_nas_ext.data.scans.options import TASKS
from yolo_nas_ext.data.scans.slices import Cut
from yolo_nas_ext.data.scans.volumes import AXES
from yolo_nas_ext.errors import NASError, did_you_mean
from yolo_nas_ext.files import resource


def _one_of(*options: Any) -> Callable[[Any], Any]:
    def parse(value: Any) -> Any:
        if value not in options:
            hint = did_you_mean(value, map(str, options))
            raise ValueError(f"one of {', '.join(map(str, options))}.{hint}".rstrip("."))
        return value

    return parse


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("true or false")
    return value


def _spacing(value: Any) -> float:
    """Return millimetres, 0 for native and -1 for iso."""
    if value in ("native", "iso"):
        return 0.0 if value == "native" else -1.0
    try:
        return real(0)(value)
    except ValueError as error:
        raise ValueError("native, iso or a number of mm above 0") from error


def _names(value: Any) -> dict[int, str]:
    """Return names by label of ``1:tumour,2:cyst``, of a mapping, or of names for 1, 2, ..."""
    if isinstance(value, Mapping):
        pairs = list(value.items())
    else:
        parts = value if isinstance(value, list) else str(value).split(",")
        parts = [str(part).strip() for part in parts]
        numbered = [re.fullmatch(r"(\d+)\s*:\s*(.+)", part) for part in parts]
        if any(numbered) and not all(numbered):
            raise ValueError("names such as 1:tumour,2:cyst")
        pairs = [(m[1], m[2]) for m in numbered if m] or list(enumerate(parts, 1))
    try:
        names = {int(label): str(name).strip() for label, name in pairs}
    except (TypeError, ValueError) as error:
        raise ValueError("names such as 1:tumour,2:cyst") from error
    if min(names, default=0) < 1 or not all(names.values()):
        raise ValueError("names such as 1:tumour,2:cyst, for labels from 1 on")
    if any(not name.isprintable() or set(name) & set('/\\:*?"<>|') for name in names.values()):
        raise ValueError("names without the signs that folders cannot have")
    return names


KEYS: dict[str, Callable[[Any], Any]] = {
    "source": text,
    "masks": optional(text),
    "group": optional(text),
    "fold": optional(whole(0)),
    "volume": optional(whole(0)),
    "values": _one_of("auto", "classes", "instances"),
    "names": optional(_names),
    "empty_masks": _flag,
    "out": optional(text),
    "task": _one_of(*TASKS),
    "class_from": _one_of("mask", "folder"),
    "val": real(0, 0.9),
    "seed": whole(0, 2**31 - 1),
    "salt": optional(text),
    "linkage": optional(text),
    "axis": _one_of(*AXES),
    "channels": _one_of(1, 3),
    "spacing": _spacing,
    "window": text,
    "connectivity": _one_of(4, 8),
    "min_mm2": real(0, open_low=False),
    "empty": optional(real(0, 1, open_low=False)),
    "imgsz": optional(size),
}


def main(settings: Mapping[str, Any]) -> int:
    """Run `yolo nas-data` and return its exit code.

    Args:
        settings: Keys and raw values of the command.

    Returns:
        0; 3 when scans or images were left out, each of them named, or when it was interrupted.

    Raises:
        NASError: For bad input, or where nothing can be converted.
    """
    if "demo" in settings:
        return _demo(settings)
    if "images" in settings:
        return coco_main(dict(settings))
    values = _values(settings)
    if values["source"] in (None, ""):
        raise NASError(
            "source: is required; as in yolo nas-data source=scans out=my_data task=segment"
        )
    options = _options(values)
    out, linkage = (Path(v) if (v := values[k]) else None for k in ("out", "linkage"))
    if out and linkage and linkage.resolve().is_relative_to(out.resolve()):
        raise NASError(
            f"linkage={linkage}: is inside out={out}, which others may see; put it elsewhere"
        )
    found = pairing.find(
        values["source"],
        values["masks"],
        group=values["group"],
        volume=values["volume"],
        fold=values["fold"],
    )
    for name in found.orphans:
        print(f"note: the mask {name} has no scan")
    if not found.labelled:
        print("note: no masks were found: pictures are written without labels")
    summary = convert.convert(found, out, options, salt=values["salt"])
    if summary.interrupted:
        print(f"interrupted; {len(summary.records)} scans are done: the same command goes on")
        return 3
    if linkage:
        _link(linkage, summary.linkage)
    windowed = values["window"] != "percentile"
    seen = fingerprint(
        summary.records,
        summary.names,
        imgsz=values["imgsz"],
        windowed=windowed,
        task=values["task"],
    )
    _say(summary, seen, options)
    return 3 if summary.skipped else 0


def _demo(settings: Mapping[str, Any]) -> int:
    """Draw the demo data of the guides."""
    given = checked(settings, {"demo": text, "out": text}, {"out": None})
    if not given["out"]:
        raise NASError(f"out: is required; as in yolo nas-data demo={given['demo']} out=demo")
    out = Path(given["out"])
    demo.draw(given["demo"], out)
    following = f"nas-data source={out}" if given["demo"] != "cells" else "nas-search data="
    following += "" if given["demo"] != "cells" else str(out / "data.yaml")
    print(f"drawn: {out}\nnext:\n  yolo {following}")
    return 0


def help_text() -> str:
    """Return what `yolo nas-data help` prints: the keys with their defaults."""
    keys = resource("cfg", "data.yaml").read_text(encoding="utf-8")
    return (
        f"{keys}\n# Of a COCO JSON: source, images, out, {', '.join(COCO_OPTIONS)}\n"
        "# Drawn data of the guides: demo=cells, lesions or nuclei, with out=\n"
    )


def _values(settings: Mapping[str, Any]) -> dict[str, Any]:
    values = yaml.safe_load(resource("cfg", "data.yaml").read_text(encoding="utf-8"))
    for key, value in settings.items():
        if key not in KEYS:
            raise NASError(
                f"{key}: unknown key of nas-data.{did_you_mean(key, KEYS)} Known: "
                f"{', '.join(KEYS)}; of a COCO JSON also images, which says that it is one"
            )
        values[key] = value
    for key, value in values.items():
        try:
            values[key] = KEYS[key](value) if value is not None or key != "source" else None
        except (ValueError, OverflowError) as error:
            raise NASError(f"{key}={value}: not allowed; {key} takes {error}") from error
    return values


def _options(values: Mapping[str, Any]) -> convert.Options:
    task = values["task"]
    empty = values["empty"]
    if empty is None:
        empty = 1.0 if task == "classify" else 0.1
    how = Cut(
        axis=AXES.index(values["axis"]),
        channels=values["channels"],
        spacing=values["spacing"],
        window=window(values["window"]),
        connectivity=values["connectivity"],
        min_mm2=values["min_mm2"],
        empty=empty,
    )
    return convert.Options(
        task=task,
        cut=how,
        names=values["names"] or {},
        values=values["values"],
        empty_masks=values["empty_masks"],
        class_from=values["class_from"],
        volume=values["volume"],
        val=values["val"],
        seed=values["seed"],
    )


def _link(path: Path, linkage: Mapping[str, str]) -> None:
    """Write which pseudonym stands for which scan, readable by its owner alone."""
    try:
        path.touch(mode=0o600)
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([("scan", "pseudonym"), *linkage.items()])
    except OSError as error:
        raise NASError(f"linkage={path}: cannot be written ({error.strerror})") from error


def _say(summary: convert.Summary, seen: Fingerprint, options: convert.Options) -> None:
    for name, value in seen.table:
        print(f"{name:<22}{value}")
    for warning in seen.warnings:
        print(f"warning: {warning}")
    if summary.skipped:
        total = len(summary.skipped) + len(summary.records)
        print(f"{len(summary.skipped)} of {total} scans were skipped, named above")
    if summary.out is None:
        print("nothing was written; give out= to convert")
        return
    sides = list(summary.split.values())
    print(f"{sides.count('train')} patients in train, {sides.count('val')} in val")
    data = summary.out if options.task == "classify" else summary.out / "data.yaml"
    if not _searchable(summary, options):
        return
    keys = " ".join(f"{key}={value}" for key, value in seen.suggested.items())
    print(f"next:\n  yolo nas-search data={shlex.quote(str(data))} task={options.task} {keys}")


def _searchable(summary: convert.Summary, options: convert.Options) -> bool:
    """Say whether a search can use what was written: both sides have pictures, train has labels."""
    by_folder = options.task == "classify" and options.class_from == "folder"
    labelled = by_folder or any(record["objects"] for record in summary.records)
    return labelled and set(summary.split.values()) == {"train", "val"}


NAMED = 20  # skipped images named on the screen; the rest are in conversion.json
_COCO_KEYS: dict[str, tuple[type, ...]] = {
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
_COCO_ARGUMENTS = {"val": "val_fraction", "subset": "max_images"}
COCO_OPTIONS = tuple(key for key in _COCO_KEYS if key not in ("source", "images", "out"))
_COCO_EXAMPLE = "yolo nas-data source=instances.json images=train2017 out=my_data"


def coco_main(settings: dict[str, Any]) -> int:
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
        if key not in _COCO_KEYS:
            raise NASError(
                f"{key}: unknown key of nas-data; known: {', '.join(_COCO_KEYS)}."
                f"{did_you_mean(key, _COCO_KEYS)}"
            )
        allowed = _COCO_KEYS[key]
        if value is None and key in ("subset", "classes"):
            continue
        if not isinstance(value, allowed) or (isinstance(value, bool) and bool not in allowed):
            kinds = " or ".join(kind.__name__ for kind in allowed if kind is not Path)
            raise NASError(
                f"{key}={value!r}: must be {kinds}, not {type(value).__name__}; as in "
                f"{_COCO_EXAMPLE}"
            )
    for key in ("source", "images", "out"):
        if not str(settings.get(key, "")):
            raise NASError(f"{key}: is required; as in {_COCO_EXAMPLE}")
    options = {
        _COCO_ARGUMENTS.get(k, k): v
        for k, v in settings.items()
        if k not in ("source", "images", "out")
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
