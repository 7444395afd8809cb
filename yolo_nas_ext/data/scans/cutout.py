"""A picture's place on the grid of its scan."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from yolo_nas_ext.data.polygons import MaskObject


@dataclass(frozen=True, slots=True)
class Cutout:
    """A picture, or a tile of one, on the slice that it is made of.

    Attributes:
        shape: Height and width of the whole picture.
        own: Height and width of the slice.
        corner: Left and upper corner of the tile in the picture.
        tile: Side of the tile; 0 for the whole picture.
    """

    shape: tuple[int, int]
    own: tuple[int, int]
    corner: tuple[int, int] = (0, 0)
    tile: int = 0

    @property
    def factor(self) -> tuple[float, float]:
        """Width and height of a pixel of the slice in pixels of the picture."""
        return self.shape[1] / self.own[1], self.shape[0] / self.own[0]

    @property
    def window(self) -> tuple[slice, slice]:
        """Rows and columns of the slice whose middles are in the tile."""
        if not self.tile:
            return np.s_[:, :]
        rows, columns = (
            slice(*(int(np.ceil(edge / f - 0.5)) for edge in (start, start + self.tile)))
            for start, f in zip(self.corner[::-1], self.factor[::-1], strict=True)
        )
        return rows, columns

    def scaled(self, found: MaskObject) -> MaskObject:
        """Return an object of the window in pixels of the tile, within its borders."""
        if self.shape == self.own:
            return found
        factor = np.array(self.factor)
        start = np.array([s.start or 0 for s in self.window[::-1]])
        size = np.array((self.tile,) * 2 if self.tile else self.shape[::-1])
        size = np.minimum(size, np.array(self.shape[::-1]) - self.corner)

        def inside(points: np.ndarray) -> np.ndarray:
            return np.clip((points + start) * factor - self.corner, 0, size)

        left, top, right, bottom = inside(np.reshape(found.box, (2, 2))).ravel().tolist()
        line = None if found.polygon is None else inside(found.polygon)
        area = found.area * float(factor.prod())
        return replace(found, box=(left, top, right, bottom), polygon=line, area=area)
