"""Estimators by name, made from the settings of a search."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from typing import Any

from yolo_nas_ext import plugins
from yolo_nas_ext.config.compare import CompareSettings
from yolo_nas_ext.config.fields import most_of
from yolo_nas_ext.config.names import PRECISIONS, QUANTISED
from yolo_nas_ext.config.search import (
    ANALYTIC,
    PARENT,
    PROXIES,
    RESOLVED,
    TRAININGS,
    SearchSettings,
)
from yolo_nas_ext.cost.budget import LATENCY, LIMITS, Budget
from yolo_nas_ext.cost.latency import nncf_int8
from yolo_nas_ext.cost.latency.profile import asked
from yolo_nas_ext.data import augment
from yolo_nas_ext.errors import NASError
from yolo_nas_ext.estimators.base import Estimator
from yolo_nas_ext.host.transfer import parents
from yolo_nas_ext.host.transfer.weights import Source
from yolo_nas_ext.network.architecture import Architecture
from yolo_nas_ext.network.rows import PLAIN
from yolo_nas_ext.space.detector import DetectorSpace
from yolo_nas_ext.space.networks import NetworkSpace
from yolo_nas_ext.space.parent import ParentSpace

WORKERS = 8  # processes that read images for a training on a GPU, as in Ultralytics


def training_options(config: SearchSettings | CompareSettings) -> dict[str, Any]:
    """Return the arguments of a training that the settings of a search give."""
    # Ultralytics' own number is of one training; several at a time share the cores.
    jobs = config.at_a_time if isinstance(config, CompareSettings) else config.jobs
    shared = {"workers": max(1, WORKERS // jobs)} if jobs > 1 else {}
    overrides = {**shared, **config.host}
    if config.augment:
        chosen = augment.preset(config.augment)
        overrides = {**chosen.keys, **overrides, "augmentations": chosen.transforms()}
    return {
        "task": config.task,
        "epochs": config.epochs,
        "imgsz": config.imgsz,
        "batch": config.batch if isinstance(config, CompareSettings) else config.images_a_step,
        "halves": isinstance(config, SearchSettings) and config.halves,
        "seed": config.seed,
        "val_fraction": config.val_fraction,
        "device": config.device,
        "together": config.ddp,
        "overrides": overrides,
        "timeout": config.timeout,
        "fitness": fitness_of(config),
        "threads": config.threads,
        "cache": most_of(config.cache),
        "inherit": _start(config),
        "precision": _of_candidates(config),
        **({"int8_by": by} if (by := int8_by(config)) else {}),
    }


def _of_candidates(config: SearchSettings | CompareSettings) -> str:
    """Return in which precision besides every training is measured.

    Of a search that is so where an objective or a limit names it; else the best alone are, by a
    training that confirms them or in the finals.
    """
    precision = precision_of(config)
    if isinstance(config, CompareSettings):
        return precision
    named = (*config.objectives, *config.limits)
    return precision if any(name.startswith(f"{precision}_") for name in named) else ""


def precision_of(config: SearchSettings | CompareSettings) -> str:
    """Return the precision that networks are measured in besides; nothing where they are not.

    That is int8, and fp16 where torch is the runtime.
    """
    if config.task not in QUANTISED or config.precision == "fp32":
        return ""
    return config.precision if config.precision == "int8" or config.runtime == "torch" else ""


def int8_by(config: SearchSettings | CompareSettings) -> str:
    """Return the runtime whose own tool quantises networks; nothing where ONNX Runtime's does."""
    own = config.precision == "int8" and nncf_int8.is_here(config.runtime or "")
    return "openvino" if own else ""


def _start(config: SearchSettings | CompareSettings) -> Source | str | None:
    """Return what trainings start from; random weights if that is nothing."""
    if isinstance(config, CompareSettings):  # in which each model has its own
        return None
    if config.model:
        return parents.load(config.model, config.parent_key).source
    return None if config.inherit == PARENT else config.inherit


def space_of(config: SearchSettings, data: Any) -> tuple[NetworkSpace, Budget]:
    """Return the space of a search within its budget, and the budget."""
    names = [name for name in LIMITS if name != LATENCY and config.values[name] is not None]
    limits = {name: config.values[name] for name in names}
    # Where each network is measured, that takes too long to be asked of all.
    of = config.max_latency or ()
    for (name, _), bound in zip(config.profiles, of, strict=False):
        limits[f"{LATENCY}:{name}" if name else LATENCY] = bound
    budget = replace(budget_of(config, data), limits=limits)
    return space_file(config).within(budget), budget


def budget_of(config: SearchSettings, data: Any) -> Budget:
    """Return the budget of a search without its limits: what costs are of."""
    devices = {name: asked(file, config.nms) for name, file in config.profiles}
    return Budget(
        {},
        data.nc,
        config.imgsz,
        data.channels,
        config.task,
        data.keypoints,
        devices.pop("", None),
        devices,
        config.precision if config.precision in PRECISIONS else "fp32",
    )


