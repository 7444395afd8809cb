"""The whole job of `yolo nas-search`: from keys to a run folder with a model in it."""

from __future__ import annotations

import math
import os
import random
import shlex
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout

from yolo_nas_ext import __version__, executors, inner, parents, report
from yolo_nas_ext.config import MAY_CHANGE, Config, configure, defaults
from yolo_nas_ext.control import difference
from yolo_nas_ext.cost.budget import Budget
from yolo_nas_ext.data import augment
from yolo_nas_ext.errors import NASError, RunError
from yolo_nas_ext.estimators import TRAININGS
from yolo_nas_ext.estimators import make as make_estimator
from yolo_nas_ext.estimators.scores import localisation
from yolo_nas_ext.estimators.screens import parse as parse_screen
from yolo_nas_ext.estimators.screens import ranker
from yolo_nas_ext.estimators.training import usual_threads
from yolo_nas_ext.host import dataset, keys, models
from yolo_nas_ext.objectives import Goal
from yolo_nas_ext.progress import Progress
from yolo_nas_ext.pruning import Pruning
from yolo_nas_ext.repeats import repeat
from yolo_nas_ext.shared import SharedStudy
from yolo_nas_ext.space.choices import Point
from yolo_nas_ext.space.detector import DetectorSpace
from yolo_nas_ext.space.emit import TASKS, read, to_yaml
from yolo_nas_ext.strategies import Strategy
from yolo_nas_ext.strategies import make as make_strategy
from yolo_nas_ext.strategies.auto import Auto
from yolo_nas_ext.strategies.screened import Screened
from yolo_nas_ext.study import Study, Trial

Report = Callable[[int, float], None]
LIMITS = ("max_params", "max_flops", "max_memory", "max_layers")


@dataclass
class Job:
    """A search with all it needs, and its folder.

    Attributes:
        config: Its settings.
        folder: The run folder.
        study: The record.
        data: The data set.
        budget: What a candidate may cost.
        interrupted: Whether Ctrl-C ended it.
        notes: What the user should know: skipped images, baselines left out.
    """

    config: Config
    folder: Path
    study: Study
    data: dataset.DataSet
    budget: Budget
    interrupted: bool = False
    notes: list[str] = field(default_factory=list)


