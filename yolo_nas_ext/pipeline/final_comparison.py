"""The final comparison: a search's best networks and the baselines, all trained in full, on val.

A search measures on images held out of train, after short trainings, and it also picks by these
measurements. So the few best are trained again from random weights, on the whole of train with
Ultralytics' complete schedule. They are measured once on the user's own val beside the baselines.
The verdict is what these measurements say, whatever the search thought.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from yolo_nas_ext.compare import latency, models
from yolo_nas_ext.compare.comparison import Comparison
from yolo_nas_ext.compare.run import announce, run, write_definitions
from yolo_nas_ext.config.compare import CompareSettings
from yolo_nas_ext.config.search import SearchSettings
from yolo_nas_ext.estimators.base import Context
from yolo_nas_ext.estimators.factory import training_options
from yolo_nas_ext.estimators.training import UntouchedTraining
from yolo_nas_ext.files import write_text
from yolo_nas_ext.host import dataset
from yolo_nas_ext.network.emit import emit
from yolo_nas_ext.report.summary import label
from yolo_nas_ext.study.leaderboard import Model
from yolo_nas_ext.study.study import Study
from yolo_nas_ext.study.trial import Trial

FOLDER = "finals"
SAME = (
    "data",
    "task",
    "imgsz",
    "seed",
    "seeds",
    "baseline",
    "device",
    "threads",
    "augment",
    "runtime",
    "precision",
)


def prepare(config: SearchSettings, train: dataset.DataSet) -> Comparison | None:
    """Return the final comparison with its baselines alone, everything checked before the search.

    Args:
        config: Settings of the search.
        train: Its data.

    Returns:
        None where ``finalists=0``.

    Raises:
        NASError: For settings, data or baselines that cannot be compared.
    """
    if not config.finalists:
        return None
    settings = CompareSettings(
        **{name: config.values[name] for name in SAME},
        epochs=config.final_epochs,
        batch=config.final_batch,
        fitness=config.fitness if config.fitness in ("froc", "dice") else "host",
        name=FOLDER,
        host=config.host,
    )
    latency.protocol(settings)
    measured = dataset.read(config.data, config.task, part=settings.part)
    baselines = [
        Model(name, definition=models.read(path, config.task, "baseline"), baseline=True)
        for path, name in zip(config.baseline, models.labels(config.baseline), strict=True)
    ]
    options = training_options(settings)
    training = UntouchedTraining(train, measured, **options, teacher=config.teacher)
    costed = tuple(models.costed(model, train, settings.imgsz) for model in baselines)
    return Comparison(settings, training, costed)


def enter(
    comparison: Comparison, study: Study, folder: Path, *, finalists: int, seconds: float
) -> Comparison:
    """Return the final comparison with the found networks and its folder; nothing is written.

    Args:
        comparison: From `prepare`.
        study: The record of the search.
        folder: Its run folder; all goes into ``finals`` there.
        finalists: Number of found networks that take part, at most.
        seconds: What the search took.
    """
    config, data = comparison.config, comparison.training.data
    found = [
        Model(
            label(trial),
            definition=emit(trial.network, data.nc, config.task, data.keypoints),
            trial=trial.number,
            search_seconds=seconds,
        )
        for trial in chosen(study, finalists)
    ]
    entered = replace(
        comparison,
        models=(*(models.costed(m, data, config.imgsz) for m in found), *comparison.models),
        folder=folder / FOLDER,
    )
    files = tuple(str(entered.definition(model.name)) for model in found)
    return replace(entered, config=replace(config, models=files))  # as it would be typed


def hold(comparison: Comparison, folder: Path) -> tuple[Comparison, bool]:
    """Train the finalists and the baselines, as far as that is not recorded, and compare.

    Args:
        comparison: From `enter`.
        folder: The run folder; ``verdict.md`` goes there.

    Returns:
        The comparison with the latencies, and whether Ctrl-C ended it.
    """
    comparison.folder.mkdir(exist_ok=True)
    comparison.training.use_context(Context(comparison.folder))
    found = ", ".join(model.name for model in comparison.models if not model.baseline)
    print(f"\nfinals: {found} from random weights beside the baselines")
    announce(comparison, folder)
    write_definitions(comparison)
    try:
        comparison, interrupted = run(comparison)
    finally:
        shutil.rmtree(comparison.folder / "images", ignore_errors=True)
    said = (comparison.folder / "verdict.md").read_text(encoding="utf-8")
    write_text(folder / "verdict.md", said)
    return comparison, interrupted


def winner(comparison: Comparison, study: Study) -> Trial | None:
    """Return the trial of the best found network; None until all trainings have ended."""
    best = comparison.leaderboard().best_other
    if best is None or not comparison.complete:
        return None
    return next(trial for trial in study.results if trial.number == best.trial)


def chosen(study: Study, most: int) -> list[Trial]:
    """Return the found networks that go into the final comparison.

    They are, in this order and as far as they differ: the best; the best that costs no more than
    the best baseline; the cheapest that is no worse than it; then the front by fitness; then all
    others by fitness. So there is a candidate for each sentence of the verdict.
    """
    everything = _by_fitness([t for t in study.candidates if not t.name and t.architecture])
    inside = {trial.number for trial in study.front}
    on_front = [t for t in everything if t.number in inside]
    confirmed = [t for t in everything if t.trained is not t]  # by a training of its own
    order = sorted(confirmed, key=lambda t: -t.trained.fitness)[:1] or on_front[:1]
    baselines = [t for t in study.complete if t.name and "flops" in t.cost]
    for baseline in _by_fitness(baselines)[:1]:
        cheaper = [t for t in on_front if t.cost.get("flops", 0) <= baseline.cost["flops"]]
        as_good = [t for t in on_front if t.fitness >= baseline.fitness]
        order += cheaper[:1] + sorted(as_good, key=lambda t: t.cost.get("flops", 0))[:1]
    found: dict[str, Trial] = {}
    for trial in (*order, *on_front, *everything):
        found.setdefault(trial.network.key, trial)
    return list(found.values())[:most]


def _by_fitness(trials: Sequence[Trial]) -> list[Trial]:
    return sorted(trials, key=lambda t: (-t.fitness, t.number))
