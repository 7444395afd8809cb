"""Trial and Study: the record of a search, in Optuna's storage where it is kept on disk."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna

from yolo_nas_ext.errors import NASError
from yolo_nas_ext.space.choices import ChoiceSpace
from yolo_nas_ext.study.objectives import Goal, front
from yolo_nas_ext.study.storage import DAMAGE, Coder, read, storage_errors, write_outcome
from yolo_nas_ext.study.trial import TRAINED, Trial


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
        self._coder = Coder(space)
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
            if t.number in self._measured
            else t
            for t in self.trials
        ]
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
