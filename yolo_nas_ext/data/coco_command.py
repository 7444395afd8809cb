"""`yolo nas-data` of a COCO JSON: its keys, and what is said on the screen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from yolo_nas_ext.data.coco import import_coco
from yolo_nas_ext.errors import NASError, did_you_mean

NAMED = 20  # skipped images named on the screen; the rest are in conversion.json

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
