"""What a run leaves: its models, their weights, the report, and the next command to type.

| file | written by |
|---|---|
| ``best.yaml``, ``best.pt``, ``best.md`` | `write_best` |
| ``pareto/*.yaml``, ``pareto/*.md`` | `write_front` |
| ``pareto/*.pt``, of a supernet | `write_front_weights` |
| ``report.html``, ``trials.csv``, ``trials.jsonl``, the plots | `write_report` |
| ``data.yaml``, of a data set without one | `data_yaml` |
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from yolo_nas_ext import plugins, report
from yolo_nas_ext.config.search import (
    FROM_WEIGHTS,
    FULL,
    HELD_OUT,
    PARENT,
    TRAININGS,
    SearchSettings,
)
from yolo_nas_ext.config.settings import repeating
from yolo_nas_ext.console import number, quoted, quoted_code, say
from yolo_nas_ext.data import augment
from yolo_nas_ext.estimators.training import SHORT
from yolo_nas_ext.files import replacing, write_text
from yolo_nas_ext.host import models
from yolo_nas_ext.network.architecture import Architecture
from yolo_nas_ext.network.emit import to_yaml
from yolo_nas_ext.network.parse import read
from yolo_nas_ext.pipeline import confirm, model_card, warm_start
from yolo_nas_ext.pipeline.state import Job, best_of
from yolo_nas_ext.report.devices import Device, chosen, lines
from yolo_nas_ext.report.facts import label
from yolo_nas_ext.report.summary import Findings
from yolo_nas_ext.report.verdict import better
from yolo_nas_ext.strategies.additive import Additive, Change
from yolo_nas_ext.study.study import Study
from yolo_nas_ext.study.trial import Trial

BESIDE = "yolo11n"
ALL_ZERO = "every {} is 0: these trainings are too short to tell networks apart; raise epochs"
RANKED = "trials are ranked by {}; it says who comes first, and is no measurement"


def write(job: Job) -> None:
    """Write what a run leaves, each file whole or not at all."""
    write_front(job)
    note_zeros(job)
    write_best(job)
    write_devices(job)
    write_report(job)


# The best network


def write_best(job: Job) -> None:
    """Write ``best.yaml`` with its card, and ``best.pt`` where the best network was trained."""
    if (best := job.best) is None:
        return
    _copy_weights(_weights(job, best), job.folder / "best.pt")
    _write_model(job, job.folder / "best.yaml", best)


def devices(job: Job) -> list[Device]:
    """Return the devices of a search for several."""
    return [Device(t.name, t.limit) for t in job.plan.timings if t.name]


def write_devices(job: Job) -> dict[str, str]:
    """Write the definition of the network for each device, and return the files by device."""
    found: dict[str, str] = {}
    if not (named := devices(job)):
        return found
    folder = job.folder / "devices"
    folder.mkdir(exist_ok=True)
    for device, trial in chosen(Findings(job.study), named).items():
        if trial.architecture is not None:
            path = _write_model(job, folder / f"{device.name}.yaml", trial)
            found[device.name] = str(path)
    return found


def _weights(job: Job, trial: Trial) -> Path:
    """Return the weights of a network: those of the finals where it has won them."""
    if job.finals and _won(job, trial):
        return job.finals.weights(label(trial))
    return warm_start.weights_of(job.folder, trial)


def _won(job: Job, trial: Trial) -> bool:
    winner = job.winner
    return winner is not None and winner.number == trial.number


def _initial_weights(config: SearchSettings) -> str:
    """Return where candidates start from, in words."""
    if config.inherit == PARENT:
        return f"{PARENT}, the first ones {config.model or 'random'}"
    return config.model or config.inherit or "random"


def _write_model(job: Job, path: Path, trial: Trial) -> Path:
    """Write a network's model definition, with what is known of it in the header and in a card."""
    config, data, cost = job.config, job.data, trial.cost
    findings = Findings(job.study)
    shown = next(t for t in findings.trials if t.number == trial.number)
    name = findings.measure.name
    twice = ", mean of two trainings" if "fitness_again" in shown.metrics else ""
    notes = [
        f"{int(cost['params']):,} parameters, {cost['flops'] / 1e9:.3f} GFLOPs at "
        f"{trial.network.imgsz or config.imgsz} px",
        f"{name} {number(shown.fitness)}, {how(config)}{twice} (trial {trial.number + 1}"
        + (f", {trial.name})" if trial.name else ")"),
    ]
    if place := findings.places.get(trial.number):
        notes.append(f"rank {place.rank} of {place.of}, {findings.ranked().removeprefix('rank: ')}")
    if (own := shown.trained) is not shown:
        confirmed = findings.measure.confirmed
        notes.append(f"{confirmed} {number(own.fitness)} {confirm.how(config)}")
    if job.finals and _won(job, trial):
        leaderboard = job.finals.leaderboard()
        mean = leaderboard.mean(label(trial))
        notes.append(
            f"{leaderboard.metric} {number(mean.mean)} on {leaderboard.part}, mean of {mean.n} "
            f"complete trainings of {config.final_epochs} epochs"
            + (f", from {config.model}" if config.model else "")
        )
    weights = path.with_suffix(".pt").is_file()
    write_text(path.with_suffix(".md"), model_card.card(job, trial, path, notes, weights))
    return write_text(path, to_yaml(trial.network, data.nc, config.task, notes, data.keypoints))


