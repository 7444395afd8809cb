"""Objects that a trained model of Ultralytics sees in pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch.nn import functional
from ultralytics import YOLO
from ultralytics.models.yolo.semantic import SemanticSegmentationPredictor
from ultralytics.utils import nms, ops

from yolo_nas_ext.data.scans import recipe
from yolo_nas_ext.errors import NASError
from yolo_nas_ext.host import restricted
from yolo_nas_ext.host.dataset import quiet
from yolo_nas_ext.host.mask_size import masks_at

# As Ultralytics' validator predicts, so that both measure the same detections.
LEAST, OVERLAP, MOST = 0.001, 0.7, 300
BATCH = 16
USUAL = 640  # pixels
NONE = 255  # of a class map: no class


@dataclass(frozen=True, slots=True)
class View:
    """The objects that a model sees in a picture.

    Attributes:
        file: The picture, as it was given.
        shape: Its height and width in pixels.
        boxes: Rows (left, top, right, bottom, class, score) in its pixels.
        masks: Masks (n, h, w) of the boxes at its size; None of models that find none.
        scores: Of every class, of a classifier; none of others.
        classes: The class index of every pixel (h, w), of semantic models, `NONE` where a model of
            one class sees none; None of others.
        sure: The probability (h, w) of that class; None of others.
    """

    file: str
    shape: tuple[int, int]
    boxes: np.ndarray
    masks: np.ndarray | None = None
    scores: np.ndarray = field(default_factory=lambda: np.zeros(0))
    classes: np.ndarray | None = None
    sure: np.ndarray | None = None


def yolo(path: Path, task: str) -> Any:
    """Return a model of ours as Ultralytics loads it: a checkpoint, or a definition's new one."""
    with quiet(), restricted.known(path):
        return YOLO(path, task=task)


class Trained:
    """A checkpoint of Ultralytics, which loads it.

    It runs what the file holds, unless ``ULTRALYTICS_SAFE_LOAD=1`` is set.

    Args:
        path: A ``.pt`` file, by whomever it was trained.
        device: Ultralytics' device; it chooses one unless given.
        key: The user's key that names it, for messages.

    Attributes:
        path: The file.
        task: What it does.
        names: Class names by index.
        params: Number of its parameters.
        imgsz: Image size in pixels that it was trained at; 640 where the file does not say it.
        metrics: What was measured of it when it was trained.
        data: The data set that it was trained on, where the file says it.
        scans: How the scans that it was trained on were converted, see `data.scans.recipe`; None
            where the file does not say it.

    Raises:
        NASError: For a file that is no checkpoint.
    """

    def __init__(self, path: Path, device: str | None = None, key: str = "models") -> None:
        if path.suffix != ".pt" or not path.is_file():
            raise NASError(f"{key}={path}: no such checkpoint; give .pt files of trained models")
        try:
            with quiet(), restricted.known(path):
                self._model: Any = YOLO(path)
        except Exception as error:  # what damaged files raise is not of one kind
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise NASError(
                f"{key}={path}: cannot be loaded ({reason}){restricted.hint()}"
            ) from error
        self._device = device
        self.path = path
        self.task: str = self._model.task
        self.names: dict[int, str] = dict(self._model.names)
        self.params = sum(p.numel() for p in self._model.model.parameters())
        content = self._model.ckpt or {}
        args: dict[str, Any] = content.get("train_args") or {}
        size = args.get("imgsz")
        self.imgsz = size if isinstance(size, int) else USUAL
        self.metrics: dict[str, float] = dict(content.get("train_metrics") or {})
        self.data = str(args.get("data") or "")
        self.scans: dict[str, Any] | None = content.get(recipe.KEY)

    def see(self, files: Sequence[str], *, imgsz: int) -> Iterator[View]:
        """Yield what the model sees in each picture that can be decoded; others are left out.

        Args:
            files: Pictures.
            imgsz: Image size in pixels.
        """
        given = {str(Path(file).absolute()): file for file in files}
        with TemporaryDirectory() as folder:
            # A list of paths would be decoded at once, all of it; one in a file picture by picture.
            listed = Path(folder) / "pictures.txt"
            listed.write_text("\n".join(given), "utf-8")
            for seen in self._predict(str(listed), imgsz, LEAST, BATCH):
                yield _view(given[seen.path], seen, masks=self.task == "segment")

    def look(
        self,
        pictures: Sequence[np.ndarray],
        *,
        imgsz: int,
        least: float,
        shape: tuple[int, int] | None = None,
    ) -> list[View]:
        """Return what the model sees in pictures, in one batch.

        Args:
            pictures: Bytes (h, w), or (h, w, 3) in the order of `data.scans`: red first.
            imgsz: Image size in pixels.
            least: Score from which objects count.
            shape: Height and width that views have in place of their pictures', for pictures that
                were made of larger or smaller ones: masks are drawn at once at that size.
        """
        # Ultralytics takes arrays as OpenCV reads files: blue first.
        given = [np.ascontiguousarray(p[..., ::-1]) if p.ndim == 3 else p for p in pictures]
        if shape is not None and all(p.shape[:2] == shape for p in pictures):
            shape = None
        found = self._predict(given, imgsz, least, len(given), shape)
        return [_view("", seen, masks=self.task == "segment", shape=shape) for seen in found]

    def _predict(
        self,
        source: Any,
        imgsz: int,
        least: float,
        batch: int,
        shape: tuple[int, int] | None = None,
    ) -> Iterator[Any]:
        with quiet(), _all_labels(), _probabilities(), masks_at(shape):
            yield from self._model.predict(
                source,
                stream=True,
                imgsz=imgsz,
                conf=least,
                iou=OVERLAP,
                max_det=MOST,
                batch=batch,
                device=self._device,
                retina_masks=True,
                verbose=False,
                save=False,
            )