def search(given: Mapping[str, Any], run: Callable[..., bool]) -> Job:
    """Run, or resume, a search and write its results.

    Args:
        given: Keys and raw values, as on the command line.
        run: The loop, `loop.run`.

    Returns:
        The finished or interrupted job.

    Raises:
        NASError: For bad input; nothing is written then.
    """
    config, folder = _settings(given)
    data = dataset.read(config.data, config.task)
    limits = {name: config.values[name] for name in LIMITS if config.values[name] is not None}
    budget = Budget(limits, data.nc, config.imgsz, data.channels, config.task, data.keypoints)
    space = DetectorSpace.load(config.space, config.task).within(budget)
    goal = Goal(config.objectives, config.limits)
    if config.screen and not inner.applies(config):
        screen = parse_screen(config.screen)
        rank = ranker(screen, config, data)
        preferred = space.preferring(
            lambda points: rank([space.architecture(p) for p in points]), screen.draws
        )
        strategy = Screened(_strategy(config.strategy, config, preferred, budget, goal), space)
    elif config.screen:
        raise NASError(
            f"screen={config.screen}: estimator={config.estimator} is searched as a whole; leave "
            "screen out, or give another estimator or strategy"
        )
    else:
        strategy = _strategy(config.strategy, config, space, budget, goal)
    estimator = make_estimator(config, data)
    _check_parallel(config)
    Pruning(config.pruner)  # says what is allowed, before anything is written
    seeds, notes = _baselines(config, space, budget)
    space.sample(random.Random(config.seed))  # says which limit binds if none fits
    notes = [*data.skipped, *notes]
    folder = folder or _claim(config)
    with _locked(folder):
        if inner.applies(config):  # run again from its seed, which is as good as resuming it
            (folder / "study.db").unlink(missing_ok=True)
        if config.storage:
            study = SharedStudy(space, config.storage, goal, name=config.name)
        else:
            study = Study(space, folder / "study.db", goal)
        warm = config.inherit == parents.PARENT
        notes += parents.notes(study, folder) if warm else []
        job = Job(config, folder, study, data, budget, notes=notes)
        _announce(job)
        if isinstance(strategy, Auto):
            print(f"auto: {strategy.name}, as {strategy.reason}")
        if config.augment:
            augment.sheet(data.images[:4], config.augment, folder / "augment.png", seed=config.seed)
        estimator.images = folder / "images"
        hours = config.budget_hours or math.inf
        progress = Progress(study, config.trials, hours)

        def on_trial(trial: Trial) -> None:
            if trial.state != "running" and not warm:
                _keep_best_weights(folder, study)
            progress(trial)

        estimate = Judge(estimator, folder, study if warm else None)

        try:
            if inner.applies(config):
                job.interrupted = inner.run(config, space, budget, study, folder, baselines=seeds)
            else:

                def spend(study: Study, strategy: Strategy, seed: int, **options: Any) -> None:
                    run(
                        study, strategy, estimate, trials=config.trials, seed=seed,
                        hours=hours, fidelity=estimator.fidelity, pruner=config.pruner,
                        cost_of=budget.record, executor=_executor(config, estimate), **options,
                    )  # fmt: skip

                spend(study, strategy, config.seed, seeds=seeds, on_trial=on_trial)
                if config.control:
                    rival = Study(space, folder / "control.db", goal)
                    chance = _strategy(config.control, config, space, budget, goal)
                    watch = Progress(rival, config.trials, hours)
                    spend(rival, chance, config.seed + 1, on_trial=watch)  # draws of its own
                    job.notes.append(difference(study, rival, config.control))
                    print(f"\ncontrol: {job.notes[-1]}")
            if warm:
                print(f"{parents.disk_use(folder)}; all but the best's are deleted")
            elif estimator.seeded:
                repeat(
                    study, lambda trial, seed: estimate(trial, seed=seed), n=config.confirm,
                    seed=config.seed, on_repeat=progress.again,
                )  # fmt: skip
            _keep_best_weights(folder, study)
        except KeyboardInterrupt:
            job.interrupted = True
        finally:
            shutil.rmtree(folder / "images", ignore_errors=True)
        try:
            _finish(job)
        except OSError as error:
            raise RunError(
                f"{folder}: results cannot be written ({error.strerror}); check that the disk has "
                f"room, then resume={folder}: every trial is recorded"
            ) from error
    return job


def _ignore(epoch: int, value: float) -> None:
    """Take no notice of a learning curve."""


@dataclass(frozen=True)
class Judge:
    """Judges a trial of a run; copied to other processes, data included.

    Attributes:
        estimator: How.
        folder: The run folder, where weights go.
        study: The record, where weights are taken from parents.
    """

    estimator: Any
    folder: Path
    study: Study | None = None

    def __call__(
        self, trial: Trial, report: Report = _ignore, **other: float
    ) -> Mapping[str, float]:
        """Return the metrics of the trial's network; `other` fidelity replaces the trial's."""
        weights = parents.weights_of(self.folder, trial)
        parent = parents.nearest(trial, self.study, self.folder) if self.study else None
        start = {"inherit": parent} if parent else {}

        def on_epoch(epoch: int, metrics: Mapping[str, float]) -> None:
            report(epoch, localisation(metrics))

        return self.estimator.estimate(
            trial.network, {**trial.fidelity, **other}, on_epoch, weights=weights, **start
        )


def _strategy(
    name: str, config: Config, space: DetectorSpace, budget: Budget, goal: Goal
) -> Strategy:
    """Return the strategy of that name; models learn from the costs of a network too."""

    def features(point: Point) -> list[float]:
        return [math.log(max(c, 1.0)) for c in budget.record(space.architecture(point)).values()]

    options = {"population": config.population} if name == "evolution" else {}
    return make_strategy(name, space, goal=goal, trials=config.trials, features=features, **options)


