"""The types of keys: one function each, which raises ValueError with what is allowed."""

from __future__ import annotations

import contextlib
import math
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from yolo_nas_ext.errors import did_you_mean


def devices(value: Any) -> str:
    """Accept what to train on: a device, or GPUs separated by commas, a list of them too."""
    parts = value if isinstance(value, (list, tuple)) else str(value).strip("()[] ").split(",")
    names = [str(part).strip().lower().removeprefix("cuda:") for part in parts]
    names = ["0" if name == "cuda" else name for name in names]
    gpus = all(re.fullmatch(r"\d+|-1", name) for name in names)
    if isinstance(value, bool) or not all(names) or (len(names) > 1 and not gpus):
        raise ValueError("cpu, mps, the number of a GPU, or those of several, as in 0,1")
    return ",".join(n for i, n in enumerate(names) if n == "-1" or n not in names[:i])


def allowed(parse: Callable[[Any], Any]) -> tuple[str, ...]:
    """Return the values that a type takes, where they are few; nothing else."""
    return ("True", "False") if parse is flag else tuple(map(str, vars(parse).get("allowed", ())))


def flag(value: Any) -> bool:
    """Accept true or false."""
    if not isinstance(value, bool):
        raise ValueError("True or False")
    return value


CACHES = ("auto", "ram", "disk", "none")
Parse = Callable[[Any], Any]
# Beyond what anybody has or waits for; more fails in its own way: in the C integers of a library,
# in a system's timers, or by a machine that starts all these threads.
LARGE = 2**31 - 1
CORES = 1024  # threads, processes or devices
EPOCHS, BATCH, REPEATS, TRIALS, PIXELS = 100_000, 65_536, 1000, 100_000_000, 16_384
HOURS = 100_000
SUFFIXES = {"K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}


def text(value: Any) -> str:
    """Accept a text."""
    if isinstance(value, (dict, list)) or value is None:
        raise ValueError("a text")
    return str(value)


def path(value: Any) -> str:
    """Accept the path of a file or a folder; empty where there is none."""
    if not isinstance(value, (str, int, float, Path, type(None))):
        raise ValueError("a path")
    return "" if value is None else str(value)


def folder_name(value: Any) -> str:
    """Accept the name of one folder."""
    name = text(value)
    if name in (".", "..") or re.search(r"[/\\\x00-\x1f]", name) or not 0 < len(name) <= 100:
        raise ValueError(
            "the name of a folder, up to 100 characters without / and \\; where it "
            "is made is for project="
        )
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
        if isinstance(value, str) and not value.strip():
            raise ValueError("metrics with bounds, or none")
        pairs = [part.partition(":") for part in texts(value)]
        value = {name.strip(): bound for name, _, bound in pairs}
    try:
        return {str(name): _number(bound) for name, bound in value.items()}
    except ValueError as error:
        raise ValueError("metrics with bounds, for example latency_ms:5,map50:0.3") from error


def whole(low: float, high: float = LARGE) -> Parse:
    """Accept a whole number between two bounds."""

    def parse(value: Any) -> int:
        least = f" of {low} or more" if low > -LARGE else ""
        number = _number(value, f"a whole number{least}")
        if number != int(number) or not low <= number <= high:
            # a bound that nobody comes near is news only to who went beyond it
            between = f" of {low} to {high}" if high <= CORES or number > high else least
            raise ValueError(f"a whole number{between}")
        return int(number)

    return parse


AUTO_BATCH = -1  # as Ultralytics calls the batch that fits


def batch_size(value: Any) -> int:
    """Accept the images of a step, or ``auto`` for as many as fit."""
    if str(value).strip().lower() in ("auto", str(AUTO_BATCH)):
        return AUTO_BATCH
    try:
        return whole(1, BATCH)(value)
    except ValueError as error:
        raise ValueError(f"{error}, or auto") from error


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
    """Accept an image size: a positive multiple of 32, up to `PIXELS`."""
    number = _number(value)
    if not 32 <= number <= PIXELS or number % 32:
        raise ValueError(f"a multiple of 32 up to {PIXELS}, for example 128 or 640")
    return int(number)


def sizes(value: Any) -> tuple[int, ...]:
    """Accept image sizes separated by commas, or a list; each once, from the smallest on."""
    parts = value.split(",") if isinstance(value, str) else value
    parts = [parts] if isinstance(parts, (int, float)) else parts or ()
    try:
        found = sorted({size(part) for part in parts if part != ""})
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"multiples of 32 up to {PIXELS} separated by commas, for example 96,128,160"
        ) from error
    return tuple(found)


def one_of(*allowed: Any) -> Parse:
    """Accept one of some values."""

    def parse(value: Any) -> Any:
        if value not in allowed:
            hint = did_you_mean(value, map(str, allowed))
            raise ValueError(f"one of {', '.join(map(str, allowed))}.{hint}".rstrip("."))
        return value

    parse.__dict__["allowed"] = allowed
    return parse


def cached(value: Any) -> str:
    """Accept where decoded images are kept, with the most that they may take behind a colon."""
    kind, colon, most = str("none" if value is False else value).strip().lower().partition(":")
    if kind not in CACHES or (colon and kind in ("auto", "none")):
        raise ValueError("auto, ram, disk or none; ram and disk with a size, as in ram:8G")
    if colon:
        _number(most, "auto, ram, disk or none; ram and disk with a size, as in ram:8G")
    return kind + colon + most.upper()


def most_of(cache: str) -> tuple[str, float | None]:
    """Return where decoded images are kept and how many bytes they may take, where that is said."""
    kind, _, most = cache.partition(":")
    return kind, _number(most) if most else None


def optional(parse: Parse) -> Parse:
    """Accept nothing as None."""

    def maybe(value: Any) -> Any:
        return None if value is None or value == "" else parse(value)

    maybe.__dict__.update(vars(parse))
    return maybe


def limit(parse: Parse) -> Parse:
    """Accept nothing as None, but no empty text: who typed it meant a number."""

    def maybe(value: Any) -> Any:
        if isinstance(value, str) and not value.strip():
            raise ValueError("a number, or none for no limit")
        return None if value is None else parse(value)

    return maybe


def limits(parse: Parse) -> Parse:
    """Accept a limit, or several separated by commas, as a tuple; nothing as None."""

    def maybe(value: Any) -> tuple[Any, ...] | None:
        if value is None:
            return None
        parts = value.split(",") if isinstance(value, str) else value
        parts = parts if isinstance(parts, (list, tuple)) and parts else [value]
        if any(isinstance(part, str) and not part.strip() for part in parts):
            raise ValueError("a number, several separated by commas, or none for no limit")
        return tuple(parse(part) for part in parts)

    return maybe


def _number(value: Any, wanted: str = "a number") -> float:
    """Return a number that may have a suffix; refuse booleans and others."""
    if isinstance(value, str):
        match = re.fullmatch(r"\s*([0-9.]+(?:[eE][-+]?\d+)?)\s*([KMGT])?\s*", value, re.IGNORECASE)
        if match:
            with contextlib.suppress(ValueError):
                number = float(match[1]) * SUFFIXES.get((match[2] or "").upper(), 1.0)
                if math.isfinite(number):  # else a limit that nothing breaks
                    return number
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


def usual_threads(jobs: int = 1) -> int:
    """Return the CPU threads of a training where nothing is said: half of the logical cores.

    The second thread of a core adds little to convolutions, and where the machine has something
    else to do every thread waits for the slowest.

    Args:
        jobs: Trainings at a time that share them.
    """
    return max(1, (os.cpu_count() or 1) // 2 // jobs)