def _copy_weights(source: Path, target: Path) -> None:
    """Copy a checkpoint whole or not at all; an estimator that does not train leaves none."""
    if source.is_file():
        with replacing(target) as temporary:
            shutil.copyfile(source, temporary)


# The Pareto front


def write_front(job: Job) -> None:
    """Write the model definitions of the Pareto front, and delete those that have left it."""
    pareto = job.folder / "pareto"
    pareto.mkdir(exist_ok=True)
    kept = {
        _write_model(job, pareto / f"nas-{trial.network.key}.yaml", trial)
        for trial in Findings(job.study).front
    }
    for file in pareto.glob("nas-*.yaml"):
        if file not in kept:
            file.unlink()
            file.with_suffix(".md").unlink(missing_ok=True)


def write_front_weights(estimator: Any, study: Study, folder: Path) -> None:
    """Write the weights of the front of a search beside its model definitions, and no others."""
    out = folder / "pareto"
    kept = {trial.network.key for trial in study.front}
    for file in out.glob("nas-*.pt"):
        if file.stem.removeprefix("nas-") not in kept:
            file.unlink()
    for trial in study.front:
        write_weights(estimator, trial.network, out)


def write_weights(estimator: Any, network: Architecture, out: Path) -> dict[str, float]:
    """Write a network's weights and return its metrics."""
    return dict(estimator.estimate(network, weights=out / f"nas-{network.key}.pt"))


def keep_best_weights(folder: Path, study: Study) -> None:
    """Delete the weights of all but the best network, the parent, and what is being evaluated."""
    kept = [t for t in study.trials if t.state == "running" or (t.name and t.name == study.parent)]
    stems = {warm_start.stem(trial) for trial in (*best_of(study), *kept)}
    for file in (folder / "weights").glob("*.pt"):
        if file.stem not in stems:
            file.unlink(missing_ok=True)


# The report


def write_report(job: Job, *, running: str = "") -> None:
    """Write ``report.html``, the trials as CSV and JSON lines, and the plots.

    Args:
        job: The search.
        running: How far it is, while it runs: the page then reloads itself, and plots, which take
            longer than all else, and the next command wait for the end.
    """
    folder, config, finals = job.folder, job.config, job.finals
    shown: dict[str, Any] = {}
    if finals:
        shown = {"finals": finals.leaderboard(), "finals_protocol": finals.protocol}
        shown["finals_command"] = finals.command
    report.write(
        job.study,
        folder,
        title=f"{_strategy(config)} on {Path(job.data.source).name}",
        settings={**config.values, **config.host},
        notes=job.notes,
        command=repeating(config),
        next_command="" if running else "\n".join(next_commands(job)),
        running=running,
        data_name=config.data,
        protocol=_protocol(job),
        pictures={
            f"Augmentation: {config.augment}": folder / "augment.png",
            "Learned distribution": folder / "learned.png",
        },
        changes=_changes(job),
        devices=devices(job),
        # From a parent its own drawing stands there.
        beside={} if config.model else {BESIDE: read(*models.definition(BESIDE, config.task))},
        **shown,
    )


def _changes(job: Job) -> Sequence[Change]:
    """Return what single changes of the parent cost and give, once they have been scored."""
    changes, strategy = job.plan.changes, job.plan.strategy
    if changes is None or not changes.made or not isinstance(strategy, Additive):
        return ()
    return strategy.table(job.study.trials)


def note_zeros(job: Job) -> None:
    """Say once, on the terminal and in the report, that every measured fitness is 0."""
    measure = job.study.measure
    measured = [measure.restated(t).fitness for t in job.study.complete]
    text = ALL_ZERO.format(measure.name)
    if (
        measured
        and not any(measured)
        and job.config.estimator in HELD_OUT
        and text not in job.notes
    ):
        job.notes.append(text)
        say(f"note: {text}")


def _strategy(config: SearchSettings) -> str:
    """Return what a strategy is called in a heading."""
    own = plugins.named(config.strategy)
    return config.strategy.rpartition(":")[2] if own else config.strategy.capitalize()


def _protocol(job: Job) -> dict[str, Any]:
    """Return how fitness was measured, for the report."""
    part, seed = f"{job.config.val_fraction:.0%}", job.config.seed
    first = next(iter(job.study.trials), None)
    own = plugins.named(job.config.estimator)
    untrained = f"what {job.config.estimator} does" if own else "the untrained network"
    trained = f"{part} of the training images, held out by seed {seed}; val is not used"
    return {
        **(first.fidelity if first else {}),
        "measured": job.study.measure.name,
        **({"ranked by": job.study.measure.rank} if job.study.measure.projects else {}),
        "initial weights": _initial_weights(job.config),
        "measured on": trained if job.config.estimator in HELD_OUT else untrained,
        **({"latency": job.latency} if job.latency else {}),
        **({"energy": job.plan.energy.text} if job.plan.energy else {}),
        **({"trained fitness": confirm.how(job.config)} if job.study.confirmed else {}),
        **{name: version(name) for name in ("ultralytics", "torch")},
    }


