"""Estimators by name, made from the settings of a search."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from yolo_nas_ext import plugins
from yolo_nas_ext.config.compare import CompareSettings
from yolo_nas_ext.config.search import PARENT, PROXIES, RESOLVED, SearchSettings
from yolo_nas_ext.cost.budget import LIMITS, Budget
from yolo_nas_ext.cost.latency.profile import asked
from yolo_nas_ext.data import augment
from yolo_nas_ext.errors import NASError
from yolo_nas_ext.estimators.base import Estimator
from yolo_nas_ext.space.detector import DetectorSpace


def _short(config: SearchSettings, data: Any) -> Estimator:
    from yolo_nas_ext.estimators.training import ShortTraining

    return ShortTraining(data, **training_options(config))


def _full(config: SearchSettings, data: Any) -> Estimator:
    from yolo_nas_ext.estimators.training import FullTraining

    return FullTraining(data, **training_options(config))


def training_options(config: SearchSettings | CompareSettings) -> dict[str, Any]:
    """Return the arguments of a training that the settings of a search give."""
    overrides = dict(config.host)
    if config.augment:
        chosen = augment.preset(config.augment)
        overrides = {**chosen.keys, **overrides, "augmentations": chosen.transforms()}
    return {
        "task": config.task,
        "epochs": config.epochs,
        "imgsz": config.imgsz,
        "batch": config.batch,
        "seed": config.seed,
        "val_fraction": config.val_fraction,
        "device": config.device,
        "overrides": overrides,
        "timeout": config.timeout,
        "fitness": fitness_of(config),
        "threads": config.threads,
        "inherit": config.pretrained or (None if config.inherit == PARENT else config.inherit),
    }


def _supernet(config: SearchSettings, data: Any) -> Estimator:
    from yolo_nas_ext.estimators.weight_sharing import SharedWeights

    return SharedWeights(
        data,
        space_of(config, data)[0],
        sampling=config.sampling,
        distill=config.distill,
        learn=config.strategy == "darts",
        cost_weight=config.cost_weight,
        relaxation=config.relaxation,
        **training_options(config),
    )


def space_of(config: SearchSettings, data: Any) -> tuple[DetectorSpace, Budget]:
    """Return the space of a search within its budget, and the budget."""
    limits = {name: config.values[name] for name in LIMITS if config.values[name] is not None}
    profile = asked(config.latency)
    if profile is None:  # each network is measured, which takes too long to be asked of all
        limits.pop("max_latency", None)
    budget = Budget(
        limits, data.nc, config.imgsz, data.channels, config.task, data.keypoints, profile
    )
    return space_file(config).within(budget), budget


def space_file(config: SearchSettings) -> DetectorSpace:
    """Return the space of a search without its budget."""
    return DetectorSpace.load(config.space, config.task, config.fix, config.sizes)


def fitness_of(config: SearchSettings | CompareSettings) -> str:
    """Return what the trainings of a search are evaluated by, where nothing is said too."""
    if config.fitness != "auto":
        return config.fitness
    return "projected" if (config.estimator, config.task) == ("short", "detect") else "host"


def _analytic(config: SearchSettings, data: Any) -> Estimator:
    from yolo_nas_ext.estimators.zero_cost.closed_form import Analytic

    return Analytic(config.estimator, imgsz=config.imgsz, channels=data.channels)


def _resolved(config: SearchSettings, data: Any) -> Estimator:
    from yolo_nas_ext.estimators.zero_cost.resolved import Resolved

    return Resolved(data, imgsz=config.imgsz)


def _untrained(config: SearchSettings, data: Any) -> Estimator:
    from yolo_nas_ext.estimators.zero_cost.proxy import AzNas, Untrained

    options = {
        "task": config.task,
        "imgsz": config.imgsz,
        "batch": config.batch,
        "seed": config.seed,
        "val_fraction": config.val_fraction,
    }
    if config.estimator == "az_nas":
        return AzNas(space_file(config), data, **options)
    return Untrained(config.estimator, data, **options)


ESTIMATORS: dict[str, Callable[[Any, Any], Estimator]] = {
    "short": _short,
    "full": _full,
    "supernet": _supernet,
    "madnas": _analytic,
    "deepmad": _analytic,
    RESOLVED: _resolved,
    **dict.fromkeys(PROXIES, _untrained),
}


def make(config: SearchSettings, data: Any) -> Estimator:
    """Return the estimator that the settings name.

    Args:
        config: Settings of the search, which `config.rules` has checked.
        data: The data set, see `host.dataset.DataSet`.

    Raises:
        NASError: For data that the estimator cannot use, or a file of the user's without one.
    """
    name = config.estimator
    if plugins.named(name):
        return _own(name, config, data)
    made = ESTIMATORS[name](config, data)
    if config.fidelity:
        from yolo_nas_ext.estimators.multi_fidelity import Rungs, parse
        from yolo_nas_ext.estimators.training import Training

        assert isinstance(made, Training)
        return Rungs(made, parse(config.fidelity))
    return made


def _own(name: str, config: SearchSettings, data: Any) -> Estimator:
    """Return an estimator from a file of the user's; what it does not say has its usual value."""
    made = plugins.load(name, "estimator")
    try:
        estimator = made(config, data)
    except NASError:
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise NASError(
            f"estimator={name}: cannot be made with (config, data) ({reason})"
        ) from error
    if not callable(getattr(estimator, "estimate", None)):
        raise NASError(
            f"estimator={name}: has no estimate(architecture, fidelity, report, weights)"
        )
    for attribute, usual in (("seeded", False), ("fidelity", {"imgsz": config.imgsz})):
        if not hasattr(estimator, attribute):
            setattr(estimator, attribute, usual)
    return estimator
