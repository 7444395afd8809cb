"""What a set of scans is like, and what that means for a detector."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from yolo_nas_ext.data.scans.intensity import AIR

FEW_PIXELS = 8  # at stride 8 a smaller object is less than one cell of the finest level P3
THICK = 3.0  # slices so many times farther apart than pixels
MIXED = 1.5  # largest pixel spacing by smallest
LARGEST = 1280  # pixels; a larger image size is not suggested, nor one that no picture fills
OBLONG = 1.1  # a pixel's longer side by the other
WHOLE = 0.95  # of a picture's width or height: an object that is as large is hardly a finding
SMALL_SET = 2000  # pictures; for fewer, small networks


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """A table, what to mind, and what to try.

    Attributes:
        table: (name, value) rows for the screen.
        warnings: What matters to detection, a line each.
        suggested: Keys of `yolo nas-search`.
        figures: The table's numbers for the record.
    """

    table: list[tuple[str, str]]
    warnings: list[str]
    suggested: dict[str, Any]
    figures: dict[str, Any]


def fingerprint(
    records: Sequence[dict[str, Any]],
    names: dict[Any, str],
    *,
    imgsz: int | None = None,
    windowed: bool = False,
    windows: Sequence[tuple[float, float]] = (),
    task: str = "detect",
) -> Fingerprint:
    """Return what scans are like.

    Args:
        records: Of `convert.Summary`, at least one.
        names: Class names by label.
        imgsz: Image size in pixels of the search; without, the pictures' own, rounded up.
        windowed: Whether a CT window was chosen.
        windows: Lowest and highest value of each window that was chosen.
        task: What the pictures are for; Ultralytics' masks allow no head below P3.
    """
    sizes = np.array([r["picture"] for r in records])
    own = 32 * math.ceil(int(np.median(sizes.max(1))) / 32)
    largest = 32 * math.ceil(int(sizes.max()) / 32)
    imgsz = imgsz or own
    sides = np.array(
        [min(o[0], o[1]) * imgsz / max(r["picture"]) for r in records for o in r["objects"]]
        or [np.nan]
    )
    spacing = np.array([r["spacing_mm"] for r in records])
    between = np.array([r.get("between_mm", np.nan) for r in records])
    values = np.array([r["intensity"] for r in records])
    pictures = [p for r in records for p in r["pictures"]]
    classes = Counter(o[3] for r in records for o in r["objects"])
    empty = sum(not p["labels"] for p in pictures)
    figures = {
        "scans": len(records),
        "patients": len({r["patient"] for r in records}),
        "pictures": len(pictures),
        "without objects": empty,
        "imgsz": imgsz,
        "size px": _spread(sizes.max(1)),
        "pixel mm": _spread(spacing.ravel()),
        "slices mm": _spread(between),
        "object px": _spread(sides),
        "intensity": [float(values[:, 0].min()), float(values[:, 3].max())],
        "objects": {str(n): classes.get(v, 0) for v, n in names.items()},
    }
    thick = float(np.nanmedian(between / spacing.min(1))) if not np.isnan(between).all() else 1.0
    warnings = [
        *_of_objects(sides, imgsz, largest, classes, names, p2=task == "detect"),
        *_from_edge_to_edge(records, task),
        *_of_scans(records, spacing, thick, ct=values[:, 0].min() < AIR and not windowed),
        *_without_contrast(values, windows),
    ]
    return Fingerprint(
        _table(figures),
        warnings,
        _suggest(records, sides, imgsz, largest, figures, windowed),
        figures,
    )


def _spread(values: np.ndarray) -> list[float]:
    """Return minimum, 10th percentile, median, 90th percentile and maximum; none of nothing."""
    values = values[~np.isnan(values.astype(float))]
    return (
        [round(float(v), 3) for v in np.percentile(values, (0, 10, 50, 90, 100))]
        if len(values)
        else []
    )


def _table(figures: dict[str, Any]) -> list[tuple[str, str]]:
    def spread(name: str) -> str:
        return " / ".join(f"{v:g}" for v in figures[name]) or "-"

    low, high = figures["intensity"]
    return [
        ("scans, patients", f"{figures['scans']:,}, {figures['patients']:,}"),
        ("pictures", f"{figures['pictures']:,}, {figures['without objects']:,} without objects"),
        ("objects", ", ".join(f"{n} {c:,}" for n, c in figures["objects"].items()) or "-"),
        ("", "least / 10 % / median / 90 % / most"),
        ("longer side, px", spread("size px")),
        ("pixel, mm", spread("pixel mm")),
        ("between slices, mm", spread("slices mm")),
        (f"object, px at {figures['imgsz']}", spread("object px")),
        ("intensity", f"{low:g} to {high:g}"),
    ]


def _small(sides: np.ndarray) -> float:
    """Return the part of the objects that are below `FEW_PIXELS`."""
    return float(np.mean(sides < FEW_PIXELS)) if not np.isnan(sides).all() else 0.0


def _of_objects(
    sides: np.ndarray,
    imgsz: int,
    own: int,
    classes: Counter[Any],
    names: dict[Any, str],
    *,
    p2: bool,
) -> list[str]:
    found = []
    if (small := _small(sides)) > 0.1:
        larger = _larger(sides, imgsz, own)
        ways = [f"imgsz={larger}"] * (larger > imgsz)
        ways += ["a head that reads P2 (levels 2-4 or 2-5)"] * p2
        found.append(
            f"{small:.0%} of the objects are below {FEW_PIXELS} px at imgsz={imgsz}, less than a "
            "cell at stride 8: "
            + (f"try {', or '.join(ways)}" if ways else "pictures of a finer spacing show them")
        )
    total = sum(classes.values())
    for label, name in names.items():
        if label == 0 and not classes.get(0):  # slices without an object, which have none to count
            continue
        if total and classes.get(label, 0) < 0.01 * total:
            found.append(f"class {name} has {classes.get(label, 0)} of {total:,} objects")
    return found


def _from_edge_to_edge(records: Sequence[dict[str, Any]], task: str) -> list[str]:
    """Return what to say of objects that span a picture, as a mask of the body does."""
    if task not in ("detect", "segment"):
        return []
    spans = [
        max(o[0] / r["picture"][0], o[1] / r["picture"][1]) for r in records for o in r["objects"]
    ]
    wide = sum(span >= WHOLE for span in spans)
    if wide <= 0.1 * len(spans):
        return []
    return [
        f"{wide:,} of {len(spans):,} objects reach from edge to edge of their picture: a mask of "
        "the body or of the background is no finding; such a label is left out by names=<label>:-"
    ]


def _without_contrast(values: np.ndarray, windows: Sequence[tuple[float, float]]) -> list[str]:
    """Return what to say of scans that a window shows all black or all white."""
    found = []
    for low, high in windows:
        blank = int(((values[:, 2] <= low) | (values[:, 1] >= high)).sum())
        if blank:
            least, most = np.median(values[:, 1]), np.median(values[:, 2])
            found.append(
                f"the window {low:g} to {high:g} shows nothing of {blank} of {len(values)} scans: "
                f"most of their values are {least:g} to {most:g}, as of an MR or of a CT without "
                "its sign; give window=percentile, or level/width in these values"
            )
    return found


def _larger(sides: np.ndarray, imgsz: int, own: int) -> int:
    """Return the image size at which nine of ten objects are large enough, at most `own`."""
    tenth = max(float(np.percentile(sides, 10)), 0.5)
    return min(32 * math.ceil(imgsz * FEW_PIXELS / tenth / 32), max(min(LARGEST, own), imgsz))


def _of_scans(
    records: Sequence[dict[str, Any]], spacing: np.ndarray, thick: float, *, ct: bool
) -> list[str]:
    found = []
    patients = len({r["patient"] for r in records})
    if patients == 1:
        found.append("one patient: val is empty, as a patient is never on both sides")
    elif patients < 10:
        found.append(f"{patients} patients: figures measured on so few vary a lot")
    if thick > THICK and any(r.get("channels", 1) == 1 for r in records):
        found.append(
            f"slices are {thick:.1f} times as far apart as pixels: channels=3 shows a slice "
            "between its neighbours"
        )
    if spacing.max() > MIXED * spacing.min():
        found.append(
            f"pixels measure {spacing.min():g} to {spacing.max():g} mm: "
            f"spacing={np.median(spacing):.2g} gives all scans the same"
        )
    oblong = int((spacing.max(1) > OBLONG * spacing.min(1)).sum())
    if oblong:
        worst = spacing[np.argmax(spacing.max(1) / spacing.min(1))]
        plural = "s" * (oblong > 1)
        found.append(
            f"pixels of {oblong} scan{plural} are not square ({worst[0]:g} x {worst[1]:g} mm): "
            f"spacing={np.median(spacing.min(1)):.2g} makes them so"
        )
    if ct:
        found.append(
            "values as of a CT, and no window: choose one, such as window=abdomen or 40/400"
        )
    if text := sum(r["text"] for r in records):
        found.append(f"{text} scans may show text such as a name in their pixels: look at them")
    return found


def _suggest(
    records: Sequence[dict[str, Any]],
    sides: np.ndarray,
    imgsz: int,
    own: int,
    figures: dict[str, Any],
    windowed: bool,
) -> dict[str, Any]:
    """Return keys of a search that suit the scans."""
    flat = all("between_mm" not in r for r in records)
    if flat:
        augment = "microscopy" if any(r["colour"] for r in records) else "xray"
    else:
        augment = "ct" if windowed or figures["intensity"][0] < AIR else "mri"
    space = "tiny" if figures["pictures"] < SMALL_SET else "yolo"
    size = _larger(sides, imgsz, own) if _small(sides) > 0.1 else imgsz
    return {"imgsz": max(size, 64), "space": space, "augment": augment}
