"""A profile of a device from one of another: few whole networks say how its layers' times differ.

The layers of a profile keep their times, and each family gets a factor. As there are fewer networks
than families a factor is drawn to that of all of them, as strongly as predicts best the networks
that are left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from yolo_nas_ext.cost.latency.features import FAMILIES, Floats, family, parameters
from yolo_nas_ext.cost.latency.fit import Model, weights_of
from yolo_nas_ext.cost.latency.fused_layers import Op
from yolo_nas_ext.cost.latency.profile import Calibration, Profile
from yolo_nas_ext.cost.latency.protocol import Protocol
from yolo_nas_ext.errors import NASError

NETWORKS, FEWEST = 10, 4  # that are measured on the device, and at the least
TRUSTS = (0.02, 0.06, 0.2, 0.6, 2.0)  # how far families stay at the factor of all
RIDGE = 1e-3  # of the design, as there are fewer networks than columns


def carried(
    before: Profile,
    device_name: str,
    runtime_version: str,
    protocol: Protocol,
    models: Mapping[int, Sequence[Model]],
    *,
    about: Mapping[str, Any],
) -> Profile:
    """Return the profile of a device from that of another.

    Args:
        before: The profile of the other device, or of another runtime.
        device_name: The device.
        runtime_version: What ran the networks there.
        protocol: How they were measured.
        models: Whole networks by image size, each one of the other profile's.
        about: What else the file says.

    Raises:
        NASError: For an image size that the other profile does not know, or too few networks.
    """
    sizes = {}
    for size, group in models.items():
        before.at(size)
        if len(group) < FEWEST:
            raise NASError(
                f"{len(group)} networks were measured at {size} px, at least {FEWEST} are needed; "
                "measure again"
            )
        sizes[size] = _calibrated(before, size, group)
    of = {"from": f"{before.device_name}, {before.protocol.setting}"}
    return replace(
        before,
        device_name=device_name,
        runtime_version=runtime_version,
        protocol=protocol,
        sizes=sizes,
        about={**about, **of},
    )


def _calibrated(before: Profile, size: int, models: Sequence[Model]) -> Calibration:
    """Return how layers add up on the device, and what each network is predicted by the others."""
    sums = np.array([_sums(before, model.ops, size) for model in models])
    times = np.array([model.ms for model in models])
    constant, found, guesses = factors_of(sums, times)
    *factors, fetch = found.tolist()
    known = before.sizes[size].weights
    return Calibration(
        constant,
        {name: factor * known[name] for name, factor in zip(FAMILIES, factors, strict=True)},
        [(m.name, m.ms, float(g)) for m, g in zip(models, guesses, strict=True)],
        fetch,
    )


def factors_of(sums: Floats, times: Floats) -> tuple[float, Floats, Floats]:
    """Return a constant, a factor of each column, and what each network is predicted by the others.

    Args:
        sums: Networks x (milliseconds of each family on the other device, parameters).
        times: Milliseconds of the networks on the device.
    """
    guesses = {trust: _left_out(sums, times, trust) for trust in TRUSTS}
    trust = min(TRUSTS, key=lambda t: float(np.mean(abs(guesses[t] / times - 1))))
    return *weights_of(sums, times, trust), guesses[trust]


def _left_out(sums: Floats, times: Floats, trust: float) -> Floats:
    """Return what each network is predicted by the others."""
    found = np.zeros(len(times))
    for left in range(len(times)):
        others = np.arange(len(times)) != left
        constant, weights = weights_of(sums[others], times[others], trust)
        found[left] = constant + float(sums[left] @ weights)
    return found


def _sums(profile: Profile, ops: Sequence[Op], size: int) -> list[float]:
    """Return milliseconds of each family's layers in a network, and its parameters."""
    row: dict[str, float] = dict.fromkeys(FAMILIES, 0.0)
    weights = profile.sizes[size].weights
    for op, ms in zip(ops, profile.alone(ops), strict=True):
        row[family(op)] += ms * weights[family(op)]
    return [*row.values(), float(sum(map(parameters, ops)))]


def chosen(profile: Profile, tables: Sequence[Sequence[Op]], size: int, n: int) -> list[int]:
    """Return the indices of networks that tell most of a device together, largest first.

    What they tell are their shares of their families, of a constant and of their parameters.

    Args:
        profile: A profile of any device.
        tables: The layers of the networks to choose from.
        size: Image size in pixels.
        n: How many to choose.
    """
    ms = np.array([profile.predict(ops, imgsz=size) for ops in tables])
    sums = np.array([_sums(profile, ops, size) for ops in tables])
    return sorted(telling(sums, ms, n), key=lambda index: -ms[index])


def telling(sums: Floats, times: Floats, n: int) -> list[int]:
    """Return the indices of networks that tell most together.

    One after the other is taken that adds most to what is known: the volume that rows span.

    Args:
        sums: As of `factors_of`.
        times: Milliseconds of the networks on the other device.
        n: How many to choose.
    """
    rows = np.column_stack([np.ones(len(sums)), sums]) / times[:, None]
    rows = rows / np.maximum(rows.max(axis=0), 1e-30)
    inverse = np.eye(rows.shape[1]) / RIDGE
    taken: list[int] = []
    for _ in range(min(n, len(rows))):
        gains = np.einsum("ij,jk,ik->i", rows, inverse, rows)
        gains[taken] = -1.0
        best = int(np.argmax(gains))
        taken.append(best)
        seen = inverse @ rows[best]
        inverse = inverse - np.outer(seen, seen) / (1 + rows[best] @ seen)
    return taken
