"""Profiling a device: its layers are timed, and how their times add up to those of models."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import nnls

from yolo_nas_ext.cost.latency import runtimes
from yolo_nas_ext.cost.latency.features import FAMILIES, Floats, family, features, parameters
from yolo_nas_ext.cost.latency.fused_layers import Op
from yolo_nas_ext.cost.latency.onnx_layer import layer_model
from yolo_nas_ext.cost.latency.probe import Clock, Run, layer_ms
from yolo_nas_ext.cost.latency.profile import Base, Calibration, Profile, based, terms
from yolo_nas_ext.cost.latency.protocol import Protocol
from yolo_nas_ext.cost.latency.trees import grow
from yolo_nas_ext.errors import RunError
from yolo_nas_ext.files import json_of, own, text_of

FEW, MOST_MORE = 1, 8  # copies of a layer in the smaller model, and at most more in the larger
HEAVY = 2e7  # multiply-adds or numbers moved that the further copies have together, roughly
TRUST = 0.02  # how far weights stay at that of all families where the models do not say otherwise


class Model(NamedTuple):
    """A whole model that was measured: its name, layers and milliseconds."""

    name: str
    ops: Sequence[Op]
    ms: float


def more_copies(op: Op) -> int:
    """Return how many copies more the larger model of a layer has: the more, the faster it is."""
    cost = max(float(terms([op])[0, 0]), 10 * float(terms([op])[0, 1]))
    return int(min(max(HEAVY / cost, 1), MOST_MORE))


def load_layer(op: Op, copies: int, protocol: Protocol) -> Run:
    """Return what runs a model of copies of a layer.

    Raises:
        NASError: Where the runtime cannot run it.
    """
    if protocol.runtime == "torch":
        from yolo_nas_ext.cost.latency.torch_layer import layer_run

        return layer_run(op, copies, protocol)
    return runtimes.load(layer_model(op, copies, protocol.batch), protocol, f"layer {op.kind}")


def time_layer(op: Op, protocol: Protocol) -> float:
    """Return the time of a layer on its own in milliseconds; see `load_layer`."""
    more = more_copies(op)
    few, many = (load_layer(op, copies, protocol) for copies in (FEW, FEW + more))
    return layer_ms(few, many, more, protocol.device == "cpu" and protocol.threads == 1)


class Record:
    """Layers that were timed, in a file with a line each, so that a killed run goes on.

    Args:
        path: The file.
        identity: What the times depend on; a file of another identity is begun anew.
    """

    def __init__(self, path: Path, identity: Mapping[str, Any]) -> None:
        self.path = path
        self.known: dict[Op, float] = {}
        self.notes: dict[str, Any] = {}  # what else was measured
        self.seconds = 0.0  # that were spent on what is known
        head = json.dumps(identity, sort_keys=True)
        lines = text_of(path).splitlines() if path.is_file() else []
        kept = lines[:1] == [head]
        for line in lines[1:] if kept else []:
            try:
                what, value, seconds = json_of(line)
                if isinstance(what, str):
                    self.notes[what] = value
                else:
                    self.known[Op(*what)] = value
                self.seconds += seconds
            except (ValueError, TypeError):  # the last line of a run that was killed
                continue
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = own(path, "a" if kept else "w")
            self._write("" if kept else head)
        except OSError as error:
            raise RunError(f"{path}: cannot be written ({error.strerror})") from error

    def add(self, op: Op, ms: float, seconds: float) -> None:
        """Record what a layer takes, and the seconds that it took to find out."""
        self.known[op] = ms
        self._add(list(op), ms, seconds)

    def note(self, name: str, value: Any, seconds: float) -> None:
        """Record something else under a name."""
        self.notes[name] = value
        self._add(name, value, seconds)

    def _add(self, what: Any, value: Any, seconds: float) -> None:
        self.seconds += seconds
        self._write(json.dumps([what, value, round(seconds, 4)]))

    def _write(self, line: str) -> None:
        self._file.write(line + "\n")  # an empty one ends what a killed run had begun
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def delete(self) -> None:
        """Delete the file, once the profile is written."""
        self.path.unlink(missing_ok=True)


def time_layers(
    ops: Sequence[Op], protocol: Protocol, record: Record, *, seconds: float, what: str
) -> dict[Op, float]:
    """Time layers from the front until the time is used up; what is recorded is not timed again.

    Args:
        ops: Layers, the ones that matter most first.
        protocol: How.
        record: Where their times go, and are taken from.
        seconds: After which no further layer is timed.
        what: What is timed, for the progress.
    """
    clock = Clock(what, seconds)
    known = sum(op in record.known for op in ops)
    for index, op in enumerate(op for op in ops if op not in record.known):
        begin = clock.spent
        ms = time_layer(op, protocol)
        record.add(op, ms, clock.spent - begin)
        clock(index + 1, len(ops) - known)
        if clock.over:
            break
    return {op: record.known[op] for op in ops if op in record.known}


def fit(
    device_name: str,
    runtime_version: str,
    protocol: Protocol,
    layers: Mapping[Op, float],
    models: Mapping[int, Sequence[Model]],
    *,
    about: Mapping[str, Any],
    seed: int = 0,
) -> Profile:
    """Return the profile of a device from what was measured on it.

    Args:
        device_name: Its processor.
        runtime_version: What ran the models.
        protocol: How they were measured.
        layers: Milliseconds of layers on their own.
        models: Whole models by image size.
        about: What else the file says.
        seed: Of the trees.
    """
    ops, ms = list(layers), np.array(list(layers.values()))
    base = _lines(ops, ms)
    forest = grow(features(ops), np.log(ms / based(base, ops)), seed=seed)
    plain = {size: Calibration(0.0, dict.fromkeys(FAMILIES, 1.0)) for size in models}
    profile = Profile(device_name, runtime_version, protocol, plain, layers, base, forest, about)
    return replace(profile, sizes={n: calibrate(profile, group) for n, group in models.items()})


def _lines(ops: Sequence[Op], ms: Floats) -> dict[str, Base]:
    """Return each family's line through times, by least relative squares; none slopes down."""
    found: dict[str, Base] = {}
    families = np.array([family(op) for op in ops])
    for name in FAMILIES:
        mine = families == name
        if not mine.any():
            continue
        rows = terms([op for op, m in zip(ops, mine, strict=True) if m]) / ms[mine][:, None]
        scale = np.maximum(rows.max(axis=0), 1e-30)
        line = nnls(rows / scale, np.ones(len(rows)))[0] / scale
        found[name] = tuple(float(f"{v:.6g}") for v in line)  # pyright: ignore[reportArgumentType]
    usual = tuple(np.median(list(found.values()), axis=0).tolist())
    return {name: found.get(name, usual) for name in FAMILIES}