def _check_parallel(config: Config) -> None:
    """Refuse what cannot go together, before anything is written."""
    executors.check(config.executor)
    apart = config.executor != "local" or config.jobs > 1
    if config.inherit == parents.PARENT and (apart or config.storage):
        raise NASError(
            f"inherit={config.inherit}: parents are looked up in this process; leave out jobs, "
            "executor and storage, or inherit"
        )
    if config.executor == "ray" and config.pruner != "none":
        raise NASError(
            f"pruner={config.pruner}: not with executor=ray, whose tasks report at their end; use "
            "jobs=2 on one machine, or pruner=none"
        )
    if config.control and config.storage:
        raise NASError("control: not with storage, as one budget is compared with another")


def _executor(config: Config, estimate: Judge) -> executors.Executor:
    """Return what judges the trials; workers of this machine share its cores."""
    if config.executor == "ray":
        return executors.make(
            "ray", estimate, config.jobs if "jobs" in config.given else 0,
            address=config.ray_address, cpus=config.cpus_per_trial, gpus=config.gpus_per_trial,
        )  # fmt: skip
    return executors.make(config.executor, estimate, config.jobs)


# Before


def _settings(given: Mapping[str, Any]) -> tuple[Config, Path | None]:
    """Return the settings, and the folder of a run to resume."""
    config = configure(given, keys.TRAINING, keys.REFUSED)
    if config.task not in TASKS:
        raise NASError(f"task={config.task}: not supported yet; allowed: {', '.join(TASKS)}")
    keys.check(config.host)
    if config.resume is None:
        shared = config.threads or usual_threads(config.jobs)
        return replace(config, values={**config.values, "threads": shared}), None
    folder = Path(config.resume)
    file = folder / "args.yaml"
    try:
        saved = yaml.safe_load(file.read_text(encoding="utf-8")) if file.is_file() else None
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise NASError(
            f"resume={config.resume}: {file} is damaged ({' '.join(str(error).split())}); put back "
            "the settings that the run was started with"
        ) from error
    if not isinstance(saved, dict):
        raise NASError(
            f"resume={config.resume}: not the folder of a run (no args.yaml in it); give the "
            "folder that `yolo nas-search` named, for example runs/nas/search"
        )
    saved.pop("version", None)
    before = configure(saved, keys.TRAINING, keys.REFUSED)
    for name in config.given - {*MAY_CHANGE, "name", "project"}:
        now, then = ({**c.values, **c.host}.get(name) for c in (config, before))
        if now != then:
            raise NASError(
                f"{name}={now}: the run in {folder} has {name}={then}; leave it out to resume, or "
                f"start a new run. Only {', '.join(MAY_CHANGE[:-1])} may change"
            )
    changed = {name: given[name] for name in given if name in MAY_CHANGE}
    return configure({**saved, **changed}, keys.TRAINING, keys.REFUSED), folder


def _baselines(
    config: Config, space: DetectorSpace, budget: Budget
) -> tuple[list[Trial], list[str]]:
    """Return the hand-made networks to try first, and what to say of those that are left out."""
    seeds, notes = [], []
    for name in dict.fromkeys(config.baseline):
        definition, scale = models.definition(name, config.task)
        try:
            architecture = read(definition, scale)
        except NASError as error:
            raise NASError(
                f"baseline={name}: cannot be read ({str(error).removeprefix('model definition: ')}"
                "); leave it out, or give one of the kind of yolov8n, yolo11n or yolo26n"
            ) from error
        over = [
            f"{budget.say(limit, value)} > {limit}={budget.say(limit, bound)}"
            for limit, (value, bound) in budget.values(architecture).items()
            if value > bound
        ]
        stem = Path(name).stem
        if over:
            notes.append(f"baseline {stem} is over the budget and not trained: {', '.join(over)}")
            continue
        try:
            point = space.point_of(architecture)
        except NASError:
            point = None  # measured as a reference, but no parent of candidates
        seeds.append(Trial(len(seeds), point, architecture, name=stem))
    return seeds, notes


