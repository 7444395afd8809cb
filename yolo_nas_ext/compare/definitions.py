"""`yolo nas-compare` of model definitions: each is trained with the same schedule and seeds."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from yolo_nas_ext import run_dir
from yolo_nas_ext.compare import latency, outputs
from yolo_nas_ext.compare.runner import Contest, Contestant
from yolo_nas_ext.config.compare import MAY_CHANGE, CompareSettings
from yolo_nas_ext.config.fields import usual_threads
from yolo_nas_ext.config.rules import check
from yolo_nas_ext.config.settings import read as read_settings
from yolo_nas_ext.config.settings import repeating
from yolo_nas_ext.cost.latency import runtimes
from yolo_nas_ext.cost.latency.protocol import Protocol
from yolo_nas_ext.errors import NASError, TrialError
from yolo_nas_ext.estimators.factory import training_options
from yolo_nas_ext.estimators.training import UntouchedTraining
from yolo_nas_ext.files import write_text
from yolo_nas_ext.host import arguments, dataset, models
from yolo_nas_ext.report.verdict import sentences
from yolo_nas_ext.study.leaderboard import Entrant
from yolo_nas_ext.study.storage import recorded_seconds

MODELS = (".yaml", ".yml")
DROPPED = ("val_fraction", "estimator")  # keys of folders of earlier versions


def main(given: Mapping[str, Any]) -> int:
    """Train and compare models.

    Returns:
        0; 1 where every training failed; 3 where it was interrupted or pictures were left out.

    Raises:
        NASError: For bad input; nothing is written then.
    """
    config, folder = _settings(given)
    contest = _contest(config)
    if folder is None:
        folder = run_dir.claim(config)
    contest.folder = folder
    with run_dir.locked(folder):
        announce(config, contest, folder)
        write_models(contest)
        interrupted = run(contest, config, repeating(config))
    standings = contest.standings()
    if not standings.ranking and not interrupted:
        return 1
    return 3 if interrupted or contest.training.data.skipped else 0


def run(contest: Contest, config: CompareSettings, again: str) -> bool:
    """Measure latencies, train what is left, write the results each time and say the verdict.

    Args:
        contest: With its folder.
        config: Settings with ``data``, ``imgsz`` and the schedule.
        again: The command that does it again.

    Returns:
        Whether Ctrl-C ended it.
    """
    interrupted = False
    try:
        contest.timed = latency.measure(contest, timing) if (timing := clock(config)) else ""
        outputs.write(contest, config, again)
        contest.run(lambda: outputs.write(contest, config, again))
    except KeyboardInterrupt:
        interrupted = True
    standings = contest.standings()
    print("\n" + outputs.table(standings) + "\n\n" + "\n".join(sentences(standings)))
    print(f"\nreport: {contest.folder / 'comparison.html'}")
    return interrupted


def clock(config: CompareSettings) -> Protocol | None:
    """Return how latency is measured; None with ``runtime=none``.

    Raises:
        NASError: For what a runtime cannot do here.
    """
    if config.runtime is None:
        return None
    on_gpu = config.runtime in ("torch", "tensorrt") and config.device
    protocol = Protocol(
        config.runtime,
        device=str(config.device) if on_gpu else "cpu",
        precision=config.precision,
        imgsz=config.imgsz,
        threads=config.latency_threads,
    )
    runtimes.check(protocol)
    return protocol


def contestants(
    definitions: Mapping[str, Mapping[str, Any]],
    data: dataset.DataSet,
    imgsz: int,
    baselines: Sequence[str],
    found: Mapping[str, float],
) -> list[Contestant]:
    """Return the models of a contest with their costs.

    Args:
        definitions: Model definitions by name.
        data: The data set, for the number of classes.
        imgsz: Image size in pixels, of definitions that name none.
        baselines: Names of those that the others are compared with.
        found: Seconds of the search by the name of a model that was searched for.

    Raises:
        NASError: For a model that cannot be built.
    """
    result = []
    for name, definition in definitions.items():
        size = int(definition.get("imgsz") or imgsz)
        try:
            params, flops = models.costs(
                definition,
                nc=data.nc,
                channels=data.channels,
                imgsz=size,
                task=data.task,
                keypoints=data.keypoints,
            )
        except TrialError as error:
            raise NASError(
                f"models={name}: cannot be built ({error}); check its rows, and that its plugin "
                "is installed"
            ) from error
        entrant = Entrant(name, name in baselines, params, flops or None, None, found.get(name))
        result.append(Contestant(entrant, definition))
    return result


def schedule(config: CompareSettings) -> dict[str, Any]:
    """Return what decides the outcome of a training, besides model, data and seed."""
    names = ("task", "epochs", "imgsz", "batch", "augment", "fitness", "inherit", "device")
    return {**{name: config.values[name] for name in names}, "host": dict(config.host)}


def _settings(given: Mapping[str, Any]) -> tuple[CompareSettings, Path | None]:
    """Return the settings, and the folder of a comparison to go on with."""
    found = run_dir.resumed(given, configured, MAY_CHANGE, noun="comparison", dropped=DROPPED)
    if found[1] and not found[0].models:
        raise NASError(f"resume={found[1]}: is not of nas-compare; give the folder that it named")
    return found


def configured(given: Mapping[str, Any]) -> CompareSettings:
    """Return the settings of a comparison from what the user gave.

    Raises:
        NASError: For an unknown key, a bad value, or a key that is missing.
    """
    settings = read_settings(CompareSettings, given, arguments.TRAINING, arguments.REFUSED)
    check(settings)
    arguments.check(settings.host)
    return replace(
        settings,
        threads=settings.threads or usual_threads(),
        fitness="host" if settings.fitness == "auto" else settings.fitness,
    )


def _contest(config: CompareSettings) -> Contest:
    """Return the contest without its folder, everything checked."""
    clock(config)
    train = dataset.read(config.data, config.task)
    measured = dataset.read(config.data, config.task, part=config.part)
    definitions, baselines, found = _models(config)
    training = UntouchedTraining(train, measured, **training_options(config))
    entered = contestants(definitions, train, config.imgsz, baselines, found)
    hand = all(_of_host(name) for name in (config.baseline or baselines))
    return Contest(
        training,
        entered,
        range(config.seed, config.seed + config.seeds),
        Path(),
        schedule=schedule(config),
        part=config.part,
        noun="hand-made model" if hand else "baseline",
    )


def _models(
    config: CompareSettings,
) -> tuple[dict[str, Mapping[str, Any]], list[str], dict[str, float]]:
    """Return definitions by name, the names of the baselines, and what searches took.

    Baselines are those that ``baseline=`` names, else the host's own among the models, else the
    last model.
    """
    given = list(dict.fromkeys((*config.models, *config.baseline)))
    names = labels(given)
    definitions, found = {}, {}
    for path, name in zip(given, names, strict=True):
        key = "models" if path in config.models else "baseline"
        definitions[name] = read(path, config.task, key)
        if (seconds := searched(Path(path))) is not None:
            found[name] = seconds
    own = [n for p, n in zip(given, names, strict=True) if _of_host(p)]
    named = [n for p, n in zip(given, names, strict=True) if p in config.baseline]
    return definitions, named or own or names[-1:], found


def read(name: str, task: str, key: str) -> dict[str, Any]:
    """Return a model definition by the name of a host's model or the path of a YAML.

    Raises:
        NASError: Where there is none.
    """
    path = Path(name)
    if path.suffix in MODELS and not path.is_file() and path.parent != Path("."):
        raise NASError(f"{key}={name}: no such file; give a model definition, or a name as yolo11n")
    try:
        found = models.scaled(*models.definition(name, task, key))
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
            return cost(folder)
    return None


def cost(folder: Path) -> float:
    """Return the seconds of the search in a run folder.

    That is the time of all its trials, or that of its sittings where it is more: some of the work,
    such as DARTS' training, is of no trial, and a sitting that was killed is not counted.

    Raises:
        NASError: For a record that cannot be read.
    """
    return max(recorded_seconds(folder / "study.db"), run_dir.spent(folder))


def _of_host(name: str) -> bool:
    return not Path(name).is_file()


def announce(config: CompareSettings, contest: Contest, folder: Path) -> None:
    """Say what is going to be trained; ``resume=folder`` goes on with it."""
    names = ", ".join(contestant.entrant.name for contestant in contest.contestants)
    train, measured = contest.training.split
    print(
        f"comparing {names} on {config.data}: {len(contest.turns)} trainings of {config.epochs} "
        f"epochs at {config.imgsz} px on {len(train)} images, measured on the {len(measured)} of "
        f"{contest.part}\nresults go to {contest.folder}; after a stop go on with "
        f"resume={shlex.quote(str(folder))}"
    )
    for line in contest.training.data.skipped:
        print(f"note: {line}")


def write_models(contest: Contest) -> None:
    """Keep the model definitions as they were trained."""
    for contestant in contest.contestants:
        name = contest.weights(contestant.entrant.name).stem
        text = yaml.safe_dump(dict(contestant.definition), sort_keys=False)
        (contest.folder / "models").mkdir(exist_ok=True)
        write_text(contest.folder / "models" / f"{name}.yaml", text)
