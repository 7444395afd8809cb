"""The models of a comparison: their definitions, names, costs, and what their searches took."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from yolo_nas_ext import run_dir
from yolo_nas_ext.config.compare import CompareSettings
from yolo_nas_ext.errors import NASError, TrialError
from yolo_nas_ext.host import models as ultralytics
from yolo_nas_ext.host.dataset import DataSet
from yolo_nas_ext.study.leaderboard import Model
from yolo_nas_ext.study.storage import recorded_seconds

SUFFIXES = (".yaml", ".yml")


def named(config: CompareSettings) -> list[Model]:
    """Return the models that ``models=`` and ``baseline=`` name, without their costs.

    Baselines are those that ``baseline=`` names, else Ultralytics' own among the models, else the
    last model.

    Raises:
        NASError: For what is no model definition, or two models of one name.
    """
    given = list(dict.fromkeys((*config.models, *config.baseline)))
    of_ultralytics = [path for path in given if not Path(path).is_file()]
    baselines = config.baseline or of_ultralytics or given[-1:]
    return [
        Model(
            name,
            definition=read(path, config.task, "models" if path in config.models else "baseline"),
            baseline=path in baselines,
            search_seconds=searched(Path(path)),
        )
        for path, name in zip(given, labels(given), strict=True)
    ]


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
    try:
        found = ultralytics.scaled(*ultralytics.definition(name, task, key))
    except (OSError, ValueError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())[:200]
        raise NASError(f"{key}={name}: not a model definition ({reason})") from error
    if not isinstance(found.get("backbone"), list) or not isinstance(found.get("head"), list):
        raise NASError(f"{key}={name}: not a model definition; it needs backbone and head")
    return found


def labels(given: Sequence[str]) -> list[str]:
    """Return what models are called: their file's stem, with the folder where stems are alike.

    Raises:
        NASError: For models of the same file name in folders of the same name.
    """
    stems = Counter(Path(name).stem for name in given)
    result = []
    for name in given:
        path = Path(name)
        result.append(path.stem if stems[path.stem] == 1 else f"{path.parent.name}/{path.stem}")
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
        )
    except TrialError as error:
        raise NASError(
            f"models={model.name}: cannot be built ({error}); check its rows, and that its plugin "
            "is installed"
        ) from error
    return replace(model, params=params, flops=flops or None)