def _claim(config: Config) -> Path:
    """Return a new run folder, made for this run alone, with its settings in it."""
    project = Path(config.project)
    saved = {**config.values, **config.host, "version": __version__}
    saved = {n: list(v) if isinstance(v, tuple) else v for n, v in saved.items() if n != "resume"}
    folder = None
    try:
        project.mkdir(parents=True, exist_ok=True)
        folder = _new_folder(config, project)
        _write_text(folder / "args.yaml", yaml.safe_dump(saved, sort_keys=False))
    except OSError as error:
        if folder is not None:  # made on a disk that has no room for a file
            shutil.rmtree(folder, ignore_errors=True)
        raise NASError(
            f"project={config.project}: cannot write there ({error.strerror}); give a folder "
            "that can be written with project="
        ) from error
    return folder


def _new_folder(config: Config, project: Path) -> Path:
    """Make and return the folder of the run's name, or of that with the first free number."""
    number = 1
    while True:
        folder = project / (config.name + (str(number) if number > 1 else ""))
        try:
            folder.mkdir()
            return folder
        except FileExistsError:
            if "name" in config.given:
                raise NASError(
                    f"name={config.name}: {folder} exists; resume={folder} goes on with it, or "
                    "give another name"
                ) from None
        number += 1


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the run folder for this process alone; the lock goes with it, however it ends."""
    lock = FileLock(folder / ".lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise NASError(
            f"{folder}: another search writes here; wait for it or give another name"
        ) from None
    except OSError as error:
        raise NASError(
            f"{folder}: cannot be written ({error.strerror}); copy the run elsewhere"
        ) from error
    try:
        yield
    finally:
        lock.release()


def _announce(job: Job) -> None:
    config, data = job.config, job.data
    print(
        f"searching {config.space} by {config.strategy} on {data.source}: {len(data.images)} "
        f"training images, {data.nc} classes, {_how(config)} at {config.imgsz} px\n"
        f"results go to {job.folder}"
    )
    for note in job.notes:
        print(f"note: {note}")
    if data.skipped:
        total = len(data.images) + len(data.skipped)
        print(f"note: {len(data.skipped)} of {total} training images were skipped")


def _how(config: Config) -> str:
    """Return how fitness is measured, in words."""
    trains = config.estimator in TRAININGS
    return f"{config.epochs} epochs" if trains else f"judged by {config.estimator}"


# During and after


def _keep_best_weights(folder: Path, study: Study) -> None:
    """Delete the weights of every network but the best and those that are being judged."""
    running = [t for t in study.trials if t.state == "running"]
    best = {t.architecture.key for t in (*_best(study), *running) if t.architecture}
    for file in (folder / "weights").glob("*.pt"):
        if file.stem not in best:
            file.unlink(missing_ok=True)


def _best(study: Study) -> list[Trial]:
    try:
        return [study.best]
    except NASError:
        return []


def _finish(job: Job) -> None:
    """Write what a run leaves, and say what it found."""
    folder, config = job.folder, job.config
    _write_front(job)
    if job.study.complete and max(t.fitness for t in job.study.complete) <= 0:
        job.notes.append(
            "every fitness is 0: these trainings are too short to tell networks apart; raise epochs"
        )
        print(f"note: {job.notes[-1]}")
    train = ""
    for trial in _best(job.study):
        model = _write_model(job, folder / "best.yaml", trial)
        _copy_weights(parents.weights_of(folder, trial), folder / "best.pt")
        train = (
            f"yolo {config.task} train model={shlex.quote(str(model))} "
            f"data={shlex.quote(str(_data_yaml(job)))} imgsz={config.imgsz} epochs=100"
            + "".join(f" {k}={v}" for k, v in _augmentation(config).items())
        )
    report.write(
        job.study, folder, title=f"{config.strategy.capitalize()} on {Path(job.data.source).name}",
        settings={**config.values, **config.host}, notes=job.notes, command=_command(config),
        next_command=train, data_name=config.data, protocol=_protocol(job),
        pictures={f"Augmentation: {config.augment}": folder / "augment.png"},
    )  # fmt: skip
    print("\n" + report.summary_table(job.study))
    if job.interrupted:
        if config.inherit == parents.PARENT:
            print(f"\n{parents.disk_use(folder)}")
        print(f"\ninterrupted; go on with:\n  yolo nas-search resume={shlex.quote(str(folder))}")
    if train:
        print(f"\nreport: {folder / 'report.html'}\nnext:\n  {train}")


def _augmentation(config: Config) -> dict[str, Any]:
    """Return the host's keys of the augmentation; its transforms have none on the command line."""
    chosen = augment.preset(config.augment).keys if config.augment else {}
    return {key: config.host.get(key, value) for key, value in chosen.items()}


