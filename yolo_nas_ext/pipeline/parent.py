"""``model=``: what a search knows of the trained network that it starts from, and what follows."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from yolo_nas_ext.config.names import CONFIRM_AGAIN
from yolo_nas_ext.config.search import PARENT, SearchSettings
from yolo_nas_ext.cost.latency.profile import asked
from yolo_nas_ext.errors import NASError
from yolo_nas_ext.estimators.factory import fitness_of
from yolo_nas_ext.host.models import SUFFIX
from yolo_nas_ext.host.transfer import parents
from yolo_nas_ext.host.transfer.parents import Parent
from yolo_nas_ext.pipeline import confirm
from yolo_nas_ext.study.study import Study
from yolo_nas_ext.study.trial import Trial

# Image sizes around the search's own, in steps of a tenth of it: without its highest level a parent
# often fits the limit at a tenth more. One below and two above are there however coarse steps are.
RANGE, STEPS = (0.8, 1.4), (-1, 0, 1, 2)
LEAST = 64  # pixels, below which the highest level of most parents is a single cell


class Settled(NamedTuple):
    """A search whose parent is known: its settings, the parent, and what to say of it."""

    config: SearchSettings
    parent: Parent | None = None
    notes: tuple[str, ...] = ()


def settle(config: SearchSettings) -> Settled:
    """Return the settings of a search with what its parent says: task, image size, its sizes.

    Raises:
        NASError: For a checkpoint that cannot be a parent, or one of another task.
    """
    if not config.model:
        return Settled(config)
    parent = parents.load(config.model, config.parent_key)
    if "task" not in config.given:
        config = replace(config, task=parent.task)
    if parent.task != config.task:
        raise NASError(
            f"{config.parent_key}={config.model}: is of task={parent.task}, not {config.task}; "
            f"leave task out, or give a parent of task={config.task}"
            f", such as yolo11n{SUFFIX.get(config.task, '')}.pt"
        )
    if "imgsz" not in config.given and config.resume is None:
        config = replace(config, imgsz=parent.imgsz)
    config = replace(config, model=str(parent.path))
    if config.space == PARENT:
        return Settled(replace(config, sizes=_sizes(config)), parent)
    note = ()
    if parent.unread:
        note = (
            f"{parent.name} is a baseline alone, as its network cannot be changed "
            f"({parent.unread}): candidates start from random weights",
        )
    return Settled(config, parent, note)


def _sizes(config: SearchSettings) -> tuple[int, ...]:
    """Return the image sizes of a space of the parent: the profile's, or some around its own."""
    said = config.sizes or "sizes" in config.given or config.resume is not None
    grows = config.fidelity and "imgsz" in config.fidelity
    if said or grows or config.vectorized:
        return config.sizes
    if config.profiles:  # the sizes that all of the devices know
        return tuple(sorted(set.intersection(*({*asked(f).sizes} for _, f in config.profiles))))
    own = config.imgsz
    step = max(32, 32 * round(own / 10 / 32))
    low, high = (share * own for share in RANGE)
    within = (own + step * k for k in range(-10, 10))
    sizes = {size for size in within if low <= size <= high} | {own + step * k for k in STEPS}
    return tuple(sorted(size for size in sizes if size >= min(LEAST, own)))


def candidates(config: SearchSettings, parent: Parent | None) -> SearchSettings:
    """Return the settings of candidates, which start from no parent that cannot be read."""
    return alone(config) if parent and parent.unread else config


def alone(config: SearchSettings) -> SearchSettings:
    """Return the settings of a training from random weights whose fitness compares with others'."""
    way = confirm.way(config)
    epochs = None if way == CONFIRM_AGAIN else confirm.epochs_of(config)
    return replace(
        config,
        model=None,
        pretrained=None,
        inherit=None,
        fitness=fitness_of(config),
        confirm_by=way,
        confirm_epochs=epochs,
    )


def trial_of(study: Study, parent: Parent | None) -> Trial | None:
    """Return the complete trial that fine-tuned the parent, if there is one."""
    name = parent.name if parent else ""
    return next((t for t in study.complete if name and t.name == name), None)
