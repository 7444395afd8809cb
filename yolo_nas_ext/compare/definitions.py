"""`yolo nas-compare` of models that are trained first, with the same seeds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from yolo_nas_ext import run_dir
from yolo_nas_ext.compare import latency, models, recipes
from yolo_nas_ext.compare.comparison import Comparison
from yolo_nas_ext.compare.run import announce, run, write_definitions
from yolo_nas_ext.config.compare import MAY_CHANGE, CompareSettings
from yolo_nas_ext.config.fields import usual_threads
from yolo_nas_ext.config.rules import check
from yolo_nas_ext.config.settings import read
from yolo_nas_ext.estimators.factory import training_options
from yolo_nas_ext.estimators.training import PARTS, UntouchedTraining
from yolo_nas_ext.host import arguments, dataset
from yolo_nas_ext.host.transfer import parents

DROPPED = ("val_fraction", "estimator")  # keys of folders of earlier versions


def main(given: Mapping[str, Any]) -> int:
    """Train and compare models.

    Returns:
        0; 1 where every training failed; 3 where it was interrupted or pictures were left out.

    Raises:
        NASError: For bad input; nothing is written then.
    """
    config, folder = settings(given)
    comparison = prepare(config)
    folder = folder or run_dir.claim(config)
    comparison = replace(comparison, folder=folder)
    with run_dir.locked(folder):
        announce(comparison, folder)
        write_definitions(comparison)
        comparison, interrupted = run(comparison)
    if not comparison.leaderboard().ranking and not interrupted:
        return 1
    return 3 if interrupted or comparison.training.data.skipped else 0


def prepare(config: CompareSettings) -> Comparison:
    """Return a comparison without its folder, everything checked.

    Raises:
        NASError: For settings, data or models that cannot be compared.
    """
    latency.protocol(config)
    train = dataset.read(config.data, config.task, group=config.group)
    measured = dataset.read(config.data, config.task, part=config.part, group=config.group)
    named = models.named(config)
    options = {**training_options(config), "parts": PARTS}
    training = UntouchedTraining(train, measured, **options)
    compared = tuple(models.costed(model, train, config.imgsz) for model in named)
    tuned = recipes.trainings(compared, train, measured, **options)
    leak = dataset.overlap(train, measured, config.part)
    return Comparison(config, training, compared, tuned=tuned, leak=leak)


def settings(given: Mapping[str, Any]) -> tuple[CompareSettings, Path | None]:
    """Return the settings, and the folder of a comparison to go on with."""
    return run_dir.resumed(
        given, configured, MAY_CHANGE, noun="comparison", dropped=DROPPED, marker="models"
    )


def configured(given: Mapping[str, Any]) -> CompareSettings:
    """Return the settings of a comparison from what the user gave.

    Raises:
        NASError: For an unknown key, a bad value, or a key that is missing.
    """
    settings = read(CompareSettings, given, arguments.TRAINING, arguments.REFUSED)
    check(settings)
    arguments.check(settings.host)
    weights = [name for name in settings.models if name.endswith(parents.SUFFIX)]
    if weights and "task" not in settings.given:
        settings = replace(settings, task=parents.load(weights[0], "models").task)
    return replace(
        settings,
        threads=settings.threads or usual_threads(settings.at_a_time),
        fitness="host" if settings.fitness == "auto" else settings.fitness,
    )
