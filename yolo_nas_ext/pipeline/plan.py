"""What a search is going to do: settled and checked before anything is written."""

from __future__ import annotations

import contextlib
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache
from typing import Any

from yolo_nas_ext.config import rules
from yolo_nas_ext.config.search import MOST, PARENT, RESOLVED, TRAININGS, SearchSettings
from yolo_nas_ext.cost.budget import Budget
from yolo_nas_ext.errors import NASError
from yolo_nas_ext.estimators.base import Estimator
from yolo_nas_ext.estimators.factory import check_start, space_file, space_of, starts
from yolo_nas_ext.estimators.factory import make as make_estimator
from yolo_nas_ext.estimators.zero_cost.closed_form import Analytic, Free
from yolo_nas_ext.estimators.zero_cost.resolved import Resolved
from yolo_nas_ext.host import dataset, opencv
from yolo_nas_ext.host.plugin import timm_trace
from yolo_nas_ext.host.training import distillation
from yolo_nas_ext.host.transfer.parents import Parent
from yolo_nas_ext.network.emit import blocks_of
from yolo_nas_ext.network.timm_backbones import blocks_alone, name_of
from yolo_nas_ext.pipeline import auto_batch, baselines, effort, energy, latency, limits, noise
from yolo_nas_ext.pipeline import parent as parents
from yolo_nas_ext.pipeline.baselines import First
from yolo_nas_ext.pipeline.changes import ChangeScores, scorable
from yolo_nas_ext.pipeline.measure import measure_of
from yolo_nas_ext.pipeline.screening import Screen, ranker, weighted_ranks
from yolo_nas_ext.pipeline.screening import parse as parse_screen
from yolo_nas_ext.plugins import load_blocks
from yolo_nas_ext.space.choices import Point
from yolo_nas_ext.space.networks import NetworkSpace
from yolo_nas_ext.space.parent import ParentSpace
from yolo_nas_ext.strategies import Strategy
from yolo_nas_ext.strategies import make as make_strategy
from yolo_nas_ext.strategies.screening import Screened
from yolo_nas_ext.study.measure import Measure
from yolo_nas_ext.study.objectives import Goal
from yolo_nas_ext.study.trial import Trial

AUTO, ADDITIVE = "auto", "additive"
PRIOR = "madnas"  # an analytic score that `bayes` starts from and learns from


@dataclass(frozen=True)
class Plan:
    """A search that can begin.

    Attributes:
        config: Its settings.
        data: The data set that is searched on.
        whole: All of it, which finals train on.
        budget: What a candidate may cost.
        space: Where it looks, within the budget.
        goal: Objectives and limits.
        strategy: Where it looks next.
        control: Makes the strategy that the other is compared with; None without one.
        estimator: How good a candidate is.
        first: What is tried before the strategy proposes: the parent, its pencils, the baselines.
        notes: What the user should know: skipped images, baselines left out.
        timings: How latency is known, of each device; none where it is not.
        energy: How energy is measured, where something asks for it.
        parent: The trained network that the search starts from, if it does.
        changes: What scores the parent's changes, where the strategy adds them up.
        measure: What fitness is, for people.
    """

    config: SearchSettings
    data: dataset.DataSet
    whole: dataset.DataSet
    budget: Budget
    space: NetworkSpace
    goal: Goal
    strategy: Strategy
    control: Callable[[], Strategy] | None
    estimator: Estimator
    first: First
    notes: Sequence[str]
    timings: Sequence[latency.Timing] = ()
    energy: energy.Energy | None = None
    parent: Parent | None = None
    changes: ChangeScores | None = None
    measure: Measure = field(default_factory=Measure)

    @property
    def timing(self) -> latency.Timing | None:
        """How latency is known of the first device, or of the only one."""
        return next(iter(self.timings), None)

    @property
    def trials(self) -> int:
        """Number of trials: with ``trials=0`` the parent alone."""
        return max(self.config.trials, 1)

    @property
    def baselines(self) -> Sequence[Trial]:
        """Networks to try first."""
        return self.first.trials


