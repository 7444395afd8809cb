"""How the models of a comparison are trained: by what they start from.

| a model | starts from | is trained by |
|---|---|---|
| a YAML or a name | random weights | Ultralytics' complete schedule |
| a YAML or a name, with ``inherit=`` | that checkpoint, by role and shape | our fine-tuning |
| a ``.pt`` | itself | our fine-tuning, or Ultralytics' with ``recipe=stock`` |
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from yolo_nas_ext.estimators.training import (
    Training,
    UntouchedFineTuning,
    UntouchedStockFineTuning,
    UntouchedTraining,
)
from yolo_nas_ext.host.dataset import DataSet
from yolo_nas_ext.host.transfer import parents
from yolo_nas_ext.study.leaderboard import Model

COMPLETE, OURS, STOCK = "", "ours", "stock"
KINDS: dict[str, type[Training]] = {
    COMPLETE: UntouchedTraining,
    OURS: UntouchedFineTuning,
    STOCK: UntouchedStockFineTuning,
}
SAID = {
    COMPLETE: "Ultralytics' complete one",
    OURS: "the fine-tuning of docs/estimators.md",
    STOCK: "Ultralytics' own fine-tuning",
}
MIXED = (
    "some models start from trained weights and some from random ones, which take many more epochs "
    "to come as far"
)
Trainings = Mapping[tuple[str, str], Training]  # by recipe and checkpoint


def trainings(
    models: Iterable[Model], train: DataSet, measured: DataSet, **options: Any
) -> Trainings:
    """Return the trainings of models that start from weights.

    Args:
        models: The models of a comparison.
        train: What is trained on.
        measured: What is measured on.
        **options: See `estimators.training.Training`; of a ``teacher`` Ultralytics' own fine-tuning
            knows nothing.

    Raises:
        NASError: For a checkpoint that cannot be used.
    """
    found: dict[tuple[str, str], Training] = {}
    for model in models:
        key = model.recipe, model.weights
        if not model.weights or key in found:
            continue
        given: dict[str, Any] = {**options, "inherit": parents.load(model.weights).source}
        if model.recipe == STOCK:
            given.pop("teacher", None)
        kind: Any = KINDS[model.recipe]
        found[key] = kind(train, measured, **given)
    return found


def starts(models: Sequence[Model]) -> str:
    """Return what models start from, in words."""
    return _grouped(
        models, lambda m: Path(m.weights).name if m.weights else "random weights", "from"
    )


def schedules(models: Sequence[Model]) -> str:
    """Return by which schedules models are trained, in words."""
    return _grouped(models, lambda m: SAID[m.recipe], "by")


def mixed(models: Sequence[Model]) -> bool:
    """Say whether models from trained weights stand beside models from random ones."""
    return len({bool(model.weights) for model in models}) > 1


def _grouped(models: Sequence[Model], key: Any, joint: str) -> str:
    names: dict[str, list[str]] = {}
    for model in models:
        names.setdefault(key(model), []).append(model.name)
    if len(names) <= 1:
        return next(iter(names), "")
    return "; ".join(f"{', '.join(each)} {joint} {what}" for what, each in names.items())
