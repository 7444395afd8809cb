"""From voxel values to 8 bits: CT windows, and percentiles where values have no unit."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from yolo_nas_ext.errors import NASError, did_you_mean

# Level and width in Hounsfield units, the usual ones: Radiopaedia, "Windowing (CT)".
WINDOWS: dict[str, tuple[float, float]] = {
    "lung": (-600, 1500),
    "brain": (40, 80),
    "bone": (400, 1800),
    "abdomen": (50, 400),
    "liver": (30, 150),
}
PERCENTILES = (0.5, 99.5)
AIR = -500  # Hounsfield units; values below are found in CT alone


def window(name: str) -> tuple[float, float] | None:
    """Return the lowest and highest value of a window, or None for percentiles of each scan.

    Args:
        name: ``percentile``, a key of `WINDOWS`, or ``level/width`` such as ``-600/1500``.

    Raises:
        NASError: For anything else.
    """
    if name == "percentile":
        return None
    number = r"\s*([-+]?\d+(?:\.\d*)?)\s*"
    if match := re.fullmatch(f"{number}/{number}", name):
        level, width = float(match[1]), float(match[2])
        if width > 0:
            return level - width / 2, level + width / 2
    if name in WINDOWS:
        level, width = WINDOWS[name]
        return level - width / 2, level + width / 2
    raise NASError(
        f"window={name}: not a window.{did_you_mean(name, WINDOWS)} Allowed: auto, none, "
        f"percentile, {', '.join(WINDOWS)}, or level/width in Hounsfield units such as -600/1500"
    )


def windows(names: str) -> tuple[tuple[float, float] | None, tuple[tuple[float, float], ...], str]:
    """Return one window or several, and what stays as it is, of the key ``window=``.

    Args:
        names: ``auto`` (8-bit pictures stay, else percentiles), ``none`` (all stay), or what
            `window` takes, up to three with commas.

    Returns:
        The window or None, several windows where there are any, and `options.Cut.keep`.

    Raises:
        NASError: For anything else.
    """
    if names in ("auto", "none"):
        return None, (), {"auto": "pictures", "none": "all"}[names]
    parts = [part.strip() for part in names.split(",")]
    if len(parts) == 1:
        return window(parts[0]), (), "none"
    found = [window(part) for part in parts]
    if len(found) > 3 or None in found:
        raise NASError(
            f"window={names}: up to three windows are channels, each a name or level/width, as in "
            "window=lung,abdomen,bone"
        )
    return None, tuple(one for one in found if one is not None), "none"


def percentiles(sample: np.ndarray, at: Sequence[float] = PERCENTILES) -> tuple[float, ...]:
    """Return percentiles of a sample of voxels."""
    return tuple(float(v) for v in np.percentile(sample, at))


def to_8_bits(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Return values as bytes: `low` and below is 0, `high` and above is 255, and NaN is 0.

    Args:
        values: Voxels of any shape.
        low: Lower end of the window.
        high: Upper end; where it is not above `low`, everything is 0.
    """
    if not high > low:
        return np.zeros(values.shape, np.uint8)
    # MONAI's ScaleIntensityRange, which a test holds it to, without importing torch: 0.7 GiB.
    scaled = values.astype(np.float32)
    scaled -= np.float32(low)
    scaled /= np.float32(high - low)
    scaled *= np.float32(255)
    np.clip(scaled, 0, 255, out=scaled)
    if values.dtype.kind == "f":
        np.nan_to_num(scaled, copy=False, nan=0.0)
    return np.rint(scaled).astype(np.uint8)
