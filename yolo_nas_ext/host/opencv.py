"""Several packages of OpenCV in one environment: they write the same folder ``cv2``.

Ultralytics asks for one of them and albumentations for another, which pip cannot make one. Of equal
versions either does. Of different ones the files are a mixture.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

ONE = "opencv-python-headless"  # which needs no display
PACKAGES = ("opencv-python", ONE, "opencv-contrib-python", "opencv-contrib-python-headless")


def mixed() -> str:
    """Return what to say where packages of OpenCV have different versions; nothing elsewhere."""
    found: dict[str, str] = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    if len({*found.values()}) < 2:
        return ""
    installed = " and ".join(f"{name} {number}" for name, number in found.items())
    return (
        f"{installed} are installed, and both write the folder cv2, whose files may be of either; "
        f"pip uninstall -y {' '.join(found)} and pip install {ONE} leave one"
    )
