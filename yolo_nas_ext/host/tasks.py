"""Lean trainers of the tasks beside detection."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from ultralytics.data.augment import classify_augmentations, classify_transforms
from ultralytics.data.dataset import ClassificationDataset
from ultralytics.models.yolo.classify import ClassificationTrainer
from ultralytics.models.yolo.obb import OBBTrainer
from ultralytics.models.yolo.pose import PoseTrainer
from ultralytics.models.yolo.segment import SegmentationTrainer

from yolo_nas_ext.host.trainer import LeanMixin

MOST = 20_000  # pictures that stay decoded; further ones are read at every use


class HeldPictures(ClassificationDataset):
    """The host's data set for classification over known images, which stay decoded.

    Args:
        labels: Label dictionaries of the host, with one class each.
        known: Decoded images by file, which the data sets of all candidates share and fill.
        augment: Whether to augment as in training.
        args: The host's arguments.
    """

    def __init__(
        self,
        labels: Sequence[dict[str, Any]],
        known: dict[str, np.ndarray],
        augment: bool,
        args: Any,
    ) -> None:
        # The host's own would list the folders again and write a cache beside them.
        self.samples = [[label["im_file"], int(label["cls"][0, 0]), None, None] for label in labels]
        self.cache_ram = self.cache_disk = False
        self._known = known
        self.torch_transforms = (
            classify_augmentations(
                size=args.imgsz, scale=(1.0 - args.scale, 1.0), hflip=args.fliplr,
                vflip=args.flipud, erasing=args.erasing, auto_augment=args.auto_augment,
                hsv_h=args.hsv_h, hsv_s=args.hsv_s, hsv_v=args.hsv_v,
            )
            if augment
            else classify_transforms(size=args.imgsz)
        )  # fmt: skip

    def imread(self, f: str) -> np.ndarray:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Return a decoded image, read once."""
        image = self._known.get(f)
        if image is None:
            image = ClassificationDataset.imread(f)
            assert image is not None, "files were decoded when the data set was read"
            if len(self._known) < MOST:
                self._known[f] = image
        return image


# Decoded pictures by file, for all candidates of this process.
_PICTURES: dict[str, np.ndarray] = {}


class LeanClassificationTrainer(LeanMixin, ClassificationTrainer):  # pyright: ignore[reportIncompatibleMethodOverride]
    """Classification."""

    def held(self, labels: Sequence[dict[str, Any]], *, augment: bool, batch: int) -> HeldPictures:
        """Return the data set over some pictures with known classes."""
        return HeldPictures(labels, _PICTURES, augment, self.args)


class LeanSegmentationTrainer(LeanMixin, SegmentationTrainer):  # pyright: ignore[reportIncompatibleMethodOverride]
    """Instance segmentation."""


class LeanOBBTrainer(LeanMixin, OBBTrainer):  # pyright: ignore[reportIncompatibleMethodOverride]
    """Oriented boxes."""


class LeanPoseTrainer(LeanMixin, PoseTrainer):  # pyright: ignore[reportIncompatibleMethodOverride]
    """Keypoints."""


TRAINERS: dict[str, Callable[..., Any]] = {
    "segment": LeanSegmentationTrainer, "classify": LeanClassificationTrainer,
    "obb": LeanOBBTrainer, "pose": LeanPoseTrainer,
}  # fmt: skip
