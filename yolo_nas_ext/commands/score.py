"""`yolo nas-score`: what networks cost and score, without training and without building them."""

from __future__ import annotations

import contextlib
import json
import math
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from yolo_nas_ext.config.rules import check
from yolo_nas_ext.config.score import ScoreSettings
from yolo_nas_ext.config.settings import read as read_settings
from yolo_nas_ext.console import aligned, say, short
from yolo_nas_ext.cost import energy
from yolo_nas_ext.cost.counts import costs
from yolo_nas_ext.cost.latency.command import Command, is_command
from yolo_nas_ext.cost.latency.probe import device_name
from yolo_nas_ext.cost.latency.profile import Profile, load
from yolo_nas_ext.cost.latency.protocol import Measurement, Protocol
from yolo_nas_ext.cost.latency.runtimes import busy_note
from yolo_nas_ext.errors import NASError, TrialError
from yolo_nas_ext.estimators.zero_cost.entropy import SCORES, effectiveness
from yolo_nas_ext.files import read_yaml, text_of
from yolo_nas_ext.network.architecture import Architecture
from yolo_nas_ext.network.emit import emit
from yolo_nas_ext.network.parse import classes_of, read
from yolo_nas_ext.network.rows import KEYPOINTS
from yolo_nas_ext.network.tinynas import structure

COLUMNS = ("params", "flops", "memory", "layers")
JOULES_SECONDS, JOULES_RUNS = 300.0, 3  # of a command of energy


def main(given: Mapping[str, Any]) -> int:
    """Print the table, or the JSON, of ``nas-score``; returns the exit code.

    Raises:
        NASError: For an unknown key, a bad value or a model that cannot be read.
    """
    settings = read_settings(ScoreSettings, given)
    check(settings)
    profile = load(settings.latency) if settings.latency else None
    if profile and settings.nms:
        profile = profile.with_nms(f"latency={settings.latency}")
    protocol = _protocol(settings, profile)
    with contextlib.redirect_stdout(sys.stderr):  # Ultralytics greets when it loads first
        models = _models(settings.model, Path(settings.project))
        own = "imgsz" not in settings.given  # image sizes
        sizes = [(own and model.imgsz) or settings.imgsz for model in models]
        rows = [
            {
                "model": model.name,
                "px": imgsz,
                **_row(model, settings.nc or model.nc, imgsz, profile),
            }
            for model, imgsz in zip(models, sizes, strict=True)
        ]
        measured = _measured(models, protocol, settings.nc, sizes) if settings.measure else []
        joules = _energy(models, protocol, settings, sizes) if settings.energy else []
    for row, latency in zip(rows, measured, strict=False):
        row.update(latency_ms=latency.median_ms, latency_iqr_ms=latency.iqr_ms)
        if settings.json:
            row["latency"] = latency.to_dict()
    for row, mj in zip(rows, joules, strict=False):
        row[energy.METRIC] = mj
    say(_json(rows) if settings.json else table(rows))
    if profile and not settings.json:
        say(
            f"predicted_ms: {profile.device_name}, {protocol.setting}, {profile.runtime_version}; "
            "on its own networks 90 % were within "
            + ", ".join(f"{profile.at(n).error(0.9):.1%} at {n} px" for n in dict.fromkeys(sizes))
        )
    if measured and not settings.json:
        first = measured[0]
        say(
            f"latency: {first.protocol.setting}, {first.runs} runs, {first.runtime_version}, "
            f"{first.device_name}; {first.protocol.processing}"
        )
    if joules and not settings.json:
        by = f"{protocol.setting}; {energy.PROCESSING}"
        say(f"{energy.METRIC}: {settings.energy}" + f"; {by}" * (settings.energy == energy.RAPL))
    return 0


def _protocol(settings: ScoreSettings, profile: Profile | None) -> Protocol:
    """Return how latency is measured: as the profile's was, where one is given.

    Raises:
        NASError: For a profile of something else than what is asked for.
    """
    names = ("runtime", "precision", "threads")
    if profile is None:
        asked = {name: getattr(settings, name) for name in names}
        return Protocol(**asked, imgsz=settings.imgsz, nms=settings.nms)
    for name in names:
        has, asked = getattr(profile.protocol, name), getattr(settings, name)
        if name in settings.given and asked != has:
            raise NASError(
                f"{name}={asked}: the profile {settings.latency} has {name}={has}; "
                f"leave {name} out, or give another profile"
            )
    if profile.protocol.device == "cpu" and profile.device_name != (mine := device_name()):
        say(
            f"WARNING: the profile is of another device, {profile.device_name}; this machine is "
            f"{mine}",
            file=sys.stderr,
        )
    return replace(profile.protocol, imgsz=settings.imgsz, nms=settings.nms)


