"""Pictures opened by the formats of pictures alone.

Pillow looks at what is in a file, whatever it is called, and takes it for any of forty formats. One
of them is PostScript, for which another program is run.
"""

from __future__ import annotations

import os
import re
import stat
from functools import cache
from pathlib import Path
from typing import Any

from PIL import Image, UnidentifiedImageError

FORMATS = (
    *("AVIF", "BMP", "DIB", "GIF", "HEIF", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "TIFF", "WEBP"),
)


HEIC = re.compile(rb"....ftyp(hei[cxms]|hev[cxms]|mif1|msf1)", re.DOTALL)  # how such a file begins
NO_HEIC = "a HEIC picture, which pi-heif reads: pip install pi-heif, or save it as PNG or JPEG"


def opened(path: str | Path) -> Any:
    """Return a picture as `PIL.Image.open` does.

    Args:
        path: The file.

    Raises:
        OSError: For what is none, or of another format; a pipe or a device is not waited for.
    """
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise OSError("is no file")
    # Ultralytics puts a function of its own in its place, which installs a package where it fails.
    own = getattr(Image.open, "__globals__", {}).get("_image_open", Image.open)
    try:
        return own(path, formats=_known())
    except UnidentifiedImageError as error:
        if not _is_heic(path):
            raise
        if "HEIF" not in Image.OPEN and not _reads_heic():
            raise UnidentifiedImageError(NO_HEIC) from error
        return own(path, formats=("HEIF",))


def _is_heic(path: str | Path) -> bool:
    """Say whether a file begins as those of phones, whatever it is called."""
    with open(path, "rb") as file:
        return HEIC.match(file.read(12)) is not None


def _reads_heic() -> bool:
    """Have Pillow read HEIC where the package for it is there, which takes a second to load."""
    try:
        import pi_heif
    except ImportError:
        return False
    pi_heif.register_heif_opener()
    return True


@cache
def _known() -> tuple[str, ...]:
    """Return those that this Pillow has."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)
