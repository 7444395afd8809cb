"""`yolo nas-compare` of model definitions: each is trained with the same schedule and seeds."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from yolo_nas_ext import run_dir
from yolo_nas_ext.compare import latency, models
from yolo_nas_ext.compare.comparison import Comparison
from yolo_nas_ext.compare.run import announce, run, write_definitions
from yolo_nas_ext.config import search as keys_of_a_search
from yolo_nas_ext.config.fields import checked, optional, text, texts, usual_threads, whole
from yolo_nas_ext.config.search import Config
from yolo_nas_ext.errors import NASError
from yolo_nas_ext.estimators.factory import training_options
from yolo_nas_ext.estimators.training import UntouchedTraining
from yolo_nas_ext.host import arguments, dataset

PARTS = ("val", "test")


def part(value: Any) -> str:
    """Accept the name of a part that no search looks at."""
    if value not in PARTS:
        raise ValueError(" or ".join(PARTS))
    return value


KEYS: dict[str, Callable[[Any], Any]] = {
    **{
        name: keys_of_a_search.KEYS[name]
        for name in (
            "data",
            "task",
            "baseline",
            "epochs",
            "imgsz",
            "batch",
            "seed",
            "device",
            "threads",
            "augment",
            "fitness",
            "inherit",
            "timeout",
            "project",
            "name",
            "resume",
        )
    },
    "models": texts,
    "seeds": whole(1),
    "part": part,
    "runtime": optional(text),
    "precision": text,
    "latency_threads": whole(1),
}
USUAL: dict[str, Any] = {
    "models": (),
    "data": None,
    "task": "detect",
    "part": "val",
    "baseline": (),
    "seeds": 3,
    "seed": 0,
    "epochs": 100,
    "imgsz": 640,
    "batch": 16,
    "device": None,
    "threads": None,
    "augment": None,
    "fitness": "host",
    "inherit": None,
    "timeout": None,
    "project": "runs/nas",
    "name": "compare",
    "resume": None,
    "val_fraction": 0.5,
    "estimator": "full",
    "runtime": "onnx",
    "precision": "fp32",
    "latency_threads": 1,
}
HIDDEN = ("val_fraction", "estimator")  # which `estimators.options` asks for
MAY_CHANGE = (
    "models",
    "baseline",
    "seeds",
    "device",
    "threads",
    "runtime",
    "precision",
    "latency_threads",
    "resume",
)


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


def prepare(config: Config) -> Comparison:
    """Return a comparison without its folder, everything checked.

    Raises:
        NASError: For settings, data or models that cannot be compared.
    """
    latency.protocol(config)
    train = dataset.read(config.data, config.task)
    measured = dataset.read(config.data, config.task, part=config.part)
    named = models.named(config)
    training = UntouchedTraining(train, measured, **training_options(config))
    compared = tuple(models.costed(model, train, config.imgsz) for model in named)
    return Comparison(config, training, compared, command=command(config))


def command(config: Config) -> str:
    """Return the command that repeats a comparison: every key that is not at its default."""
    parts = ["yolo nas-compare"]
    for name, value in {**config.values, **config.host}.items():
        if value != USUAL.get(name, None) and name not in ("resume", "threads"):
            shown = ",".join(value) if isinstance(value, tuple) else value
            parts.append(shlex.quote(f"{name}={shown}"))
    return " ".join(parts)


def settings(given: Mapping[str, Any]) -> tuple[Config, Path | None]:
    """Return the settings, and the folder of a comparison to go on with."""
    config = _configured(given)
    if config.resume is None:
        return config, None
    folder = Path(config.resume)
    kept = {n: v for n, v in run_dir.saved(folder).items() if n not in HIDDEN}
    if "models" not in kept:
        raise NASError(f"resume={folder}: is not of nas-compare; give the folder that it named")
    before = _configured(kept)
    for name in config.given - {*MAY_CHANGE, "name", "project"}:
        now, then = ({**c.values, **c.host}.get(name) for c in (config, before))
        if now != then:
            raise NASError(
                f"{name}={now}: the comparison in {folder} has {name}={then}; leave it out to "
                "resume, or start a new one"
            )
    changed = {name: given[name] for name in given if name in MAY_CHANGE}
    return _configured({**kept, **changed}), folder


def _configured(given: Mapping[str, Any]) -> Config:
    host = {}
    for name, value in given.items():
        if name in arguments.REFUSED:
            raise NASError(f"{name}={value}: {arguments.REFUSED[name]}")
        if name in arguments.TRAINING and name not in KEYS:
            host[name] = value
    values = checked({n: v for n, v in given.items() if n not in host}, KEYS, USUAL)
    values["threads"] = values["threads"] or usual_threads()
    values["fitness"] = "host" if values["fitness"] == "auto" else values["fitness"]
    if not values["resume"]:
        if not values["models"]:
            raise NASError("models: is required; as in models=best.yaml,yolo11n.yaml")
        if values["data"] is None:
            raise NASError("data: is required; a data YAML or a folder, as for nas-search")
    arguments.check(host)
    return Config(values, host, frozenset(given))
