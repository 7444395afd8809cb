"""The limit of a search that was given none: what its parent costs, or its largest baseline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from yolo_nas_ext.config.search import SearchSettings
from yolo_nas_ext.cost.budget import Budget
from yolo_nas_ext.errors import NASError, TrialError
from yolo_nas_ext.estimators.factory import budget_of, parent_network
from yolo_nas_ext.host import models
from yolo_nas_ext.host.dataset import DataSet
from yolo_nas_ext.host.transfer.parents import Parent
from yolo_nas_ext.network.architecture import Architecture
from yolo_nas_ext.pipeline.baselines import Baseline
from yolo_nas_ext.pipeline.latency import Timing

NONE = "max_flops=none sets none"


class Limited(NamedTuple):
    """A search within a limit: its settings, how latency is known, and what to say of it."""

    config: SearchSettings
    timings: Sequence[Timing]
    notes: Sequence[str] = ()


def settle(
    config: SearchSettings,
    timings: Sequence[Timing],
    data: DataSet,
    parent: Parent | None,
    baselines: Sequence[Baseline],
) -> Limited:
    """Return the settings of a search with a limit; as they are where one was given.

    With a parent it is the parent's latency where that is known, else its FLOPs. Without one it is
    the FLOPs of the largest baseline, if there is any.

    Args:
        config: Settings of the search.
        timings: How latency is known, of each device.
        data: The data set.
        parent: What the search starts from.
        baselines: The networks that the user names.

    Raises:
        NASError: Where a parent's latency cannot be measured.
    """
    network = parent_network(config) if parent and not parent.unread else None
    if timings and network is not None and parent is not None:
        again = _from_parent(config) and bool(config.profiles)
        if not config.limited or again:
            return _latency(config, timings, data, parent, network)
    budget = budget_of(config, data)
    if config.limited:
        known = [network, *(each.network for each in baselines)]
        unit = next((each for each in known if each is not None), None)
        return Limited(config, [_beside(timing, unit, budget, config.imgsz) for timing in timings])
    if parent is not None:
        flops = budget.costs(network).flops if network else _counted(config, data, parent)
        of = parent.name
    elif compared := [each for each in baselines if not each.counted]:
        flops, of = max((each.flops(budget), each.name) for each in compared)
    else:
        return Limited(config, timings)
    said = f"max_flops={budget.say('max_flops', flops).removesuffix('FLOPs')}"
    note = f"{said}, what {of} has at {config.imgsz} px, as no limit is given; {NONE}"
    return Limited(replace(config, max_flops=flops), timings, [note])


def without(config: SearchSettings, timings: Sequence[Timing], notes: Sequence[str]) -> Limited:
    """Return a search without the limit that nobody gave, as no network of its space keeps it."""
    config = replace(config, max_flops=None, max_latency=None)
    timings = [replace(timing, limit=None) for timing in timings]
    said = notes[0].partition(", as no limit")[0]
    return Limited(config, timings, [f"no limit, as no network of the space keeps {said}"])


def _from_parent(config: SearchSettings) -> bool:
    """Say whether a resumed search has the latency of its parent as its limit."""
    return config.max_latency is not None and "max_latency" not in config.given


def _latency(
    config: SearchSettings,
    timings: Sequence[Timing],
    data: DataSet,
    parent: Parent,
    network: Architecture,
) -> Limited:
    """Return a search within its parent's latency on each device.

    Candidates are held to what is predicted of the parent by what is predicted of them. Whatever is
    measured here takes turns with the parent, which then counts as the limit: neither an error of
    the profile nor a change of the machine's speed lets a slower network pass. A resumed search
    keeps what it began with.
    """
    budget, found, limited, said = budget_of(config, data), [], [], []
    before = config.max_latency or (0.0,) * len(timings)
    for timing, known in zip(timings, before, strict=True):
        predicted = budget.latency_ms(network, timing.name) if timing.profile else 0.0
        measured = 0.0
        if timing.here:
            measured = timing.milliseconds(network)
        limit = known or predicted or measured
        how = f"{predicted:.2f} ms predicted" * bool(predicted)
        how += ", " * bool(predicted and measured) + f"{measured:.2f} ms measured" * bool(measured)
        said.append(f"{timing.name}{' ' * bool(timing.name)}{how}")
        found.append(limit)
        turns = timing.here and timing.bench is None
        one = replace(timing, limit=limit)
        limited.append(replace(one, unit=network, unit_ms=limit, relative=True) if turns else one)
    note = (
        f"max_latency={','.join(f'{limit:.4g}' for limit in found)}, the latency of {parent.name} "
        f"at {network.imgsz or config.imgsz} px ({'; '.join(said)}), as no limit is given; {NONE}"
    )
    return Limited(replace(config, max_latency=tuple(found)), limited, [note])


def _beside(timing: Timing, unit: Architecture | None, budget: Budget, imgsz: int) -> Timing:
    """Return a timing that tells a slow machine by a network whose latency its profile predicts."""
    profile = timing.profile
    if unit is None or profile is None or not timing.here or unit.timm:
        return timing
    if (unit.imgsz or imgsz) not in profile.sizes:
        return timing
    return replace(timing, unit=unit, unit_ms=budget.latency_ms(unit, timing.name))


def _counted(config: SearchSettings, data: DataSet, parent: Parent) -> float:
    """Return the FLOPs of a parent whose network cannot be read, as Ultralytics counts them."""
    try:
        return models.costs(
            parent.definition,
            nc=data.nc,
            channels=data.channels,
            imgsz=config.imgsz,
            task=config.task,
            keypoints=data.keypoints,
        )[1]
    except TrialError as error:
        raise NASError(
            f"{parent.key}={parent.path}: cannot be built for data={data.source} ({error}); give "
            "another parent"
        ) from error
