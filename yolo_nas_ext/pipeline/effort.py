"""``budget_hours`` alone: what fits into so many hours, from a training that is timed first."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import Any

from yolo_nas_ext.config.search import NORMAL, QUICK, THOROUGH, SearchSettings, with_effort
from yolo_nas_ext.console import duration, say
from yolo_nas_ext.errors import NASError, TrialError
from yolo_nas_ext.estimators.training import Training, short
from yolo_nas_ext.host.dataset import DataSet
from yolo_nas_ext.host.transfer.parents import Parent
from yolo_nas_ext.network.architecture import Architecture
from yolo_nas_ext.pipeline import confirm
from yolo_nas_ext.pipeline.baselines import Baseline
from yolo_nas_ext.pipeline.parent import candidates
from yolo_nas_ext.pipeline.reevaluate import PART

USUAL = "yolo11n"  # is timed where a search has neither a parent nor a baseline
BATCHES = (1, 2, 6)  # of the timed trainings; the first warms up, the others make a line
LOOK = 1 / 3  # of the time of an image in training: a pass forward alone
ENOUGH = 2 / 3  # of an effort's usual trials have to fit
LEAST = 4  # trials, without which there is nothing to compare


@dataclass(frozen=True)
class Pace:
    """What a training takes on this machine.

    Attributes:
        image: Seconds of an image in training.
        start: Seconds of a training beside its images.
        name: The network that was timed.
    """

    image: float
    start: float
    name: str

    def seconds(self, epochs: int, images: int, looked_at: int) -> float:
        """Return the seconds of a training.

        Args:
            epochs: Its epochs.
            images: It trains on.
            looked_at: Images that it is measured on at the end.
        """
        return self.start + self.image * (epochs * images + LOOK * looked_at)


def asked(config: SearchSettings) -> bool:
    """Say whether the hours alone say how long a search is."""
    own = {"trials", "epochs"} & config.given
    alone = config.budget_hours is not None and not own and config.resume is None
    return alone and config.estimator == "short" and not config.fidelity and not config.storage


def fit(
    config: SearchSettings,
    data: DataSet,
    parent: Parent | None,
    named: Sequence[Baseline],
    pace: Callable[..., Pace] | None = None,
) -> tuple[SearchSettings, list[str]]:
    """Return settings of which the whole search fits into its hours, and what to say of it.

    Args:
        config: The settings; they are returned as they are unless the hours alone were given.
        data: The data set.
        parent: What the search starts from.
        named: Networks of ``baseline=``.
        pace: Times a training; `timed` unless given.

    Raises:
        NASError: Where the network that is timed cannot be trained.
    """
    if not asked(config):
        return config, []
    training = short(candidates(config, parent), data)
    network, name = _reference(parent, named)
    found = (pace or timed)(training, network, name, batch=config.images_a_step)
    images, held_out = (len(part) for part in training.split)
    hours = float(config.budget_hours or 0)
    efforts = [config.effort] if config.effort else [THOROUGH, NORMAL, QUICK]

    def fitted(effort: str) -> tuple[SearchSettings, float, float, int]:
        """Return settings, seconds of a trial and of what follows, and how many trials fit."""
        chosen = with_effort(config, effort)
        trial = found.seconds(chosen.epochs, images, held_out)
        after = _after(chosen, found, images, held_out, trial)
        return chosen, trial, after, int((3600 * hours - after) / trial)

    # The last is taken, whether it fits or not.
    enough = (plan for plan in map(fitted, efforts) if plan[-1] >= ENOUGH * plan[0].trials)
    chosen, trial, after, trials = next(enough, None) or fitted(efforts[-1])
    fits = trials >= LEAST
    trials = max(trials, LEAST)
    within = max(hours - after / 3600, trial / 3600)
    planned = replace(chosen, trials=trials, budget_hours=round(within, 4))
    return planned, [_said(config, planned, found, trial, after, fits)]


def _after(config: SearchSettings, pace: Pace, images: int, held_out: int, trial: float) -> float:
    """Return the seconds of what follows the trials: confirmation and final comparison."""
    beside = len(config.baseline) + 2 * (config.model is not None)  # with ours and stock recipe
    pencil = int(config.model is not None and config.pencils)
    again = min(config.confirm, config.trials // PART)
    if confirm.way(config) == confirm.CONFIRM_AGAIN:
        confirming = (2 * again + 1) * trial  # as many as may overtake, and the baseline
    else:
        long = pace.seconds(confirm.epochs_of(config), images, held_out)
        confirming = (again + pencil + 1) * long if again else 0.0
    whole = images + held_out
    final = pace.seconds(config.final_epochs, whole, held_out)
    finals = config.seeds * (config.finalists + pencil + beside) * final if config.finalists else 0
    return confirming + finals


def _said(
    config: SearchSettings,
    planned: SearchSettings,
    pace: Pace,
    trial: float,
    after: float,
    fits: bool,
) -> str:
    """Return the plan in a sentence."""
    total = planned.trials * trial + after
    effort = f"effort={planned.effort}"
    finals = f", then confirmation and final comparison, about {duration(after)}" if after else ""
    plan = (
        f"{effort} with {planned.trials} trials of {planned.epochs} epochs, about "
        f"{duration(trial)} each{finals}: {duration(total)} in all, by the time of "
        f"{pace.name} here ({1e3 * pace.image:.3g} ms an image)"
    )
    head = f"budget_hours={config.budget_hours:g}"
    if fits:
        return f"{head} is planned as {plan}"
    return (
        f"{head} is too short; the least is {plan}. No trial starts after the hours of the trials"
    )


def _reference(
    parent: Parent | None, named: Sequence[Baseline]
) -> tuple[Architecture | Mapping[str, Any] | str, str]:
    """Return the network that is timed, and its name: the parent, a baseline, or a usual one."""
    if parent is not None:
        return parent.yaml if parent.unread else parent.architecture, parent.name
    for baseline in named:
        network = None if baseline.counted else baseline.network or baseline.definition
        if network is not None:
            return network, baseline.name
    return USUAL, USUAL


def timed(training: Training, network: Any, name: str, *, batch: int) -> Pace:
    """Return the pace of trainings, from three short ones; nothing is written.

    Args:
        training: How candidates train.
        network: What is trained.
        name: Its name, for people.
        batch: Images a step.

    Raises:
        NASError: Where it cannot be trained.
    """
    say(f"timing some steps of {name}, to plan what fits")
    train, held_out = training.split
    looked_at = held_out[:batch]
    found: list[tuple[int, float]] = []
    probe = copy(training)
    for batches in BATCHES:
        probe.split = (train[: batches * batch], looked_at)
        begin = time.perf_counter()
        try:
            probe.estimate(network, {"epochs": 1})
        except TrialError as error:
            raise NASError(
                f"budget_hours: {name} cannot be trained, by which the hours are planned "
                f"({error.kind}: {error}); give trials= and epochs= with it"
            ) from error
        found.append((len(probe.split[0]), time.perf_counter() - begin))
    (few, less), (many, more) = found[1:]
    if many == few:  # so few images that all trainings are alike
        return Pace(less / (few + LOOK * len(looked_at)), 0.0, name)
    image = max((more - less) / (many - few), 1e-6)
    return Pace(image, max(less - image * (few + LOOK * len(looked_at)), 0.0), name)
