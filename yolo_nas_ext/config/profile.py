"""Every key of `yolo nas-profile`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from yolo_nas_ext.config.fields import (
    BATCH,
    CORES,
    HOURS,
    flag,
    optional,
    real,
    size,
    text,
    texts,
    whole,
)
from yolo_nas_ext.config.settings import Settings, key

LAYERED = ("onnx", "torch", "openvino")  # runtimes that layers are timed in
BUNDLED = ("ncnn", "litert")  # and those that a bundle of whole networks can be for, beside onnx
WHAT = "What is timed"
HOW = "How long, and where the profile goes"
ELSEWHERE = "A device that is elsewhere"


def sizes(value: Any) -> tuple[int, ...]:
    """Accept image sizes such as 320,640, in the order that is given."""
    parts = value if isinstance(value, list) else str(value).split(",")
    try:
        numbers = tuple(dict.fromkeys(size(int(part)) for part in parts))
    except ValueError as error:
        raise ValueError("multiples of 32 such as 320,640") from error
    if not numbers:
        raise ValueError("multiples of 32 such as 320,640")
    return numbers


@dataclass(frozen=True, kw_only=True)
class ProfileSettings(Settings):
    """The settings of one device profile."""

    command: ClassVar[str] = "nas-profile"
    about: ClassVar[str] = """\
yolo nas-profile [key=value ...]
yolo nas-profile bundle=probe.zip [key=value ...]
yolo nas-profile import=result.json [out=device.json]
yolo nas-profile from=desktop.json [bundle=probe.zip | import=result.json] [key=value ...]

Times a sample of the layers that the networks of some spaces have, and some whole networks, on this
device, and writes what predicts the latency of any of them: a profile, for
  yolo nas-search latency=device.json max_latency=8 imgsz=320
  yolo nas-score latency=device.json model=yolo11n imgsz=320
It takes `minutes`, roughly, and longer where whole networks are slow; one that was stopped goes on
where it was. For a device that is elsewhere bundle= writes a zip: unpack it there, run probe.py
(Python, numpy and onnxruntime are all it needs), bring back result.json and give it to import=.
With from= a profile of another device, or of another runtime, becomes one of this by ten whole
networks alone, which take a minute."""

    runtime: str = key(
        "onnx",
        text,
        WHAT,
        "what runs the networks: onnx, torch or openvino; with from= ncnn or litert, too",
    )
    device: str = key("cpu", str, WHAT, "cpu, or the number of a GPU")
    imgsz: tuple[int, ...] = key("320,640", sizes, WHAT, "image sizes in pixels")
    threads: int = key(1, whole(1, CORES), WHAT, "CPU threads of the runtime")
    precision: str = key("fp32", text, WHAT, "precision of the networks: fp32, fp16 or int8")
    batch: int = key(1, whole(1, BATCH), WHAT, "images at a time; a search needs 1")
    spaces: tuple[str, ...] = key(
        "tiny,yolo,damo", texts, WHAT, "spaces whose networks the profile is for"
    )
    minutes: float = key(8, real(0, 60 * HOURS), HOW, "how long it takes, roughly")
    out: str | None = key(
        None, optional(text), HOW, "the profile; if empty named after the device and the runtime"
    )
    force: bool = key(
        False, flag, HOW, "write a profile whose error on its own networks is above 15 %, too"
    )
    seed: int = key(0, whole(0), HOW, "seed of the sample")
    bundle: str | None = key(
        None, optional(text), ELSEWHERE, "zip to write for the device, for example probe.zip"
    )
    from_: str | None = key(
        None,
        optional(text),
        ELSEWHERE,
        "profile of another device or runtime, which ten networks that are measured make one of "
        "this",
    )
    import_: str | None = key(
        None, optional(text), ELSEWHERE, "result.json that the bundle's probe.py has written"
    )


HELP = (ProfileSettings,)
