"""Augmentation by Albumentations for kinds of pictures, through Ultralytics' own argument for it.

A preset is keys of Ultralytics' training and transforms for its ``augmentations`` argument, which
move boxes and polygons along. What tells a patient's left from right is never mirrored, grey
pictures get no hue, and warps stay within what anatomy does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from yolo_nas_ext.data.pictures import opened
from yolo_nas_ext.errors import NASError, did_you_mean

GREY = {"hsv_h": 0.0, "hsv_s": 0.0}
UPRIGHT = {"fliplr": 0.0, "flipud": 0.0}


@dataclass(frozen=True, slots=True)
class Preset:
    """An augmentation.

    Attributes:
        about: One line for people.
        keys: Keys of Ultralytics' training; a key that the user gives replaces its entry.
        transforms: Makes the transforms, in the order in which they are applied.
    """

    about: str
    keys: dict[str, Any]
    transforms: Callable[[], list[Any]]


def _mri() -> list[Any]:
    import albumentations as A

    return [
        A.ElasticTransform(alpha=15, sigma=6, p=0.2),
        A.RandomGamma(gamma_limit=(70, 140), p=0.4),  # contrast differs between scanners
        A.CLAHE(clip_limit=(1, 2), p=0.1),
        A.GaussNoise(std_range=(0.01, 0.05), p=0.3),
        A.GaussianBlur(blur_limit=(3, 5), p=0.1),
    ]


def _ct() -> list[Any]:
    import albumentations as A

    return [
        A.ElasticTransform(alpha=10, sigma=6, p=0.15),
        # Values are Hounsfield units: only as much as a window set a little differently.
        A.RandomBrightnessContrast(brightness_limit=0.08, contrast_limit=0.08, p=0.3),
        A.GaussNoise(std_range=(0.01, 0.06), p=0.4),  # that of a lower dose
        A.GaussianBlur(blur_limit=(3, 3), p=0.15),  # that of a softer kernel
    ]


def _xray() -> list[Any]:
    import albumentations as A

    return [
        A.CLAHE(clip_limit=(1, 3), p=0.3),
        A.RandomGamma(gamma_limit=(70, 140), p=0.4),
        A.GaussNoise(std_range=(0.01, 0.04), p=0.2),
        A.GaussianBlur(blur_limit=(3, 5), p=0.1),
    ]


def _microscopy() -> list[Any]:
    import albumentations as A

    return [
        A.RandomRotate90(p=0.75),  # there is no up
        A.ElasticTransform(alpha=20, sigma=6, p=0.2),
        A.RandomGamma(gamma_limit=(80, 125), p=0.3),
        A.CLAHE(clip_limit=(1, 2), p=0.1),
        A.GaussNoise(std_range=(0.01, 0.05), p=0.2),
        A.GaussianBlur(blur_limit=(3, 7), p=0.2),  # out of focus
    ]


def _natural() -> list[Any]:
    import albumentations as A

    return [
        A.RandomBrightnessContrast(brightness_limit=0.2, contrast_limit=0.2, p=0.2),
        A.CLAHE(clip_limit=(1, 3), p=0.05),
        A.GaussianBlur(blur_limit=(3, 7), p=0.05),
        A.GaussNoise(std_range=(0.01, 0.05), p=0.05),
        A.ImageCompression(quality_range=(60, 95), p=0.1),
    ]


PRESETS: dict[str, Preset] = {
    "mri": Preset(
        "grey slices of magnetic resonance",
        {**GREY, **UPRIGHT, "hsv_v": 0.3, "degrees": 10.0, "scale": 0.2},
        _mri,
    ),
    "ct": Preset(
        "grey slices of computed tomography",
        {**GREY, **UPRIGHT, "hsv_v": 0.0, "degrees": 7.0, "scale": 0.2},
        _ct,
    ),
    "xray": Preset(
        "radiographs", {**GREY, **UPRIGHT, "hsv_v": 0.2, "degrees": 5.0, "scale": 0.15}, _xray
    ),
    "microscopy": Preset(
        "smears and stained sections",
        {"hsv_h": 0.01, "hsv_s": 0.3, "hsv_v": 0.2, "fliplr": 0.5, "flipud": 0.5, "scale": 0.3},
        _microscopy,
    ),
    "natural": Preset("photographs, with Ultralytics' own keys", {}, _natural),
}


def preset(name: str) -> Preset:
    """Return a preset.

    Raises:
        NASError: For an unknown name.
    """
    if name not in PRESETS:
        raise NASError(
            f"augment={name}: no such preset.{did_you_mean(name, PRESETS)} Allowed: "
            f"{', '.join(PRESETS)}; empty for Ultralytics' own augmentation"
        )
    return PRESETS[name]


SHOWN = 5  # versions of a picture on a contact sheet
SIDE = 160  # pixels of a picture on it


def sheet(images: Sequence[str], name: str, path: Path, *, seed: int = 0) -> None:
    """Write a contact sheet: one row per picture, itself first, then `SHOWN` versions of it.

    Args:
        images: Files.
        name: A key of `PRESETS`.
        path: PNG to write.
        seed: Of the versions.
    """
    import albumentations as A

    change = A.Compose(preset(name).transforms(), seed=seed)
    rows = []
    for file in images:
        with opened(file) as image:
            grey = image.mode in ("L", "1", "I;16", "I")
            small = np.asarray(image.convert("L" if grey else "RGB").resize((SIDE, SIDE)))
        small = small[..., None] if grey else small
        versions = [small, *(change(image=small)["image"] for _ in range(SHOWN))]
        rows.append(np.concatenate([np.broadcast_to(v, (SIDE, SIDE, 3)) for v in versions], 1))
    Image.fromarray(np.concatenate(rows)).save(path)
