"""What is tried before a search proposes anything: the parent, its pencils, the baselines.

A pencil is what a hand would try: the parent at another image size, without its highest level, or
with all widths cut evenly.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from yolo_nas_ext.config.search import TRAININGS, SearchSettings
from yolo_nas_ext.console import short
from yolo_nas_ext.cost.budget import Budget
from yolo_nas_ext.errors import NASError, TrialError
from yolo_nas_ext.estimators.factory import make, parent_network
from yolo_nas_ext.host import models
from yolo_nas_ext.host.dataset import DataSet
from yolo_nas_ext.host.transfer import parents
from yolo_nas_ext.host.transfer.parents import Parent
from yolo_nas_ext.network.architecture import Architecture
from yolo_nas_ext.network.parse import read
from yolo_nas_ext.pipeline.latency import Timing
from yolo_nas_ext.pipeline.parent import alone
from yolo_nas_ext.space.networks import NetworkSpace
from yolo_nas_ext.space.pencils import pencils
from yolo_nas_ext.study.trial import Trial

RANDOM = " (random weights)"  # behind a baseline's name where the others start from trained ones


@dataclass(frozen=True, slots=True)
class Baseline:
    """A network that the user names.

    Attributes:
        given: As it was typed.
        name: What it is called in tables.
        network: The network; None for one of another make, which Ultralytics alone can read.
        weights: The checkpoint that it starts from; None for random weights.
        definition: The model definition of one that cannot be read.
        unread: Why it cannot be read.
        counted: The task of one that nothing here trains: it is counted and timed, and has no
            fitness. Empty for all others.
    """

    given: str
    name: str
    network: Architecture | None
    weights: Path | None = None
    definition: Mapping[str, Any] | None = None
    unread: str = ""
    counted: str = ""

    def flops(self, budget: Budget) -> float:
        """Return the FLOPs of one image; of one that cannot be read as Ultralytics counts them.

        Raises:
            NASError: For a model that cannot be built.
        """
        return (
            self.costs(budget)["flops"]
            if self.network is None
            else (budget.costs(self.network).flops)
        )

    def costs(self, budget: Budget) -> dict[str, float]:
        """Return the parameters and FLOPs as Ultralytics counts them.

        Raises:
            NASError: For a model that cannot be built.
        """
        assert self.definition is not None
        try:
            params, flops = models.costs(
                self.definition,
                nc=budget.nc,
                channels=budget.channels,
                imgsz=budget.imgsz,
                task=self.counted or budget.task,
                keypoints=budget.keypoints,
            )
        except TrialError as error:
            raise NASError(
                f"baseline={self.given}: cannot be built ({error}); leave it out, or check its rows"
            ) from error
        return {"params": float(params), "flops": float(flops)}


@dataclass(frozen=True, slots=True)
class Begin:
    """How a trial is evaluated that does not begin as candidates do.

    Attributes:
        config: The settings that it is trained by; None for those of the candidates.
        estimator: What evaluates it by these settings; None for that of the candidates.
        inherit: The checkpoint that it starts from, in place of what its settings say.
        definition: Of a network that cannot be read.
    """

    config: SearchSettings | None = None
    estimator: Any = None
    inherit: Path | None = None
    definition: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class First:
    """What is tried first.

    Attributes:
        trials: In their order.
        begins: How some of them begin, by name.
        pencils: Names of the pencils.
        notes: What to say of them, also of what is left out.
    """

    trials: tuple[Trial, ...] = ()
    begins: Mapping[str, Begin] = field(default_factory=dict)
    pencils: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def named(config: SearchSettings, parent: Parent | None) -> list[Baseline]:
    """Return the networks of ``baseline=``.

    Raises:
        NASError: For what is none, or cannot be read.
    """
    taken = {parent.name} if parent else set()
    found = []
    for given in dict.fromkeys(config.baseline):
        found_as = _of(given, config.task)
        weights = found_as.weights
        name = Path(given).stem
        if parent and weights is None:
            name += RANDOM
        elif not parent and weights is not None:
            name = weights.name
        if name in taken:
            name = f"{Path(given).parent.name}/{name}"
        taken.add(name)
        found.append(replace(found_as, name=name))
    return found


def _of(given: str, task: str) -> Baseline:
    """Return a baseline, which need not be read to be built, counted, timed and trained."""
    if given.endswith(parents.SUFFIX):
        try:
            found = parents.load(given, "baseline")
        except NASError:
            if (counted := parents.as_given(given, "baseline")) is None:
                raise
            return Baseline(given, "", None, None, counted[0], counted=counted[2])
        if found.task != task:
            raise NASError(
                f"baseline={given}: cannot be compared (it is of task={found.task}, not {task}); "
                "leave it out"
            )
        if found.unread:
            return Baseline(given, "", None, found.path, found.yaml, found.unread)
        return Baseline(given, "", found.architecture, found.path)
    definition, scale = models.definition(given, task)
    try:
        return Baseline(given, "", read(definition, scale))
    except NASError as error:
        reason = str(error).removeprefix("model definition: ")
        known = models.given_task(definition)
        if known and known not in models.BUILT:
            own = models.scaled(definition, scale)
            return Baseline(given, "", None, None, own, reason, known)
        if models.task_of(definition) != task:  # which another trainer would have to train
            raise NASError(f"baseline={given}: cannot be read ({reason}); leave it out") from error
        return Baseline(given, "", None, None, models.scaled(definition, scale), reason)


class Firsts:
    """Makes what is tried first, one after the other.

    Args:
        config: Settings of the search.
        space: The space within the budget.
        budget: What a candidate may cost.
        data: The data set.
        parent: What the search starts from.
        timing: How latency is known.
    """

    def __init__(
        self,
        config: SearchSettings,
        space: NetworkSpace,
        budget: Budget,
        data: DataSet,
        parent: Parent | None,
        timing: Timing | None = None,
    ) -> None:
        self.config, self.space, self.budget = config, space, budget
        self.data, self.parent, self.timing = data, parent, timing
        self._trials: list[Trial] = []
        self._begins: dict[str, Begin] = {}
        self._notes: list[str] = []
        self._pencils: list[str] = []

    def made(self, baselines: Iterable[Baseline]) -> First:
        """Return the parent, its pencils and the baselines."""
        if self.parent:
            self._add_parent(self.parent)
            if self.config.pencils and not self.parent.unread:
                self._add_pencils(self._sized(parent_network(self.config)))
        for baseline in baselines:
            self._add(baseline)
        return First(tuple(self._trials), self._begins, tuple(self._pencils), tuple(self._notes))

    def _add_parent(self, parent: Parent) -> None:
        """Take the parent, which is measured whatever it costs."""
        if parent.unread:
            begin = self._by(self.config)
            self._begins[parent.name] = replace(begin, definition=parent.definition)
            self._put(parent.name, None, None)
            return
        network = self._sized(parent_network(self.config))
        if over := self._over(network):
            self._notes.append(
                f"{parent.name}, the parent, is over the budget: {over}. It is what the others are "
                "compared with, and no answer"
            )
        self._put(parent.name, None if over else self._point(network), network)

    def _add_pencils(self, network: Architecture) -> None:
        """Take what a hand would try within the limit."""
        for name, pencil in pencils(network, self.space, self._share, 1.0).items():
            if all(pencil.key != t.network.key for t in self._trials):
                self._put(name, self._point(pencil), pencil)
                self._pencils.append(name)

    def _add(self, baseline: Baseline) -> None:
        """Take a baseline of the user's, unless it is over the budget or there already."""
        if baseline.network is None:
            self._add_unread(baseline)
            return
        name, network = baseline.name, self._sized(baseline.network)
        if over := self._over(network):
            self._notes.append(f"baseline {name} is over the budget and not trained: {over}")
            return
        same = next((t.name for t in self._trials if t.architecture == network), "")
        if same:
            self._notes.append(
                f"baseline {name} is not trained, as it is the network of {same}; yolo nas-compare "
                "compares one network with several weights"
            )
            return
        point = self._point(network)
        if point is None and self.config.estimator == "supernet":
            self._notes.append(f"baseline {name} has no weights: it is not in the space")
            return
        own = baseline.weights is not None
        if own:
            self._begins[name] = Begin(inherit=baseline.weights)
            self._notes.append(f"baseline {name} starts from {baseline.weights}")
        elif self.parent:
            self._begins[name] = self._by(alone(self.config))
            self._notes.append(f"baseline {name} starts from random weights, as it is no .pt")
        # One that begins otherwise than candidates do is no answer, and no parent of theirs.
        self._put(name, None if own or self.parent else point, network)

    def _add_unread(self, baseline: Baseline) -> None:
        """Take a baseline that Ultralytics alone can read: it is trained, and no answer."""
        name, config = baseline.name, self.config
        cost = baseline.costs(self.budget)
        if baseline.counted:
            self._notes.append(self._counted(baseline, cost))
            return
        bounds = {f"max_{n}": config.values.get(f"max_{n}") for n in cost}
        over = ", ".join(
            f"{self.budget.say(limit, cost[limit[4:]])} > {limit}={self.budget.say(limit, bound)}"
            for limit, bound in bounds.items()
            if bound is not None and cost[limit[4:]] > bound
        )
        if over:
            self._notes.append(f"baseline {name} is over the budget and not trained: {over}")
            return
        if config.estimator not in TRAININGS:
            self._notes.append(
                f"baseline {name} has no score: its network cannot be read ({baseline.unread}), "
                "and a training alone would measure it"
            )
            return
        begin = Begin(definition=baseline.definition, inherit=baseline.weights)
        if baseline.weights is not None:
            self._notes.append(f"baseline {name} starts from {baseline.weights}")
        elif self.parent:
            begin = replace(self._by(alone(config)), definition=baseline.definition)
            self._notes.append(f"baseline {name} starts from random weights, as it is no .pt")
        self._begins[name] = begin
        self._notes.append(
            f"baseline {name} is built and counted by Ultralytics, as its network cannot be read "
            f"({baseline.unread}); it is compared with, and is no answer"
        )
        self._trials.append(Trial(len(self._trials), None, None, name=name, cost=cost))

    def _counted(self, baseline: Baseline, cost: Mapping[str, float]) -> str:
        """Return what to say of a baseline that nothing here trains: its costs and its latency."""
        known = [f"{short(cost['params'])} parameters", f"{short(cost['flops'])}FLOPs"]
        if self.timing is not None and self.timing.here:
            assert baseline.definition is not None
            own = replace(self.timing, task=baseline.counted)
            known.append(f"{own.milliseconds(baseline.definition):.2f} ms measured")
        return (
            f"baseline {baseline.name} has {', '.join(known)} at {self.config.imgsz} px; it is of "
            f"the kind {baseline.counted}, which nothing here trains, so that it has no fitness"
        )

    def _by(self, config: SearchSettings) -> Begin:
        return Begin(config, make(config, self.data))

    def _put(self, name: str, point: Any, network: Architecture | None) -> None:
        self._trials.append(Trial(len(self._trials), point, network, name=name))

    def _sized(self, network: Architecture) -> Architecture:
        sized = self.config.imgsz in self.space.choices.get("imgsz", ())
        return replace(network, imgsz=self.config.imgsz) if sized else network

    def _point(self, network: Architecture) -> Any:
        """Return its point; None where it is measured as a reference, but no parent of others."""
        try:
            return self.space.point_of(network)
        except NASError:
            return None

    def _over(self, network: Architecture) -> str:
        """Return which limits a network is above.

        A limit is often the latency of a baseline, so that their predictions count as they are.
        """
        return ", ".join(
            f"{self.budget.say(limit, value)} > {limit}={self.budget.say(limit, bound)}"
            for limit, (value, bound) in self.budget.values(network, careful=False).items()
            if value > bound
        )

    def _share(self, network: Architecture) -> float:
        """Return the largest share of a limit that a network takes; 0 without limits."""
        shares = [v / bound for v, bound in self.budget.values(network, careful=False).values()]
        timing = self.timing
        if timing is not None and timing.profile is None and timing.limit:
            if max(shares, default=0.0) > 1:  # whose latency does not matter
                return max(shares)
            try:
                shares.append(timing.milliseconds(network) / timing.limit)
            except (NASError, TrialError):
                return float("inf")
        return max(shares, default=0.0)
