"""Models that see exactly what masks say, in place of trained ones."""

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from yolo_nas_ext.data.polygons import fill
from yolo_nas_ext.data.scans import recipe
from yolo_nas_ext.data.scans.masks import labels
from yolo_nas_ext.data.scans.slices import cut, survey
from yolo_nas_ext.host.predict import View


class Seer:
    """Sees the outlines that a conversion makes of masks, scan by scan as they are given.

    Args:
        data: The data set whose recipe says how slices are cut.
        masks: A mask a scan, or several, as files.
        score: How sure it is.
    """

    def __init__(
        self, data: Path, masks: Sequence[Path], *, score: float = 1.0, task: str = "segment"
    ) -> None:
        found = recipe.beside(data)
        assert found
        self.task, self.path, self.imgsz, self.metrics, self.data = task, data, 64, {}, ""
        self.scans = found.to_dict()
        self.names = dict(enumerate(found.names.values()))
        self.params = 1
        self._score, self._index = score, {label: i for i, label in enumerate(found.names)}
        self._cut = found.options.cut
        self._parts = self._all(masks)
        self.sizes: list[tuple[int, ...]] = []  # of the pictures seen

    def _all(self, masks):
        for file in masks:
            mask = labels(file)
            how = replace(self._cut, polygons=True, empty=1.0, min_mm2=0.0, keep="none")
            seen, channels = survey(mask, how.axis), replace(how, channels=1, windows=())
            yield from cut(mask, (mask,), channels, seen, rng=random.Random(0))

    def look(self, pictures, *, imgsz, least, shape=None):
        views = []
        for picture in pictures:
            self.sizes.append(picture.shape)
            own = next(self._parts)
            assert own.pixels.shape == picture.shape[:2]
            size = shape or picture.shape[:2]
            factor = np.divide(size, picture.shape[:2])[::-1]
            lines = [np.round(one.polygon, 6) * factor for one in own.found]  # as they are written
            masks = np.array([fill(line, size) for line in lines], bool).reshape(-1, *size)
            rows = [
                [*(np.reshape(one.box, (2, 2)) * factor).ravel(), self._kind(one), self._score]
                for one in own.found
            ]
            boxes = np.array(rows, float).reshape(-1, 6)
            views.append(View("", size, boxes, masks if self.task == "segment" else None))
        return views

    def _kind(self, one):
        return 0 if self._cut.instances else self._index[one.value]
