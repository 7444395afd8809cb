"""What experiments are tracked by: MLflow, TensorBoard, Weights & Biases, ClearML, Comet.

A tracker is one file with one class, and one entry below. Each is told by values and knows nothing
of searches: `pipeline.tracking` tells it. It may import nothing of the package.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

from yolo_nas_ext.errors import NASError
from yolo_nas_ext.trackers.base import Tracker

# By the name of a key's value and of Ultralytics' setting: the module, and what it needs.
TRACKERS = {
    "mlflow": ("mlflow_runs:MLflow", "mlflow", "mlflow"),
    "tensorboard": ("tensorboard_logs:TensorBoard", "tensorboard", "tensorboard"),
    "wandb": ("wandb_runs:WandB", "wandb", "wandb"),
    "clearml": ("clearml_tasks:ClearML", "clearml", "clearml"),
    "comet": ("comet_experiments:Comet", "comet_ml", "comet-ml"),
}


def installed(name: str) -> bool:
    """Say whether what a tracker needs is installed; nothing of it is loaded."""
    try:
        return find_spec(TRACKERS[name][1]) is not None
    except (ImportError, ValueError):  # a module that something else put in its place
        return False


def make(name: str) -> Tracker:
    """Return the tracker of a name.

    Raises:
        NASError: Where what it needs is not installed, or cannot be loaded.
    """
    where, module, package = TRACKERS[name]
    file, _, kind = where.partition(":")
    try:
        import_module(module)
        return getattr(import_module(f"{__package__}.{file}"), kind)()
    except ImportError as error:
        raise NASError(
            f"tracker={name}: {module} cannot be loaded ({' '.join(str(error).split())[:120]}); "
            f"pip install {package}, or leave tracker={name} out"
        ) from error