def space_file(config: SearchSettings) -> NetworkSpace:
    """Return the space of a search without its budget; ``parent`` is made of its checkpoint.

    Raises:
        NASError: For a space that is not there, or a parent that none can be made of.
    """
    if config.space == PARENT and config.model:
        network = parent_network(config)
        within = config.estimator == "supernet"  # which the parent holds
        return ParentSpace(network, config.task, sizes=config.sizes, fix=config.fix, within=within)
    return DetectorSpace.load(
        config.space, config.task, config.fix, config.sizes, yolo26=_heads_of_yolo26(config)
    )


def _heads_of_yolo26(config: SearchSettings) -> bool:
    """Say whether candidates have YOLO26's own heads: those of their parent, which they keep."""
    if not config.model or config.task in (*PLAIN, "detect"):  # of which there is one head
        return False
    parent = parents.load(config.model, config.parent_key)
    return not parent.unread and parent.architecture.head.yolo26


def parent_network(config: SearchSettings) -> Architecture:
    """Return the network of ``model=`` as a search evaluates it: at its image size.

    Raises:
        NASError: For one that cannot be read.
    """
    network = parents.load(str(config.model), config.parent_key).architecture
    sized = config.sizes or network.imgsz
    return replace(network, imgsz=config.imgsz) if sized else network


def detector_space(config: SearchSettings) -> DetectorSpace:
    """Return the space of a search where nothing but a space file will do.

    Raises:
        NASError: For a space that is made of a parent.
    """
    space = space_file(config)
    if not isinstance(space, DetectorSpace):
        raise NASError(
            f"space={config.space}: estimator={config.estimator} is of space files; give one, or "
            "leave estimator out"
        )
    return space


def fitness_of(config: SearchSettings | CompareSettings) -> str:
    """Return what the trainings of a search are evaluated by, where nothing is said too."""
    if config.fitness != "auto":
        return config.fitness
    short = (config.estimator, config.task) == ("short", "detect")
    tuned = isinstance(config, SearchSettings) and config.model
    return "projected" if short and not tuned else "host"  # it was fitted from random weights


# What makes each of a search's settings and data, as ``<file.py>:<name>`` of a user's does.
_ZERO_COST = f"{__package__}.zero_cost"
ESTIMATORS: dict[str, str] = {
    "short": f"{__package__}.training:short",
    "full": f"{__package__}.training:full",
    "supernet": f"{__package__}.family:supernet",
    **dict.fromkeys(ANALYTIC, f"{_ZERO_COST}.closed_form:analytic"),
    RESOLVED: f"{_ZERO_COST}.resolved:estimator",
    **dict.fromkeys(PROXIES, f"{_ZERO_COST}.proxy:untrained"),
    "az_nas": f"{_ZERO_COST}.proxy:untrained_az_nas",
}
ESTIMATE = "estimate(architecture, fidelity, report, weights=weights)"
STARTS = "starts_from_weights"  # attribute of a class that does
RUNGS = f"{__package__}.multi_fidelity:in_rungs"


def _named(dotted: str) -> Callable[..., Any]:
    """Return what ``module:name`` names; only what is asked for is imported."""
    module, _, name = dotted.partition(":")
    return getattr(import_module(module), name)


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
    made = _named(ESTIMATORS[name])(config, data)
    return _named(RUNGS)(made, config.fidelity) if config.fidelity else made


def starts(name: str) -> bool:
    """Say whether an estimator starts from weights: a training, or a class that declares it.

    Args:
        name: A name in `ESTIMATORS`, or ``file.py:Name`` of a class of the user's.

    Raises:
        NASError: For a file of the user's without that class.
    """
    if not plugins.named(name):
        return name in TRAININGS
    return getattr(plugins.load(name, "estimator"), STARTS, False) is True


def check_start(config: SearchSettings) -> None:
    """Refuse weights to start from where an estimator of the user's does not declare that it does.

    Raises:
        NASError: With the key that names the weights.
    """
    if not plugins.named(config.estimator) or starts(config.estimator):
        return
    for key, value in ((config.parent_key, config.model), ("inherit", config.inherit)):
        if value:
            raise NASError(
                f"{key}={value}: estimator={config.estimator} does not say that it starts from "
                f"weights; leave it out, or set {STARTS} = True in the class if it does"
            )


def _own(name: str, config: SearchSettings, data: Any) -> Estimator:
    """Return an estimator from a file of the user's; what it does not say has its usual value."""
    made = plugins.load(name, "estimator")
    try:
        estimator = made(config, data)
    except NASError:
        raise
    except Exception as error:
        raise NASError(
            f"estimator={name}: cannot be made with (config, data) ({plugins.reason(error)})"
        ) from error
    estimate = getattr(estimator, "estimate", None)
    if not callable(estimate):
        raise NASError(f"estimator={name}: has no {ESTIMATE}")
    start = {"inherit": None} if starts(name) else {}
    if wrong := plugins.refuses(estimate, None, {}, None, weights=None, **start):
        also = " with inherit=, as it starts from weights" if start else ""
        raise NASError(
            f"estimator={name}: estimate() cannot be called as {ESTIMATE}{also} ({wrong})"
        )
    for attribute, usual in (("seeded", False), ("fidelity", {"imgsz": config.imgsz})):
        if not hasattr(estimator, attribute):
            setattr(estimator, attribute, usual)
    return estimator
