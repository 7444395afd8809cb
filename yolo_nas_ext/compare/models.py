"""The models of a comparison: their definitions, names, costs, and what their searches took."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from yolo_nas_ext import run_dir
from yolo_nas_ext.compare import recipes
from yolo_nas_ext.config.compare import CompareSettings
from yolo_nas_ext.errors import NASError, TrialError
from yolo_nas_ext.host import models as ultralytics
from yolo_nas_ext.host.dataset import DataSet
from yolo_nas_ext.host.transfer import parents
from yolo_nas_ext.host.transfer.parents import Parent
from yolo_nas_ext.study.leaderboard import Model
from yolo_nas_ext.study.storage import recorded_seconds

SUFFIXES = (".yaml", ".yml")


def named(config: CompareSettings) -> list[Model]:
    """Return the models that ``models=`` and ``baseline=`` name, without their costs.

    A ``.pt`` starts from itself, a definition from ``inherit=`` if that is given. Baselines are
    those that ``baseline=`` names, else Ultralytics' own among the models, else the last model.

    Raises:
        NASError: For what is no model, or two models of one name.
    """
    given = list(dict.fromkeys((*config.models, *config.baseline)))
    of_ultralytics = [path for path in given if not Path(path).is_file()]
    baselines = config.baseline or of_ultralytics or given[-1:]
    return [
        _model(path, name, config, path in baselines)
        for path, name in zip(given, labels(given), strict=True)
    ]


def _model(given: str, name: str, config: CompareSettings, baseline: bool) -> Model:
    """Return a model by the path or name that was given."""
    key = "models" if given in config.models else "baseline"
    more: dict[str, Any] = {"baseline": baseline, "search_seconds": searched(Path(given))}
    if given.endswith(parents.SUFFIX):
        own = parents.load(given, key)
        if own.task != config.task:
            raise NASError(
                f"{key}={given}: is of task={own.task}, not {config.task}; give task={own.task}"
            )
        return Model(name, definition=own.yaml, **started(own, config.recipe), **more)
    found = read(given, config.task, key)
    if config.inherit:
        more |= started(parents.load(config.inherit, "inherit"), config.recipe)
    return Model(name, definition=found, **more)


def started(parent: Parent, recipe: str = recipes.OURS) -> dict[str, Any]:
    """Return what a model has that starts from a checkpoint."""
    return {"weights": str(parent.path), "recipe": recipe, "digest": parent.digest}


def read(name: str, task: str, key: str) -> dict[str, Any]:
    """Return a model definition by the name of a model of Ultralytics or the path of a YAML.

    Args:
        name: The name or path.
        task: Ultralytics' task.
        key: The user's key that names it, for messages.

    Raises:
        NASError: Where there is none.
    """
    path = Path(name)
    if path.suffix in SUFFIXES and not path.is_file() and path.parent != Path("."):
        raise NASError(f"{key}={name}: no such file; give a model definition, or a name as yolo11n")
    found = ultralytics.scaled(*ultralytics.definition(name, task, key))
    if not isinstance(found.get("backbone"), list) or not isinstance(found.get("head"), list):
        raise NASError(f"{key}={name}: not a model definition; it needs backbone and head")
    return found


def labels(given: Sequence[str]) -> list[str]:
    """Return what models are called: their file's stem, with the folder where stems are alike.

    Where their folders are alike too, the whole name of the file says which is which.

    Raises:
        NASError: For models of the same file name in folders of the same name.
    """
    paths = [Path(name) for name in given]
    stems = Counter(path.stem for path in paths)
    longer = Counter((path.parent.name, path.stem) for path in paths)
    names = Counter((path.parent.name, path.name) for path in paths)
    result = []
    for path in paths:
        folder = path.parent.name
        if stems[path.stem] == 1:
            result.append(path.stem)
        elif longer[folder, path.stem] > names[folder, path.name]:  # another suffix tells
            result.append(path.name)
        else:
            result.append(f"{folder}/{path.stem}")
    twice = [label for label, n in Counter(result).items() if n > 1]
    if twice:
        raise NASError(f"models: {twice[0]} is the name of two of them; rename one's file")
    return result


def searched(path: Path) -> float | None:
    """Return the seconds of the search whose run folder a model is in; None where there is none."""
    for folder in (path.parent, path.parent.parent):
        if (folder / "study.db").is_file() and (folder / "args.yaml").is_file():
            return search_seconds(folder)
    return None


def search_seconds(folder: Path) -> float:
    """Return the seconds of the search in a run folder.

    That is the time of all its trials, or that of its sittings where it is more: some of the work,
    such as DARTS' training, is of no trial, and a sitting that was killed is not counted.

    Raises:
        NASError: For a record that cannot be read.
    """
    return max(recorded_seconds(folder / "study.db"), run_dir.spent(folder))


def loaded(model: Model) -> Any:
    """Return the model that Ultralytics loads weights of, by which it may change the network.

    It keeps the width of the parent's class branch. None where it loads nothing.
    """
    stock = model.recipe == recipes.STOCK and model.weights
    return parents.load(model.weights).source.model if stock else None


def costed(model: Model, data: DataSet, imgsz: int) -> Model:
    """Return a model with its parameters and FLOPs.

    Args:
        model: With its definition.
        data: The data set, for the number of classes.
        imgsz: Image size in pixels, of a definition that names none.

    Raises:
        NASError: For a model that cannot be built.
    """
    try:
        params, flops = ultralytics.costs(
            model.definition,
            nc=data.nc,
            channels=data.channels,
            imgsz=model.imgsz or imgsz,
            task=data.task,
            keypoints=data.keypoints,
            loaded=loaded(model),
        )
    except TrialError as error:
        raise NASError(
            f"models={model.name}: cannot be built ({error}); check its rows, and that its plugin "
            "is installed"
        ) from error
    return replace(model, params=params, flops=flops or None)
