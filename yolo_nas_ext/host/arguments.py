"""The training keys of Ultralytics that a search passes through, and checks of their values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ultralytics.cfg import get_cfg
from ultralytics.utils import DEFAULT_CFG_DICT

from yolo_nas_ext.errors import NASError, did_you_mean

_OWN = "a search sets this itself; leave it out"
_LATER = "this belongs to the training of the found model; give it to `yolo detect train`"
# Keys of Ultralytics that would change what a search measures, or that mean nothing in it.
REFUSED: dict[str, str] = {
    **dict.fromkeys(
        (
            "mode",
            "model",
            "val",
            "split",
            "save",
            "save_period",
            "plots",
            "exist_ok",
            "rect",
            "time",
            "patience",
            "profile",
            "verbose",
            "cache",
            "fraction",
            "compile",
            "cfg",
        ),
        _OWN,
    ),
    **dict.fromkeys(
        ("pretrained", "distill_model", "dis", "freeze", "quantize", "channels_last"), _LATER
    ),
}
WORKERS, LARGE = 1024, 2**31 - 1  # as many as anybody has; what a library's integers hold
OPTIMIZERS = ("auto", "SGD", "MuSGD", "Adam", "Adamax", "AdamW", "NAdam", "RAdam", "RMSProp")
NAMED = {"optimizer": OPTIMIZERS, "copy_paste_mode": ("flip", "mixup")}
_TRAINING = (
    "workers deterministic optimizer single_cls cos_lr close_mosaic amp multi_scale "
    "classes cls_remap "
    "overlap_mask mask_ratio dropout max_det iou conf lr0 lrf momentum weight_decay warmup_epochs "
    "warmup_momentum warmup_bias_lr box cls cls_pw dfl pose kobj rle angle nbs hsv_h hsv_s hsv_v "
    "degrees translate scale shear perspective flipud fliplr bgr mosaic mixup cutmix copy_paste "
    "copy_paste_mode auto_augment erasing agnostic_nms"
).split()
TRAINING: dict[str, Any] = {k: DEFAULT_CFG_DICT[k] for k in _TRAINING if k in DEFAULT_CFG_DICT}


def check(overrides: Mapping[str, Any], *, nc: int | None = None) -> None:
    """Refuse values that Ultralytics' trainer would refuse.

    Args:
        overrides: Keys of Ultralytics' training.
        nc: Number of classes of the data set, where it is known.

    Raises:
        NASError: With Ultralytics' reason in one line.
    """
    for name, allowed in NAMED.items():  # the trainer would complain, in every training
        value = str(overrides.get(name, allowed[0]))
        if value.lower() not in map(str.lower, allowed):
            raise NASError(
                f"{name}={value}: no such {name}.{did_you_mean(value, allowed)} "
                f"Allowed: {', '.join(allowed)}"
            )
    for name, value in overrides.items():
        most = WORKERS if name == "workers" else LARGE
        if isinstance(value, (int, float)) and not abs(value) <= most:
            raise NASError(f"{name}={value}: not allowed; {name} takes a number up to {most}")
    try:
        get_cfg(overrides=dict(overrides))
    except (TypeError, ValueError, SyntaxError, AssertionError) as error:
        raise NASError(" ".join(str(error).split())) from error
    _check_classes(overrides.get("classes"), math.inf if nc is None else nc)


def _check_classes(classes: Any, nc: float) -> None:
    """Refuse classes that the data set has not: Ultralytics would train on no label."""
    if classes is None:
        return
    listed = classes if isinstance(classes, (list, tuple)) else [classes]
    if not listed or not all(type(c) is int and 0 <= c < nc for c in listed):
        upper = "" if nc == math.inf else f" to {nc - 1}"
        raise NASError(
            f"classes={classes}: give numbers of classes of the data set, from 0{upper}, for "
            "example classes=0 or classes=[0,2]"
        )
