"""The evaluation of one trial, in whatever process: an exception becomes the trial's error."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from yolo_nas_ext.console import ending
from yolo_nas_ext.errors import THEN, NASError, TrialError, no_room
from yolo_nas_ext.study.trial import Trial

STICKY = "device: "  # begins the error after which a process can use its GPU no more

Report = Callable[[int, float], None]  # epoch, from 1, and how good the network is by then
Estimate = Callable[[Trial, Report], Mapping[str, float]]
Prune = Callable[[Trial, int, float], bool]


def run_trial(trial: Trial, estimate: Estimate, prune: Prune) -> Trial:
    """Return the trial with its metrics or error; only an interrupt and bad input get past.

    The analytic costs join the metrics in the units of objectives: millions of parameters, GFLOPs,
    MB of activations.
    """
    begin = time.perf_counter()
    metrics: dict[str, float] = {}
    curve: dict[int, float] = {}
    error = ""

    def report(epoch: int, value: float) -> None:
        curve[epoch] = value
        if prune(trial, epoch, value):
            raise TrialError("pruned", f"fell behind after epoch {epoch}")

    try:
        metrics = {name: float(value) for name, value in estimate(trial, report).items()}
        if not math.isfinite(metrics.get("fitness", math.nan)):
            error = f"nan: fitness is {metrics.get('fitness', 'missing')}"
    except TrialError as failure:
        if ending():
            raise KeyboardInterrupt from failure
        error = f"{failure.kind}: {failure}"
    except NASError:
        raise
    except MemoryError:
        error = "memory: out of memory"
    except Exception as failure:
        if full := no_room(failure, THEN):
            raise full from failure
        if ending():  # a signal that ended what the training had started, too
            raise KeyboardInterrupt from failure
        error = f"error: {type(failure).__name__}: {' '.join(str(failure).split())[:300]}"
    return replace(
        trial,
        state="pruned" if error.startswith("pruned: ") else "failed" if error else "complete",
        metrics={n: v for n, v in {**units(trial.cost), **metrics}.items() if math.isfinite(v)},
        seconds=time.perf_counter() - begin,
        error=error,
        curve=curve,
    )


def metrics_of(found: Any, what: str) -> dict[str, float]:
    """Return what a user's code measured as numbers by name.

    Args:
        found: What it returned.
        what: Which code, for the message.

    Raises:
        TrialError: For anything else.
    """
    wanted = f"{what} has to return a dictionary with 'fitness' of numbers, not"
    if not isinstance(found, Mapping):
        kind = "None" if found is None else type(found).__name__
        raise TrialError("error", f"{wanted} {kind}")
    numbers = {}
    for name, value in found.items():
        try:
            numbers[name] = float(value)
        except (TypeError, ValueError) as error:
            raise TrialError("error", f"{wanted} {name}={value!r:.80}") from error
    return numbers


def units(cost: Mapping[str, float]) -> dict[str, float]:
    """Return analytic costs under the names of objectives, which carry their unit."""
    scale = {
        "params": ("params_m", 1e6),
        "flops": ("flops_g", 1e9),
        "memory_bytes": ("memory_mb", 1e6),
    }
    known = {n: (n, 1) for n in cost if n.startswith("latency_")} | scale
    return {known[n][0]: v / known[n][1] for n, v in cost.items() if n in known}
