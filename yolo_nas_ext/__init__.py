"""Backbone search for Ultralytics YOLO.

The names below load on first use: importing the package loads neither torch nor Ultralytics.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from yolo_nas_ext.api import search
    from yolo_nas_ext.cost.counts import costs
    from yolo_nas_ext.errors import NASError
    from yolo_nas_ext.network.architecture import Architecture
    from yolo_nas_ext.network.emit import emit
    from yolo_nas_ext.space.choices import ChoiceSpace
    from yolo_nas_ext.space.detector import DetectorSpace
    from yolo_nas_ext.study.study import Study
    from yolo_nas_ext.study.trial import Trial

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
    "Architecture": "network.architecture",
    "ChoiceSpace": "space.choices",
    "DetectorSpace": "space.detector",
    "NASError": "errors",
    "Study": "study.study",
    "Trial": "study.trial",
    "costs": "cost.counts",
    "emit": "network.emit",
    "search": "api",
}


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
