"""Trial and Study: the record of a search, in Optuna's storage where it is kept on disk."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from yolo_nas_ext.errors import NASError
from yolo_nas_ext.objectives import Goal, front
from yolo_nas_ext.recorded import DAMAGE, Recorded, read, storage_errors
from yolo_nas_ext.space.architecture import Architecture
from yolo_nas_ext.space.choices import ChoiceSpace, Point

STATES = {
    "running": TrialState.RUNNING, "complete": TrialState.COMPLETE, "failed": TrialState.FAIL,
    "pruned": TrialState.PRUNED,
}  # fmt: skip
SIMPLE = (bool, int, float, str, type(None))
TRAINED = "trained_"  # begins the metrics of a training that confirms a trial


@dataclass(frozen=True, slots=True)
class Trial:
    """One candidate and what became of it.

    Attributes:
        number: Place in the order of proposals, from 0.
        point: The point of the space, or None for a reference network that is not in the space.
        architecture: The network, for a detector.
        fidelity: How it was judged, for example ``{"epochs": 10, "imgsz": 128}``.
        state: ``running``, ``complete``, ``failed``, or ``pruned`` when its learning curve fell
            behind.
        metrics: What was measured; ``fitness`` is maximised, other names carry their unit.
        cost: Analytic costs: ``params``, ``flops``, ``memory_bytes``, ``layers``.
        seconds: Wall time of the estimate.
        error: ``kind: message`` of a failed or pruned trial.
        name: Name of a hand-made network, for example ``yolov8n``; empty for a proposal.
        curve: Learning curve: how good it was after each epoch, higher is better.
    """

    number: int
    point: Point | None
    architecture: Architecture | None = None
    fidelity: Mapping[str, float] = field(default_factory=dict)
    state: str = "running"
    metrics: Mapping[str, float] = field(default_factory=dict)
    cost: Mapping[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    error: str = ""
    name: str = ""
    curve: Mapping[int, float] = field(default_factory=dict)

    @property
    def network(self) -> Architecture:
        """The architecture, of a trial that has one."""
        assert self.architecture is not None
        return self.architecture

    @property
    def fitness(self) -> float:
        """Finite fitness of a complete trial, else minus infinity."""
        value = self.metrics.get("fitness", math.nan)
        return value if self.state == "complete" and math.isfinite(value) else -math.inf

    @property
    def trained(self) -> Trial:
        """The trial with what the training that confirms it measured, if there is one."""
        own = {n.removeprefix(TRAINED): v for n, v in self.metrics.items() if n.startswith(TRAINED)}
        return replace(self, metrics={**self.metrics, **own}) if own else self


class Study:
    """The trials of one search in the order of their numbers.

    Args:
        space: The space whose points are recorded.
        path: SQLite file, made if absent; the record is kept in memory only without one.
        goal: What is searched for; it says which trial is best.

    Raises:
        NASError: For a file that cannot be read or written, or that holds another space.
    """

    def __init__(
        self, space: ChoiceSpace, path: Path | None = None, goal: Goal | None = None
    ) -> None:
        self.space = space
        self.path = path
        self.goal = goal or Goal()
        self._trials: list[Trial] = []
        self._ids: list[int] = []
        self._repeats: dict[int, list[float]] = {}
        self._confirmed: dict[int, dict[str, float]] = {}
        self._measured: dict[int, dict[str, float]] = {}
        self._coder = _Coder(space)
        if path is not None:
            self._open(path)

    @property
    def trials(self) -> Sequence[Trial]:
        """All trials as they were first judged, the running one included: what strategies see."""
        return tuple(self._trials)

    @property
    def repeats(self) -> Mapping[int, Sequence[float]]:
        """Fitness in repeats by the number of the trial; none for a repeat that failed."""
        return self._repeats

    @property
    def confirmed(self) -> Mapping[int, Mapping[str, float]]:
        """Metrics of own trainings by the number of the trial; none for one that failed."""
        return self._confirmed

    @property
    def results(self) -> Sequence[Trial]:
        """All trials; fitness of one that was judged again is the mean of its measurements.

        What a training of its own measured, see `confirm`, has names that begin with ``trained_``;
        what was measured besides, see `measure`, has names of its own.
        """
        known = [
            replace(t, metrics={**t.metrics, **self._measured[t.number]})
            if t.number in self._measured else t
            for t in self.trials
        ]  # fmt: skip
        return [
            _merged(t, self._repeats.get(t.number, ()), self._confirmed.get(t.number, {}))
            for t in known
        ]

    @property
    def complete(self) -> list[Trial]:
        """Complete trials among `results`."""
        return [t for t in self.results if t.state == "complete"]

    @property
    def candidates(self) -> list[Trial]:
        """Complete trials in the space that keep the goal's limits: what an answer may be."""
        found = [t for t in self.complete if t.point is not None]
        return [t for t in found if self.goal.excess(t.metrics) == 0]

    @property
    def best(self) -> Trial:
        """The candidate of the highest first objective; the earliest of equals.

        Where some were confirmed by a training of their own, it is the best of them by that.

        Raises:
            NASError: While there is none.
        """
        found = self.candidates
        if not found:
            kept = " that keeps the limits" if self.goal.limits and self.complete else ""
            raise NASError(f"no trial{kept} is complete yet: there is no best one")
        own = [t.trained for t in found if f"{TRAINED}fitness" in t.metrics]
        found = [t for t in own if self.goal.excess(t.metrics) == 0] or own or found
        best = max(found, key=lambda t: (_objectives(self.goal, t)[0], -t.number))
        return next(t for t in self.candidates if t.number == best.number)

    @property
    def front(self) -> list[Trial]:
        """The Pareto front of the candidates, the highest last objective first.

        Of one objective: of fitness against FLOPs, cheapest first, or the best without costs.
        """
        found, goal = self.candidates, self.goal
        if len(goal.objectives) == 1:
            found = [t for t in found if "flops" in t.cost]
            goal = Goal((*goal.objectives, "flops_g"))
        if not found:
            return [self.best] if self.candidates else []
        values = [_objectives(goal, t) for t in found]
        if known := [i for i, each in enumerate(values) if all(map(math.isfinite, each))]:
            # Of which an objective is not known here, nothing says that it is as good in it.
            found, values = [found[i] for i in known], [values[i] for i in known]
        return [found[i] for i in reversed(front(values))]

    # Several processes may share a record: see `shared.SharedStudy`

    mine = True  # whether every trial that runs is one of this process, or of one before it

    def refresh(self) -> None:
        """Read what other processes have recorded."""

    def lost(self) -> Trial | None:
        """Return a trial of another process that died, to be tried again under a new number."""
        return None

    @property
    def others(self) -> bool:
        """Whether trials of other processes run."""
        return False

    @property
    def elsewhere(self) -> Sequence[str]:
        """What to say of latencies in the record that are of other devices."""
        return ()

    def start(self, trial: Trial, most: int | None = None) -> Trial | None:
        """Record that a trial runs; a trial of that number that a killed run left is taken over.

        Args:
            trial: What to try.
            most: Number of trials that the record may hold, where several processes add to it.

        Returns:
            The running trial, or None where another process was first.
        """
        trial = replace(trial, state="running")
        if trial.number < len(self._trials):
            self._trials[trial.number] = trial
            return trial
        if self.path is not None:
            with storage_errors(self.path):
                template = self._coder.freeze(trial)
                self._ids.append(self._storage.create_new_trial(self._study_id, template))
        self._trials.append(trial)
        return trial

    def add(self, trials: Sequence[Trial]) -> None:
        """Record finished trials, whose numbers go on where the record ends, one step a trial."""
        for trial in trials:
            if self.path is not None:
                with storage_errors(self.path):
                    template = self._coder.freeze(trial)
                    self._ids.append(self._storage.create_new_trial(self._study_id, template))
            self._trials.append(trial)

    def finish(self, trial: Trial) -> None:
        """Record the outcome of a running trial, all of it or, if that fails, nothing of it."""
        if self.path is not None:
            with storage_errors(self.path):
                write_outcome(self._storage, self._ids[trial.number], trial)
        self._trials[trial.number] = trial

    def repeat(self, number: int, fitness: Sequence[float]) -> None:
        """Record what repeats of a complete trial measured; none for a repeat that failed."""
        self._repeats[number] = list(fitness)
        self._write("repeats", self._repeats)

    def confirm(self, number: int, metrics: Mapping[str, float]) -> None:
        """Record what a complete trial's own training measured; nothing for one that failed."""
        self._confirmed[number] = dict(metrics)
        self._write("confirmed", self._confirmed)

    def measure(self, number: int, metrics: Mapping[str, float]) -> None:
        """Record what was measured of a complete trial after the search, such as its latency."""
        self._measured[number] = dict(metrics)
        self._write("measured", self._measured)

    def _write(self, name: str, by_number: Mapping[int, Any]) -> None:
        if self.path is not None:
            content = {str(number): value for number, value in by_number.items()}
            with storage_errors(self.path):
                self._storage.set_study_user_attr(self._study_id, name, content)

    def identify(self, study: optuna.Study) -> None:
        """Mark an Optuna study as one of this space.

        Raises:
            NASError: For a study of another space.
        """
        mine = self._coder.fingerprint
        if study.user_attrs.get("space", mine) != mine:
            raise NASError(
                f"study {self.path or study.study_name}: the space has other choices than when the "
                "run was started; resume with the space file as it was, or start a new run"
            )
        study.set_user_attr("space", mine)

    def _open(self, path: Path) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        with storage_errors(path, NASError, DAMAGE):
            self._storage = optuna.storages.RDBStorage(
                f"sqlite:///{path}", engine_kwargs={"connect_args": {"timeout": 60}}
            )
            study = optuna.create_study(
                study_name="search",
                storage=self._storage,
                direction="maximize",
                load_if_exists=True,
            )
            self._study_id = study._study_id
            self.identify(study)
            about = study.user_attrs
            self._repeats = {int(n): list(values) for n, values in about.get("repeats", {}).items()}
            self._confirmed, self._measured = (
                {int(n): dict(m) for n, m in about.get(name, {}).items()}
                for name in ("confirmed", "measured")
            )
            for found in read(self._storage, self._study_id):
                self._trials.append(self._coder.thaw(found))
                self._ids.append(found.trial_id)