@dataclass(frozen=True)
class Scored:
    """A model to be scored.

    Attributes:
        name: As it was given.
        network: None for one of another make, which Ultralytics alone can read.
        nc: Number of classes.
        definition: Of one that cannot be read.
        task: What its head does.
        points: Number of keypoints and numbers a point, of the task pose.
        channels: Of its images.
    """

    name: str
    network: Architecture | None
    nc: int
    definition: Mapping[str, Any] | None = None
    task: str = "detect"
    points: tuple[int, int] = KEYPOINTS
    channels: int = 3

    @property
    def imgsz(self) -> int:
        """Its own image size in pixels; 0 without one."""
        return (
            self.network.imgsz
            if self.network
            else own
            if type(own := (self.definition or {}).get("imgsz")) is int
            else 0
        )


def _row(model: Scored, nc: int, imgsz: int, profile: Profile | None) -> dict[str, Any]:
    """Return the costs and scores of a model; of one that cannot be read what can be counted."""
    if model.network is not None:
        of: Any = {"task": model.task, "keypoints": model.points, "channels": model.channels}
        row = score(model.network, nc, imgsz, **of)
        plain = replace(model.network, imgsz=0)  # its own size is its reader's to choose
        predicted = profile.predict(plain, nc, imgsz, **of) if profile else None
        return {**row, **({"predicted_ms": predicted} if profile else {})}
    from yolo_nas_ext.host import models

    assert model.definition is not None
    try:
        params, flops = models.costs(
            model.definition, nc=nc, channels=model.channels, imgsz=imgsz, task=model.task
        )
    except TrialError as error:
        raise NASError(f"model={model.name}: cannot be built ({error}); check its rows") from error
    row = {"key": None, "params": params, "flops": flops, "memory": None, "layers": None}
    row |= dict.fromkeys((*SCORES, "effectiveness"))
    return {**row, **({"predicted_ms": None} if profile else {})}


def _measured(
    models: Sequence[Scored],
    protocol: Protocol,
    nc: int | None,
    sizes: Sequence[int],
) -> list[Measurement]:
    """Return the latency of each model; two of one network are measured apart."""
    from yolo_nas_ext.host.latency import measure_models  # loads torch and Ultralytics

    if busy := busy_note():
        say(f"note: {busy}")
    found: dict[str, Measurement] = {}
    for task, definitions, here in _by_task(models, nc, sizes):
        found |= measure_models(definitions, protocol, task=task, sizes=here)
    return [found[name] for name in _names(models)]


def _energy(
    models: Sequence[Scored], protocol: Protocol, settings: ScoreSettings, sizes: Sequence[int]
) -> list[float]:
    """Return the millijoules of an image of each model.

    Raises:
        NASError: Where neither a counter nor a command tells it.
    """
    found: dict[str, float] = {}
    command = None
    if is_command(settings.energy):
        command = Command.parse(str(settings.energy), JOULES_SECONDS, "energy")
    elif protocol.device != "cpu":
        raise NASError(f"energy={energy.RAPL}: counts processors and no GPU; {energy.INSTEAD}")
    counters = [] if command else energy.zones()
    from yolo_nas_ext.host.bench import Bench, Subject  # loads torch and Ultralytics
    from yolo_nas_ext.host.latency import energy_of

    for task, definitions, here in _by_task(models, settings.nc, sizes):
        if command is None:
            found |= energy_of(definitions, protocol, counters, task=task, sizes=here)
            continue
        bench = Bench(command, nc=80, task=task, repeats=JOULES_RUNS)
        subjects = {
            name: Subject(f"{list(here).index(name)}", model, here[name])
            for name, model in definitions.items()
        }
        found |= {name: 1000 * m.median_ms for name, m in bench.measure(subjects).items()}
    return [found[name] for name in _names(models)]


def _names(models: Sequence[Scored]) -> list[str]:
    """Return what tells models apart, of which two may be of one name."""
    return [f"{index}: {model.name}" for index, model in enumerate(models)]


def _by_task(
    models: Sequence[Scored], nc: int | None, sizes: Sequence[int]
) -> Iterator[tuple[str, dict[str, Mapping[str, Any]], dict[str, int]]]:
    """Yield the models of each kind of head as definitions, and their image sizes, by name."""
    names = _names(models)
    at = dict(zip(names, sizes, strict=True))
    for task in dict.fromkeys(model.task for model in models):
        definitions: dict[str, Mapping[str, Any]] = {
            name: emit(model.network, nc or model.nc, task, model.points)
            if model.network
            else {**(model.definition or {}), "nc": nc or model.nc}
            for name, model in zip(names, models, strict=True)
            if model.task == task
        }
        yield task, definitions, {name: at[name] for name in definitions}


