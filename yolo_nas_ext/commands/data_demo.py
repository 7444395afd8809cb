"""`yolo nas-data demo=`: the drawn data of the guides."""

from __future__ import annotations

from pathlib import Path

from yolo_nas_ext.config.data import DemoSettings
from yolo_nas_ext.console import quoted, say
from yolo_nas_ext.data.builtin import demo


def draw(settings: DemoSettings) -> int:
    """Draw the data, say what to type next, and return the exit code."""
    out = Path(settings.out)
    demo.draw(settings.demo, out)
    cells = settings.demo == "cells"
    key, path = ("nas-search data=", out / "data.yaml") if cells else ("nas-data source=", out)
    say(f"drawn: {out}\nnext:\n  yolo {key}{quoted(path)}")
    return 0
