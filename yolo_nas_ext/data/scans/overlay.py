"""What was found, drawn on slices of the scan: a sheet of pictures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

MOST = 12  # slices of a sheet
SIDE = 256  # pixels that the longer side of a slice is drawn at, at least
COLUMNS = 4
LINE, MARGIN = 18, 6  # pixels
# Of Okabe and Ito (2008), told apart by everybody.
COLOURS = ((230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (213, 94, 0))
WHITE, BLACK = (255, 255, 255), (0, 0, 0)


@dataclass(slots=True)
class Sheet:
    """The slices of a scan that show most, kept while the scan is gone through.

    Attributes:
        planes: How many slices there are.
        spacing: Distance of their rows and of their columns in mm, as pixels need not be square.
        shape: Their height and width in pixels.
        kept: Area found, number, picture, outlines by class index and score, of each slice.
    """

    planes: int
    spacing: tuple[float, float]
    shape: tuple[int, int]
    kept: list[tuple[float, int, np.ndarray, list[tuple[np.ndarray, int, float]]]] = field(
        default_factory=list
    )

    def add(
        self, index: int, pixels: np.ndarray, marks: Sequence[tuple[np.ndarray, int, float]]
    ) -> None:
        """Take a slice.

        Args:
            index: Its number.
            pixels: Its picture (h, w), or (h, w, 3) of colours, of any size.
            marks: Mask (h, w) of any size, class index and score of what is in it.
        """
        area = float(sum(mask.sum() for mask, _, _ in marks))
        if not area and index not in np.linspace(0, self.planes - 1, MOST).astype(int):
            return  # a sheet of a scan where nothing was found shows some of what was looked at
        self.kept.append((area, index, pixels, list(marks)))
        if len(self.kept) > MOST:
            least = min(range(len(self.kept)), key=lambda i: self.kept[i][:2])
            del self.kept[least]

    def draw(self, names: Mapping[int, str]) -> np.ndarray:
        """Return the sheet (h, w, 3).

        Args:
            names: Class names by index.
        """
        found = any(area for area, *_ in self.kept)
        shown = sorted((one for one in self.kept if one[0] or not found), key=lambda one: one[1])
        size = self._size()
        tiles = [_tile(pixels, marks, index, names, size) for _, index, pixels, marks in shown]
        height, width = (max(tile.shape[axis] for tile in tiles) for axis in (0, 1))
        columns = min(COLUMNS, len(tiles))
        sheet = np.zeros((height * math.ceil(len(tiles) / columns), width * columns, 3), np.uint8)
        for number, tile in enumerate(tiles):
            y, x = number // columns * height, number % columns * width
            sheet[y : y + tile.shape[0], x : x + tile.shape[1]] = tile
        return sheet

    def _size(self) -> tuple[int, int]:
        """Return width and height that a slice is drawn at, as wide and high as it is in mm."""
        mm = [n * spacing for n, spacing in zip(self.shape, self.spacing, strict=True)]
        side = max(SIDE, *self.shape)
        height, width = (max(1, round(side * length / max(mm))) for length in mm)
        return width, height


def _tile(
    pixels: np.ndarray,
    marks: Sequence[tuple[np.ndarray, int, float]],
    index: int,
    names: Mapping[int, str],
    size: tuple[int, int],
) -> np.ndarray:
    """Return a slice with outlines, and a line below that says which slice and what is in it."""
    picture = np.repeat(pixels[..., None], 3, 2) if pixels.ndim == 2 else pixels
    picture = np.ascontiguousarray(cv2.resize(picture, size, interpolation=cv2.INTER_CUBIC))
    for mask, kind, _ in marks:
        large = cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST_EXACT)
        lines, _ = cv2.findContours(large, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(picture, lines, -1, COLOURS[kind % len(COLOURS)], 1)
    best: dict[int, float] = {}
    for _, kind, score in marks:
        best[kind] = max(best.get(kind, 0.0), score)
    below = np.zeros((LINE * (1 + len(best)) + MARGIN, picture.shape[1], 3), np.uint8)
    _text(below, f"slice {index}", 0, WHITE)
    for row, (kind, score) in enumerate(sorted(best.items()), 1):
        _text(below, f"{names[kind]} {score:.2f}", row, COLOURS[kind % len(COLOURS)])
    tile = np.concatenate((picture, below))
    return cv2.copyMakeBorder(tile, 0, 0, 0, MARGIN, cv2.BORDER_CONSTANT, value=BLACK)


def _text(picture: np.ndarray, text: str, row: int, colour: tuple[int, int, int]) -> None:
    plain = text.encode("ascii", "replace").decode()  # OpenCV draws no other signs
    at = MARGIN, LINE * (row + 1) - 4
    cv2.putText(picture, plain, at, cv2.FONT_HERSHEY_SIMPLEX, 0.42, colour, 1, cv2.LINE_AA)
