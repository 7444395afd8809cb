"""COCO's twelve numbers, by `pycocotools`, for detections on any COCO JSON."""

from __future__ import annotations

import contextlib
import io
import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as rle
from pycocotools.cocoeval import COCOeval

from yolo_nas_ext.data.coco.annotations import load
from yolo_nas_ext.errors import NASError
from yolo_nas_ext.files import json_of, text_of

NAMES = (
    "AP",
    "AP50",
    "AP75",
    "AP_small",
    "AP_medium",
    "AP_large",
    "AR1",
    "AR10",
    "AR100",
    "AR_small",
    "AR_medium",
    "AR_large",
)
"""In the order in which pycocotools prints them."""


def numbers(
    annotations: Path,
    detections: Path | Sequence[Mapping[str, Any]],
    *,
    kind: str = "bbox",
    images: Sequence[int] | None = None,
) -> dict[str, float]:
    """Return COCO's twelve numbers, between 0 and 1; -1 where there is nothing to measure.

    Args:
        annotations: The instances JSON.
        detections: COCO results: ``image_id``, ``category_id``, ``bbox`` (x, y, width, height in
            pixels) or ``segmentation``, and ``score`` each; or a file of them, such as Ultralytics'
            ``predictions.json``.
        kind: ``bbox`` or ``segm``.
        images: Ids of the images to measure on; all without.

    Raises:
        NASError: For a malformed file, or detections of images or categories it does not list.
    """
    if kind not in ("bbox", "segm"):
        raise NASError(f"kind={kind}: not a kind of detections; allowed: bbox, segm")
    coco: Any = load(annotations)
    rows = _read(detections)
    known = set(coco.imgs), set(coco.cats)
    need = ("image_id", "category_id", "score", "bbox" if kind == "bbox" else "segmentation")
    for index, row in enumerate(rows):
        lacking = [key for key in need if key not in row]
        if lacking:
            raise NASError(
                f"detections[{index}] lacks '{lacking[0]}'; each needs {', '.join(need)}"
            )
        for key, ids in zip(("image_id", "category_id"), known, strict=True):
            if row[key] not in ids:
                raise NASError(f"detections[{index}].{key}={row[key]} is not in {annotations}")
    if not rows:
        return dict.fromkeys(NAMES, 0.0)
    for row in coco.anns.values():  # pycocotools looks at both
        row.setdefault("iscrowd", 0)
        row.setdefault("area", row["bbox"][2] * row["bbox"][3])
    coco.dataset.setdefault("info", {})
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # it speaks numpy 1 to numpy 2
        evaluation = COCOeval(coco, coco.loadRes([dict(row) for row in rows]), kind)
        if images is not None:
            evaluation.params.imgIds = list(images)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return {name: float(value) for name, value in zip(NAMES, evaluation.stats, strict=True)}


def encoded(mask: np.ndarray) -> dict[str, Any]:
    """Return a mask (h, w) in COCO's run lengths."""
    code: Any = rle.encode(np.asfortranarray(mask, np.uint8))
    return {"size": [int(n) for n in code["size"]], "counts": code["counts"].decode("ascii")}


class Truth:
    """An instances JSON of pictures whose objects are known, one picture after the other.

    Args:
        names: Class names by index; a category's id is its index and 1.
    """

    def __init__(self, names: Mapping[int, str]) -> None:
        self._images: list[dict[str, Any]] = []
        self._rows: list[dict[str, Any]] = []
        self._categories = [{"id": index + 1, "name": name} for index, name in names.items()]

    def add(
        self, shape: tuple[int, int], boxes: np.ndarray, masks: Sequence[np.ndarray] = ()
    ) -> int:
        """Add a picture and return its id.

        Args:
            shape: Its height and width in pixels.
            boxes: Rows (left, top, right, bottom, class, ...) in its pixels.
            masks: A mask (h, w) a box, where there are masks.
        """
        image = len(self._images) + 1
        height, width = shape
        self._images.append(
            {"id": image, "file_name": str(image), "width": int(width), "height": int(height)}
        )
        for index, (x0, y0, x1, y1, label, *_) in enumerate(boxes.tolist()):
            row: dict[str, Any] = {
                "id": len(self._rows) + 1,
                "image_id": image,
                "category_id": int(label) + 1,
                "bbox": [x0, y0, x1 - x0, y1 - y0],
                "area": (x1 - x0) * (y1 - y0),
                "iscrowd": 0,
            }
            if masks:
                row |= {"segmentation": encoded(masks[index]), "area": int(masks[index].sum())}
            self._rows.append(row)
        return image

    def write(self, folder: Path) -> Path:
        """Write the JSON into a folder and return it."""
        content = {
            "images": self._images,
            "annotations": self._rows,
            "categories": self._categories,
        }
        file = folder / "instances.json"
        file.write_text(json.dumps(content), "utf-8")
        return file


def _read(detections: Path | Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    if not isinstance(detections, (str, Path)):
        return detections
    try:
        rows = json_of(text_of(Path(detections)))
    except (OSError, ValueError) as error:
        raise NASError(f"{detections}: cannot be read as JSON ({error})") from error
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise NASError(
            f"{detections}: is not a list of detections, as Ultralytics' predictions.json"
        )
    return rows
