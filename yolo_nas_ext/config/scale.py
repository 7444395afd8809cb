"""Every key of `yolo nas-scale`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, ClassVar

from yolo_nas_ext.config.fields import BATCH, EPOCHS, REPEATS, optional, path, size, text, whole
from yolo_nas_ext.config.settings import Settings, key
from yolo_nas_ext.files import CLASSES

LETTERS = "smlx"  # of the larger networks of a family
FAMILY = "The family"
CHOSEN = "Short trainings that choose"


def factors(value: Any) -> tuple[tuple[float, bool], ...]:
    """Accept budgets, ``2x,4x`` or ``12G``: (number, whether it is times the model's own)."""
    found = []
    for part in value if isinstance(value, list) else str(value).split(","):
        match = re.fullmatch(r"\s*([0-9.]+)\s*([xKMGT])\s*", str(part), re.IGNORECASE)
        if not match or match[1].count(".") > 1 or not float(match[1].strip(".") or 0):
            raise ValueError("budgets such as 2x,4x,8x or 12G,24G")
        unit = {"x": 1.0, "k": 1e3, "m": 1e6, "g": 1e9, "t": 1e12}[match[2].lower()]
        found.append((float(match[1]) * unit, match[2].lower() == "x"))
    if not 1 <= len(found) <= len(LETTERS):
        raise ValueError(f"1 to {len(LETTERS)} budgets such as 2x,4x,8x or 12G,24G")
    return tuple(found)


@dataclass(frozen=True, kw_only=True)
class ScaleSettings(Settings):
    """The settings of one family of networks."""

    command: ClassVar[str] = "nas-scale"
    about: ClassVar[str] = """\
yolo nas-scale model=best.yaml [key=value ...]

A family n, s, m, ... of larger networks out of one (EfficientNet's compound scaling): how much
deeper, wider and for how much larger images is found on a grid for the smallest of flops, and the
larger networks take powers of it. Of the networks on the grid within the budget, DeepMAD's score of
the untrained network chooses; with data=, short trainings choose between the best of them."""

    model: str = key(
        None,
        path,
        FAMILY,
        "a YAML, or a name such as yolo11n: the smallest network; or a trained one, best.pt, whose "
        "weights the larger ones begin with, so that they compute what it does",
    )
    flops: tuple[tuple[float, bool], ...] = key(
        "2x,4x,8x", factors, FAMILY, "budgets: times the model's own FLOPs as 2x, or numbers as 12G"
    )
    imgsz: int | None = key(
        None, optional(size), FAMILY, "image size that the model is meant for; its own if empty"
    )
    nc: int | None = key(
        None, optional(whole(1, CLASSES)), FAMILY, "number of classes; the model's own if empty"
    )
    out: str | None = key(
        None,
        optional(text),
        FAMILY,
        "a new folder, runs/nas/family-<key> if empty; its YAMLs need nothing but Ultralytics",
    )
    data: str = key(None, path, CHOSEN, "data set of the trainings; none if empty")
    tries: int = key(
        4, whole(1, REPEATS), CHOSEN, "networks, the best by the score, that are trained"
    )
    epochs: int = key(6, whole(1, EPOCHS), CHOSEN, "epochs of a training, as of nas-search")
    batch: int = key(8, whole(1, BATCH), CHOSEN, "images per step")
    device: str | None = key(None, optional(text), CHOSEN, "cpu, mps or the number of a GPU")
    seed: int = key(0, whole(0), CHOSEN, "seed of the trainings")


HELP = (ScaleSettings,)
