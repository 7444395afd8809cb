"""`yolo nas-extract`: networks of a trained supernet as stock models with its weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from yolo_nas_ext import files, run_dir
from yolo_nas_ext.config.extract import FRONT, ExtractSettings
from yolo_nas_ext.config.names import metric_name
from yolo_nas_ext.config.rules import check
from yolo_nas_ext.config.search import SearchSettings, configure
from yolo_nas_ext.config.settings import read
from yolo_nas_ext.console import number, say
from yolo_nas_ext.errors import NASError, did_you_mean
from yolo_nas_ext.estimators.base import Context, hand_over
from yolo_nas_ext.estimators.factory import make, space_file, training_options
from yolo_nas_ext.estimators.training import UntouchedFineTuning
from yolo_nas_ext.host import arguments, dataset
from yolo_nas_ext.network.architecture import Architecture
from yolo_nas_ext.network.emit import to_yaml
from yolo_nas_ext.pipeline.outputs import write_weights
from yolo_nas_ext.pipeline.plan import searched_on
from yolo_nas_ext.plugins import load_blocks
from yolo_nas_ext.study.objectives import Goal
from yolo_nas_ext.study.study import Study

COUNTED = {"flops": "max_flops", "params": "max_params"}  # limits on counts, by what they bound
RATE = 0.0003  # of what has been fine-tuned already; the usual one would undo that in few epochs


def main(given: Mapping[str, Any]) -> int:
    """Write the networks of ``nas-extract``; returns the exit code.

    Raises:
        NASError: For bad input.
    """
    settings = read(ExtractSettings, given)
    check(settings)
    folder = Path(settings.run)
    files.refuse_links(folder, "run", follow=settings.follow_links)
    run_dir.allow(folder, settings.given, "run", ("data", "blocks"))
    try:
        config = configure(run_dir.saved(folder, "run"), arguments.TRAINING, arguments.REFUSED)
    except NASError as error:
        raise NASError(f"run={folder}: {str(error).removeprefix(f'run={folder}: ')}") from error
    for name in settings.given & {"data", "blocks"}:
        if settings.values[name] != config.values[name]:
            then = config.values[name]
            raise NASError(f"{name}={settings.values[name]}: the run has {name}={then}; give that")
    if config.estimator != "supernet":
        raise NASError(
            f"run={folder}: searched with estimator={config.estimator}, which shares no weights; "
            "its best network is in best.pt"
        )
    if not (folder / "study.db").is_file():
        raise NASError(
            f"run={folder}: no record in it (study.db); give the folder of a search that has "
            "evaluated networks, without storage="
        )
    load_blocks(config.blocks)
    space = space_file(config)
    study = Study(space, folder / "study.db", Goal(config.objectives, config.limits))
    limits = _limits(settings, config)
    wanted = _within(study, limits, folder) if limits else _wanted(study, settings.key_, folder)
    whole = dataset.read(config.data, config.task, group=config.group)
    data = searched_on(config, whole)
    estimator = make(config, data)
    hand_over(Context(folder), estimator)
    out = Path(settings.out or folder / "pareto")
    name = metric_name(config.task, config.fitness)
    for network in wanted:
        metrics = write_weights(estimator, network, out)
        path = out / f"nas-{network.key}.yaml"
        note = f"{name} {number(metrics['fitness'])} with the supernet's weights"
        if settings.tune:
            tuned = _tuned(config, whole, network, path.with_suffix(".pt"), settings.tune)
            note = f"{name} {number(tuned)} on val after {settings.tune} epochs more"
        text = to_yaml(network, data.nc, config.task, [note], data.keypoints)
        files.write_text(path, text)
        say(f"{path.with_suffix('.pt')}: {note}")
    return 0


def _limits(settings: ExtractSettings, config: SearchSettings) -> dict[str, float]:
    """Return the limits that are given, by the metric or count that they bound.

    Raises:
        NASError: For another number of latencies than the run has devices.
    """
    given = {name: getattr(settings, key) for name, key in COUNTED.items()}
    found = {name: bound for name, bound in given.items() if bound is not None}
    if settings.max_latency is None:
        return found
    names, bounds = config.latencies or ["latency_ms"], settings.max_latency
    if len(names) != len(bounds):
        shown = ",".join(f"{bound:g}" for bound in bounds)
        raise NASError(
            f"max_latency={shown}: the run's latency={config.latency} names {len(names)} "
            f"device{'s' * (len(names) > 1)}; give one limit for each, in the same order"
        )
    return {**dict(zip(names, bounds, strict=True)), **found}


def _within(study: Study, limits: Mapping[str, float], folder: Path) -> list[Architecture]:
    """Return the best network that was evaluated within limits.

    Raises:
        NASError: Where there is none; it names the least there is.
    """
    known = [t for t in study.complete if t.architecture]
    costs = {t.number: {**t.cost, **t.metrics} for t in known}
    for name, bound in limits.items():
        key = f"max_{name}" if name in COUNTED else "max_latency"
        have = [t for t in known if name in costs[t.number]]
        if not have:
            raise NASError(f"{key}={bound:g}: the search in {folder} knows no {name}; leave it out")
        known = [t for t in have if costs[t.number][name] <= bound]
        if not known:
            least = min(costs[t.number][name] for t in have)
            raise NASError(
                f"{key}={bound:g}: no network that the search in {folder} has evaluated is within "
                f"it; the least has {least:g}"
            )
    return [max(known, key=lambda t: (t.fitness, -t.number)).network]


def _tuned(
    config: SearchSettings, data: dataset.DataSet, network: Architecture, file: Path, epochs: int
) -> float:
    """Train an extracted network on, in place, and return its fitness on val."""
    val = dataset.read(config.data, config.task, part="val", group=config.group)
    options = {**training_options(config), "epochs": epochs, "inherit": file}
    options["overrides"] = {"lr0": RATE, **options["overrides"]}
    training = UntouchedFineTuning(data, val, **{**options, "fitness": "host"})
    with files.replacing(file) as temporary:
        return training.estimate(network, weights=temporary)["fitness"]


def _wanted(study: Study, key: str, folder: Path) -> list[Architecture]:
    """Return the networks of the record that are asked for."""
    known = {t.architecture.key: t.architecture for t in study.complete if t.architecture}
    if key == FRONT:
        return [trial.network for trial in study.front]
    names = [name.strip().removeprefix("nas-") for name in key.split(",")]
    for name in names:
        if name not in known:
            raise NASError(
                f"key={name}: no network that the search in {folder} has evaluated."
                f"{did_you_mean(name, known)} Its trials.csv lists them; front is for the best"
            )
    return [known[name] for name in names]