def score(
    architecture: Architecture,
    nc: int = 80,
    imgsz: int = 640,
    *,
    task: str = "detect",
    keypoints: tuple[int, int] = KEYPOINTS,
    channels: int = 3,
) -> dict[str, Any]:
    """Return costs and scores of a network.

    Args:
        architecture: The network.
        nc: Number of classes.
        imgsz: Image size in pixels.
        task: What the head does; its parts are counted, and the scores are of the backbone.
        keypoints: Number of keypoints and numbers a point, of the task pose.
        channels: Channels of the image.

    Returns:
        ``key``, ``params``, ``flops``, ``memory`` (bytes), ``layers``, every analytic score, None
        where it has no value, and DeepMAD's ``effectiveness``.
    """
    cost = costs(architecture, nc, imgsz, channels=channels, task=task, keypoints=keypoints)
    values = {name: of(architecture, imgsz, channels) for name, of in SCORES.items()}
    return {
        "key": architecture.key,
        **cost._asdict(),
        **{name: value if math.isfinite(value) else None for name, value in values.items()},
        "effectiveness": effectiveness(architecture),
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Return scored networks as a table for people."""
    names = [name for name in rows[0] if name not in ("model", "key")]
    cells = [["model", *names]]
    for row in rows:
        cells.append([str(row["model"])[-60:], *(_cell(name, row[name]) for name in names)])
    return aligned(cells)


def _cell(name: str, value: Any) -> str:
    if name == "px":
        return str(value)
    if value is None:
        return "-" if name in (*COLUMNS, "predicted_ms", "effectiveness") else "ruled out"
    return short(value) if name in COLUMNS else f"{value:.4f}"


def _json(rows: list[dict[str, Any]]) -> str:
    return json.dumps(rows[0] if len(rows) == 1 else rows)


def _models(value: Any, project: Path) -> list[Scored]:
    """Return each model that was given."""
    if isinstance(value, Mapping) or (
        isinstance(value, list) and value and isinstance(value[0], Mapping)
    ):
        return [Scored("structure", structure(value), 80)]
    if isinstance(value, str) and value.lstrip().startswith(("[", "{")):
        return [Scored("structure", structure(value), 80)]
    names = value if isinstance(value, list) else str(value).split(",")
    return [_model(str(name).strip(), project) for name in names if str(name).strip()]


def _model(name: str, project: Path) -> Scored:
    path = Path(name)
    if path.suffix == ".pt":
        from yolo_nas_ext.host.transfer import parents  # loads torch and Ultralytics

        try:
            found = parents.load(name, "model")
        except NASError:
            if (given := parents.as_given(name)) is None:
                raise
            definition, nc, task = given
            return Scored(name, None, nc, definition, task=task)
        own: Any = {
            "task": found.task,
            "points": _points(found.definition),
            "channels": found.channels,
        }
        if not found.unread:
            return Scored(name, found.architecture, len(found.names), **own)
        return Scored(name, None, len(found.names), found.yaml, **own)
    if path.is_file() and path.suffix not in (".yaml", ".yml"):
        try:
            return Scored(name, structure(text_of(path), name), 80)
        except (OSError, ValueError) as error:
            raise NASError(f"model={name}: not a text file ({error})") from error
    if re.fullmatch(r"(nas-)?[0-9a-f]{10}", name) and not path.exists():
        return Scored(name, *_of_a_run(name.removeprefix("nas-"), project))
    from yolo_nas_ext.host import models  # loads torch and Ultralytics

    definition, scale = models.definition(name, key="model")
    nc, task = 0, models.given_task(definition)
    own: Any = {"task": task or "detect", "points": _points(definition)}
    try:
        nc = classes_of(definition)
        network = read(definition, scale)
    except NASError as error:
        reason = str(error).removeprefix("model definition: ")
        if not nc or task is None:
            raise NASError(f"model={name}: cannot be read ({reason})") from error
        return Scored(name, None, nc, models.scaled(definition, scale), **own)
    return Scored(name, network, nc, **own)


def _points(definition: Mapping[str, Any]) -> tuple[int, int]:
    """Return the keypoints of a definition, and numbers a point."""
    shape = definition.get("kpt_shape")
    whole = isinstance(shape, (list, tuple)) and [type(v) for v in shape] == [int, int]
    return (shape[0], shape[1]) if shape and whole else KEYPOINTS


def _of_a_run(key: str, project: Path) -> tuple[Architecture, int]:
    """Return the network of a key among the runs of a project, and the classes of its data."""
    for file in sorted(project.glob("*/pareto/nas-*.yaml")) + sorted(project.glob("*/best.yaml")):
        if f"nas-{key}:" in text_of(file).partition("\n")[0]:
            return read(file), classes_of(read_yaml(file, str(file)))
    raise NASError(
        f"model={key}: no nas-{key}.yaml in {project}/*/pareto; give the folder of runs with "
        "project=, or the path of a YAML"
    )