def _write_front(job: Job) -> None:
    """Write the model definitions of the Pareto front, and delete those that have left it."""
    pareto = job.folder / "pareto"
    pareto.mkdir(exist_ok=True)
    kept = {
        _write_model(job, pareto / f"nas-{trial.network.key}.yaml", trial)
        for trial in job.study.front
    }
    for file in pareto.glob("nas-*.yaml"):
        if file not in kept:
            file.unlink()


def _copy_weights(source: Path, target: Path) -> None:
    """Copy a checkpoint whole or not at all; an estimator that does not train leaves none."""
    if source.is_file():
        temporary = target.with_name(f".{target.name}.tmp")
        shutil.copyfile(source, temporary)
        os.replace(temporary, target)


def _protocol(job: Job) -> dict[str, Any]:
    """Return how fitness was measured, for the report."""
    part, seed = f"{job.config.val_fraction:.0%}", job.config.seed
    first = next(iter(job.study.trials), None)
    trained = f"{part} of the training images, held out by seed {seed}; val is not used"
    return {
        **(first.fidelity if first else {}),
        "initial weights": job.config.inherit or "random",
        "measured on": trained if job.config.estimator in TRAININGS else "the untrained network",
        **{name: version(name) for name in ("ultralytics", "torch")},
    }


def _write_model(job: Job, path: Path, trial: Trial) -> Path:
    cost, data = trial.cost, job.data
    notes = [
        f"{int(cost['params']):,} parameters, {cost['flops'] / 1e9:.3f} GFLOPs at "
        f"{job.config.imgsz} px",
        f"fitness {trial.fitness:.4f}, {_how(job.config)} (trial {trial.number + 1}"
        + (f", {trial.name})" if trial.name else ")"),
    ]
    return _write_text(
        path, to_yaml(trial.network, data.nc, job.config.task, notes, data.keypoints)
    )


def _write_text(path: Path, text: str) -> Path:
    """Write a file whole or not at all."""
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)
    return path


def _data_yaml(job: Job) -> Path:
    """Return the data YAML to train with; of a folder without one, a file written into the run."""
    if job.config.task == "classify":  # the host takes a folder of classes
        return Path(job.data.source)
    if job.data.yaml is not None:
        return Path(job.data.yaml)
    data = job.data.data
    path = job.folder / "data.yaml"
    content: dict[str, Any] = {
        key: str(data[key]) for key in ("path", "train", "val", "test") if data.get(key)
    }
    content["names"] = dict(job.data.names)
    return _write_text(path, yaml.safe_dump(content, sort_keys=False))


def _command(config: Config) -> str:
    """Return the command that repeats the search: every key that is not at its default."""
    everything, usual = {**config.values, **config.host}, defaults()
    parts = []
    for name, value in everything.items():
        if name not in ("resume", "threads") and value != usual.get(name):
            text = (",".join(value) or "none") if isinstance(value, tuple) else str(value)
            if isinstance(value, dict):
                text = ",".join(f"{metric}:{bound:g}" for metric, bound in value.items())
            parts.append(shlex.quote(f"{name}={text}"))
    return " ".join(["yolo nas-search", *parts])