def how(config: SearchSettings) -> str:
    """Return how fitness is measured, in words."""
    trains = config.estimator in TRAININGS
    return f"{config.epochs} epochs" if trains else f"evaluated by {config.estimator}"


# Commands


def tell(job: Job) -> None:
    """Say what was found and what to type next."""
    folder = quoted(job.folder)
    if job.finals is None:  # else the table of the search was printed before its finals
        say("\n" + report.summary_table(job.study))
    if of_each := lines(Findings(job.study), devices(job), write_devices(job)):
        say("\n" + "\n".join(of_each))
    if job.interrupted:
        if job.config.inherit == PARENT:
            say(f"\n{warm_start.disk_use(job.folder)}")
        say(f"\ninterrupted; go on with:\n  yolo nas-search resume={folder}")
    if not (following := next_commands(job)):
        return
    say(f"\nreport: {job.folder / 'report.html'}")
    if not (_finished(job) or job.config.finalists or job.config.storage):
        beside = "the parent" if job.config.model else "the baselines"
        say(
            f"to train the best beside {beside}, in full, and compare them on val:\n"
            f"  yolo nas-search resume={folder} finalists={1 if job.config.model else 3}"
        )
    say("next:\n  " + "\n  ".join(following))


def next_commands(job: Job) -> list[str]:
    """Return what to type next: the use of a finished network, or the training that finishes it."""
    config = job.config
    if weights := _finished(job):
        model = f"model={quoted(weights)}"
        data, size = quoted(data_yaml(job)), _pixels(job)
        return [
            f"yolo val {model} data={data} imgsz={size}",
            f"yolo export {model} imgsz={size} format=onnx",
            *([f"yolo nas-predict {model} source=<scans> out=found"] if job.data.scans else []),
        ]
    if job.best is None:
        return []
    # What was found from trained weights is trained on from them.
    file = job.folder / ("best.pt" if config.model else "best.yaml")
    keys = {
        "data": str(data_yaml(job)),
        "imgsz": _pixels(job),
        "epochs": FROM_WEIGHTS["final_epochs"] if config.model else FULL["epochs"],
        **_augmentation(config),
    }
    if config.augment and config.task != "classify":  # whose trainer takes no transforms
        return [_from_python(str(file), keys, config)]
    given = " ".join(f"{k}={quoted(v)}" for k, v in keys.items())
    return [f"yolo {config.task} train model={quoted(file)} {given}"]


def _from_python(model: str, keys: Mapping[str, Any], config: SearchSettings) -> str:
    """Return a training with a preset's transforms, which have no key on the command line."""
    given = ", ".join(f"{name}={value!r}" for name, value in keys.items())
    code = (
        "from ultralytics import YOLO; from yolo_nas_ext.data.augment import preset; "
        f"YOLO({model!r}, task={config.task!r}).train({given}, "
        f"augmentations=preset({config.augment!r}).transforms())"
    )
    return f"python -c {quoted_code(code)}"


def _finished(job: Job) -> Path | None:
    """Return the weights of the network that is finished; None where it is to be trained on.

    Finals finish the answer in ``best.pt``, or of a search from random weights a baseline that is
    better. Networks of a family are finished as they are.
    """
    own = job.folder / "best.pt"
    if job.finals is None and job.config.estimator == "supernet" and job.config.model:
        return own if own.is_file() else None
    if job.finals is None or (best := better(job.finals.leaderboard())) is None:
        return None
    winner = job.winner
    if winner is not None and (job.config.model or label(winner) == best.name):
        return own if own.is_file() else None
    weights = job.finals.weights(best.name)
    return weights if weights.is_file() else None


def _pixels(job: Job) -> int:
    """Return the image size of the best network."""
    own = job.best.architecture.imgsz if job.best and job.best.architecture else 0
    return own or job.config.imgsz


def data_yaml(job: Job) -> Path:
    """Return the data YAML to train with; of a folder without one, a file written into the run."""
    if job.config.task == "classify":  # Ultralytics takes a folder of classes
        return Path(job.data.source)
    if job.data.yaml is not None:
        return Path(job.data.yaml)
    data = job.data.data
    path = job.folder / "data.yaml"
    content: dict[str, Any] = {
        key: str(data[key]) for key in ("path", "train", "val", "test") if data.get(key)
    }
    content["names"] = dict(job.data.names)
    return write_text(path, yaml.safe_dump(content, sort_keys=False))


def _augmentation(config: SearchSettings) -> dict[str, Any]:
    """Return Ultralytics' keys of the augmentation that the search trained with.

    Mosaics are among them, where an augmentation was chosen: the short recipe has none.
    """
    if not config.augment:
        return {}
    chosen = augment.preset(config.augment).keys
    short = config.estimator != "full" and not config.model
    if short or "mosaic" in config.host:
        chosen = {**chosen, "mosaic": SHORT["mosaic"]}
    return {key: config.host.get(key, value) for key, value in chosen.items()}
