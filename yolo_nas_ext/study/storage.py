"""Storage: a study in an Optuna database, a file of one search or one that processes share."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import RDBStorage, fail_stale_trials
from optuna.trial import TrialState

from yolo_nas_ext.errors import NASError, RunError, masked
from yolo_nas_ext.study.coder import Coder, write_finished
from yolo_nas_ext.study.database import (
    BUSY,
    no_warnings,
    opened,
    patiently,
    storage_errors,
)
from yolo_nas_ext.study.reader import Recorded, read
from yolo_nas_ext.study.trial import Trial

BEAT = 10  # seconds between heartbeats
DROPPED = "dropped"  # attribute of a claim that came second
DAMAGE = (ValueError, LookupError)  # what is raised for rows that Optuna did not write
# What is noted of single trials, each in an attribute of the study, ``repeat/<number>``. Earlier
# versions wrote one attribute for all trials of a file, under the second name.
REPEAT, CONFIRM, MEASURE = "repeat", "confirm", "measure"
ATTRIBUTES = {REPEAT: "repeats", CONFIRM: "confirmed", MEASURE: "measured"}


class Storage:
    """The rows of one study.

    A file is written by one process at a time, which takes over the trials that a killed process
    left running. A database given by its URL may be written by several processes at a time. Each
    renews the trials that it runs by heartbeats, and a trial without any is failed by whoever looks
    next.

    Args:
        coder: Of the space whose points are recorded.
        where: SQLite file, made if absent, or the URL of a database.
        name: Name of the study in it.
        beat: Seconds between heartbeats; a trial is failed after three of them are missing.

    Raises:
        NASError: For a database that cannot be read or written, or a study of another space.
    """

    def __init__(self, coder: Coder, where: Path | str, *, name: str, beat: int = BEAT) -> None:
        self.shared = isinstance(where, str)
        url = where if isinstance(where, str) else f"sqlite:///{where}"
        self.place = masked(url) if self.shared else str(where)
        self._errors = partial(storage_errors, self.place, url=url if self.shared else "")
        self._coder = coder
        self._own: dict[int, int] = {}  # trials that this process runs: number -> id
        self._running: dict[int, int] = {}  # trials that ran at the last look: number -> id
        self._last = 0  # highest id that was read
        self._lock = threading.Lock()
        self._beat = beat
        options: dict[str, Any] = {}
        if url.startswith("sqlite"):
            options = {"engine_kwargs": {"connect_args": {"timeout": BUSY}}}
        if self.shared:
            options |= {"heartbeat_interval": beat, "grace_period": 3 * beat}
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        with self._errors(NASError, DAMAGE), no_warnings():
            self._rdb, self._study = opened(url, self.place, name, **options)
            self._identify()
        if self.shared:
            threading.Thread(target=self._renew, daemon=True).start()

    def look(self, kind: type[NASError] = RunError) -> Iterator[Recorded]:
        """Yield the trials that are new or ran at the last look.

        They are not kept: many small objects at a time are what takes long.

        Args:
            kind: What to raise for a database that cannot be read.
        """
        with self._errors(kind, DAMAGE):
            if self.shared:
                with no_warnings():
                    patiently(lambda: fail_stale_trials(self._study))
            running = self._running.values()
            after = min(running, default=self._last + 1) - 1
            skip = set(range(after + 1, self._last + 1)).difference(running)
            self._running = {}
            for found in read(self._rdb, self._study._study_id, after, skip):
                if not found.state.is_finished():
                    self._running[found.number] = found.trial_id
                self._last = max(self._last, found.trial_id)
                yield found

    def attributes(self, kind: type[NASError] = RunError) -> dict[str, Any]:
        """Return the study's attributes, with what is noted of its trials."""
        with self._errors(kind, DAMAGE):
            return self._rdb.get_study_user_attrs(self._study._study_id)

    def create(self, trial: Trial, attributes: Mapping[str, Any] | None = None) -> int:
        """Write a trial, one step, and return its number: in a shared database the next free one.

        Args:
            trial: Runs in this process, or has ended.
            attributes: Further attributes of the trial.
        """
        with self._errors():
            rdb, study = self._rdb, self._study._study_id
            frozen = self._coder.freeze(trial)
            trial_id = patiently(partial(rdb.create_new_trial, study, frozen))
            for name, value in (attributes or {}).items():
                patiently(partial(rdb.set_trial_user_attr, trial_id, name, value))
            number = trial.number
            if self.shared:
                patiently(partial(rdb.record_heartbeat, trial_id))
                number = self._rdb.get_trial(trial_id).number
        if trial.state == "running":
            with self._lock:
                self._own[number] = trial_id
        return number

    def take(self, number: int) -> None:
        """Run a trial that a killed process left running."""
        with self._lock:
            if number not in self._own:
                self._own[number] = self._running.pop(number)

    def finish(self, trial: Trial) -> bool:
        """Write what became of a trial; return False where the trial was failed meanwhile."""
        with self._errors():
            try:
                own = self._own[trial.number]
                patiently(partial(write_finished, self._rdb, own, trial))
                kept = True
            except optuna.exceptions.UpdateFinishedTrialError:
                kept = False  # this process was taken for dead
        self._end(trial.number)
        return kept

    def drop(self, number: int) -> None:
        """Fail a trial that this process should not have claimed."""
        trial_id = self._end(number)
        with self._errors():
            patiently(partial(self._rdb.set_trial_user_attr, trial_id, DROPPED, True))
            patiently(partial(self._rdb.set_trial_state_values, trial_id, TrialState.FAIL))

    def abandon(self) -> None:
        """Leave the trials that this process runs to others: their heartbeats end."""
        with self._lock:
            self._running |= self._own
            self._own.clear()

    def note(self, name: str, value: Any) -> None:
        """Write an attribute of the study."""
        with self._errors():
            study = self._study._study_id
            patiently(partial(self._rdb.set_study_user_attr, study, name, value))

    def _identify(self) -> None:
        """Mark the study as one of this space, or refuse a study of another space."""
        mine = self._coder.fingerprint
        for _ in range(2):  # the second time another process may have been first
            known = patiently(lambda: self._study.user_attrs.get("space"))
            if known not in (None, mine):
                raise NASError(
                    f"study {self._study.study_name if self.shared else self.place}: the space has "
                    "other choices than when the run was started; resume with the space file as it "
                    "was, or start a new run"
                )
            if known is None:
                patiently(lambda: self._study.set_user_attr("space", mine), making=True)

    def _end(self, number: int) -> int:
        with self._lock:
            return self._own.pop(number)

    def _renew(self) -> None:
        """Record heartbeats of this process's trials until it ends."""
        while True:
            with self._lock:
                own = list(self._own.values())
            for trial_id in own:
                try:
                    self._rdb.record_heartbeat(trial_id)
                except Exception:
                    continue  # the next one may get through; if none does, the claim is released
            threading.Event().wait(self._beat)