def _merged(trial: Trial, again: Sequence[float], own: Mapping[str, float]) -> Trial:
    if own := {f"{TRAINED}{n}": v for n, v in own.items() if n != "seconds"}:
        trial = replace(trial, metrics={**trial.metrics, **own})
    if not again:
        return trial
    values = [trial.fitness, *again]
    fitness = {
        "fitness": sum(values) / len(values),
        "fitness_first": trial.fitness,
        "fitness_again": sum(again) / len(again),
    }
    return replace(trial, metrics={**trial.metrics, **fitness})


def _objectives(goal: Goal, trial: Trial) -> list[float]:
    """Return the objectives; of a trial recorded before FLOPs were a metric, from its costs."""
    metrics = {"flops_g": trial.cost.get("flops", math.inf) / 1e9, **trial.metrics}
    return [v if math.isfinite(v) else -math.inf for v in goal.values(metrics)]


def write_outcome(storage: BaseStorage, trial_id: int, trial: Trial) -> None:
    """Write what became of a running trial; its state comes last and makes it count."""
    for name, value in attributes(trial).items():
        storage.set_trial_user_attr(trial_id, name, value)
    for step, value in trial.curve.items():
        storage.set_trial_intermediate_value(trial_id, step, value)
    values = [trial.fitness] if trial.state == "complete" else None
    storage.set_trial_state_values(trial_id, STATES[trial.state], values)


