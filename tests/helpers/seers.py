"""Models that see exactly what masks say, in place of trained ones."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from yolo_nas_ext.data.scans import recipe
from yolo_nas_ext.data.scans.masks import labels
from yolo_nas_ext.data.scans.slices import label_map, size_of
from yolo_nas_ext.data.scans.tiles import corners
from yolo_nas_ext.host.predict import View


class Seer:
    """Sees what masks label, a class at a time, scan by scan in the order that they are given in.

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
        self._planes = self._all(masks)
        self.sizes: list[tuple[int, ...]] = []  # of the pictures seen

    def _all(self, masks):
        for file in masks:
            mask = labels(file)
            shape, _ = size_of(mask, self._cut)
            for index in range(mask.planes(self._cut.axis)):
                plane = label_map([mask], self._cut, index, shape, ())
                tile = self._cut.tile or max(shape)
                for x, y in corners(shape, self._cut.tile, self._cut.overlap):
                    yield plane[y : y + tile, x : x + tile]

    def look(self, pictures, *, imgsz, least):
        views = []
        for picture in pictures:
            self.sizes.append(picture.shape)
            plane = next(self._planes)
            assert plane.shape == picture.shape[:2]
            values = [int(v) for v in np.unique(plane) if v]
            masks = np.array([plane == v for v in values], bool).reshape(-1, *plane.shape)
            rows = [
                [*_box(mask), 0 if self._cut.instances else self._index[v], self._score]
                for v, mask in zip(values, masks, strict=True)
            ]
            boxes = np.array(rows, float).reshape(-1, 6)
            views.append(View("", plane.shape, boxes, masks if self.task == "segment" else None))
        return views


def _box(mask):
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    return columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
