"""Neural architecture search for Ultralytics YOLO.

The names below load on first use: importing the package loads neither torch nor Ultralytics.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from yolo_nas_ext.api import search
    from yolo_nas_ext.cost.counts import costs
    from yolo_nas_ext.errors import NASError, TrialError
    from yolo_nas_ext.estimators.factory import training_options
    from yolo_nas_ext.estimators.training import FineTuning, ShortTraining
    from yolo_nas_ext.network.architecture import Architecture, Block
    from yolo_nas_ext.network.block_rows import BlockType, ratio
    from yolo_nas_ext.network.emit import emit
    from yolo_nas_ext.python.nas_search import nas_search
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
    "FineTuning",
    "NASError",
    "Past",
    "ShortTraining",
    "Study",
    "Trial",
    "TrialError",
    "__version__",
    "costs",
    "emit",
    "nas_search",
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
    "FineTuning": "estimators.training",
    "NASError": "errors",
    "Past": "strategies.history",
    "ShortTraining": "estimators.training",
    "Study": "study.study",
    "Trial": "study.trial",
    "TrialError": "errors",
    "costs": "cost.counts",
    "emit": "network.emit",
    "nas_search": "python.nas_search",
    "ratio": "network.block_rows",
    "search": "api",
    "tables": "space.tabular",
    "training_options": "estimators.factory",
}

# Modules of version 0.1 by the paths that others' files still name: pickled models, blocks and
# estimators of users, data YAMLs with a `download:`, and the hook of an editable install.
_MOVED = {
    "cost.analytic": "cost.counts",
    "data.phantoms": "data.builtin.phantoms",
    "data.recipes": "data.builtin.downloads",
    "data.synthetic": "data.builtin.cells",
    "host.plugins": "host.plugin.modules",
    "host.startup": "host.plugin.startup",
    "space.architecture": "network.architecture",
    "space.blocks": "network.blocks",
}


class _Moved:
    """Finds a module by its old path: asked last, and it loads the module of today."""

    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """Return a spec of a module that has moved, or None."""
        package, _, old = name.partition(".")
        return ModuleSpec(name, _Moved) if package == __name__ and old in _MOVED else None  # type: ignore[arg-type]

    @staticmethod
    def create_module(spec: ModuleSpec) -> None:
        """Leave it to the import system, whose module is replaced at once."""

    @staticmethod
    def exec_module(module: ModuleType) -> None:
        """Put the module of today in the place of the old name."""
        old = module.__name__.partition(".")[2]
        sys.modules[module.__name__] = import_module(f"{__name__}.{_MOVED[old]}")


if _Moved not in sys.meta_path:
    sys.meta_path.append(_Moved)


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