def attributes(trial: Trial) -> dict[str, Any]:
    """Return what an Optuna trial carries besides its parameters and value."""
    architecture = trial.architecture
    record: dict[str, Any] = {
        "name": trial.name,
        "in_space": trial.point is not None,
        "fidelity": dict(trial.fidelity),
        "metrics": dict(trial.metrics),
        "cost": dict(trial.cost),
        "seconds": trial.seconds,
        "error": trial.error,
    }
    if architecture is not None:
        record |= {"key": architecture.key, "architecture": architecture.to_dict()}
    return record


class _Coder:
    """Points as Optuna parameters and back; choices with one option are left out."""

    def __init__(self, space: ChoiceSpace) -> None:
        self._names = tuple(space.choices)
        self._keyed: bool | None = None  # whether a record's keys are still those of its networks
        self._options: dict[str, dict[Any, Any]] = {}
        self._fixed: dict[str, Any] = {}
        for name, options in space.choices.items():
            if len(options) == 1:
                self._fixed[name] = options[0]
            else:  # Optuna stores plain values only; others go by their text
                plain = all(isinstance(o, SIMPLE) for o in options)
                self._options[name] = {(o if plain else repr(o)): o for o in options}
        self._back = {
            name: {o: code for code, o in table.items()} for name, table in self._options.items()
        }
        self._distributions: dict[str, BaseDistribution] = {
            name: CategoricalDistribution(tuple(table)) for name, table in self._options.items()
        }

    @property
    def fingerprint(self) -> str:
        """Digest of all choices and options."""
        text = repr([(name, tuple(table)) for name, table in self._options.items()] + [self._fixed])
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def freeze(self, trial: Trial) -> FrozenTrial:
        """Return an Optuna trial in the state of the trial."""
        params: dict[str, Any] = {}
        distributions: dict[str, BaseDistribution] = {}
        if trial.point is not None:
            params = {name: self._back[name][trial.point[name]] for name in self._options}
            distributions = self._distributions
        return create_trial(
            state=STATES[trial.state],
            value=trial.fitness if trial.state == "complete" else None,
            params=params,
            distributions=distributions,
            user_attrs=attributes(trial),
        )

    def thaw(self, frozen: Recorded) -> Trial:
        """Return the trial that an Optuna trial records."""
        attrs = frozen.user_attrs
        try:
            point = None
            if attrs["in_space"]:
                values = {n: self._options[n][code] for n, code in frozen.params.items()}
                values |= self._fixed
                point = Point({n: values[n] for n in self._names})
            return Trial(
                number=frozen.number,
                point=point,
                architecture=self._architecture(attrs),
                fidelity=attrs["fidelity"],
                state=next(name for name, state in STATES.items() if state == frozen.state),
                metrics=attrs["metrics"],
                cost=attrs["cost"],
                seconds=attrs["seconds"],
                error=attrs["error"],
                name=attrs["name"],
                curve=dict(frozen.intermediate_values),
            )
        except (KeyError, StopIteration, TypeError) as error:
            raise NASError(
                f"trial {frozen.number} of the study is of another space or tool ({error!r}); "
                "resume with the space that the run was started with"
            ) from error

    def _architecture(self, attrs: Mapping[str, Any]) -> Architecture | None:
        """Return a recorded architecture with its recorded key, which takes long to work out.

        The first key says whether the record's keys are those of this version.
        """
        described = attrs.get("architecture")
        if not described:
            return None
        found = Architecture.from_dict(described)
        if self._keyed is None:
            self._keyed = found.key == attrs["key"]
        return found.with_key(attrs["key"]) if self._keyed else found
