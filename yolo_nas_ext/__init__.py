"""Neural architecture search for Ultralytics YOLO.

The names below load on first use: importing the package loads neither torch nor Ultralytics.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from yolo_nas_ext.api import search
    from yolo_nas_ext.cost.counts import costs
    from yolo_nas_ext.errors import NASError, TrialError
    from yolo_nas_ext.estimators.factory import training_options
    from yolo_nas_ext.estimators.training import ShortTraining
    from yolo_nas_ext.network.architecture import Architecture, Block
    from yolo_nas_ext.network.block_rows import BlockType, ratio
    from yolo_nas_ext.network.emit import emit
    from yolo_nas_ext.space import tabular as tables
    from yolo_nas_ext.space.choices import ChoiceSpace
    from yolo_nas_ext.space.detector import DetectorSpace
    from yolo_nas_ext.strategies.history import Past
    from yolo_nas_ext.study.study import Study
    from yolo_nas_ext.study.trial import Trial

__version__ = "0.1.0"
__all__ = [
    "Architecture",
    "Block",
    "BlockType",
    "ChoiceSpace",
    "DetectorSpace",
    "NASError",
    "Past",
    "ShortTraining",
    "Study",
    "Trial",
    "TrialError",
    "__version__",
    "costs",
    "emit",
    "ratio",
    "search",
    "tables",
    "training_options",
]

_HOME = {  # the module of each; `tables` is one itself
    "Architecture": "network.architecture",
    "Block": "network.architecture",
    "BlockType": "network.block_rows",
    "ChoiceSpace": "space.choices",
    "DetectorSpace": "space.detector",
    "NASError": "errors",
    "Past": "strategies.history",
    "ShortTraining": "estimators.training",
    "Study": "study.study",
    "Trial": "study.trial",
    "TrialError": "errors",
    "costs": "cost.counts",
    "emit": "network.emit",
    "ratio": "network.block_rows",
    "search": "api",
    "tables": "space.tabular",
    "training_options": "estimators.factory",
}


def __getattr__(name: str) -> Any:
    """Load a public name from its module."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module(f"{__name__}.{_HOME[name]}")
    value = module if name == "tables" else getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names, loaded or not."""
    return sorted({*globals(), *__all__})
