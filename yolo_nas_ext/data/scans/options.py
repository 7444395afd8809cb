"""How scans are converted, and what a conversion did."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TASKS = ("detect", "segment", "classify")
AXES = ("sagittal", "coronal", "axial")
NONE = "-"  # the name of a label that is left out


def remapped(names: Mapping[int, str]) -> tuple[tuple[int, int], ...]:
    """Return label and what becomes of it, for labels left out (0) and for those of a name before.

    Args:
        names: Class names by label; several labels may have one.
    """
    first: dict[str, int] = {NONE: 0}
    pairs = [(label, first.setdefault(name, label)) for label, name in sorted(names.items())]
    return tuple((label, to) for label, to in pairs if label != to)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """How scans become pictures.

    Attributes:
        axis: Index in `AXES` of the axis that slices are perpendicular to.
        channels: 1, or 3 for a slice between its neighbours.
        spacing: Size of a written pixel in mm; 0 keeps the scan's, -1 its smaller one for both.
        window: Lowest and highest value; percentiles of each scan without.
        windows: Several of them, a channel each.
        keep: What stays as it is: ``none``, ``pictures`` of 8 bits, or ``all``, which is refused
            for what has no 8 bits.
        tile: Side of the tiles that slices are cut into, in pixels; 0 for whole slices.
        overlap: Part of a tile that its neighbour shows, too.
        connectivity: 4 or 8, see `data.polygons.objects`.
        min_mm2: Area in mm^2 below which an object is left out.
        instances: Whether a label is one object rather than a class.
        polygons: Whether outlines are wanted.
        empty: Part of the slices without an object to keep for training.
        remap: Labels and what becomes of them; 0 leaves a label out.
    """

    axis: int = AXES.index("axial")
    channels: int = 1
    spacing: float = 0.0
    window: tuple[float, float] | None = None
    windows: tuple[tuple[float, float], ...] = ()
    keep: str = "pictures"
    tile: int = 0
    overlap: float = 0.2
    connectivity: int = 8
    min_mm2: float = 0.0
    instances: bool = False
    polygons: bool = False
    empty: float = 0.1
    remap: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to convert.

    Attributes:
        task: One of `TASKS`.
        cut: How scans become pictures.
        finest: Whether slices are cut along the axis with the finest pixels, not along `cut.axis`.
        names: Class names by label; others are called by their number. Labels of one name are
            one class, and a label that is called `NONE` is left out.
        structures: The label of each structure that files of masks name.
        values: What a label is: ``classes``, ``instances``, or ``auto``.
        empty_masks: Whether scans whose mask is empty are kept as healthy rather than reported.
        class_from: For classification, ``mask`` or ``folder``.
        volume: Which volume of a file with several.
        contrasts: What becomes the channels of a picture, see `contrasts.chosen`.
        pages: What the pages of a picture with several are, see `reading.read`.
        val: Part of the patients in val; 0 where a list says who is.
        test: Part of the patients in test.
        folds: Number of folds; each is val of a data YAML of its own. None for 0.
        seed: Of the split and of the choice of empty slices.
    """

    task: str = "detect"
    cut: Cut = field(default_factory=Cut)
    finest: bool = False
    names: dict[int, str] = field(default_factory=dict)
    values: str = "auto"
    structures: dict[str, int] = field(default_factory=dict)
    empty_masks: bool = False
    class_from: str = "mask"
    volume: int | None = None
    contrasts: tuple[str, ...] = ()
    pages: str | None = None
    val: float = 0.2
    test: float = 0.0
    folds: int = 0
    seed: int = 0

    @property
    def by_folder(self) -> bool:
        """Whether classes are folders, and masks say nothing."""
        return self.task == "classify" and self.class_from == "folder"


@dataclass(slots=True)
class Summary:
    """What a conversion did.

    Attributes:
        out: The data set, or None where nothing was to be written.
        names: Class names by index.
        records: What was found of every scan, without anything of its patient.
        split: ``train``, ``val`` or ``test`` for every patient's pseudonym.
        folds: The fold of every patient's pseudonym that is not in test.
        skipped: Name and reason of every scan that was left out; for the screen alone.
        notes: What the user should know.
        linkage: Pseudonym of every scan by its name; for the user alone.
        interrupted: Whether Ctrl-C ended it.
        options: How scans were converted, with what labels mean decided.
    """

    out: Path | None
    names: dict[int, str] = field(default_factory=dict)
    records: list[dict[str, Any]] = field(default_factory=list)
    split: dict[str, str] = field(default_factory=dict)
    folds: dict[str, int] = field(default_factory=dict)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    linkage: dict[str, str] = field(default_factory=dict)
    interrupted: bool = False
    options: Options = field(default_factory=Options)
