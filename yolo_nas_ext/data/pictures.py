"""Pictures opened by the formats of pictures alone.

Pillow looks at what is in a file, whatever it is called, and takes it for any of forty formats. One
of them is PostScript, for which another program is run.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from PIL import Image

FORMATS = (
    *("AVIF", "BMP", "DIB", "GIF", "HEIF", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "TIFF", "WEBP"),
)


def opened(path: str | Path, how: Callable[..., Any] | None = None) -> Any:
    """Return a picture as `PIL.Image.open` does.

    Args:
        path: The file.
        how: What opens it, with arguments as Pillow's, which it is unless given.

    Raises:
        OSError: For what is none, or of another format.
    """
    # Ultralytics puts a function of its own in its place, which installs a package where it fails.
    own = getattr(Image.open, "__globals__", {}).get("_image_open", Image.open)
    return (how or own)(path, formats=_known())


@cache
def _known() -> tuple[str, ...]:
    """Return those that this Pillow has."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)
