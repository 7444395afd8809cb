"""Trackers of experiments: a run for the search with a run for each trial below it.

They are told of recorded trials, in the process of the search. The ids that they give are kept in
the run folder, so that a resumed search goes on in the same runs and adds what is missing there.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from yolo_nas_ext import trackers
from yolo_nas_ext.config.search import SearchSettings
from yolo_nas_ext.config.settings import shown
from yolo_nas_ext.console import say
from yolo_nas_ext.errors import in_a_line
from yolo_nas_ext.files import json_of, text_of, write_text
from yolo_nas_ext.host.integrations import turned_on
from yolo_nas_ext.pipeline.state import Job, Observer
from yolo_nas_ext.report.facts import label
from yolo_nas_ext.study.leaderboard import Evaluation
from yolo_nas_ext.study.trial import Trial
from yolo_nas_ext.trackers.base import Entry, Run, Tracker

FILE = "tracker.json"
AUTO = "auto"
RESULTS = (
    "report.html",
    "trials.csv",
    "verdict.md",
    "best.yaml",
    "best.md",
    "args.yaml",
    "pareto.png",
    "progress.png",
)
ID = re.compile(r"[A-Za-z0-9_:-][A-Za-z0-9_.:-]*")  # of a run; some trackers make a file of it
T = TypeVar("T")


def chosen(config: SearchSettings) -> list[tuple[str, Tracker]]:
    """Return the trackers of a search by their names.

    With ``auto`` they are those that Ultralytics' settings turn on and that are installed.

    Raises:
        NASError: For one that was named and is not installed.
    """
    names = dict.fromkeys(n for name in config.tracker for n in _names(name))
    return [(name, trackers.make(name)) for name in names]


def _names(name: str) -> list[str]:
    if name != AUTO:
        return [name]
    return [name for name in turned_on(trackers.TRACKERS) if trackers.installed(name)]


@dataclass
class Known:
    """The ids of a search's runs at one tracker.

    Attributes:
        run: Of the search.
        runs: Of trials by their numbers, and of final trainings by model and seed.
        again: Which trials were measured again and reported so.
    """

    run: str = ""
    runs: dict[str, str] = field(default_factory=dict)
    again: list[str] = field(default_factory=list)


class Tracking(Observer):
    """Tells trackers what a search does; one that fails is left alone from then on.

    Args:
        found: Trackers by their names.
    """

    def __init__(self, found: Sequence[tuple[str, Tracker]]) -> None:
        self._trackers = dict(found)
        self._known: dict[str, Known] = {}

    def start(self, job: Job) -> None:
        """Begin the runs, or go on with them and add what an earlier sitting recorded."""
        before = read(job.folder)
        config = job.config
        values = {**config.values, **config.host}
        run = Run(
            project=config.project,
            name=job.folder.name,
            parameters={name: shown(v) for name, v in values.items() if v is not None},
            folder=job.folder.resolve(),
        )

        def begin(name: str, tracker: Tracker) -> None:
            known = self._known[name] = before.get(name, Known())
            known.run = tracker.start(run, known.run)

        self._each(begin)
        self._keep(job)
        self._add_missing(job)

    def trial(self, job: Job, trial: Trial) -> None:
        """Add the run of a trial, and show how far the search is."""
        restated = job.study.measure.restated  # a projection ranks, and is called one
        self._add(job, str(trial.number), entry_of(restated(trial)))
        values = [restated(t).fitness for t in job.study.complete]
        ended = sum(t.state != "running" for t in job.study.trials)
        if values:
            self._each(lambda _, tracker: tracker.progress({"best_fitness": max(values)}, ended))

    def confirmed(self, job: Job, trial: Trial) -> None:
        """Add what another measurement said to the run of a trial."""
        key = str(trial.number)
        metrics = _finite(job.study.measure.restated(trial).metrics)

        def update(name: str, tracker: Tracker) -> None:
            known = self._known[name]
            if key in known.runs:
                tracker.update(known.runs[key], metrics)
                known.again = [*dict.fromkeys([*known.again, key])]

        self._each(update)
        self._keep(job)

    def final(self, job: Job, training: Evaluation) -> None:
        """Add the run of a final training."""
        self._add_final(job, training)

    def end(self, job: Job) -> None:
        """Add what is missing, and end the runs with results and files."""
        self._add_missing(job)
        for training in job.finals.leaderboard().evaluations if job.finals else ():
            self._add_final(job, training)
        best = job.best and job.study.measure.restated(job.best)
        metrics = _finite({**best.metrics, **best.cost}) if best else {}
        folder = job.folder.resolve()  # as the trackers were told
        files = [folder / name for name in RESULTS]
        files += sorted((folder / "pareto").glob("*.yaml"))
        files = [file for file in files if file.is_file()]
        state = "interrupted" if job.interrupted else "complete"
        self._each(lambda _, tracker: tracker.end(metrics, files, state))
        self._keep(job)

    def _add_missing(self, job: Job) -> None:
        """Add what is recorded and was not reported; of a shared record each reports its own."""
        if job.study.shared:
            return
        ended = [t for t in job.study.trials if t.state != "running"]
        for trial in ended:
            self._add(job, str(trial.number), entry_of(job.study.measure.restated(trial)))
        measured = {*job.study.confirmed, *job.study.repeats}
        reported = [set(known.again) for known in self._known.values()]
        for trial in job.study.results:
            key = str(trial.number)
            if trial.number in measured and not all(key in again for again in reported):
                self.confirmed(job, trial)

    def _add_final(self, job: Job, training: Evaluation) -> None:
        finals = job.finals
        names = [model.name for model in finals.models] if finals else []
        place = names.index(training.name) if training.name in names else 0
        number = place + len(names) * training.seed
        self._add(job, f"{training.name}/{training.seed}", final_entry(training, number))

    def _add(self, job: Job, key: str, entry: Entry) -> None:
        """Add a run wherever it is not yet."""

        def add(name: str, tracker: Tracker) -> None:
            known = self._known[name]
            if key not in known.runs:
                known.runs[key] = tracker.add(entry)
                new.append(name)

        new: list[str] = []
        self._each(add)
        if new:
            self._keep(job)

    def _each(self, tell: Callable[[str, Tracker], None]) -> None:
        """Tell every tracker; leave out one that fails, and say so."""
        for name, tracker in list(self._trackers.items()):
            try:
                tell(name, tracker)
            except Exception as error:  # whatever a server, an account or a client runs into
                del self._trackers[name]
                reason = in_a_line(error, 160)
                say(
                    f"warning: tracker={name} failed and is told nothing more ({reason}); the "
                    "search goes on, and resume= adds what is missing"
                )

    def _keep(self, job: Job) -> None:
        if self._known:
            content = {name: vars(known) for name, known in self._known.items()}
            write_text(job.folder / FILE, json.dumps(content, indent=1) + "\n")


def read(folder: Path) -> dict[str, Known]:
    """Return the ids that a run folder has; what is damaged is begun anew."""
    found: dict[str, Known] = {}
    try:
        content = json_of(text_of(folder / FILE))
        for name in trackers.TRACKERS:
            if isinstance(one := content.get(name), dict):
                runs = {str(k): i for k, i in dict(one["runs"]).items() if _is_id(i)}
                again = [str(key) for key in one["again"]]
                found[name] = Known(one["run"] if _is_id(one["run"]) else "", runs, again)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        pass
    return {name: known for name, known in found.items() if known.run}


def _is_id(value: object) -> bool:
    return isinstance(value, str) and ID.fullmatch(value) is not None and ".." not in value


def entry_of(trial: Trial) -> Entry:
    """Return what a tracker is told of a trial."""
    choices = {str(name): shown(value) for name, value in (trial.point or {}).items()}
    how = {f"fidelity.{name}": f"{value:g}" for name, value in trial.fidelity.items()}
    costs = {name: value for name, value in trial.cost.items() if name not in trial.metrics}
    return Entry(
        name=f"{trial.number + 1:04} {label(trial)}",
        kind="trial",
        number=trial.number,
        parameters={"network": label(trial), **how, **choices},
        metrics=_finite({**trial.metrics, **costs, "seconds": trial.seconds}),
        curve=_finite(trial.curve),
        state=trial.state,
        error=trial.error,
    )


def final_entry(training: Evaluation, number: int) -> Entry:
    """Return what a tracker is told of a training of the final comparison."""
    measured = {**training.metrics, "fitness": training.fitness, "seconds": training.seconds}
    return Entry(
        name=f"final {training.name} seed {training.seed}",
        kind="final",
        number=number,
        parameters={"network": training.name, "seed": str(training.seed)},
        metrics=_finite(measured),
        state="failed" if training.error else "complete",
        error=training.error,
    )


def _finite(values: Mapping[T, Any]) -> dict[T, float]:
    """Return the finite numbers among some values, which all trackers take."""
    return {name: float(v) for name, v in values.items() if math.isfinite(v)}
