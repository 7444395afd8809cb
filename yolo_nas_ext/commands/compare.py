"""`yolo nas-compare`: models are trained first, or trained ones measured as they are."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from yolo_nas_ext.compare import definitions
from yolo_nas_ext.compare.trained import measure, plain, said, table
from yolo_nas_ext.config.compare import CompareSettings, TrainedSettings
from yolo_nas_ext.config.rules import check
from yolo_nas_ext.config.settings import keys, read
from yolo_nas_ext.console import say
from yolo_nas_ext.errors import NASError
from yolo_nas_ext.host.predict import Trained


def main(given: Mapping[str, Any]) -> int:
    """Print the table, or the JSON, of ``nas-compare``.

    Returns:
        0; 3 where pictures were left out, each of them named.

    Raises:
        NASError: For an unknown key, a bad value, or a model that does not fit the pictures.
    """
    if given.get("resume") or _trains(given):
        return definitions.main(given)
    settings = _settings(given)
    models = [Trained(Path(name), settings.device) for name in settings.models]
    rows, skipped = [], {}
    for name, model in zip(settings.models, models, strict=True):
        figures, left_out = measure(name, model, settings)
        skipped.update(dict.fromkeys(left_out))
        rows.append({"model": name, "task": model.task, "params": model.params, **figures})
    for line in skipped:
        say(line, file=sys.stderr)
    if settings.json:
        say(json.dumps(plain(rows)))
    else:
        say("\n".join([table(rows), *said(rows)]))
    return 3 if skipped else 0


def _trains(given: Mapping[str, Any]) -> bool:
    """Say whether models are trained first: a definition always, a .pt where there are epochs."""
    models = given.get("models")
    names = models if isinstance(models, (list, tuple)) else str(models or "").split(",")
    trained = [str(name).strip().endswith(".pt") for name in names if str(name).strip()]
    return not all(trained) or bool(trained and given.get("epochs"))


def _settings(given: Mapping[str, Any]) -> TrainedSettings:
    given = {name: value for name, value in given.items() if name != "epochs"}  # which is 0
    of_trainings = {*keys(CompareSettings)} - {*keys(TrainedSettings)}
    if name := next((name for name in given if name in of_trainings), ""):
        raise NASError(
            f"{name}={given[name]}: is of trainings, and models that are .pt files alone are "
            "measured as they are; give epochs=30 to train them first, each from its own weights"
        )
    settings = read(TrainedSettings, given)
    check(settings)
    if settings.coco and not (settings.images and Path(settings.images).is_dir()):
        raise NASError(
            f"images={settings.images or None}: is not a folder; give the one that the JSON's "
            "file names refer to"
        )
    return settings