def make(config: SearchSettings) -> Plan:
    """Return the plan of a search.

    Raises:
        NASError: For settings that cannot be followed, or that cannot go together.
    """
    rules.check(config)
    screen = parse_screen(config.screen) if config.screen else None
    own_blocks = load_blocks(config.blocks)
    check_start(config)
    config, parent, said = parents.settle(config)
    rules.check(config)
    config = _sized(config)
    whole_data = dataset.read(config.data, config.task, group=config.group)
    data = searched_on(config, whole_data)
    if parent:
        parent.check(data)
    named = baselines.named(config, parent)
    timings = latency.settle(config, data.nc, space_file(config))
    config, timings, limit = limits.settle(config, timings, data, parent, named)
    config, batch = auto_batch.settle(config, data, parent, named)
    config, planned = effort.fit(config, data, parent, named)
    space, budget = space_of(config, data)
    if limit and not _has_networks(space, config):
        config, timings, limit = limits.without(config, timings, limit)
        space, budget = space_of(config, data)
    whole = _whole_backbones(config, space, budget)
    bounds = {name: bound for timing in timings for name, bound in timing.bounds.items()}
    goal = Goal(config.objectives, config.limits, bounds)
    estimator = make_estimator(parents.candidates(config, parent), data)

    changes = _changes(config, space, estimator)

    def strategy(name: str, space: NetworkSpace) -> Strategy:
        return _strategy(name, config, space, budget, goal, estimator, data, changes)

    name = ADDITIVE if changes else config.strategy
    chosen = strategy(name, _preferring(space, screen, config, data))
    if config.screen:
        chosen = Screened(chosen, space)
    _check_teacher(config, data)
    rival = config.control
    control = (lambda: strategy(rival, space)) if rival else None
    if control:
        control()  # says what is allowed
    timing = next(iter(timings), None)
    first = baselines.Firsts(config, space, budget, data, parent, timing).made(named)
    first = noise.measured(first, config, estimator, parent)
    joules = energy.settle(config, data.nc, space, _runs_here(timings))
    space.sample(random.Random(config.seed))  # says which limit binds if none fits
    unlimited = [f"{n}=none sets no limit" for n in MOST if n in config.given and _none(config, n)]
    notes = [
        *filter(None, [opencv.mixed()]),
        *data.said,
        *data.notes,
        *_sampled(config, data),
        *_part(data, whole_data),
        *unlimited,
        *_unused(config, own_blocks, space),
        *said,
        *batch,
        *planned,
        *whole,
        *limit,
        *first.notes,
        *(note for timing in timings for note in timing.notes),
        *(joules.notes if joules else ()),
    ]
    return Plan(
        config,
        data,
        whole_data,
        budget,
        space,
        goal,
        chosen,
        control,
        estimator,
        first,
        notes,
        timings,
        joules,
        parent,
        changes,
        measure_of(config, estimator),
    )


def _runs_here(timings: Sequence[latency.Timing]) -> latency.Protocol | None:
    """Return how the profile of this machine runs networks, where there is one."""
    return next((timing.protocol for timing in timings if timing.profile and timing.here), None)


def searched_on(config: SearchSettings, data: dataset.DataSet) -> dataset.DataSet:
    """Return the part of the training images that a search looks at.

    Raises:
        NASError: For more images than there are.
    """
    images = config.images or max(2, round(config.fraction * len(data.images)))
    if config.images is None and images >= len(data.images):
        return data
    return dataset.drawn(data, images, config.seed)


