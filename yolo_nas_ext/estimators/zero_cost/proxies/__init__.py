"""Zero-cost proxies: how good an untrained network looks after one batch.

A proxy is a function from a `Capture` to a number, higher is better, and one entry in `PROXIES`.
It may import what `estimators` may.
"""

from __future__ import annotations

from collections.abc import Callable

from yolo_nas_ext.estimators.zero_cost.proxies.activations import naswot, swap
from yolo_nas_ext.estimators.zero_cost.proxies.capture import Capture, measure
from yolo_nas_ext.estimators.zero_cost.proxies.gradients import (
    grad_norm,
    jacov,
    snip,
    synflow,
    zico,
)
from yolo_nas_ext.estimators.zero_cost.proxies.signals import az_nas, zen

PROXIES: dict[str, Callable[[Capture], float]] = {
    "naswot": naswot,
    "synflow": synflow,
    "snip": snip,
    "grad_norm": grad_norm,
    "jacov": jacov,
    "zen": zen,
    "zico": zico,
    "swap": swap,
}

__all__ = ["PROXIES", "Capture", "az_nas", "measure"]
