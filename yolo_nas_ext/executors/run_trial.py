"""The evaluation of one trial, in whatever process: an exception becomes the trial's error."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import replace

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


def units(cost: Mapping[str, float]) -> dict[str, float]:
    """Return analytic costs under the names of objectives, which carry their unit."""
    scale = {
        "params": ("params_m", 1e6),
        "flops": ("flops_g", 1e9),
        "memory_bytes": ("memory_mb", 1e6),
        "latency_ms": ("latency_ms", 1),
    }
    return {scale[n][0]: v / scale[n][1] for n, v in cost.items() if n in scale}
