"""Every key of cfg/nas.yaml, typed and validated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from yolo_nas_ext.config.fields import (
    Parse,
    bounds,
    folder_name,
    optional,
    options,
    real,
    size,
    sizes,
    text,
    texts,
    whole,
)
from yolo_nas_ext.errors import NASError, did_you_mean
from yolo_nas_ext.files import resource

# Defaults of cfg/nas.yaml are those of a short training; these are the host's.
FULL = {"epochs": 100, "batch": 16}
# Of the inner search over an analytic score, which takes seconds: those of TinyNAS.
INNER = {"trials": 500_000, "population": 512}
ANALYTIC = ("madnas", "deepmad")  # closed forms over the layers of the backbone
# Of a supernet, after whose training a candidate takes a validation pass.
SHARED = {"epochs": 60, "trials": 200}
# Of a supernet for detection that no distribution is learned in: several networks a step order much
# better than one, which is what cfg/nas.yaml has (docs/evidence.md).
SEVERAL = {"sampling": "sandwich", "distill": 1.0}
# Of a proxy with a network; few images hardly tell networks apart.
ONE_BATCH = {"batch": 16}
PROXIES = (
    "naswot",
    "synflow",
    "snip",
    "grad_norm",
    "jacov",
    "zen",
    "zico",
    "swap",
    "az_nas",
)
RESOLVED = "resolved"  # operations, by the grid and the sizes of the objects
UNTRAINED = (*ANALYTIC, RESOLVED, *PROXIES)  # estimators without a training
MAY_CHANGE = (  # on resuming a run
    "trials",
    "budget_hours",
    "timeout",
    "device",
    "jobs",
    "executor",
    "ray_address",
    "cpus_per_trial",
    "gpus_per_trial",
    "finalists",
    "final_epochs",
    "final_batch",
    "seeds",
    "resume",
)


@dataclass(frozen=True)
class Config:
    """The settings of one search.

    Attributes:
        values: Every key of cfg/nas.yaml.
        host: Keys of the host's training that the user gave.
        given: Names of the keys that the user gave.
    """

    values: Mapping[str, Any]
    host: Mapping[str, Any] = field(default_factory=dict)
    given: frozenset[str] = frozenset()

    def replaced(self, **values: Any) -> Config:
        """Return the settings with some other values."""
        return Config({**self.values, **values}, self.host, self.given)

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["values"][name]
        except KeyError:
            raise AttributeError(name) from None


KEYS: dict[str, Parse] = {
    "data": text,
    "task": text,
    "space": text,
    "fix": options,
    "sizes": sizes,
    "blocks": optional(text),
    "baseline": texts,
    "strategy": text,
    "population": whole(2),
    "objectives": texts,
    "limits": bounds,
    "control": optional(text),
    "trials": whole(1),
    "pruner": text,
    "fidelity": optional(text),
    "budget_hours": optional(real(0)),
    "seed": whole(0, 2**31 - 1),
    "screen": optional(text),
    "estimator": text,
    "epochs": whole(1),
    "imgsz": size,
    "batch": whole(1),
    "val_fraction": real(0, 0.9),
    "augment": optional(text),
    "fitness": text,
    "confirm": whole(0),
    "confirm_by": optional(text),
    "confirm_epochs": optional(whole(1)),
    "finalists": whole(0),
    "final_epochs": whole(1),
    "final_batch": whole(1),
    "seeds": whole(1),
    "inherit": optional(text),
    "pretrained": optional(text),
    "teacher": optional(text),
    "sampling": text,
    "distill": real(0, open_low=False),
    "cost_weight": real(0, open_low=False),
    "relaxation": text,
    "timeout": optional(real(0)),
    "device": optional(text),
    "threads": optional(whole(1)),
    "max_params": optional(real(0)),
    "max_flops": optional(real(0)),
    "max_memory": optional(real(0)),
    "max_layers": optional(whole(1)),
    "max_latency": optional(real(0)),
    "latency": optional(text),
    "runtime": text,
    "precision": text,
    "jobs": whole(1),
    "executor": text,
    "ray_address": optional(text),
    "cpus_per_trial": real(0),
    "gpus_per_trial": real(0, open_low=False),
    "storage": optional(text),
    "project": text,
    "name": folder_name,
    "resume": optional(text),
}


def inner(values: Mapping[str, Any]) -> bool:
    """Say whether a search is one over an analytic score alone, which needs no record a trial.

    The compiled form of a space knows the detection head only, and one number to search for.
    """
    usual = {
        "strategy": ("auto", "evolution"),
        "task": ("detect",),
        "objectives": (("fitness",),),
        "limits": ({},),
        "control": (None,),
        "storage": (None,),
        "executor": ("local",),
        "jobs": (1,),
    }
    return values["estimator"] in ANALYTIC and all(values[n] in u for n, u in usual.items())


def defaults() -> dict[str, Any]:
    """Return what cfg/nas.yaml holds, parsed."""
    content = yaml.safe_load(resource("cfg", "nas.yaml").read_text(encoding="utf-8"))
    return {name: KEYS[name](value) for name, value in content.items()}


def value(name: str, raw: Any) -> Any:
    """Return what a raw value of a key of cfg/nas.yaml stands for.

    Raises:
        NASError: For a value that is not of the key's type.
    """
    try:
        return KEYS[name](raw)
    except (ValueError, OverflowError) as error:
        raise NASError(f"{name}={raw}: not allowed; {name} takes {error}") from error


def configure(
    given: Mapping[str, Any], host_keys: Mapping[str, Any], refused: Mapping[str, str]
) -> Config:
    """Return the settings of a search from what the user gave.

    Args:
        given: Keys and raw values.
        host_keys: Keys of the host's training with their defaults.
        refused: Keys of the host that a search sets itself, with the reason.

    Raises:
        NASError: For an unknown key, or a value that is not of its type.
    """
    values, host = defaults(), {}
    for name, raw in given.items():
        if name in KEYS:
            values[name] = value(name, raw)
        elif name in refused:
            raise NASError(f"{name}={raw}: {refused[name]}")
        elif name in host_keys:
            host[name] = raw
        else:
            hint = did_you_mean(name, [*KEYS, *host_keys])
            raise NASError(
                f"{name}={raw}: unknown key.{hint} `yolo nas-search help` lists the keys"
            )
    if values["estimator"] == "full":
        values |= {name: value for name, value in FULL.items() if name not in given}
    if values["strategy"] == "darts":
        if values["estimator"] != "supernet" and "estimator" in given:
            raise NASError(
                f"estimator={values['estimator']}: strategy=darts learns in a supernet; leave "
                "estimator out or give estimator=supernet, or take another strategy"
            )
        values["estimator"] = "supernet"
    if values["estimator"] == "supernet":
        plain = values["strategy"] != "darts" and values["task"] == "detect"
        usual = {**SHARED, **(SEVERAL if plain and not {*SEVERAL} & {*given} else {})}
        values |= {name: value for name, value in usual.items() if name not in given}
    if values["estimator"] in PROXIES:
        values |= {name: value for name, value in ONE_BATCH.items() if name not in given}
    if inner(values):  # for which a candidate costs nothing
        values["strategy"] = "evolution"
        values |= {name: value for name, value in INNER.items() if name not in given}
    return Config(values, host, frozenset(given))


def help_text() -> str:
    """Return what `yolo nas-search help` prints: cfg/nas.yaml itself, which explains every key."""
    return resource("cfg", "nas.yaml").read_text(encoding="utf-8")
