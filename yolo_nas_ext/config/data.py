"""Every key of `yolo nas-data`: of scans, of a COCO JSON, and of the guides' drawn data."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from yolo_nas_ext.config.fields import (
    CORES,
    LARGE,
    PIXELS,
    Parse,
    flag,
    one_of,
    optional,
    path,
    real,
    size,
    text,
    texts,
    whole,
)
from yolo_nas_ext.config.settings import Settings, key
from yolo_nas_ext.files import is_folder_name

READ = "What is read"
WRITTEN = "What is written"
SLICES = "Slices"
COCO = "A COCO JSON, where images= is given"
DEMO = "Drawn data of the guides"


def spacing(value: Any) -> float:
    """Return millimetres, 0 for native and -1 for iso."""
    if value in ("native", "iso"):
        return 0.0 if value == "native" else -1.0
    try:
        return real(0)(value)
    except ValueError as error:
        raise ValueError("native, iso or a number of mm above 0") from error


def listed(most: float) -> Parse:
    """Return what accepts a part up to `most`, or a list of who is in it."""
    number = real(0, most, open_low=False)

    def parsed(value: Any) -> float | str:
        try:
            float(value)
        except (TypeError, ValueError):
            parts = value if isinstance(value, list | tuple) else [value]
            if not all(isinstance(part, str) and part.strip() for part in parts):
                raise ValueError(f"a number from 0 to {most:g}, or a list") from None
            return ",".join(part.strip() for part in parts)
        return number(value)

    return parsed


def joined(value: Any) -> str:
    """Return a text, of a list one with commas."""
    parts = value if isinstance(value, list | tuple) else [value]
    return ",".join(text(part) for part in parts)


def names(value: Any) -> dict[int, str]:
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
        found = {int(label): str(name).strip() for label, name in pairs}
    except (TypeError, ValueError) as error:
        raise ValueError("names such as 1:tumour,2:cyst") from error
    if min(found, default=0) < 1 or not all(found.values()):
        raise ValueError("names such as 1:tumour,2:cyst, for labels from 1 on")
    if not all(map(is_folder_name, found.values())):
        raise ValueError("names without the signs that folders cannot have")
    return found


@dataclass(frozen=True, kw_only=True)
class ConvertSettings(Settings):
    """The settings of one data set of scans."""

    command: ClassVar[str] = "nas-data"
    about: ClassVar[str] = """\
yolo nas-data source=<scans> out=<folder> [key=value ...]