def calibrate(profile: Profile, models: Sequence[Model]) -> Calibration:
    """Return how layers add up, from whole models, and what each is predicted by the others."""
    sums = np.zeros((len(models), len(FAMILIES) + 1))
    for row, model in zip(sums, models, strict=True):
        for op, ms in zip(model.ops, profile.alone(model.ops), strict=True):
            row[FAMILIES.index(family(op))] += ms
            row[-1] += parameters(op)
    times = np.array([model.ms for model in models])
    guesses = []
    for left in range(len(models)):
        others = np.arange(len(models)) != left
        constant, weights = weights_of(sums[others], times[others])
        guesses.append(constant + float(sums[left] @ weights))
    constant, weights = weights_of(sums, times)
    *by_family, fetch = weights.tolist()
    return Calibration(
        constant,
        dict(zip(FAMILIES, by_family, strict=True)),
        [(m.name, m.ms, guess) for m, guess in zip(models, guesses, strict=True)],
        fetch,
    )


def weights_of(sums: Floats, times: Floats, trust: float = TRUST) -> tuple[float, Floats]:
    """Return a constant and non-negative weights of columns by least relative squares.

    Each family's weight is drawn a little towards that of all families together, which decides
    where its share of the models is too small to tell.

    Args:
        sums: Models x (milliseconds of each family's layers on their own, parameters).
        times: Milliseconds of the models.
        trust: How far weights stay at that of all families.
    """
    count = sums.shape[1] - 1
    usual = float(np.median(times / sums[:, :count].sum(axis=1)))
    scale = np.append(np.ones(count), sums[:, count].max() or 1.0)  # of columns, alike for nnls
    drawn = np.zeros((count, count + 2))
    drawn[:, 1:-1] = trust * np.eye(count) / usual
    measured = np.column_stack([np.ones(len(times)), sums / scale]) / times[:, None]
    goal = np.concatenate([np.ones(len(times)), np.full(count, trust)])
    found = nnls(np.vstack([measured, drawn]), goal)[0]
    return float(found[0]), found[1:] / scale
