"""Devices: a record may hold latencies of several, and compares those of one only."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from yolo_nas_ext.study.trial import Trial

LATENCY = "latency"  # begins the names of metrics that are of a device
LATENCY_OF, DEVICE = "latency_of", "device/"  # attribute of a trial; begins those that name devices


class Devices:
    """This process's devices, and the names of metrics that belong to another one.

    Args:
        latency_of: What a trial's latency is of: a device, or a predictor. A latency of another
            device gets another name, ``latency_on_<digest>_ms``: the two are not compared.
        measured_on: The same of a latency that is measured after the search.
    """

    def __init__(self, latency_of: str = "", measured_on: str = "") -> None:
        self.of, self.on = tag(latency_of), tag(measured_on)
        self.own = {f"{DEVICE}{tag(name)}": name for name in (latency_of, measured_on) if name}

    def trial(self, trial: Trial, of: str | None) -> Trial:
        """Return a trial whose latency is of a device; earlier versions did not record which."""
        if of in (None, self.of):
            return trial
        return replace(trial, metrics=renamed(trial.metrics, of), cost=renamed(trial.cost, of))

    def measured(self, metrics: Mapping[str, float], on: str) -> Mapping[str, float]:
        """Return what a device measured; earlier versions did not record which."""
        return metrics if on in ("", self.on) else renamed(metrics, on)

    def others(self, attributes: Mapping[str, Any]) -> dict[str, str]:
        """Return the other devices that a study's attributes name, by their tag."""
        known = {n.removeprefix(DEVICE): v for n, v in attributes.items() if n.startswith(DEVICE)}
        return {name: device for name, device in known.items() if name not in (self.of, self.on)}


def tag(device: str) -> str:
    """Return a short name for a device, enough to tell it from others; empty for none."""
    return hashlib.sha256(device.encode()).hexdigest()[:4] if device else ""


def renamed(metrics: Mapping[str, float], on: str) -> dict[str, float]:
    """Return metrics with the latencies of another device under names of their own."""
    return {
        f"{LATENCY}_on_{on}{n.removeprefix(LATENCY)}" if n.startswith(LATENCY) else n: value
        for n, value in metrics.items()
    }
