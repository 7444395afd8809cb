"""`yolo nas-data` of a COCO JSON: what is said on the screen."""

from __future__ import annotations

from pathlib import Path

from yolo_nas_ext.config.data import CocoSettings
from yolo_nas_ext.console import quoted, say
from yolo_nas_ext.data.coco.convert import import_coco

NAMED = 20  # skipped images named on the screen; the rest are in conversion.json


def convert(settings: CocoSettings) -> int:
    """Convert a COCO JSON, print a table and return the exit code.

    Args:
        settings: The keys of the command.

    Returns:
        0, or 3 when images were skipped or a class is gone; each is named, images beyond the first
        20 in conversion.json.

    Raises:
        NASError: Where `import_coco` refuses it.
    """
    out = Path(settings.out)
    summary = import_coco(
        Path(settings.source),
        Path(settings.images),
        out,
        val_fraction=settings.val,
        seed=settings.seed,
        task=settings.task,
        min_box_px=settings.min_box_px,
        max_images=settings.subset,
        classes=settings.classes,
        all_classes=settings.all_classes,
        crowds=settings.crowds,
        split=settings.split,
        boxes=settings.boxes,
    )
    table = {
        "train images": summary.train,
        "val images": summary.val,
        **({"test images": summary.test} if summary.test else {}),
        "without objects": summary.empty,
        "classes": len(summary.names),
        "objects": summary.boxes,
        "crowds left out": summary.crowds,
        "degenerate left out": summary.degenerate,
        **({"without an outline": summary.bare} if summary.bare else {}),
        "without an image": summary.orphans,
        "images skipped": len(summary.skipped),
    }
    for name, count in table.items():
        say(f"{name:<20}{count:>9,}")
    for what, count in summary.repairs.items():
        say(f"repaired: {what}: {count:,}")
    for note in summary.notes:
        say(f"note: {note}")
    for name, count in summary.vanished.items():
        say(
            f"warning: class {name} is gone: none of its {count:,} objects is left"
            + ("; crowds=objects keeps crowds" if summary.crowds else "")
        )
    for name, reason in summary.skipped[:NAMED]:
        say(f"skipped: {name} {reason}")
    if len(summary.skipped) > NAMED:
        say(f"skipped: {len(summary.skipped) - NAMED} more, named in {out / 'conversion.json'}")
    say(f"data={quoted(out / 'data.yaml')}")
    return 3 if summary.skipped or summary.vanished else 0
