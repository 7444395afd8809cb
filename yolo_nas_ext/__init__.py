"""Backbone search for Ultralytics YOLO.

The names below load on first use: importing the package loads neither torch nor Ultralytics. Nor
does `space`, which may not import them: who knows the backbones of timm is handed to it here.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from yolo_nas_ext import handed as _handed

if TYPE_CHECKING:
    from yolo_nas_ext.cost.analytic import costs
    from yolo_nas_ext.errors import NASError
    from yolo_nas_ext.loop import search
    from yolo_nas_ext.space.architecture import Architecture
    from yolo_nas_ext.space.choices import ChoiceSpace
    from yolo_nas_ext.space.detector import DetectorSpace
    from yolo_nas_ext.space.emit import emit
    from yolo_nas_ext.study import Study, Trial

__version__ = "0.1.0"
__all__ = [
    "Architecture",
    "ChoiceSpace",
    "DetectorSpace",
    "NASError",
    "Study",
    "Trial",
    "__version__",
    "costs",
    "emit",
    "search",
]

_HOME = {
    "Architecture": "space.architecture",
    "ChoiceSpace": "space.choices",
    "DetectorSpace": "space.detector",
    "NASError": "errors",
    "Study": "study",
    "Trial": "study",
    "costs": "cost.analytic",
    "emit": "space.emit",
    "search": "loop",
}

_handed.timm.append(lambda: import_module(f"{__name__}.host.traced"))


def __getattr__(name: str) -> Any:
    """Load a public name from its module."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names, loaded or not."""
    return sorted({*globals(), *__all__})
