"""The final comparison: a search's best networks and the baselines, all trained in full, on val.

A search measures on images held out of train, after short trainings, and it also picks by these
measurements. So the few best are trained again on the whole of train: from random weights with
Ultralytics' complete schedule, or fine-tuned from the weights that the search started from. They
are measured once on the user's own val beside the baselines. The verdict is what these measurements
say, whatever the search thought.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from yolo_nas_ext.compare import latency, models, recipes
from yolo_nas_ext.compare.comparison import Comparison
from yolo_nas_ext.compare.run import announce, run, write_definitions
from yolo_nas_ext.config.compare import CompareSettings
from yolo_nas_ext.config.search import PARENT, SearchSettings
from yolo_nas_ext.console import say
from yolo_nas_ext.estimators.base import Context
from yolo_nas_ext.estimators.factory import parent_network, training_options
from yolo_nas_ext.estimators.training import PARTS, UntouchedTraining
from yolo_nas_ext.files import write_text
from yolo_nas_ext.host import dataset
from yolo_nas_ext.host.bench import Bench
from yolo_nas_ext.host.transfer import parents
from yolo_nas_ext.host.transfer.parents import Parent
from yolo_nas_ext.network.emit import emit
from yolo_nas_ext.pipeline import baselines
from yolo_nas_ext.report.facts import label
from yolo_nas_ext.study import leaderboard as roles
from yolo_nas_ext.study.leaderboard import Evaluation, Model
from yolo_nas_ext.study.study import Study
from yolo_nas_ext.study.trial import Trial

FOLDER = "finals"
STOCK_NAME = " (stock)"  # behind the parent's name where Ultralytics' own recipe trains it
SAME = (
    "data",
    "task",
    "imgsz",
    "seed",
    "seeds",
    "baseline",
    "device",
    "ddp",
    "jobs",
    "threads",
    "cache",
    "augment",
    "group",
    "runtime",
    "precision",
)


def prepare(
    config: SearchSettings,
    train: dataset.DataSet,
    parent: Parent | None = None,
    bench: Bench | None = None,
) -> Comparison | None:
    """Return the final comparison with its baselines alone, everything checked before the search.

    Args:
        config: Settings of the search.
        train: Its data.
        parent: The trained network that it starts from. It takes part by our recipe and by
            Ultralytics' own.
        bench: The command of the user's that measures latency, where that is so.

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
        inherit=config.model,
        name=FOLDER,
        host=config.host,
    )
    latency.protocol(settings)
    measured = dataset.read(config.data, config.task, part=settings.part, group=config.group)
    compared = [*(_parents(config, train, parent) if parent else ()), *_baselines(config, parent)]
    teacher = None if config.teacher == PARENT else config.teacher  # who is to be trained first
    options = {**training_options(settings), "teacher": teacher, "parts": PARTS}
    training = UntouchedTraining(train, measured, **options)
    return Comparison(
        settings,
        training,
        tuple(models.costed(model, train, settings.imgsz) for model in compared),
        tuned=recipes.trainings(compared, train, measured, **options),
        leak=dataset.overlap(train, measured, settings.part),
        bench=bench,
    )


def _parents(config: SearchSettings, train: dataset.DataSet, parent: Parent) -> list[Model]:
    """Return the parent as it takes part: by our recipe and by Ultralytics' own."""
    definition = parent.yaml
    if not parent.unread:
        network = parent_network(config)
        definition = emit(network, train.nc, config.task, train.keypoints)
    return [
        Model(
            parent.name + STOCK_NAME * (recipe == recipes.STOCK),
            definition=definition,
            baseline=True,
            role=role,
            **models.started(parent, recipe),
        )
        for role, recipe in ((roles.PARENT, recipes.OURS), (roles.STOCK, recipes.STOCK))
    ]


def _baselines(config: SearchSettings, parent: Parent | None) -> list[Model]:
    """Return the models of ``baseline=``, called as in the search."""
    found = []
    for each in baselines.named(config, parent):
        if each.counted:
            continue  # which the search has said
        if each.weights:
            own = parents.load(each.given, "baseline")
            more: dict[str, Any] = {"definition": own.yaml, **models.started(own)}
        else:
            more = {"definition": models.read(each.given, config.task, "baseline")}
        found.append(Model(each.name, baseline=True, **more))
    return found


