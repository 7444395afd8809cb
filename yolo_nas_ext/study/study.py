"""Study: the record of a search.

The module is long, as it is all that others ask of a record.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from yolo_nas_ext.errors import NASError, RunError
from yolo_nas_ext.space.choices import ChoiceSpace
from yolo_nas_ext.study.added import checked
from yolo_nas_ext.study.coder import Coder, numbers
from yolo_nas_ext.study.devices import LATENCY, LATENCY_OF, Devices
from yolo_nas_ext.study.measure import Measure
from yolo_nas_ext.study.objectives import Goal, front
from yolo_nas_ext.study.reader import Recorded
from yolo_nas_ext.study.storage import (
    BEAT,
    CONFIRM,
    DROPPED,
    MEASURE,
    REPEAT,
    Storage,
    is_void,
    notes,
)
from yolo_nas_ext.study.trial import TRAINED, Trial

MEASURES = "fitness_is"  # the attribute that says what fitness is


class Study:
    """The trials of one search in the order of their numbers: in memory, in a file or shared.

    Several processes may share a study in a database that they know by its URL. A trial in the
    state *running* is then a claim on its architecture. The storage gives numbers, one after the
    other. So of two claims on one architecture the lower number holds and the other is dropped, as
    are claims beyond the number of trials. A claim without heartbeats is released, and its
    architecture is tried again under a new number by whoever finds it. Dropped and released claims
    are no trials.

    Args:
        space: The space whose points are recorded.
        path: SQLite file of this search alone, made if absent, as a path or as a text without
            ``://``; or the URL of a database that processes share, for example
            ``sqlite:///study.db`` or ``postgresql://user@host/name``. The record is
            kept in memory only without one.
        goal: What is searched for; it says which trial is best.
        name: Name of the study in the database.
        beat: Seconds between heartbeats; a claim is released after three of them are missing.
        latency_of: The device or predictor that a trial's latency is of. Latencies of
            another are read under another name, ``latency_on_<digest>_ms``: they are not compared.
        measured_on: The same of what `record_measurement` records.
        parent: Name of the trial that others are compared with, where all start from its weights.
        pencils: Names of trials that a hand would make of the parent.
        measure: What fitness is, for people; as the record says unless given.

    Raises:
        NASError: For a database that cannot be read or written, or that holds another space.
    """

    def __init__(
        self,
        space: ChoiceSpace,
        path: Path | str | None = None,
        goal: Goal | None = None,
        *,
        name: str = "search",
        beat: int = BEAT,
        latency_of: str = "",
        measured_on: str = "",
        parent: str = "",
        pencils: Collection[str] = (),
        measure: Measure | None = None,
    ) -> None:
        self.space = space
        self.goal = goal or Goal()
        self.parent = parent
        self.pencils = frozenset(pencils)
        self.measure = measure or Measure()
        self._devices = Devices(latency_of, measured_on)
        self._known: dict[int, Trial | None] = {}  # by number; None is a claim that does not count
        self._trials: tuple[Trial, ...] | None = None  # of the known ones; None to be made again
        self._own: set[int] = set()  # numbers of trials that this process runs
        self._lost: dict[int, Trial] = {}  # trials whose process died
        self._repeats: dict[int, list[dict[str, float]]] = {}
        self._confirmed: dict[int, dict[str, float]] = {}
        self._measured: dict[int, dict[str, float]] = {}
        self._elsewhere: dict[str, str] = {}  # other devices by their tag
        self._coder = Coder(space)
        self._storage: Storage | None = None
        if path is not None:
            path = Path(path) if "://" not in str(path) else path
            self._storage = Storage(self._coder, path, name=name, beat=beat)
            for attribute, device in self._devices.own.items():
                self._storage.note(attribute, device)
            if measure is not None:
                self._storage.note(MEASURES, measure.noted())
            about = self._look(self._storage, NASError)
            self.measure = measure or Measure.read(about.get(MEASURES))

    @property
    def trials(self) -> Sequence[Trial]:
        """All trials as they were first evaluated, the running ones included.

        This is what strategies see.
        """
        if self._trials is None:
            self._trials = tuple(filter(None, self._known.values()))
        return self._trials

    @property
    def repeats(self) -> Mapping[int, Sequence[float]]:
        """Fitness in repeats by the trial's number; none for a repeat that failed."""
        return {number: [m["fitness"] for m in found] for number, found in self._repeats.items()}

    @property
    def confirmed(self) -> Mapping[int, Mapping[str, float]]:
        """Metrics of confirming trainings by the trial's number; none for one that failed."""
        return self._confirmed

    @property
    def results(self) -> Sequence[Trial]:
        """All trials; the fitness of a repeated trial is the mean of its measurements.

        The metrics of a confirming training, see `record_confirmation`, have names that
        begin with ``trained_``. What `record_measurement` records has names of its own.
        """
        known = [
            replace(t, metrics={**t.metrics, **self._measured[t.number]})
            if t.number in self._measured
            else t
            for t in self.trials
        ]
        own, again = self._confirmed, self._repeats
        return [t.merged(again.get(t.number, ()), own.get(t.number, {})) for t in known]

    @property
    def complete(self) -> list[Trial]:
        """Complete trials among `results`."""
        return [t for t in self.results if t.state == "complete"]

    @property
    def candidates(self) -> list[Trial]:
        """Complete trials in the space that keep the goal's limits: the possible answers."""
        found = [t for t in self.complete if t.point is not None]
        return [t for t in found if self.goal.excess(t.metrics) == 0]

    @property
    def known_pencils(self) -> list[Trial]:
        """Complete pencils that keep the goal's limits, in the space or not, the best first.

        What a training of its own has confirmed comes before what short trainings measured.
        """
        found = [t for t in self.complete if t.name in self.pencils]
        kept = [t for t in found if self.goal.excess(t.metrics) == 0]
        return sorted(kept, key=lambda t: (t.trained is t, -t.trained.fitness, t.number))

    @property
    def best(self) -> Trial:
        """The candidate of the highest first objective; the earliest of equals.

        Where trainings confirmed some candidates, it is the best of these by that training. Else,
        where some were measured again, it is the best of these by the mean: one that was not has
        only not been unlucky yet.

        Raises:
            NASError: While there is none.
        """
        found = self.candidates
        if not found:
            kept = " that keeps the limits" if self.goal.limits and self.complete else ""
            raise NASError(f"no trial{kept} is complete yet: there is no best one{self._why()}")
        found = [t for t in found if self._repeats.get(t.number)] or found
        own = [t.trained for t in self.candidates if f"{TRAINED}fitness" in t.metrics]
        found = [t for t in own if self.goal.excess(t.metrics) == 0] or own or found
        best = max(found, key=lambda t: (_objectives(self.goal, t)[0], -t.number))
        return next(t for t in self.candidates if t.number == best.number)

    def _why(self) -> str:
        """Return what to say of the trials that failed, where none is complete."""
        failed = [t for t in self.trials if t.state == "failed"]
        if self.complete or not failed:
            return ""
        first = failed[0]
        return f"; {len(failed)} failed, trial {first.number} with {first.error or 'no reason'}"

    @property
    def front(self) -> list[Trial]:
        """The Pareto front of the candidates, the highest last objective first.

        Of one objective: of fitness against FLOPs, cheapest first, or the best without costs.
        """
        return front_of(self.candidates, self.goal) or ([self.best] if self.candidates else [])

    @property
    def shared(self) -> bool:
        """Whether other processes may write this record at the same time."""
        return self._storage is not None and self._storage.shared

    @property
    def others(self) -> bool:
        """Whether trials of other processes run."""
        self.refresh()
        running = {t.number for t in self.trials if t.state == "running"}
        return bool(running - self._own - self._lost.keys())

    @property
    def elsewhere(self) -> Sequence[str]:
        """What to say of latencies in the record that are of other devices."""
        return [
            f"latencies of another device are in this record, {device}: they are kept apart as "
            f"{LATENCY}_on_{name}_ms and count for nothing here"
            for name, device in self._elsewhere.items()
        ]

    def refresh(self) -> None:
        """Read what other processes have recorded, and release claims that nobody renews."""
        if self._storage is not None and self.shared:
            self._look(self._storage)

    def lost(self, most: int | None = None) -> Trial | None:
        """Return a trial whose process died and that nobody has tried again.

        It keeps its number where this process alone writes the record, and gets a new one in a
        shared record.

        Args:
            most: Number of trials that a shared record may hold.
        """
        for trial in self._lost.values():
            if self._known[trial.number] is not None:
                return trial
        if not self._lost or (most is not None and len(self.trials) >= most):
            return None
        taken = {self._identity(trial) for trial in self.trials}
        again = (t for t in self._lost.values() if self._identity(t) not in taken)
        return next((replace(trial, number=len(self.trials)) for trial in again), None)

    def start(self, trial: Trial, most: int | None = None) -> Trial | None:
        """Record that this process runs a trial.

        Args:
            trial: What to try. A running trial of its number, that a killed process left in a
                record of one process, is taken over.
            most: Number of trials that a shared record may hold.

        Returns:
            The running trial; None where another process was first, or there are trials enough.
        """
        trial = replace(trial, state="running")
        storage = self._storage
        if not self.shared and trial.number in self._known:
            self._lost.pop(trial.number, None)
            if storage is not None:
                storage.take(trial.number)
        elif storage is not None:
            of = {LATENCY_OF: self._devices.of} if self._devices.of else {}
            trial = replace(trial, number=storage.create(trial, of))
        if storage is not None and self.shared:
            self._look(storage)
            if not self._holds(trial, most):
                storage.drop(trial.number)
                self._put(trial.number, None)
                return None
        self._own.add(trial.number)
        self._put(trial.number, trial)
        return trial

    def add(self, trials: Sequence[Trial]) -> None:
        """Record finished trials, whose numbers go on where the record ends, one step a trial.

        Args:
            trials: Their values become plain numbers.

        Raises:
            NASError: For what is no finished trial of the space; nothing is recorded then.
        """
        gaps, given = self._storage is None, not self.shared
        for trial in checked(trials, self.space, self._known, gaps=gaps, given=given):
            number = trial.number if self._storage is None else self._storage.create(trial)
            self._put(number, replace(trial, number=number))

    def finish(self, trial: Trial) -> None:
        """Record the end of a trial that this process runs: all of it or, if that fails, nothing.

        Nothing is recorded of a claim that was released meanwhile.
        """
        kept = self._storage is None or self._storage.finish(trial)
        self._own.discard(trial.number)
        self._put(trial.number, trial if kept else None)

    def abandon(self) -> None:
        """Leave the trials that this process runs to whoever goes on with the record."""
        if not self.shared:
            self._lost |= {n: t for n in self._own if (t := self._known[n]) is not None}
        if self._storage is not None:
            self._storage.abandon()
        self._own.clear()

    # One attribute per trial, so that no process writes over what others noted. Processes that end
    # together may repeat the same trial; the last measurement counts.

    def record_repeat(self, number: int, again: Sequence[Mapping[str, float] | float]) -> None:
        """Record the metrics, or the fitness, of repeats of a trial; none for one that failed."""
        self._repeats[number] = _repeated(again)
        self._note(f"{REPEAT}/{number}", self._repeats[number])

    def record_confirmation(self, number: int, metrics: Mapping[str, float]) -> None:
        """Record the metrics of a training that confirms a trial; none for one that failed."""
        self._confirmed[number] = dict(metrics)
        self._note(f"{CONFIRM}/{number}", self._confirmed[number])

    def record_measurement(self, number: int, metrics: Mapping[str, float]) -> None:
        """Record what was measured of a complete trial after the search, such as its latency."""
        self._measured[number] = {**self._measured.get(number, {}), **metrics}
        self._note(f"{MEASURE}/{number}/{self._devices.on}", dict(metrics))

    def _note(self, name: str, value: Any) -> None:
        if self._storage is not None:
            self._storage.note(name, value)

    def _put(self, number: int, trial: Trial | None) -> None:
        self._known[number], self._trials = trial, None

    def _look(self, storage: Storage, kind: type[NASError] = RunError) -> Mapping[str, Any]:
        """Read what is new in the storage; return the attributes of the study."""
        for found in storage.look(kind):
            self._read(found, storage)
        about = storage.attributes(kind)
        _check_notes(about, storage.place)
        self._repeats = {number: _repeated(value) for number, _, value in notes(about, REPEAT)}
        self._confirmed = {number: dict(value) for number, _, value in notes(about, CONFIRM)}
        self._measured = {}
        for number, on, value in notes(about, MEASURE):
            self._measured.setdefault(number, {}).update(self._devices.measured(value, on))
        self._elsewhere = self._devices.others(about)
        return about

    def _read(self, found: Recorded, storage: Storage) -> None:
        """Take in a trial that is new, or that was running."""
        number = found.number
        known = self._known.get(number)
        if number in self._known and (known is None or known.state != "running"):
            return
        trial = self._devices.trial(
            self._coder.thaw(found, storage.place), found.user_attrs.get(LATENCY_OF)
        )
        if not storage.shared:
            lost, void = trial.state == "running", False
        else:
            void = is_void(found)
            lost = void and not found.user_attrs.get(DROPPED)
        self._put(number, None if void else trial)
        if lost:
            self._lost[number] = trial

    def _holds(self, claim: Trial, most: int | None) -> bool:
        """Say whether a claim counts: it is within the number of trials, and nobody was first."""
        before = [t for t in self.trials if t.number < claim.number]
        identity = self._identity(claim)
        first = all(self._identity(t) != identity for t in before)
        return first and (most is None or len(before) < most)

    def _identity(self, trial: Trial) -> Hashable:
        if trial.architecture is not None:
            return trial.architecture.key
        return None if trial.point is None else self.space.identity(trial.point)


