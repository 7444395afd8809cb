"""SharedStudy: one record that several processes add to, on one machine or many."""

from __future__ import annotations

import hashlib
import threading
import warnings
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import optuna
from optuna.storages import RDBStorage, fail_stale_trials
from optuna.trial import TrialState

from yolo_nas_ext.errors import NASError
from yolo_nas_ext.space.choices import ChoiceSpace
from yolo_nas_ext.study.objectives import Goal
from yolo_nas_ext.study.storage import Recorded, read, storage_errors, write_outcome
from yolo_nas_ext.study.study import Study
from yolo_nas_ext.study.trial import Trial

BEAT = 10  # seconds between heartbeats
DROPPED = "dropped"  # attribute of a claim that came second
# Begin the study's attributes that hold the repeats, the own training, or more, of a trial.
REPEAT, CONFIRM, MEASURE = "repeat/", "confirm/", "measure/"
LATENCY = "latency"  # begins the names of metrics that are of a device
LATENCY_OF, DEVICE = "latency_of", "device/"  # attribute of a trial; begins those that name devices


class SharedStudy(Study):
    """A study in an Optuna storage that other processes read and write at the same time.

    A trial in the state *running* is a claim on its architecture. Numbers are given by the storage,
    one after the other, so of two claims on one architecture the lower number holds and the other
    is dropped, as are claims beyond the number of trials. While a process lives it renews its
    claims by heartbeats; a claim without any is released, and its architecture is tried again under
    a new number by whoever finds it. Dropped and released claims are no trials.

    Args:
        space: The space whose points are recorded.
        url: Of the storage, for example ``sqlite:///study.db`` or ``postgresql://user@host/name``.
        goal: What is searched for; it says which trial is best.
        name: Name of the study in the storage.
        beat: Seconds between heartbeats; a claim is released after three of them are missing.
        latency_of: What a trial's latency is of: a device, or what predicts it. Latencies of
            another are read under another name, ``latency_on_<digest>_ms``: they are not compared.
        measured_on: The same of what `measure` records.

    Raises:
        NASError: For a storage that cannot be reached, or a study of another space.
    """

    mine = False

    def __init__(
        self,
        space: ChoiceSpace,
        url: str,
        goal: Goal | None = None,
        *,
        name: str = "search",
        beat: int = BEAT,
        latency_of: str = "",
        measured_on: str = "",
    ) -> None:
        super().__init__(space, goal=goal)
        self.url = url
        self._of, self._on = tag(latency_of), tag(measured_on)
        self._elsewhere: dict[str, str] = {}  # other devices by their digest
        self._known: dict[int, Trial | None] = {}  # by number; None is a claim given up
        self._orphans: dict[int, Trial] = {}  # claims that were released
        self._claims: dict[int, int] = {}  # own running trials: number -> id
        self._unended: list[int] = []  # ids that the next look begins with
        self._last = 0  # highest id that was read
        self._lock = threading.Lock()
        self._beat = beat
        with storage_errors(_hidden(url), NASError), warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            optuna.logging.set_verbosity(optuna.logging.WARNING)
            try:
                self._rdb = RDBStorage(url, heartbeat_interval=beat, grace_period=3 * beat)
            except (ImportError, ValueError) as error:
                raise NASError(
                    f"storage={_hidden(url)}: cannot be used ({error}); give a URL such as "
                    "sqlite:///study.db, and install the driver that it names"
                ) from error
            self._optuna = optuna.create_study(
                study_name=name, storage=self._rdb, direction="maximize", load_if_exists=True
            )
            self.identify(self._optuna)
        for device in {latency_of, measured_on} - {""}:
            self._note(f"{DEVICE}{tag(device)}", device)
        self.refresh()
        threading.Thread(target=self._renew, daemon=True).start()

    @property
    def trials(self) -> Sequence[Trial]:
        """All trials of all processes; claims that were dropped or released are none."""
        return tuple(trial for trial in self._known.values() if trial is not None)

    def refresh(self) -> None:
        """Read what others have recorded, and release claims that nobody renews."""
        with storage_errors(_hidden(self.url)), warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            fail_stale_trials(self._optuna)
            after = self._unended[0] - 1 if self._unended else self._last
            skip = set(range(after + 1, self._last + 1)).difference(self._unended)
            found = list(read(self._rdb, self._optuna._study_id, after, skip))
            about = self._rdb.get_study_user_attrs(self._optuna._study_id)
        self._repeats, self._confirmed = (
            {int(n.removeprefix(kind)): v for n, v in about.items() if n.startswith(kind)}
            for kind in (REPEAT, CONFIRM)
        )
        self._measured = self._all_measured(about)
        devices = {n.removeprefix(DEVICE): v for n, v in about.items() if n.startswith(DEVICE)}
        self._elsewhere = {n: v for n, v in devices.items() if n not in (self._of, self._on)}
        ended = {number for number, t in self._known.items() if t is None or t.state != "running"}
        self._unended = [each.trial_id for each in found if not each.state.is_finished()]
        self._last = max([self._last, *(each.trial_id for each in found)])
        for each in found:
            if each.number in ended:
                continue
            trial = self._coder.thaw(each)
            theirs = each.user_attrs.get(LATENCY_OF, self._of)  # there is none in earlier versions
            if theirs != self._of:
                trial = replace(
                    trial,
                    metrics=_renamed(trial.metrics, theirs),
                    cost=_renamed(trial.cost, theirs),
                )
            self._known[each.number] = None if _is_void(each) else trial
            if _is_void(each) and not each.user_attrs.get(DROPPED):
                self._orphans[each.number] = trial

    def lost(self) -> Trial | None:
        """Return a trial whose process died and that nobody has tried again."""
        taken = {self._identity(trial) for trial in self.trials} if self._orphans else set()
        for trial in self._orphans.values():
            if self._identity(trial) not in taken:
                return replace(trial, number=len(self.trials))
        return None

    @property
    def others(self) -> bool:
        """Whether trials of other processes run, or one waits to be tried again."""
        self.refresh()
        running = {t.number for t in self.trials if t.state == "running"}
        return bool(running - self._claims.keys()) or self.lost() is not None

    def start(self, trial: Trial, most: int | None = None) -> Trial | None:
        """Claim an architecture; None where it is taken, or where there are trials enough."""
        trial = replace(trial, state="running")
        with storage_errors(_hidden(self.url)):
            trial_id = self._rdb.create_new_trial(self._optuna._study_id, self._coder.freeze(trial))
            self._rdb.record_heartbeat(trial_id)
            if self._of:
                self._rdb.set_trial_user_attr(trial_id, LATENCY_OF, self._of)
            trial = replace(trial, number=self._rdb.get_trial(trial_id).number)
        with self._lock:
            self._claims[trial.number] = trial_id
        self.refresh()
        before = [t for t in self.trials if t.number < trial.number]
        identity = self._identity(trial)
        if any(self._identity(t) == identity for t in before) or (
            most is not None and len(before) >= most
        ):
            self._drop(trial.number)
            return None
        self._known[trial.number] = trial
        return trial

    def finish(self, trial: Trial) -> None:
        """Record the outcome of a claim; of one that was released meanwhile nothing."""
        trial_id = self._claims[trial.number]
        with storage_errors(_hidden(self.url)):
            try:
                write_outcome(self._rdb, trial_id, trial)
                self._known[trial.number] = trial
            except optuna.exceptions.UpdateFinishedTrialError:
                self._known[trial.number] = None  # this process was taken for dead
        with self._lock:
            self._claims.pop(trial.number)

    def repeat(self, number: int, fitness: Sequence[float]) -> None:
        """Record repeats of a trial, an attribute a trial, so that no process writes over others'.

        Processes that end together may repeat the same trial; the last measurement counts.
        """
        self._note(f"{REPEAT}{number}", list(fitness))
        self._repeats[number] = list(fitness)

    def confirm(self, number: int, metrics: Mapping[str, float]) -> None:
        """Record a trial's own training, as `repeat` records repeats."""
        self._note(f"{CONFIRM}{number}", dict(metrics))
        self._confirmed[number] = dict(metrics)

    def measure(self, number: int, metrics: Mapping[str, float]) -> None:
        """Record what was measured of a trial, as `repeat` records repeats."""
        self._note(f"{MEASURE}{number}/{self._on}", dict(metrics))
        self._measured[number] = {**self._measured.get(number, {}), **metrics}

    @property
    def elsewhere(self) -> Sequence[str]:
        """What to say of latencies in the record that are of other devices."""
        return [
            f"latencies of another device are in this record, {device}: they are kept apart as "
            f"{LATENCY}_on_{name}_ms and count for nothing here"
            for name, device in self._elsewhere.items()
        ]

    def _all_measured(self, about: Mapping[str, Any]) -> dict[int, dict[str, float]]:
        """Return what was measured of trials, under their own names what was measured here."""
        found: dict[int, dict[str, float]] = {}
        for name, metrics in about.items():
            if name.startswith(MEASURE):
                number, _, on = name.removeprefix(MEASURE).partition("/")
                mine = on in ("", self._on)  # earlier versions did not say where
                found.setdefault(int(number), {}).update(metrics if mine else _renamed(metrics, on))
        return found

    def _note(self, name: str, value: Any) -> None:
        with storage_errors(_hidden(self.url)):
            self._rdb.set_study_user_attr(self._optuna._study_id, name, value)

    def _drop(self, number: int) -> None:
        with self._lock:
            trial_id = self._claims.pop(number)
        with storage_errors(_hidden(self.url)):
            self._rdb.set_trial_user_attr(trial_id, DROPPED, True)
            self._rdb.set_trial_state_values(trial_id, TrialState.FAIL)
        self._known[number] = None

    def _identity(self, trial: Trial) -> Hashable:
        if trial.architecture is not None:
            return trial.architecture.key
        return None if trial.point is None else self.space.identity(trial.point)

    def _renew(self) -> None:
        """Record heartbeats of this process's claims until it ends."""
        while True:
            with self._lock:
                claims = list(self._claims.values())
            for trial_id in claims:
                try:
                    self._rdb.record_heartbeat(trial_id)
                except Exception:
                    continue  # the next one may get through; if none does, the claim is released
            threading.Event().wait(self._beat)


def tag(device: str) -> str:
    """Return a short name for a device, of which nothing is known but that others differ."""
    return hashlib.sha256(device.encode()).hexdigest()[:4] if device else ""


def _renamed(metrics: Mapping[str, float], on: str) -> dict[str, float]:
    """Return metrics with those of another device under names of their own."""
    return {
        f"{LATENCY}_on_{on}{n.removeprefix(LATENCY)}" if n.startswith(LATENCY) else n: value
        for n, value in metrics.items()
    }


def _is_void(found: Recorded) -> bool:
    """Say whether a claim was dropped, or released: failed without an error of its own."""
    attrs = found.user_attrs
    return found.state == TrialState.FAIL and bool(attrs.get(DROPPED) or not attrs.get("error"))


def _hidden(url: str) -> str:
    """Return the URL without a password."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        return make_url(url).render_as_string(hide_password=True)
    except ArgumentError:
        return "storage"
