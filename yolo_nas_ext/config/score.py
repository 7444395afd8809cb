"""Every key of `yolo nas-score`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from yolo_nas_ext.config.fields import CORES, flag, optional, size, text, whole
from yolo_nas_ext.config.settings import Settings, key
from yolo_nas_ext.files import CLASSES


def anything(value: Any) -> Any:
    """Accept a name, names or a structure."""
    return value


WHAT = "What is scored"
TIMED = "Latency"


@dataclass(frozen=True, kw_only=True)
class ScoreSettings(Settings):
    """The settings of one table of costs and scores."""

    command: ClassVar[str] = "nas-score"
    about: ClassVar[str] = """\
yolo nas-score model=<model>[,<model>...] [key=value ...]

Costs and analytic scores of models, in milliseconds. A model is
  a model definition of Ultralytics: a YAML, or a name such as yolo11n
  a TinyNAS structure: its text, or a file with it
  the key of a network in a run of yolo nas-search, as in nas-<key>.yaml"""

    model: str | Sequence[Any] | Mapping[str, Any] | None = key(
        None, anything, WHAT, "one model or several", kind="list"
    )
    imgsz: int = key(
        640, size, WHAT, "image size in pixels; a network found for another size has its own"
    )
    nc: int | None = key(
        None, optional(whole(1, CLASSES)), WHAT, "number of classes; the model's own if empty"
    )
    project: str = key("runs/nas", text, WHAT, "folder of runs, where a key is looked for")
    json: bool = key(False, flag, WHAT, "True prints nothing but JSON")
    latency: str | None = key(
        None,
        optional(text),
        TIMED,
        "device profile of yolo nas-profile, which predicts the latency of each network in "
        "milliseconds and says how measure=True measures",
    )
    measure: bool = key(
        False,
        flag,
        TIMED,
        "True times each network on this machine, in turns, as Ultralytics exports it: median and "
        "interquartile range of a run in milliseconds",
    )
    runtime: str = key(
        "onnx", text, TIMED, "what runs the networks: onnx, torch, openvino, ncnn or litert"
    )
    precision: str = key("fp32", text, TIMED, "precision of the networks: fp32, int8 or fp16")
    threads: int = key(1, whole(1, CORES), TIMED, "CPU threads of the runtime")
    nms: bool = key(
        False,
        flag,
        TIMED,
        "True counts what makes boxes final: non-maximum suppression of 150 made-up boxes, or an "
        "end-to-end head's own choice by its one-to-one branch; without, boxes are decoded",
    )
    energy: str | None = key(
        None,
        optional(text),
        TIMED,
        "what measures the millijoules of an image: rapl, the counters of this machine's "
        "processors; or a command of yours that prints joules, 'cmd:./joules {onnx}'",
    )


HELP = (ScoreSettings,)
