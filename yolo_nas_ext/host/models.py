"""The model definitions that come with Ultralytics, by name, and models built from definitions."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
import torchvision
from ultralytics.nn import tasks
from ultralytics.nn.modules import Conv
from ultralytics.nn.tasks import (
    ClassificationModel,
    DetectionModel,
    OBBModel,
    PoseModel,
    RTDETRDetectionModel,
    SegmentationModel,
    SemanticSegmentationModel,
    guess_model_scale,
)
from ultralytics.utils import ROOT, YAML
from ultralytics.utils.torch_utils import get_flops

from yolo_nas_ext.errors import NASError, TrialError, did_you_mean, in_a_line
from yolo_nas_ext.files import free_memory, read_yaml
from yolo_nas_ext.host.dataset import quiet
from yolo_nas_ext.host.plugin import register
from yolo_nas_ext.network.emit import emit
from yolo_nas_ext.network.parse import REPEATS, WIDEST, read
from yolo_nas_ext.network.rows import KEYPOINTS, for_task

register.register(tasks)  # for where Python was started without the hook

SUFFIX = {
    "segment": "-seg",
    "semantic": "-sem",
    "classify": "-cls",
    "obb": "-obb",
    "pose": "-pose",
}
USUAL, WIDE = 500, 4096  # layers and channels of networks that fit into any memory
ACTIVATION = 1000  # the largest number of an activation
BUILT: dict[str, Any] = {
    "detect": DetectionModel,
    "segment": SegmentationModel,
    "classify": ClassificationModel,
    "obb": OBBModel,
    "pose": PoseModel,
    "semantic": SemanticSegmentationModel,
}

# Heads of detectors that have a class of their own.
DETECTORS: dict[str, Any] = {"RTDETRDecoder": RTDETRDetectionModel}
# Heads of networks that are taken as given: counted by Ultralytics and timed, and not trained here.
# An earlier Ultralytics has not all of their classes.
GIVEN: dict[str, tuple[str, Any]] = {
    head: (task, getattr(tasks, kind))
    for head, task, kind in (
        ("Depth", "depth", "DepthModel"),
        ("WorldDetect", "world", "WorldModel"),
        ("YOLOEDetect", "yoloe", "YOLOEModel"),
        ("YOLOESegment", "yoloe-seg", "YOLOESegModel"),
    )
    if hasattr(tasks, kind)
}


def definition(
    name: str, task: str = "detect", key: str = "baseline"
) -> tuple[dict[str, Any], str]:
    """Return a model definition and the letter of its compound scale.

    Args:
        name: A model's name such as ``yolo11n``, with or without ``.yaml``, or the path of a YAML.
        task: What the model does: ``yolo11n`` then stands for ``yolo11n-seg``, and so on; where
            Ultralytics has no semantic segmentation of a name, for that of its detector.
        key: The user's key that names it, for messages.

    Raises:
        NASError: Where there is none.
    """
    path = Path(name)
    scale = guess_model_scale(path)
    if path.suffix in (".yaml", ".yml") and path.is_file():
        model = read_yaml(path, f"{key}={name}")
        scales = model.get("scales")
        return model, scale if isinstance(scales, dict) and scale in scales else ""
    folder = Path(ROOT) / "cfg" / "models"
    known = {file.stem: file for file in folder.rglob("*.yaml")}
    stem = path.stem
    if "-" not in stem:
        stem += SUFFIX.get(task, "")
    plain = stem
    if stem not in known:
        plain = _without(stem, scale)
    else:
        scale = ""
    detector = _without(path.stem, scale)
    if plain not in known and task == "semantic" and detector in known:
        architecture = read(YAML.load(str(known[detector])), scale)
        return emit(for_task(architecture, task), task=task), ""
    if plain not in known:
        names = [f"{n}n" for n in known if n[-1].isdigit()]
        raise NASError(
            f"{key}={name}: Ultralytics has no such model.{did_you_mean(stem, names)} Give names "
            "such as yolov8n, yolo11n or yolo26n, or the path of a YAML"
        )
    return YAML.load(str(known[plain])), scale


def task_of(definition: Mapping[str, Any]) -> str | None:
    """Return what the model of a definition does, by its last row; None where that is no head."""
    last = head_of(definition)
    if last in DETECTORS:
        return "detect"
    heads = {
        "Detect": "detect",
        "Segment": "segment",
        "SemanticSegment": "semantic",
        "Classify": "classify",
        "OBB": "obb",
        "Pose": "pose",
    }
    found = (task for head, task in heads.items() if re.fullmatch(rf"(v10)?{head}\d*", last))
    return next(found, None)


def given_task(definition: Mapping[str, Any]) -> str | None:
    """Return the task of a definition by its last row, also where it is only counted and timed."""
    return task_of(definition) or GIVEN.get(head_of(definition), (None,))[0]


def head_of(definition: Mapping[str, Any]) -> str:
    """Return the name of the last row of a definition; nothing where there is none."""
    try:
        return str(definition["head"][-1][2])
    except (LookupError, TypeError):
        return ""


def task_of_model(model: Any) -> str:
    """Return what a model of Ultralytics does, by its class; nothing where it is not trained."""
    if type(model) in DETECTORS.values():
        return "detect"
    return next((task for task, kind in BUILT.items() if type(model) is kind), "")


def _kind(definition: Mapping[str, Any], task: str) -> Any:
    """Return the class of the model of a definition."""
    if task == "detect" and (own := DETECTORS.get(head_of(definition))):
        return own
    return BUILT.get(task) or dict(GIVEN.values())[task]


def scaled(definition: Mapping[str, Any], scale: str) -> dict[str, Any]:
    """Return a model definition that needs no file name to say which of its scales is meant."""
    return {**definition, "scale": scale} if scale else dict(definition)


def costs(
    definition: Mapping[str, Any],
    *,
    nc: int,
    channels: int,
    imgsz: int,
    task: str = "detect",
    keypoints: tuple[int, int] = KEYPOINTS,
    loaded: Any = None,
) -> tuple[int, float]:
    """Return the parameters of a model and the FLOPs of one image, as Ultralytics counts them.

    Args:
        definition: A model definition.
        nc: Number of classes.
        channels: Of an image.
        imgsz: Image size in pixels, of a definition that names none of its own.
        task: What the model does.
        keypoints: Number of keypoints and numbers a point, of task=pose.
        loaded: A model whose weights Ultralytics loads, see `build`.

    Raises:
        TrialError: For a model that cannot be built.
    """
    more = {"data_kpt_shape": keypoints} if task == "pose" else {}
    model = build(definition, task=task, loaded=loaded, ch=channels, nc=nc, **more)
    own = definition.get("imgsz") or imgsz
    return sum(p.numel() for p in model.parameters()), get_flops(model, own) * 1e9


def build(definition: Mapping[str, Any], *, task: str, loaded: Any = None, **arguments: Any) -> Any:
    """Return a model of Ultralytics; the random generator is where it was.

    Args:
        definition: A model definition.
        task: What the model does.
        loaded: A model whose weights Ultralytics loads into it, as `yolo train` does; by which the
            class branch gets the width that it has there.
        **arguments: Further ones of the model's class.

    Raises:
        TrialError: For a model that cannot be built.
    """
    with building():
        try:
            check_rows(definition)
            model = _kind(definition, task)(deepcopy(dict(definition)), verbose=False, **arguments)
            if loaded is not None:
                model.load(loaded, verbose=False)
            return model
        except Exception as error:  # whatever a wrong row makes Ultralytics raise
            raise TrialError("build", in_a_line(error)) from error


def check_rows(definition: Mapping[str, Any]) -> None:
    """Refuse a definition by which Ultralytics would run anything but networks.

    Its parser evaluates ``activation``, and calls whatever of its own names is in a row.

    Raises:
        ValueError: As above.
    """
    activation = definition.get("activation")
    if activation and not _is_layer(activation):
        raise ValueError(
            f"activation: {' '.join(str(activation).split())[:80]!r} is no layer of torch.nn with "
            "numbers, as nn.ReLU() or nn.LeakyReLU(0.1) is"
        )
    _check_size(definition)
    for row in [*definition["backbone"], *definition["head"]]:
        name = str(row[2])
        module = (
            getattr(torch.nn, name[3:], None)
            if name.startswith("nn.")
            else getattr(torchvision.ops, name[16:], None)
            if name.startswith("torchvision.ops.")
            else getattr(tasks, name, None)
        )
        if module is not None and not _is_module(module):
            raise ValueError(f"a row names {name[:80]!r}, which is no layer")


def _check_size(definition: Mapping[str, Any]) -> None:
    """Refuse a definition whose network would be larger than memory.

    Raises:
        ValueError: As above.
    """
    multiples: list[Any] = [definition.get("depth_multiple"), definition.get("width_multiple")]
    for scale in (definition.get("scales") or {}).values():
        multiples += scale[:2]
    most = max([float(m) for m in multiples if m], default=1.0)
    rows = [*definition["backbone"], *definition["head"]]
    repeats = max(row[1] for row in rows) * max(most, 1)
    widest = max([abs(a) for row in rows for a in row[3] if type(a) is int], default=0) * most
    if len(rows) > REPEATS or repeats > REPEATS or max(widest, most) > WIDEST:
        raise ValueError(f"{len(rows)} rows, {repeats:.0f} repeats and numbers up to {widest:.0f}")
    if sum(row[1] for row in rows) * max(most, 1) < USUAL and widest <= WIDE:
        return
    with torch.device("meta"):
        model, _ = tasks.parse_model(deepcopy(dict(definition)), ch=3, verbose=False)
    size = 4 * sum(p.numel() for p in model.parameters())
    if size > (free := free_memory()):
        raise ValueError(f"weights of {size / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free")


def _is_module(value: Any) -> bool:
    """Say whether something is a class of layers, and not of whole models."""
    layer = isinstance(value, type) and issubclass(value, torch.nn.Module)
    return layer and not issubclass(value, tasks.BaseModel)


def _is_layer(text: Any) -> bool:
    """Say whether a text stands for a layer of torch with numbers, and nothing else."""
    try:
        call = ast.parse(text.strip(), mode="eval").body
        if not isinstance(call, ast.Call):
            return False
        for value in (*call.args, *(keyword.value for keyword in call.keywords)):
            number = ast.literal_eval(value)
            if isinstance(number, int | float) and abs(number) > ACTIVATION:
                return False  # as of a layer with weights, which may be as large as memory
        written = ast.unparse(call.func).removeprefix("torch.")
        return _is_module(getattr(torch.nn, written.removeprefix("nn."), None)) and (
            written.startswith("nn.")
        )
    except (AttributeError, TypeError, ValueError, SyntaxError, RecursionError, MemoryError):
        return False


@contextmanager
def building() -> Iterator[None]:
    """Let Ultralytics build a model in silence and leave nothing changed, also where it fails."""
    activation = Conv.default_act
    try:
        with torch.random.fork_rng(devices=[]), quiet():
            yield
    finally:
        Conv.default_act = activation


def _without(stem: str, scale: str) -> str:
    """Return ``yolo11-p2`` for ``yolo11n-p2`` and ``n``."""
    head, _, tail = stem.partition("-")
    if not head.endswith(scale):  # of yoloe-11n
        tail = tail.removesuffix(scale)
    return head.removesuffix(scale) + (f"-{tail}" if tail else "")
