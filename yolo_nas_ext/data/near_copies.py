"""Pictures that are one picture saved again: at another quality, size or format.

A picture is looked at as 16 x 16 grey values. Saved again as a JPEG of quality 30 it differs by 4
of 255 at most, and by 1 on average, on photographs, MRI and circuit boards of 160 pixels and more;
neighbouring slices of one patient differ by 5 or more.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageOps

SIDE = 16
MOST, MEAN = 4, 1.0  # differences of grey values
PLAIN = 8.0  # standard deviation below which a picture shows too little to be known again
PART, FEW = 0.25, 4  # of the pictures that may be of one: more are frames, or slices of air


def look(image: Image.Image) -> bytes:
    """Return what a picture looks like, turned as EXIF says; nothing where it shows too little."""
    if image.mode not in ("L", "RGB", "RGBA", "P", "CMYK", "YCbCr"):
        return b""
    small = image.convert("L").resize((SIDE, SIDE), Image.Resampling.BOX)
    grey = np.asarray(ImageOps.exif_transpose(small), np.uint8)
    return grey.tobytes() if grey.std() >= PLAIN else b""


def firsts(looks: Sequence[bytes]) -> list[int]:
    """Return for each picture the first that it is a copy of: its own number where it is of none.

    Copies of a copy are no chain: each is near to the first itself. Where one picture would have
    more copies than `PART` of all, nothing is taken for a copy.

    Args:
        looks: Of `look`; an empty one is of no other.
    """
    found = list(range(len(looks)))
    known = [index for index, one in enumerate(looks) if one]
    if len(known) < 2:
        return found
    values = _values([looks[index] for index in known])
    blocks, means = _blocks(values), values.mean(1)
    order = np.argsort(means, kind="stable")
    kept: list[int] = []  # the first of each, from dark to light
    begin = 0
    for one in order:
        while begin < len(kept) and means[kept[begin]] < means[one] - MEAN:
            begin += 1
        near = _near(values, blocks, one, np.array(kept[begin:], int))
        if near is None:
            kept.append(one)
        else:
            found[known[one]] = known[near]
    if np.bincount(found).max() > max(FEW, PART * len(looks)):
        return list(range(len(looks)))
    least: dict[int, int] = {}
    for index, first in enumerate(found):
        least.setdefault(first, index)
    return [least[first] for first in found]


def _values(looks: Sequence[bytes]) -> np.ndarray:
    return np.frombuffer(b"".join(looks), np.uint8).reshape(len(looks), -1).astype(np.int16)


def _blocks(values: np.ndarray) -> np.ndarray:
    """Return the means of sixteen blocks, which differ by no more than the values do."""
    return values.reshape(-1, 4, SIDE // 4, 4, SIDE // 4).mean((2, 4)).reshape(len(values), -1)


def _near(values: np.ndarray, blocks: np.ndarray, one: int, among: np.ndarray) -> int | None:
    """Return the first of some pictures that one is near to."""
    if not len(among):
        return None
    among = among[np.abs(blocks[among] - blocks[one]).max(1) <= MOST]
    apart = np.abs(values[among] - values[one])
    close = among[(apart.max(1) <= MOST) & (apart.mean(1) <= MEAN)] if len(among) else among
    return int(close[0]) if len(close) else None
