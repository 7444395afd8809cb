"""What a search is going to do: settled and checked before anything is written."""

from __future__ import annotations

import contextlib
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from yolo_nas_ext.config import rules
from yolo_nas_ext.config.search import RESOLVED, TRAININGS, SearchSettings
from yolo_nas_ext.cost.budget import Budget
from yolo_nas_ext.errors import NASError
from yolo_nas_ext.estimators.base import Estimator
from yolo_nas_ext.estimators.factory import make as make_estimator
from yolo_nas_ext.estimators.factory import space_file, space_of
from yolo_nas_ext.estimators.zero_cost.closed_form import Analytic, Free
from yolo_nas_ext.estimators.zero_cost.resolved import Resolved
from yolo_nas_ext.host import dataset, models
from yolo_nas_ext.host.plugin import timm_trace
from yolo_nas_ext.host.training import distillation
from yolo_nas_ext.network.parse import read
from yolo_nas_ext.network.timm_backbones import blocks_alone, name_of
from yolo_nas_ext.pipeline import latency
from yolo_nas_ext.pipeline.screening import Screen, ranker, weighted_ranks
from yolo_nas_ext.pipeline.screening import parse as parse_screen
from yolo_nas_ext.plugins import load_blocks
from yolo_nas_ext.space.choices import Point
from yolo_nas_ext.space.detector import DetectorSpace
from yolo_nas_ext.strategies import Strategy
from yolo_nas_ext.strategies import make as make_strategy
from yolo_nas_ext.strategies.screening import Screened
from yolo_nas_ext.study.objectives import Goal
from yolo_nas_ext.study.trial import Trial

PRIOR = "madnas"  # an analytic score that `bayes` starts from and learns from


@dataclass(frozen=True)
class Plan:
    """A search that can begin.

    Attributes:
        config: Its settings.
        data: The data set.
        budget: What a candidate may cost.
        space: Where it looks, within the budget.
        goal: Objectives and limits.
        strategy: Where it looks next.
        control: Makes the strategy that the other is compared with; None without one.
        estimator: How good a candidate is.
        baselines: Networks to try first.
        notes: What the user should know: skipped images, baselines left out.
        timing: How latency is known, if it is.
    """

    config: SearchSettings
    data: dataset.DataSet
    budget: Budget
    space: DetectorSpace
    goal: Goal
    strategy: Strategy
    control: Callable[[], Strategy] | None
    estimator: Estimator
    baselines: Sequence[Trial]
    notes: Sequence[str]
    timing: latency.Timing | None = None


def make(config: SearchSettings) -> Plan:
    """Return the plan of a search.

    Raises:
        NASError: For settings that cannot be followed, or that cannot go together.
    """
    rules.check(config)
    screen = parse_screen(config.screen) if config.screen else None
    load_blocks(config.blocks)
    config = _sized(config)
    data = dataset.read(config.data, config.task)
    space, budget = space_of(config, data)
    whole = _whole_backbones(config, space, budget)
    timing = latency.settle(config, data.nc, space)
    goal = Goal(config.objectives, config.limits, timing.bounds if timing else {})
    estimator = make_estimator(config, data)

    def strategy(name: str, space: DetectorSpace) -> Strategy:
        return _strategy(name, config, space, budget, goal, estimator, data)

    chosen = strategy(config.strategy, _preferring(space, screen, config, data))
    if config.screen:
        chosen = Screened(chosen, space)
    if config.teacher:
        one = bool(config.host.get("single_cls"))
        distillation.load(config.teacher, config.task).check(data, single_cls=one)
    rival = config.control
    control = (lambda: strategy(rival, space)) if rival else None
    if control:
        control()  # says what is allowed
    baselines, notes = _baselines(config, space, budget)
    space.sample(random.Random(config.seed))  # says which limit binds if none fits
    return Plan(
        config,
        data,
        budget,
        space,
        goal,
        chosen,
        control,
        estimator,
        baselines,
        [*data.skipped, *whole, *notes, *(timing.notes if timing else ())],
        timing,
    )


def _sized(config: SearchSettings) -> SearchSettings:
    """Return the settings with the one image size of a space that has it.

    Raises:
        NASError: Where image sizes are compared by what cannot compare them.
    """
    sizes = space_file(config).choices.get("imgsz", ())
    if len(sizes) == 1:
        return replace(config, imgsz=sizes[0])
    if sizes and config.estimator not in (*TRAININGS, RESOLVED):
        raise NASError(
            f"space={config.space}: imgsz has the options {', '.join(map(str, sizes))}, and "
            f"estimator={config.estimator} cannot compare image sizes; fix it with "
            f"fix=imgsz:{sizes[0]}, or give estimator={' or '.join((*TRAININGS, RESOLVED))}"
        )
    if sizes and config.fidelity and "imgsz" in config.fidelity:
        raise NASError(
            f"fidelity={config.fidelity}: the image size is a choice of space={config.space}, so "
            "it cannot grow; leave imgsz out of fidelity"
        )
    return config