Makes a data set of scans: NIfTI, NRRD, DICOM series, or pictures with masks."""

    source: str = key(None, path, READ, "folder, glob, file, MONAI datalist JSON or COCO JSON")
    masks: str | None = key(
        None,
        optional(text),
        READ,
        "folder, glob or file of masks, or none where every file is a scan; if empty they are "
        "looked for in source",
    )
    group: str | None = key(
        None,
        optional(text),
        READ,
        "regular expression that finds the patient in a path; if empty DICOM or names say it, else "
        "a file is one",
    )
    fold: int | None = key(
        None, optional(whole(0)), READ, "fold of a datalist that becomes val; the first if empty"
    )
    volume: int | None = key(
        None,
        optional(whole(0)),
        READ,
        "which volume of a file with several, or channel of nnU-Net's files",
    )
    pages: str | None = key(
        None,
        optional(one_of("pictures", "channels", "first")),
        READ,
        "what the pages of a TIFF or GIF are: pictures (one each), channels (of one) or first (the "
        "others are left out); such files are named and skipped if empty",
    )
    values_: str = key(
        "auto",
        one_of("auto", "classes", "instances"),
        READ,
        "what a label is: classes, instances, or auto, which looks at the masks and says so",
    )
    names: Mapping[int, str] | None = key(
        None,
        optional(names),
        READ,
        "class names by label, as in 1:tumour,2:cyst; 1:a,2:a merges labels, 255:- leaves one out; "
        "if empty from a dataset.json beside the scans",
        kind="str",
    )
    empty_masks: bool = key(
        False,
        flag,
        READ,
        "keep scans whose mask is empty as healthy ones rather than reporting them",
    )
    out: str | None = key(
        None,
        optional(text),
        WRITTEN,
        "folder to create, or one of before, whose patients stay in their parts; if empty the "
        "source is only looked at",
    )
    task: str = key(
        "detect",
        one_of("detect", "segment", "classify"),
        WRITTEN,
        "detect (boxes), segment (polygons) or classify (folders of classes)",
    )
    class_from: str = key(
        "mask",
        one_of("mask", "folder"),
        WRITTEN,
        "class of a slice in task=classify: mask (its largest label) or folder",
    )
    val: float | str = key(
        0.2,
        listed(0.9),
        WRITTEN,
        "part of the patients in val, or who is: a text file with a patient, file or folder a "
        "line, or the same with commas",
        kind="str",
    )
    test: float | str = key(
        0.0,
        listed(1.0),
        WRITTEN,
        "part of the patients in test, or who is, as in val=; 1 makes an external test set",
        kind="str",
    )
    folds: int | None = key(
        None,
        optional(whole(2, 100)),
        WRITTEN,
        "folds of patients over one conversion: data_fold0.yaml, data_fold1.yaml, ...; the first "
        "is val of data.yaml",
    )
    seed: int = key(
        0,
        whole(0, 2**31 - 1),
        WRITTEN,
        "seed of the split and of the choice of slices without objects",
    )
    salt: str | None = key(
        None,
        optional(text),
        WRITTEN,
        "secret of the pseudonyms; random if empty, so that no two data sets have the same, and "
        "kept in a hidden file beside out",
    )
    jobs: int | None = key(
        None,
        optional(whole(1, CORES)),
        WRITTEN,
        "scans that are converted at a time; if empty as many as there are cores and room in half "
        "of the free memory",
    )
    linkage: str | None = key(
        None,
        optional(text),
        WRITTEN,
        "new file for the pseudonym of every scan, outside of out; keep it secret",
    )
    datalist: str | None = key(
        None,
        optional(text),
        WRITTEN,
        "new JSON, outside of out: MONAI's datalist of the scans with their folds or parts, for "
        "other tools on the same split; keep it secret",
    )
    axis: str = key(
        "finest",
        one_of("finest", "axial", "coronal", "sagittal"),
        SLICES,
        "axial, coronal, sagittal, or finest: the one with the finest pixels in most scans",
    )
    channels: int = key(
        1, one_of(1, 3), SLICES, "1, or 3 for a slice between its neighbours (2.5D)"
    )
    spacing: float = key(
        "native",
        spacing,
        SLICES,
        "size of a pixel: native, iso (the smaller of a slice's two), or mm",
        kind="str",
    )
    window: str = key(
        "auto",
        joined,
        SLICES,
        "percentile (0.5 to 99.5 of each scan), lung, brain, bone, abdomen, liver or level/width; "
        "none keeps values of 8 bits; auto keeps pictures of 8 bits and takes percentiles else; "
        "three with commas are channels",
        kind="str",
    )
    contrasts: tuple[str, ...] | None = key(
        None,
        optional(texts),
        SLICES,
        "two or three contrasts of a patient as channels: words of names (flair,t1ce,t2), or "
        "numbers of nnU-Net's channels or of volumes in a file (0,1,2)",
        kind="str",
    )
    tile: int | None = key(
        None,
        optional(whole(32, PIXELS)),
        SLICES,
        "cut slices into tiles of so many pixels a side, for large pictures and tiny objects",
    )
    overlap: float = key(
        0.2, real(0, 0.9, open_low=False), SLICES, "part of a tile that its neighbour shows, too"
    )
    connectivity: int = key(
        8, one_of(4, 8), SLICES, "4 or 8: whether pixels that touch at a corner are one object"
    )
    min_mm2: float = key(0, real(0, open_low=False), SLICES, "smaller objects are left out")
    empty: float | None = key(
        None,
        optional(real(0, 1, open_low=False)),
        SLICES,
        "part of the slices without an object that train keeps; if empty 0.1, and 1 in "
        "task=classify; val has every slice, as what is measured on chosen ones is flattered",
    )
    imgsz: int | None = key(
        None,
        optional(size),
        SLICES,
        "image size that the table of lesion sizes is for; if empty the pictures' own",
    )


@dataclass(frozen=True, kw_only=True)
class CocoSettings(Settings):
    """The settings of one data set of a COCO JSON."""

    command: ClassVar[str] = "nas-data"
    about: ClassVar[str] = """\
yolo nas-data source=instances.json images=<folder> out=<folder> [key=value ...]

Converts a COCO JSON; images= says that it is one."""

    source: str = key(
        None, path, COCO, "the instances JSON, or a folder of one a part (train, valid, test)"
    )
    images: str = key(None, path, COCO, "folder that its file names are relative to")
    out: str = key(None, path, COCO, "folder to create")
    val: float = key(0.2, real(0, 1), COCO, "part of the images in val")
    seed: int = key(0, whole(-LARGE), COCO, "seed of the split and of the subset")
    task: str = key("detect", text, COCO, "detect (boxes) or segment (polygons)")
    min_box_px: float = key(
        2.0, real(0, open_low=False), COCO, "smallest side of an object, in pixels"
    )
    subset: int | None = key(
        None,
        optional(whole(2)),
        COCO,
        "keep so many images, in which classes and sizes of objects have their shares",
    )
    classes: int | None = key(
        None,
        optional(whole(1)),
        COCO,
        "keep so many categories, those with the most objects",
    )
    all_classes: bool = key(False, flag, COCO, "keep categories that do not occur, too")
    crowds: str = key(
        "leave",
        one_of("leave", "objects"),
        COCO,
        "what is marked iscrowd: leave it out, or take it for objects, as brushes of some tools "
        "mark everything",
    )
    split: str = key(
        "draw",
        one_of("draw", "keep"),
        COCO,
        "draw a split, or keep the file's own: by folders, names of JSONs or a 'split' of an image",
    )
    boxes: str = key(
        "leave",
        one_of("leave", "outlines"),
        COCO,
        "objects with a box and no outline, in task=segment: leave their images out, or take the "
        "boxes for outlines",
    )


@dataclass(frozen=True, kw_only=True)
class DemoSettings(Settings):
    """The settings of drawn data."""

    command: ClassVar[str] = "nas-data"
    about: ClassVar[str] = """\
yolo nas-data demo=lesions out=<folder>

Draws the demo data of the guides."""

    demo: str = key(None, path, DEMO, "cells, lesions or nuclei")
    out: str = key(None, path, DEMO, "folder to create")


HELP = (ConvertSettings, CocoSettings, DemoSettings)
