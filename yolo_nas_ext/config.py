"""Every key of cfg/nas.yaml, typed and validated."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from yolo_nas_ext.errors import NASError, did_you_mean
from yolo_nas_ext.resources import resource

Parse = Callable[[Any], Any]
SUFFIXES = {"K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
# Defaults of cfg/nas.yaml are those of a short training; these are the host's.
FULL = {"epochs": 100, "batch": 16}
# Of the inner search over an analytic score, which takes seconds: those of TinyNAS.
INNER = {"trials": 500_000, "population": 512}
ANALYTIC = ("madnas", "deepmad")  # closed forms over the layers of the backbone
# Of a supernet, after whose training a candidate takes a validation pass.
SHARED = {"epochs": 60, "trials": 200}
# Of a supernet for detection that no distribution is learned in: several networks a step order much
# better than one, which is what cfg/nas.yaml has (docs/experiments.md).
SEVERAL = {"sampling": "sandwich", "distill": 1.0}
# Of a proxy with a network; few images hardly tell networks apart.
ONE_BATCH = {"batch": 16}
PROXIES = (
    "naswot", "synflow", "snip", "grad_norm", "jacov", "zen", "zico", "swap", "az_nas",
)  # fmt: skip
RESOLVED = "resolved"  # operations, by the grid and the sizes of the objects
UNTRAINED = (*ANALYTIC, RESOLVED, *PROXIES)  # estimators without a training
MAY_CHANGE = (  # on resuming a run
    "trials", "budget_hours", "timeout", "device", "jobs", "executor", "ray_address",
    "cpus_per_trial", "gpus_per_trial", "finalists", "final_epochs", "final_batch", "seeds",
    "resume",
)  # fmt: skip


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


def text(value: Any) -> str:
    """Accept a text."""
    if isinstance(value, (dict, list)) or value is None:
        raise ValueError("a text")
    return str(value)


def folder_name(value: Any) -> str:
    """Accept the name of one folder."""
    name = text(value)
    if name in (".", "..") or re.search(r"[/\\\x00-\x1f]", name) or not 0 < len(name) <= 100:
        raise ValueError("the name of a folder, up to 100 characters without / and \\; where it "
                         "is made is for project=")  # fmt: skip
    return name


def texts(value: Any) -> tuple[str, ...]:
    """Accept names separated by commas, or a list; ``none`` is the empty one."""
    value = () if value is None else value
    if isinstance(value, str):
        value = [part.strip() for part in value.split(",")]
    if not isinstance(value, (list, tuple)) or not all(isinstance(v, str) for v in value):
        raise ValueError("names separated by commas, or none")
    return tuple(v for v in value if v and v.lower() != "none")


def bounds(value: Any) -> dict[str, float]:
    """Accept bounds on metrics, ``latency_ms:5,map50:0.3``, or a dictionary of them."""
    if not isinstance(value, dict):
        pairs = [part.partition(":") for part in texts(value)]
        value = {name.strip(): bound for name, _, bound in pairs}
    try:
        return {str(name): _number(bound) for name, bound in value.items()}
    except ValueError as error:
        raise ValueError("metrics with bounds, for example latency_ms:5,map50:0.3") from error


def whole(low: int, high: float = math.inf) -> Parse:
    """Accept a whole number between two bounds."""

    def parse(value: Any) -> int:
        number = _number(value, f"a whole number of {low} or more")
        if number != int(number) or not low <= number <= high:
            upper = f" to {high:g}" if high < math.inf else " or more"
            raise ValueError(f"a whole number of {low}{upper}")
        return int(number)

    return parse


def real(low: float, high: float = math.inf, *, open_low: bool = True) -> Parse:
    """Accept a number between two bounds."""

    def parse(value: Any) -> float:
        number = _number(value)
        if not (low < number if open_low else low <= number) or not number <= high:
            upper = f" and at most {high:g}" if high < math.inf else ""
            raise ValueError(f"a number {'above' if open_low else 'of at least'} {low:g}{upper}")
        return number

    return parse


def size(value: Any) -> int:
    """Accept an image size: a positive multiple of 32."""
    number = _number(value)
    if number < 32 or number % 32:
        raise ValueError("a multiple of 32, for example 128 or 640")
    return int(number)


def sizes(value: Any) -> tuple[int, ...]:
    """Accept image sizes separated by commas, or a list; each once, from the smallest on."""
    parts = value.split(",") if isinstance(value, str) else value
    parts = [parts] if isinstance(parts, (int, float)) else parts or ()
    try:
        found = sorted({size(part) for part in parts if part != ""})
    except (TypeError, ValueError) as error:
        raise ValueError("multiples of 32 separated by commas, for example 96,128,160") from error
    return tuple(found)


def optional(parse: Parse) -> Parse:
    """Accept nothing as None."""

    def maybe(value: Any) -> Any:
        return None if value is None or value == "" else parse(value)

    return maybe


def _number(value: Any, wanted: str = "a number") -> float:
    """Return a number that may have a suffix; refuse booleans and others."""
    if isinstance(value, str):
        match = re.fullmatch(r"\s*([0-9.]+(?:[eE][-+]?\d+)?)\s*([KMGT])?\s*", value, re.IGNORECASE)
        if match:
            try:
                return float(match[1]) * SUFFIXES.get((match[2] or "").upper(), 1.0)
            except ValueError:
                pass
        raise ValueError(f"{wanted}, with K, M, G or T behind it if you like")
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError(wanted)
    return float(value)


def options(value: Any) -> dict[str, str]:
    """Accept choices of a space with an option each, ``head.reg_max:16``, or a dictionary."""
    if isinstance(value, dict):
        return {str(name): str(option) for name, option in value.items()}
    found: dict[str, str] = {}
    for part in texts(value):
        name, colon, option = part.partition(":")
        if not colon or not option.strip():
            raise ValueError("choices with an option each, for example head.reg_max:16")
        found[name.strip()] = option.strip()
    return found


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
        "strategy": ("auto", "evolution"), "task": ("detect",), "objectives": (("fitness",),),
        "limits": ({},), "control": (None,), "storage": (None,), "executor": ("local",),
        "jobs": (1,),
    }  # fmt: skip
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


def parse_arguments(arguments: Sequence[str]) -> dict[str, Any]:
    """Return keys and values of ``key=value`` arguments, values read as YAML reads them.

    Raises:
        NASError: For an argument without ``=``, or a key given twice.
    """
    result: dict[str, Any] = {}
    for argument in _join_equals(arguments):
        name, equals, raw = argument.lstrip("-").rstrip(",").partition("=")
        if not equals or not name:
            hint = did_you_mean(name, KEYS)
            raise NASError(
                f"'{argument}': expected key=value.{hint} `yolo nas-search help` lists the keys"
            )
        if name in result:
            raise NASError(f"{name}: given twice; give it once")
        try:
            result[name] = _value(raw)
        except yaml.YAMLError as error:
            raise NASError(f"{name}={raw}: cannot be read as a value") from error
    return result


def _value(raw: str) -> Any:
    """Return a value as YAML reads it, with None and exponents as Python writes them."""
    if raw.lower() in ("none", "null", ""):
        return None
    if re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+", raw):
        return float(raw)
    if re.search(r":\s|^[A-Za-z]:|[#&*!|>%@`]", raw):  # paths and the like
        return raw
    return yaml.safe_load(raw)


def _join_equals(arguments: Sequence[str]) -> list[str]:
    """Return arguments with ``key = value`` and ``key= value`` joined, as the host does."""
    joined: list[str] = []
    for argument in arguments:
        if joined and (
            joined[-1].endswith("=") or (argument.startswith("=") and "=" not in joined[-1])
        ):
            joined[-1] += argument
        else:
            joined.append(argument)
    return joined


def help_text() -> str:
    """Return what `yolo nas-search help` prints: cfg/nas.yaml itself, which explains every key."""
    return resource("cfg", "nas.yaml").read_text(encoding="utf-8")
