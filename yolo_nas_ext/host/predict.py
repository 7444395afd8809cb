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
from ultralytics import YOLO
from ultralytics.utils import nms

from yolo_nas_ext.errors import NASError
from yolo_nas_ext.host import restricted
from yolo_nas_ext.host.dataset import quiet

# As Ultralytics' validator predicts, so that both measure the same detections.
LEAST, OVERLAP, MOST = 0.001, 0.7, 300
BATCH = 16


@dataclass(frozen=True, slots=True)
class View:
    """The objects that a model sees in a picture.

    Attributes:
        file: The picture, as it was given.
        shape: Its height and width in pixels.
        boxes: Rows (left, top, right, bottom, class, score) in its pixels.
        masks: Masks (n, h, w) of the boxes at its size; None of models that find none.
        scores: Of every class, of a classifier; none of others.
    """

    file: str
    shape: tuple[int, int]
    boxes: np.ndarray
    masks: np.ndarray | None = None
    scores: np.ndarray = field(default_factory=lambda: np.zeros(0))


class Trained:
    """A checkpoint of Ultralytics, which loads it.

    It runs what the file holds, unless ``ULTRALYTICS_SAFE_LOAD=1`` is set.

    Args:
        path: A ``.pt`` file, by whomever it was trained.
        device: Ultralytics' device; it chooses one unless given.

    Attributes:
        task: What it does.
        names: Class names by index.
        params: Number of its parameters.

    Raises:
        NASError: For a file that is no checkpoint.
    """

    def __init__(self, path: Path, device: str | None = None) -> None:
        if path.suffix != ".pt" or not path.is_file():
            raise NASError(f"models={path}: no such checkpoint; give .pt files of trained models")
        try:
            with quiet(), restricted.known(path):
                self._model: Any = YOLO(path)
        except Exception as error:  # what damaged files raise is not of one kind
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise NASError(
                f"models={path}: cannot be loaded ({reason}){restricted.hint()}"
            ) from error
        self._device = device
        self.task: str = self._model.task
        self.names: dict[int, str] = dict(self._model.names)
        self.params = sum(p.numel() for p in self._model.model.parameters())

    def see(self, files: Sequence[str], *, imgsz: int) -> Iterator[View]:
        """Yield what the model sees in each picture that can be decoded; others are left out.

        Args:
            files: Pictures.
            imgsz: Image size in pixels.
        """
        given = {str(Path(file).absolute()): file for file in files}
        with TemporaryDirectory() as folder, quiet(), _all_labels():
            # A list of paths would be decoded at once, all of it; one in a file picture by picture.
            listed = Path(folder) / "pictures.txt"
            listed.write_text("\n".join(given), "utf-8")
            for seen in self._model.predict(
                str(listed),
                stream=True,
                imgsz=imgsz,
                conf=LEAST,
                iou=OVERLAP,
                max_det=MOST,
                batch=BATCH,
                device=self._device,
                retina_masks=True,
                verbose=False,
                save=False,
            ):
                yield _view(given[seen.path], seen, masks=self.task == "segment")


@contextmanager
def _all_labels() -> Iterator[None]:
    """Let a box have several labels, as Ultralytics does when it measures, not when it predicts."""
    usual = nms.non_max_suppression
    nms.non_max_suppression = partial(usual, multi_label=True)
    try:
        yield
    finally:
        nms.non_max_suppression = usual


def _view(file: str, seen: Any, *, masks: bool) -> View:
    if seen.probs is not None:
        return View(file, seen.orig_shape, np.zeros((0, 6)), None, seen.probs.data.cpu().numpy())
    found = seen.boxes.data.cpu().numpy().astype(float)  # left, top, right, bottom, score, class
    shapes = None
    if masks:
        nothing = np.zeros((0, *seen.orig_shape), bool)
        shapes = nothing if seen.masks is None else seen.masks.data.cpu().numpy().astype(bool)
    return View(file, seen.orig_shape, found[:, [0, 1, 2, 3, 5, 4]], shapes)
