"""Where `cfg/` and `datasets/` are: inside the package in a wheel, beside it in a checkout."""

from __future__ import annotations

from importlib import resources
from pathlib import Path


def resource(*parts: str) -> Path:
    """Return the path of a shipped file or folder, for example ``resource("cfg", "nas.yaml")``.

    Args:
        *parts: Path components; the first is ``cfg`` or ``datasets``.

    Returns:
        An existing or, for an unknown name, the would-be path below the shipped folder.
    """
    package = Path(str(resources.files("yolo_nas_ext")))
    root = package if (package / parts[0]).is_dir() else package.parent
    return root.joinpath(*parts)