@contextmanager
def _all_labels() -> Iterator[None]:
    """Let a box have several labels, as Ultralytics does when it measures, not when it predicts."""
    usual = nms.non_max_suppression
    nms.non_max_suppression = partial(usual, multi_label=True)
    try:
        yield
    finally:
        nms.non_max_suppression = usual


@contextmanager
def _probabilities() -> Iterator[None]:
    """Let semantic models say how sure they are, of which Ultralytics keeps the class alone."""
    kind: Any = SemanticSegmentationPredictor
    usual = kind.postprocess

    def postprocess(self: Any, preds: Any, img: Any, orig_imgs: Any) -> Any:
        logits = preds[0] if isinstance(preds, (tuple, list)) else preds
        found = usual(self, preds, img, orig_imgs)
        for logit, seen in zip(logits, found, strict=True):
            if logit.ndim == 3:
                seen.sure = _sure(logit, img.shape[2:], seen.orig_shape)
        return found

    kind.postprocess = postprocess
    try:
        yield
    finally:
        kind.postprocess = usual


def _sure(logit: torch.Tensor, size: Any, shape: Any) -> np.ndarray:
    """Return the probability of each pixel's class at the size of the picture."""
    found = logit[None].float()
    if found.shape[2:] != size:
        found = functional.interpolate(found, size, mode="bilinear", align_corners=False)
    found = ops.scale_masks(found, shape)[0]
    if len(found) > 1:
        return found.softmax(0).max(0).values.cpu().numpy()
    return (found[0].sigmoid() - 0.5).abs().add(0.5).cpu().numpy()


def _view(file: str, seen: Any, *, masks: bool, shape: tuple[int, int] | None = None) -> View:
    """Return what Ultralytics' results say, as of a picture of a shape (its own without)."""
    own = shape or seen.orig_shape
    if seen.semantic_mask is not None:
        classes = seen.semantic_mask.data.cpu().numpy()
        if len(seen.names) == 1:  # Ultralytics' 1 is its one class then, and 0 is none
            classes = np.where(classes > 0, 0, NONE)
        sure = getattr(seen, "sure", np.ones(classes.shape))
        return View(file, own, np.zeros((0, 6)), classes=classes, sure=sure)
    if seen.probs is not None:
        return View(file, own, np.zeros((0, 6)), None, seen.probs.data.cpu().numpy())
    found = seen.boxes.data.cpu().numpy().astype(float)  # left, top, right, bottom, score, class
    if shape is not None:
        found[:, :4] *= (*np.divide(shape, seen.orig_shape)[::-1],) * 2
    shapes = None
    if masks:
        nothing = np.zeros((0, *own), bool)
        shapes = nothing if seen.masks is None else seen.masks.data.cpu().numpy().astype(bool)
    return View(file, own, found[:, [0, 1, 2, 3, 5, 4]], shapes)
