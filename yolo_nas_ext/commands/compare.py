"""`yolo nas-compare`: definitions are trained first, trained models measured as they are."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from yolo_nas_ext.compare import definitions
from yolo_nas_ext.compare.trained import measure, table
from yolo_nas_ext.config.fields import checked, flag, optional, size, text, texts, whole
from yolo_nas_ext.errors import NASError
from yolo_nas_ext.host.predict import Trained

HELP = """yolo nas-compare models=<a.yaml>,<b.yaml>,yolo11n.yaml data=<data set> [seeds=3]
yolo nas-compare models=<best.pt>[,<other.pt>...] data=<data set> [imgsz=640] [json=True]
yolo nas-compare models=<best.pt>[,...] coco=<instances.json> images=<folder> [imgsz=640]

Model definitions are trained on train, all with the host's complete schedule and the same seeds, in
turns, and measured on a part that no search looks at:
  epochs=100, imgsz=640, batch=16, seed=0 (the first), task=detect, part=val (or test), augment=,
  fitness=froc or dice, inherit=<.pt> to start from, timeout=, and the host's training keys
  runtime=onnx, torch, openvino or none, precision=fp32, latency_threads=1: latency is measured too,
  of all models in turns
  baseline=<names>: what the others are compared with; the host's own models unless given
  name= and project= of the folder; resume=<folder> goes on after a stop, with more models or seeds
  it leaves comparison.html, .csv and .png, verdict.md, and the weights of the first seed

What trained models see in the val part of a data set, or in the pictures of a COCO JSON:
  COCO's twelve numbers (by pycocotools), of masks too where the model finds masks
  froc_cpm: mean sensitivity at 1/8 to 8 false positives a scan, findings merged through slices
  dice: of the scans' volumes, of segmentation models
  accuracy: of classifiers
froc_cpm and dice come with a 95 % interval by drawing patients; seed=0 is of these draws.
A JSON's categories are told by their names. device= is the host's. json=True prints all figures."""
KEYS: dict[str, Callable[[Any], Any]] = {
    "models": texts,
    "data": optional(text),
    "coco": optional(text),
    "images": optional(text),
    "imgsz": size,
    "device": optional(text),
    "seed": whole(0),
    "json": flag,
}
USUAL: dict[str, Any] = {
    "models": (),
    "data": None,
    "coco": None,
    "images": None,
    "imgsz": 640,
    "device": None,
    "seed": 0,
    "json": False,
}


def main(given: Mapping[str, Any]) -> int:
    """Print the table, or the JSON, of ``nas-compare``.

    Returns:
        0; 3 where pictures were left out, each of them named.

    Raises:
        NASError: For an unknown key, a bad value, or a model that does not fit the pictures.
    """
    if given.get("resume") or _definitions(given.get("models")):
        return definitions.main(given)
    settings = _settings(given)
    models = [Trained(Path(name), settings["device"]) for name in settings["models"]]
    rows, skipped = [], {}
    for name, model in zip(settings["models"], models, strict=True):
        figures, left_out = measure(name, model, settings)
        skipped.update(dict.fromkeys(left_out))
        rows.append({"model": name, "task": model.task, "params": model.params, **figures})
    for line in skipped:
        print(line, file=sys.stderr)
    print(json.dumps(rows) if settings["json"] else table(rows))
    return 3 if skipped else 0


def _definitions(given: Any) -> bool:
    """Say whether models are to be trained first, told by their names.

    Raises:
        NASError: For both kinds at once.
    """
    names = given if isinstance(given, (list, tuple)) else str(given or "").split(",")
    kinds = {str(name).strip().endswith(".pt") for name in names if str(name).strip()}
    if len(kinds) == 2:
        raise NASError(
            f"models={given}: holds trained models (.pt) and model definitions; give one kind: "
            "definitions are trained and compared, trained models are measured as they are"
        )
    return kinds == {False}


def _settings(given: Mapping[str, Any]) -> dict[str, Any]:
    values = checked(given, KEYS, USUAL)
    if not values["models"]:
        raise NASError("models: is required; as in models=runs/nas/search/best.pt")
    if (values["data"] is None) == (values["coco"] is None):
        raise NASError("data: give either data=<data set> or coco=<instances.json> images=<folder>")
    if values["coco"] and not (values["images"] and Path(values["images"]).is_dir()):
        raise NASError(
            f"images={values['images']}: is not a folder; give the one that the JSON's file names "
            "refer to"
        )
    return values
