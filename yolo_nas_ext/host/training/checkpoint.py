"""Weights into a stock checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from datetime import datetime
from pathlib import Path
from typing import Any

import torch
from torch import nn
from ultralytics import __version__
from ultralytics.utils import DEFAULT_CFG_KEYS

from yolo_nas_ext.data.scans import recipe
from yolo_nas_ext.errors import RunError
from yolo_nas_ext.files import replacing

# Arguments of a training that name files, folders or devices of the machine it ran on.
LOCAL = frozenset(
    "save_dir project name data model device cfg pretrained resume source tracker "
    "distill_model".split()
)


def save(
    model: nn.Module,
    path: Path,
    *,
    args: Mapping[str, Any],
    metrics: Mapping[str, float],
    scans: Mapping[str, Any] | None = None,
) -> None:
    """Write a checkpoint as Ultralytics its finished ``best.pt``: half precision, no optimiser.

    Args:
        model: Ultralytics' model; it is left as it is.
        path: File to write, complete or not at all.
        args: Ultralytics' training arguments; paths of this machine are left out.
        metrics: Results for the record.
        scans: How the scans that it was trained on were converted, see `data.scans.recipe`.

    Raises:
        RunError: Where the file cannot be written.
    """
    model = deepcopy(model).cpu().half().to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    for name in ("criterion", "args"):
        if hasattr(model, name):
            setattr(model, name, None if name == "criterion" else {})
    for parameter in model.parameters():
        parameter.requires_grad = False
    for value in model.state_dict().values():
        if value.is_floating_point():
            torch.nan_to_num_(value)  # what half precision cannot hold, as Ultralytics does
    definition: Any = getattr(model, "yaml", None)
    if isinstance(definition, dict) and "yaml_file" in definition:  # a path of this machine
        definition["yaml_file"] = Path(definition["yaml_file"]).name
    kept = {k: v for k, v in args.items() if k in DEFAULT_CFG_KEYS and k not in LOCAL}
    checkpoint = {
        "date": datetime.now().astimezone().isoformat(),
        "version": __version__,
        "license": "AGPL-3.0 License (https://ultralytics.com/license)",
        "docs": "https://docs.ultralytics.com",
        "epoch": -1,
        "best_fitness": None,
        "model": model,
        "ema": None,
        "updates": None,
        "optimizer": None,
        "scaler": None,
        "train_args": {**kept, "task": args.get("task", "detect")},
        "train_metrics": {name: float(value) for name, value in metrics.items()},
        "train_results": {},
        **({recipe.KEY: dict(scans)} if scans else {}),
    }
    write(checkpoint, path)


def write(content: Mapping[str, Any], path: Path) -> None:
    """Write a file of torch's, complete or not at all.

    Raises:
        RunError: Where it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Into an open file, as torch writes the name of a path into what it writes.
        with replacing(path) as temporary, temporary.open("wb") as file:
            torch.save(content, file)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as a RuntimeError
        raise RunError(
            f"{path}: weights cannot be written ({' '.join(str(error).split())[:200]}); check that "
            "the disk has room, then resume the run: what was recorded is kept"
        ) from error