def _whole_backbones(config: SearchSettings, space: DetectorSpace, budget: Budget) -> list[str]:
    """Return what to say of the backbones of timm in a space.

    Raises:
        NASError: Where networks are scored by a table of blocks, or for a backbone that cannot be
            run at an image size of the search, or whose latency its profile cannot predict.
    """
    timm, instead = blocks_alone(space.choices)
    if timm and config.vectorized:
        raise NASError(
            f"space={config.space}: backbone has {timm}, and estimator={config.estimator} searches "
            f"tables of blocks; {instead}, or give strategy=random"
        )
    for architecture in space.timm_networks():
        budget.record(architecture)
    wanted = [option for option in space.choices.get("backbone", ()) if name_of(option)[1]]
    return [
        f"backbone {option}: random weights, as this machine is offline and cannot take timm's"
        for option in timm_trace.random_weights(wanted)
    ]


def _preferring(
    space: DetectorSpace, screen: Screen | None, config: SearchSettings, data: dataset.DataSet
) -> DetectorSpace:
    """Return the space that the strategy draws from: with a screen, one of several draws."""
    if screen is None:
        return space
    rank = ranker(screen, config, data)
    return space.preferring(
        lambda points: rank([space.architecture(p) for p in points]), screen.draws
    )


def _strategy(
    name: str,
    config: SearchSettings,
    space: DetectorSpace,
    budget: Budget,
    goal: Goal,
    estimator: Estimator,
    data: dataset.DataSet,
) -> Strategy:
    """Return the strategy of that name; a model learns from what is free to know of a network.

    That is its costs and scores. By the ranks of MAE-NAS' score and of `resolved`, or of the FLOPs
    where the data has no boxes, it takes a part of its first points within the budget.
    """

    @cache
    def scores() -> dict[str, Free]:  # for which only some strategies ask
        found: dict[str, Free] = {
            PRIOR: Analytic(PRIOR, imgsz=budget.imgsz, channels=budget.channels)
        }
        with contextlib.suppress(NASError):  # no boxes
            found[RESOLVED] = Resolved(data, imgsz=budget.imgsz)
        return found

    @lru_cache(maxsize=50_000)
    def free(point: Point) -> dict[str, float]:
        architecture = space.architecture(point)
        imgsz = architecture.imgsz or budget.imgsz
        found = {name: score.value(architecture, imgsz) for name, score in scores().items()}
        costs = {n: math.log(max(c, 1e-6)) for n, c in budget.record(architecture).items()}
        return {**costs, **{n: s if math.isfinite(s) else 0.0 for n, s in found.items()}}

    def prior(points: Sequence[Point]) -> list[float]:
        names = (PRIOR, RESOLVED if RESOLVED in scores() else "flops")
        columns = {name: [free(point)[name] for point in points] for name in names}
        return weighted_ranks(columns, dict.fromkeys(columns, 1.0))

    options: dict[str, Any] = {"population": config.population} if name == "evolution" else {}
    if name == "darts":
        options["learned"] = estimator.distribution  # pyright: ignore[reportAttributeAccessIssue]
    return make_strategy(
        name,
        space,
        goal=goal,
        trials=config.trials,
        features=lambda point: list(free(point).values()),
        prior=None if config.screen else prior,
        **options,
    )


def _baselines(
    config: SearchSettings, space: DetectorSpace, budget: Budget
) -> tuple[list[Trial], list[str]]:
    """Return the baselines to try first, and what to say of any that is left out.

    A limit is often the latency of one of them, so that their predictions count as they are.
    """
    baselines, notes = [], []
    for name in dict.fromkeys(config.baseline):
        definition, scale = models.definition(name, config.task)
        try:
            architecture = read(definition, scale)
        except NASError as error:
            raise NASError(
                f"baseline={name}: cannot be read ({str(error).removeprefix('model definition: ')}"
                "); leave it out, or give one of the kind of yolov8n, yolo11n or yolo26n"
            ) from error
        over = [
            f"{budget.say(limit, value)} > {limit}={budget.say(limit, bound)}"
            for limit, (value, bound) in budget.values(architecture, careful=False).items()
            if value > bound
        ]
        stem = Path(name).stem
        if over:
            notes.append(f"baseline {stem} is over the budget and not trained: {', '.join(over)}")
            continue
        if config.imgsz in space.choices.get("imgsz", ()):
            architecture = replace(architecture, imgsz=config.imgsz)
        try:
            point = space.point_of(architecture)
        except NASError:
            point = None  # measured as a reference, but no parent of candidates
            if config.estimator == "supernet":
                notes.append(f"baseline {stem} has no weights: it is not in the space")
                continue
        baselines.append(Trial(len(baselines), point, architecture, name=stem))
    return baselines, notes