def front_of(trials: Sequence[Trial], goal: Goal) -> list[Trial]:
    """Return the Pareto front of some trials as `Study.front` has it; empty without costs."""
    found = list(trials)
    if len(goal.objectives) == 1:
        found = [t for t in found if "flops" in t.cost]
        goal = Goal((*goal.objectives, "flops_g"))
    values = [_objectives(goal, t) for t in found]
    if known := [i for i, each in enumerate(values) if all(map(math.isfinite, each))]:
        # Nothing says that a candidate is as good in an objective that is not known here.
        found, values = [found[i] for i in known], [values[i] for i in known]
    return [found[i] for i in reversed(front(values))]


def _check_notes(about: Mapping[str, Any], place: str) -> None:
    """Refuse what is noted of trials where it is not as it was written.

    Raises:
        NASError: With the file, the trial and what is wrong.
    """
    for kind in (REPEAT, CONFIRM, MEASURE):
        try:
            noted = [*notes(about, kind)]
        except (ValueError, AttributeError, TypeError) as error:
            raise NASError(f"{place}: what is noted as {kind} is damaged ({error})") from error
        for trial, _, value in noted:
            known = [value]
            if kind == REPEAT and isinstance(value, list):
                known = [m if isinstance(m, Mapping) else {"fitness": m} for m in value]
                known = [m if "fitness" in m else {"fitness": None} for m in known]
            if damage := next((d for m in known for d in numbers(kind, m)), ""):
                raise NASError(
                    f"{place}: trial {trial + 1} is damaged: {damage}; put back a copy of the "
                    "record, or start a new run"
                )


def _repeated(value: Sequence[Any]) -> list[dict[str, float]]:
    """Return the metrics of repeats; earlier versions recorded their fitness alone."""
    return [dict(v) if isinstance(v, Mapping) else {"fitness": float(v)} for v in value]


def _objectives(goal: Goal, trial: Trial) -> list[float]:
    """Return the objectives; of a trial recorded before FLOPs were a metric, from its costs."""
    metrics = {"flops_g": trial.cost.get("flops", math.inf) / 1e9, **trial.metrics}
    return [v if math.isfinite(v) else -math.inf for v in goal.values(metrics)]
