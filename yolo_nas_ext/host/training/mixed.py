"""Ultralytics' automatic mixed precision: its own check, once a process and without a download."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, NoReturn

import ultralytics
from ultralytics.engine import trainer
from ultralytics.utils import ONLINE, WEIGHTS_DIR, checks

WEIGHTS = "yolo26n.pt"  # what Ultralytics' check predicts with
_FOUND: dict[str, bool] = {}  # what it said, by device: every candidate would ask it again


@contextlib.contextmanager
def checked_once() -> Iterator[None]:
    """Have Ultralytics' trainers take `check` in the place of their own."""
    theirs, trainer.check_amp = trainer.check_amp, check
    try:
        yield
    finally:
        trainer.check_amp = theirs


def check(model: Any) -> bool:
    """Say whether mixed precision works on the device of a model, as Ultralytics does.

    On a CPU and with MPS it never does. A GPU is looked up among those known to fail, and is tried
    with a small network where that is here or can be fetched.
    """
    device = str(next(model.parameters()).device)
    if device not in _FOUND:
        there = ONLINE or (WEIGHTS_DIR / WEIGHTS).is_file()
        with contextlib.nullcontext() if there else _without_network():
            _FOUND[device] = checks.check_amp(model)
    return _FOUND[device]


def forget() -> None:
    """Forget what was found."""
    _FOUND.clear()


@contextlib.contextmanager
def _without_network() -> Iterator[None]:
    """Have Ultralytics' check take its way of those who are offline, before it tries to fetch."""

    def offline(*args: Any) -> NoReturn:
        raise ConnectionError("offline")

    known = ultralytics.__dict__
    theirs = known.get("YOLO")
    known["YOLO"] = offline
    try:
        yield
    finally:
        if theirs is None:
            del known["YOLO"]
        else:
            known["YOLO"] = theirs
