"""The host's hand-made model definitions, by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ultralytics.nn.tasks import guess_model_scale
from ultralytics.utils import ROOT, YAML

from yolo_nas_ext.errors import NASError, did_you_mean

SUFFIX = {"segment": "-seg", "classify": "-cls", "obb": "-obb", "pose": "-pose"}


def definition(name: str, task: str = "detect") -> tuple[dict[str, Any], str]:
    """Return a model definition and the letter of its compound scale.

    Args:
        name: A host name such as ``yolo11n``, with or without ``.yaml``, or the path of a YAML.
        task: What the model does: ``yolo11n`` then stands for ``yolo11n-seg``, and so on.

    Raises:
        NASError: Where there is none.
    """
    path = Path(name)
    scale = guess_model_scale(path)
    if path.suffix in (".yaml", ".yml") and path.is_file():
        model = YAML.load(str(path))
        return model, scale if scale in (model.get("scales") or {}) else ""
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
    if plain not in known:
        names = [f"{n}n" for n in known if n[-1].isdigit()]
        raise NASError(
            f"baseline={name}: the host has no such model.{did_you_mean(stem, names)} Give names "
            "such as yolov8n, yolo11n or yolo26n, or the path of a YAML"
        )
    return YAML.load(str(known[plain])), scale


def _without(stem: str, scale: str) -> str:
    """Return ``yolo11-p2`` for ``yolo11n-p2`` and ``n``."""
    head, _, tail = stem.partition("-")
    return head.removesuffix(scale) + (f"-{tail}" if tail else "")