def _unused(config: SearchSettings, kinds: Sequence[str], space: NetworkSpace) -> list[str]:
    """Return what to say of blocks of the user's that no network of a space has."""
    has = {option for options in space.choices.values() for option in options}
    if isinstance(space, ParentSpace):
        has |= {block.kind for block in blocks_of(space.parent)}
    unused = [kind for kind in kinds if kind not in has]
    if not unused:
        return []
    names, plural = ", ".join(unused), "s" * (len(unused) > 1)
    return [
        f"blocks={config.blocks}: no network of space={config.space} has the block{plural} "
        f"{names}; a space file names a block in a stage or the neck, as block: [{unused[0]}, c2f]"
    ]


def _part(data: dataset.DataSet, whole: dataset.DataSet) -> list[str]:
    """Return what to say where a part of the images is searched on."""
    if data is whole:
        return []
    return [
        f"searched on {len(data.images)} of {len(whole.images)} training images, the classes in "
        "share; a final comparison trains on all"
    ]


def _none(config: SearchSettings, name: str) -> bool:
    return config.values[name] is None


def _changes(
    config: SearchSettings, space: NetworkSpace, estimator: Estimator
) -> ChangeScores | None:
    """Return what scores the changes of a parent, where they are added up; ``auto`` does so."""
    training: Any = getattr(estimator, "training", estimator)
    if config.strategy not in (AUTO, ADDITIVE) or not isinstance(space, ParentSpace):
        return None
    if not scorable(training) or (config.strategy == AUTO and len(config.objectives) > 1):
        return None
    return ChangeScores(space, training)


def _check_teacher(config: SearchSettings, data: dataset.DataSet) -> None:
    """Refuse a teacher that cannot teach; the parent becomes one in the first trial."""
    if config.teacher == PARENT and config.task not in distillation.HEADS:
        raise NASError(
            f"teacher={PARENT}: nothing is taught with task={config.task}; leave it out, or give a "
            f"task of {', '.join(distillation.HEADS)}"
        )
    if config.teacher and config.teacher != PARENT:
        one = bool(config.host.get("single_cls"))
        distillation.load(config.teacher, config.task).check(data, single_cls=one)


def _has_networks(space: NetworkSpace, config: SearchSettings) -> bool:
    """Say whether a space has a network within a limit that nobody gave."""
    try:
        space.sample(random.Random(config.seed))
    except NASError:
        return False
    return True


def _sized(config: SearchSettings) -> SearchSettings:
    """Return the settings with the one image size of a space that has it.

    Raises:
        NASError: Where image sizes are compared by what cannot compare them.
    """
    sizes = space_file(config).choices.get("imgsz", ())
    if len(sizes) == 1:
        return replace(config, imgsz=sizes[0])
    family = config.estimator == "supernet" and config.model  # is trained at all of them
    compares = config.estimator == RESOLVED or starts(config.estimator)
    if sizes and not family and not compares:
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


def _whole_backbones(config: SearchSettings, space: NetworkSpace, budget: Budget) -> list[str]:
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
    space: NetworkSpace, screen: Screen | None, config: SearchSettings, data: dataset.DataSet
) -> NetworkSpace:
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
    space: NetworkSpace,
    budget: Budget,
    goal: Goal,
    estimator: Estimator,
    data: dataset.DataSet,
    changes: ChangeScores | None = None,
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
    if name == ADDITIVE and isinstance(space, ParentSpace):
        options |= {"parent": space.origin, "score": changes}
    if name == "darts":
        options["learned"] = estimator.distribution  # pyright: ignore[reportAttributeAccessIssue]
    return make_strategy(
        name,
        space,
        goal=goal,
        trials=max(config.trials, 1),
        features=lambda point: list(free(point).values()),
        prior=None if config.screen else prior,
        **options,
    )


def _sampled(config: SearchSettings, data: dataset.DataSet) -> list[str]:
    """Return what to say where scans are ranked by some of their slices."""
    part = data.sampled
    if config.fitness not in ("froc", "dice") or part == 1:
        return []
    return [
        f"for speed, fitness={config.fitness} of the search is of slices of train, which has "
        f"{part:.0%} of those without an object; val has all, and figures there are lower"
    ]