def enter(
    comparison: Comparison,
    study: Study,
    folder: Path,
    *,
    finalists: int,
    seconds: float,
    teacher: Path | None = None,
) -> Comparison:
    """Return the final comparison with the found networks and its folder; nothing is written.

    In a search from trained weights the best pencil takes part, too: what was found has to beat it.

    Args:
        comparison: From `prepare`.
        study: The record of the search.
        folder: Its run folder; all goes into ``finals`` there.
        finalists: Number of found networks that take part, at most.
        seconds: What the search took.
        teacher: The fine-tuned parent, where that teaches.
    """
    config, training = comparison.config, comparison.training
    start = _start(comparison)

    def model(trial: Trial, **more: Any) -> Model:
        data = training.data
        definition = emit(trial.network, data.nc, config.task, data.keypoints)
        entered = Model(
            label(trial), definition=definition, trial=trial.number, **{**start, **more}
        )
        return models.costed(entered, data, config.imgsz)

    found = [model(t, search_seconds=seconds) for t in chosen(study, finalists)]
    best = study.known_pencils[:1]
    pencil = [model(trial, baseline=True, role=roles.PENCIL) for trial in best]
    known = {t.name: t.number for t in study.complete if t.name}
    others = [
        replace(m, trial=known.get(m.name)) if m.role == roles.PARENT else m
        for m in comparison.models
    ]
    entered = replace(comparison, models=(*found, *pencil, *others), folder=folder / FOLDER)
    if teacher is not None:
        entered = _taught(entered, teacher)
    files = tuple(str(entered.definition(model.name)) for model in (*found, *pencil))
    return replace(entered, config=replace(config, models=files))  # as it would be typed


def _start(comparison: Comparison) -> dict[str, Any]:
    """Return what found networks start from: the parent, if there is one that they can take."""
    parent = next((m for m in comparison.models if m.role == roles.PARENT), None)
    if parent is None or parents.load(parent.weights).unread:
        return {}
    return {name: getattr(parent, name) for name in ("weights", "recipe", "digest")}


def _taught(comparison: Comparison, teacher: Path) -> Comparison:
    """Return a comparison in which our recipe has a teacher."""
    digest = hashlib.sha256(teacher.read_bytes()).hexdigest()[:16]
    tuned = {
        key: training.with_teacher(teacher) if key[0] == recipes.OURS else training
        for key, training in comparison.tuned.items()
    }
    return replace(comparison, tuned=tuned, taught=digest)


def hold(
    comparison: Comparison,
    folder: Path,
    on_evaluation: Callable[[Evaluation], None] = lambda _: None,
) -> tuple[Comparison, bool]:
    """Train the finalists and the baselines, as far as that is not recorded, and compare.

    Args:
        comparison: From `enter`.
        folder: The run folder; ``verdict.md`` goes there.
        on_evaluation: Called with a training once it is recorded.

    Returns:
        The comparison with the latencies, and whether Ctrl-C ended it.
    """
    comparison.folder.mkdir(exist_ok=True)
    comparison.use_context(Context(comparison.folder, comparison.config.at_a_time > 1))
    found = ", ".join(model.name for model in comparison.models if not model.baseline)
    parent = next((m for m in comparison.models if m.role == roles.PARENT), None)
    weights = Path(parent.weights).name if parent and _start(comparison) else "random weights"
    beside = f" beside {'the parent' if parent else 'the baselines'}" if found else ""
    say(f"\nfinals: {found or 'the parent'} from {weights}{beside}")
    announce(comparison, folder)
    write_definitions(comparison)
    try:
        comparison, interrupted = run(comparison, on_evaluation)
    finally:
        shutil.rmtree(comparison.folder / "images", ignore_errors=True)
    said = (comparison.folder / "verdict.md").read_text(encoding="utf-8")
    write_text(folder / "verdict.md", said)
    return comparison, interrupted


def winner(comparison: Comparison, study: Study) -> Trial | None:
    """Return the trial of the best network that may be the answer; None until all have trained.

    That is a found one, or of a search from trained weights a pencil or the parent, which has to be
    in the space and to keep the limits.
    """
    if not comparison.complete:
        return None
    answers = {trial.number: trial for trial in (*study.candidates, *study.known_pencils)}
    ranking = comparison.leaderboard().ranking
    return next((answers[m.trial] for m in ranking if m.trial in answers), None)


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
