"""What a search can find, said before it: the parent is trained twice, and the rest follows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from yolo_nas_ext.compare.comparison import Comparison
from yolo_nas_ext.config.search import SearchSettings
from yolo_nas_ext.console import number
from yolo_nas_ext.estimators import twice
from yolo_nas_ext.estimators.training import Training
from yolo_nas_ext.host.transfer.parents import Parent
from yolo_nas_ext.pipeline.baselines import Begin, First

LEAST = 12  # trials, of which one training more is a small part
COARSE = 0.02  # of mAP50-95: a gain that users would be glad of
ADVICE = ". folds=3, seeds=3 in the finals, or a larger val_fraction tell more apart"


def measured(first: First, config: SearchSettings, estimator: Any, parent: Parent | None) -> First:
    """Return what is tried first, with the parent trained twice where that tells the noise."""
    if not config.noise or parent is None or parent.unread or config.trials < LEAST:
        return first
    if not isinstance(estimator, Training) or config.task not in twice.TASKS:
        return first
    if estimator.settings.measure is not None or estimator.projects:
        return first
    begins = {**first.begins, parent.name: Begin(estimator=twice.Twice(estimator))}
    return replace(first, begins=begins)


def line(
    folder: Path, parent: str, metric: str, training: Any, finals: Comparison | None = None
) -> str:
    """Return what a search can find, in words; nothing where that was not measured.

    Args:
        folder: The run folder.
        parent: Name of what was trained twice.
        metric: What is measured, in words.
        training: How candidates are evaluated.
        finals: The final comparison that was asked for.

    Raises:
        NASError: For a damaged file of the run.
    """
    found = twice.read(folder)
    if found is None or not any(found.values) or not isinstance(training, Training):
        return ""  # trainings too short to find anything are said to be so
    if not (least := found.least()):
        return ""
    objects, groups = _objects(training), training.data.groups
    said = (
        f"{len(training.split[1])} images with {objects} objects are held out. Two trainings of "
        f"{parent} have {number(found.values[0])} and {number(found.values[1])} there, so that "
        f"between two candidates differences below {number(least)} {metric} are noise"
    )
    if groups and len({groups[index] for index in training.split[1]}) == 1:
        said += ". All are of one patient or group: between several there is more noise"
    if finals is not None:
        seeds, measured_on = finals.config.seeds, finals.training.split[1]
        share = max(_objects(finals.training), 1) / max(objects, 1)
        said += (
            f". The finals, {seeds} training{'s' * (seeds > 1)} a model on {len(measured_on)} "
            f"images, see {number(found.least(share=share, trainings=seeds))}"
        )
    return said + ADVICE * (least > COARSE)


def _objects(training: Training) -> int:
    return sum(len(training.data.labels[index]["cls"]) for index in training.split[1])
