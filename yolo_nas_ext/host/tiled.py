"""What a model sees in tiles, joined to what it sees in their slice."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from yolo_nas_ext.data.scans.tiles import Frame, join
from yolo_nas_ext.host.predict import NONE, View


def whole(views: Sequence[View], corners: Sequence[tuple[int, int]]) -> View:
    """Return what is seen in a slice.

    Args:
        views: What is seen in each of its tiles.
        corners: Left and upper corner of each in the slice.

    Returns:
        Objects that tiles share are one, as surely seen as where that is surest; so is the class of
        a pixel. Scores of classes are averaged. The file is that of the first tile.
    """
    frames = frames_of([view.shape for view in views], corners)
    shape = shape_of(frames)
    boxes, members = join([view.boxes for view in views], frames)
    masks = None
    if all(view.masks is not None for view in views):
        of_tiles = [view.masks for view in views if view.masks is not None]
        masks = masks_of(of_tiles, frames, members, shape)
    scores = np.mean([view.scores for view in views], axis=0)
    classes, sure = _surest(views, frames, shape)
    return View(views[0].file, shape, boxes, masks, scores, classes, sure)


def frames_of(shapes: Sequence[tuple[int, int]], corners: Sequence[tuple[int, int]]) -> list[Frame]:
    """Return where tiles of some shapes (h, w) lie in their slice."""
    return [(x, y, x + w, y + h) for (x, y), (h, w) in zip(corners, shapes, strict=True)]


def shape_of(frames: Sequence[Frame]) -> tuple[int, int]:
    """Return height and width of the slice that tiles cover."""
    return max(frame[3] for frame in frames), max(frame[2] for frame in frames)


def masks_of(
    masks: Sequence[np.ndarray],
    frames: Sequence[Frame],
    members: Sequence[Sequence[tuple[int, int]]],
    shape: tuple[int, int],
) -> np.ndarray:
    """Return the mask (n, h, w) of every object of a slice.

    Args:
        masks: The masks (m, h, w) of each tile.
        frames: Where the tiles are.
        members: For each object, tile and row of what it is in tiles; see `tiles.join`.
        shape: Of the slice.
    """
    result = np.zeros((len(members), *shape), bool)
    for plane, own in zip(result, members, strict=True):
        for tile, row in own:
            x0, y0, x1, y1 = frames[tile]
            plane[y0:y1, x0:x1] |= masks[tile][row].astype(bool)
    return result


def _surest(
    views: Sequence[View], frames: Sequence[Frame], shape: tuple[int, int]
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Return the class of every pixel in the tile that is surest of it, and how sure that is."""
    if any(view.classes is None or view.sure is None for view in views):
        return None, None
    classes, sure = np.full(shape, NONE), np.full(shape, -1.0, np.float32)
    for view, (x0, y0, x1, y1) in zip(views, frames, strict=True):
        assert view.classes is not None and view.sure is not None
        better = view.sure > sure[y0:y1, x0:x1]
        classes[y0:y1, x0:x1][better] = view.classes[better]
        sure[y0:y1, x0:x1][better] = view.sure[better]
    return classes, sure
