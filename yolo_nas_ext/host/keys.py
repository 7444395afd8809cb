"""Which of the host's training keys a search passes through, and whether their values are valid."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ultralytics.cfg import get_cfg
from ultralytics.utils import DEFAULT_CFG_DICT

from yolo_nas_ext.errors import NASError, did_you_mean

_OWN = "a search sets this itself; leave it out"
_LATER = "this belongs to the training of the found model; give it to `yolo detect train`"
# Keys of the host that would change what a search measures, or that have no part in it.
REFUSED: dict[str, str] = {
    **dict.fromkeys(
        ("mode", "model", "val", "split", "save", "save_period", "plots", "exist_ok", "rect",
         "time",
         "patience", "profile", "verbose", "deterministic", "cache", "fraction", "compile", "cfg"),
        _OWN,
    ),
    **dict.fromkeys(
        ("pretrained", "distill_model", "dis", "freeze", "quantize", "channels_last"), _LATER
    ),
}  # fmt: skip
OPTIMIZERS = ("auto", "SGD", "MuSGD", "Adam", "Adamax", "AdamW", "NAdam", "RAdam", "RMSProp")
_TRAINING = (
    "workers optimizer single_cls cos_lr close_mosaic amp multi_scale classes cls_remap "
    "overlap_mask mask_ratio dropout max_det iou conf lr0 lrf momentum weight_decay warmup_epochs "
    "warmup_momentum warmup_bias_lr box cls cls_pw dfl pose kobj rle angle nbs hsv_h hsv_s hsv_v "
    "degrees translate scale shear perspective flipud fliplr bgr mosaic mixup cutmix copy_paste "
    "copy_paste_mode auto_augment erasing agnostic_nms"
).split()
TRAINING: dict[str, Any] = {k: DEFAULT_CFG_DICT[k] for k in _TRAINING if k in DEFAULT_CFG_DICT}


def check(overrides: Mapping[str, Any]) -> None:
    """Refuse values that the host's trainer would refuse.

    Raises:
        NASError: With the host's reason in one line.
    """
    optimizer = overrides.get("optimizer", "auto")
    if optimizer not in OPTIMIZERS:  # the host finds out when the first training begins
        raise NASError(
            f"optimizer={optimizer}: no such optimizer.{did_you_mean(optimizer, OPTIMIZERS)} "
            f"Allowed: {', '.join(OPTIMIZERS)}"
        )
    try:
        get_cfg(overrides=dict(overrides))
    except (TypeError, ValueError, SyntaxError, AssertionError) as error:
        raise NASError(" ".join(str(error).split())) from error
