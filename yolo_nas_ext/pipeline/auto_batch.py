"""``batch=auto``: settled once for the largest candidate, and recorded with the run."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from yolo_nas_ext.config.fields import AUTO_BATCH
from yolo_nas_ext.config.search import SearchSettings
from yolo_nas_ext.errors import NASError, TrialError
from yolo_nas_ext.estimators.factory import make, parent_network, space_of
from yolo_nas_ext.host import devices
from yolo_nas_ext.host.dataset import DataSet
from yolo_nas_ext.host.transfer.parents import Parent
from yolo_nas_ext.network.architecture import Architecture
from yolo_nas_ext.network.layers import lower
from yolo_nas_ext.pipeline.baselines import Baseline
from yolo_nas_ext.pipeline.parent import candidates
from yolo_nas_ext.study.trial import Trial

DRAWS = 200  # candidates among which the largest is looked for, beside parent and baselines


def settle(
    config: SearchSettings, data: DataSet, parent: Parent | None, named: Sequence[Baseline]
) -> tuple[SearchSettings, list[str]]:
    """Return settings with the batch that fits, and what to say of it.

    They are returned as they are where a batch was given, or was found when the run began.

    Args:
        config: The settings, with their limits.
        data: The data set.
        parent: What the search starts from.
        named: Networks of ``baseline=``.

    Raises:
        NASError: Where the largest network does not fit with a single image.
    """
    if config.batch != AUTO_BATCH or config.auto_batch:
        return config, []
    own = replace(candidates(config, parent), auto_batch=1, fidelity=None)
    training: Any = make(own, data)
    network, name = _largest(config, data, parent, named)
    pool = devices.pool(config.device)
    sharing = math.ceil(config.jobs / max(1, len(pool)))
    try:
        found, device = training.fitting_batch(network, sharing)
    except (TrialError, NASError) as error:
        raise NASError(
            f"batch=auto: {name} does not fit into the memory ({error}); give a number, a smaller "
            "imgsz or a limit such as max_flops="
        ) from error
    size = network.imgsz or config.imgsz
    said = f"batch=auto is {found}, by Ultralytics for {name} at {size} px on {device}"
    if device.partition(":")[0] in ("cpu", "mps"):
        said += ", where it takes its default"
    elif sharing > 1:
        said += f", which {sharing} trainings share"
    return replace(config, auto_batch=found), [said]


def _largest(
    config: SearchSettings, data: DataSet, parent: Parent | None, named: Sequence[Baseline]
) -> tuple[Architecture, str]:
    """Return the network with the most activations in training, and what it is called.

    Raises:
        NASError: Where there is none whose layers are known.
    """
    found = [(b.network, b.name) for b in named if b.network is not None]
    if parent and not parent.unread:
        found.append((parent_network(config), parent.name))
    with suppress(NASError):  # nothing within the limits, which is said later
        space, rng = space_of(config, data)[0], random.Random(config.seed)
        drawn = (space.architecture(space.sample(rng)) for _ in range(DRAWS))
        found += [(network, f"nas-{network.key}") for network in drawn]
    if not found:
        raise NASError("batch=auto: no network is known whose memory could be tried; give a number")
    return max(found, key=lambda one: _activations(one[0], config, data))


def _activations(network: Architecture, config: SearchSettings, data: DataSet) -> int:
    """Return the elements that all layers of a network write, which a training keeps."""
    size = network.imgsz or config.imgsz
    table = lower(network, data.nc, size, data.channels, task=config.task, keypoints=data.keypoints)
    return sum(layer.size for layer in table.layers)


def said(trials: Sequence[Trial]) -> list[str]:
    """Return what to say of trials that were trained with half the batch."""
    known = {t.number: int(t.metrics["batch"]) for t in trials if "batch" in t.metrics}
    whole = max(known.values(), default=0)
    halved = [str(number + 1) for number, batch in sorted(known.items()) if batch < whole]
    if not halved:
        return []
    noun = "trial" if len(halved) == 1 else "trials"
    return [
        f"{noun} {', '.join(halved)} did not fit into memory with batch={whole}, and trained with "
        "half of it"
    ]