def is_void(found: Recorded) -> bool:
    """Say whether a claim was dropped, or released: failed without an error of its own."""
    attrs = found.user_attrs
    return found.state == TrialState.FAIL and bool(attrs.get(DROPPED) or not attrs.get("error"))


def notes(attributes: Mapping[str, Any], kind: str) -> Iterator[tuple[int, str, Any]]:
    """Yield what a study's attributes note of trials: number, tag of the device or "", and value.

    Args:
        attributes: User attributes of the study.
        kind: `REPEAT`, `CONFIRM` or `MEASURE`.
    """
    for number, value in attributes.get(ATTRIBUTES[kind], {}).items():
        yield int(number), "", value
    for name, value in attributes.items():
        head, _, rest = name.partition("/")
        if head == kind and rest:
            number, _, on = rest.partition("/")
            yield int(number), on, value


def recorded_seconds(path: Path) -> float:
    """Return the wall time of all trials, repeats and confirming trainings in a file of any space.

    A repeat is counted as its trial, whose time it takes.

    Raises:
        NASError: For a file that is no record of a search.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with storage_errors(path, NASError, DAMAGE):
        storage = RDBStorage(f"sqlite:///{path}")
        study = optuna.load_study(study_name="search", storage=storage)
        found = read(storage, study._study_id)
        times = {t.number: float(t.user_attrs.get("seconds", 0)) for t in found}
        attributes = study.user_attrs
    repeated = {number for number, _, _ in notes(attributes, REPEAT)}
    trained = {number: metrics for number, _, metrics in notes(attributes, CONFIRM)}
    return (
        sum(times.values())
        + sum(times.get(number, 0.0) for number in repeated)
        + sum(metrics.get("seconds", 0.0) for metrics in trained.values())
    )
