"""Pictures of a data set looked at once: can the training read them, how large, what is in them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from multiprocessing.pool import ThreadPool
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageOps
from ultralytics.data import utils
from ultralytics.utils import NUM_THREADS, patches

from yolo_nas_ext.data import near_copies
from yolo_nas_ext.data.pictures import opened

SMALLEST = 10  # pixels; Ultralytics refuses smaller images
ORIENTATION = 274  # tag of EXIF
ALIKE = 12.0  # mean difference of 8-bit values between two decoders of one picture
# How a whole file ends, of the formats whose size is known by the header; and what is read of both
# of its ends where its pixels are not: files are told apart by them.
ENDS = {"JPEG": b"\xff\xd9", "PNG": b"IEND\xaeB`\x82"}
EDGE = 4096
PLAIN = ("L", "RGB", "RGBA", "P", "1", "LA", "CMYK", "YCbCr")  # that every reader turns to 8 bits


@dataclass(frozen=True, slots=True)
class Seen:
    """What an image file is.

    Attributes:
        shape: Height and width in pixels, as it is looked at; None where it cannot be used.
        wrong: Why it cannot be used; empty where it can.
        content: A digest of its pixels, or of its size and both ends where it was not decoded.
        pages: How many pages it has, of which the training reads the first alone.
        look: What it looks like, as of `data.near_copies`.
    """

    shape: tuple[int, int] | None
    wrong: str = ""
    content: str = ""
    pages: int = 1
    look: bytes = b""


def looked_at(images: Sequence[str], channels: int = 3) -> list[Seen]:
    """Return what each image is.

    Args:
        images: Paths.
        channels: Channels that the data set's images have.
    """
    with ThreadPool(NUM_THREADS) as pool:
        return pool.map(lambda image: look(image, channels), images)


def look(image: str, channels: int = 3, *, whole: bool = True) -> Seen:
    """Return what an image is.

    Args:
        image: Path.
        channels: Channels that the data set's images have.
        whole: Whether it is decoded to its end; otherwise its header and its end do where they are
            of the usual kind.
    """
    try:
        stat = os.stat(image)
    except OSError as error:
        return Seen(None, error.strerror or "cannot be read")
    return _seen(image, channels, whole, stat.st_size, stat.st_mtime_ns)


@cache  # train and val are read for several purposes, and decoding takes the time
def _seen(image: str, channels: int, whole: bool, size: int, time: int) -> Seen:
    """Return what an image is that can be decoded to its end, or why it cannot be used.

    Ultralytics only looks at the header and rewrites JPEGs that end early; here nothing is written.
    """
    try:
        with opened(image) as file:
            if not whole and (found := _by_header(image, file, channels, size)):
                return found
            width, height = utils.exif_size(file)
            pages = getattr(file, "n_frames", 1) if file.format in ("TIFF", "GIF", "WEBP") else 1
            file.load()
            content = hashlib.blake2b(file.tobytes(), digest_size=12)
            content.update(f"{file.mode} {file.size}".encode())
            seen = near_copies.look(file)
            turned = _turned(file)
            odd = (
                file.format in ("TIFF", "HEIF") or file.mode not in PLAIN or channels not in (1, 3)
            )
            wrong = _unread(image, file, channels, turned) if turned or odd else ""
    except Exception as error:  # a damaged file makes decoders fail in many ways
        return Seen(None, " ".join(str(error).split()) or type(error).__name__)
    if min(width, height) < SMALLEST:
        wrong = f"{width} x {height} pixels is too small"
    shape = None if wrong else (height, width)
    return Seen(shape, wrong, content.hexdigest(), pages if channels in (1, 3) else 1, seen)


def _by_header(image: str, file: Any, channels: int, size: int) -> Seen | None:
    """Return what a picture is by its header; None for one that has to be decoded to know."""
    width, height = file.size
    usual = file.mode in PLAIN and channels in (1, 3) and min(width, height) >= SMALLEST
    if file.format not in ENDS or not usual:
        return None
    # Of a PNG the header says whether there is any: Pillow would decode it to look behind.
    tagged = "exif" in file.info if file.format == "PNG" else _turned(file)
    if tagged:
        return None
    with open(image, "rb") as stream:
        content = hashlib.blake2b(stream.read(EDGE), digest_size=12)
        stream.seek(max(0, size - EDGE))
        end = stream.read()
    content.update(end + str(size).encode())
    return (
        Seen((height, width), "", content.hexdigest()) if end.endswith(ENDS[file.format]) else None
    )


def _turned(file: Any) -> bool:
    return file.getexif().get(ORIENTATION, 1) not in (0, 1)


def _unread(image: str, file: Image.Image, channels: int, turned: bool) -> str:
    """Return why the training would not see a picture as people do; nothing where it would."""
    flags = {1: cv2.IMREAD_GRAYSCALE, 3: cv2.IMREAD_COLOR}.get(channels, cv2.IMREAD_UNCHANGED)
    read = patches.imread(image, flags)
    if read is None:
        return f"the training cannot read it ({file.format}, {file.mode}); save it as PNG"
    if read.dtype != np.uint8:
        return f"has {read.dtype} pixels, which the training cannot read; save it with 8 bits"
    if read.shape[2] != channels:
        return f"has {read.shape[2]} channels, and the data set {channels} (channels= in its YAML)"
    if not turned:
        return ""
    upright = np.asarray(ImageOps.exif_transpose(file).convert("L"), np.float32)
    grey = cv2.cvtColor(read[..., :3], cv2.COLOR_BGR2GRAY) if read.shape[2] >= 3 else read[..., 0]
    if grey.shape != upright.shape or np.abs(grey - upright).mean() > ALIKE:
        return (
            f"is to be turned before it is looked at (EXIF {file.getexif().get(ORIENTATION)}), "
            "which the training does not do with such a file; save it turned"
        )
    return ""
