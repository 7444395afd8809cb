"""A contest: the same trainings of every model, in turns, each of them recorded when it has ended.

Turns: every model with the first seed, then every model with the second. So what the machine does
meanwhile happens to all of them, and whatever is there at any time compares like with like.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from yolo_nas_ext.compare.trained_on import TrainedOn
from yolo_nas_ext.console import duration, number
from yolo_nas_ext.errors import TrialError
from yolo_nas_ext.estimators.training import UntouchedTraining
from yolo_nas_ext.files import write_text
from yolo_nas_ext.study.leaderboard import Entrant, Result, Standings

METRICS = {("detect", "host"): "mAP50-95", ("classify", "host"): "accuracy"}
EVERY = 60.0  # seconds from one line to the next within a training where nobody watches


@dataclass(frozen=True, slots=True)
class Contestant:
    """A model and what is trained of it.

    Attributes:
        entrant: What is known of it.
        definition: The host's model definition.
    """

    entrant: Entrant
    definition: Mapping[str, Any]

    @property
    def imgsz(self) -> int:
        """Image size in pixels that the definition is meant for; 0 where it names none."""
        return int(self.definition.get("imgsz") or 0)


class Contest:
    """Trains contestants and keeps what came of it in a folder, a file a training.

    A file is written whole or not at all, and is found again by what was trained and how: the model
    definition, the data, the schedule and the seed. So a contest goes on where it was, also with
    models or seeds that have been added, and nothing that has changed passes for what it was.

    Args:
        training: How to train and measure.
        contestants: The models.
        seeds: Of the trainings.
        folder: Where to keep the record.
        schedule: What decides a training's outcome, besides model, data and seed.
        part: The part of the data set that is measured on.
        noun: What a baseline is.
        say: Prints a line.
    """

    def __init__(
        self,
        training: UntouchedTraining,
        contestants: Sequence[Contestant],
        seeds: Sequence[int],
        folder: Path,
        *,
        schedule: Mapping[str, Any],
        part: str = "val",
        noun: str = "hand-made model",
        say: Callable[[str], None] = print,
    ) -> None:
        self.training = training
        self.contestants = tuple(contestants)
        self.seeds = tuple(seeds)
        self.folder = folder
        self.part = part
        self.timed = ""  # how latency was measured, in words
        self.noun = noun
        self.say = say
        self._schedule = dict(schedule)
        self._data: TrainedOn | None = None  # known once the folder is, which may record it
        judged = str(schedule.get("fitness", "host"))
        self.metric = METRICS.get(
            (training.task, judged), judged if judged != "host" else "fitness"
        )

    @property
    def turns(self) -> list[tuple[Contestant, int]]:
        """All trainings, in turns."""
        return [(contestant, seed) for seed in self.seeds for contestant in self.contestants]

    def standings(self) -> Standings:
        """Return what the trainings so far say."""
        found = (self._recorded(contestant, seed) for contestant, seed in self.turns)
        entrants = [contestant.entrant for contestant in self.contestants]
        results = [result for result in found if result is not None]
        return Standings(entrants, results, metric=self.metric, part=self.part, noun=self.noun)

    def run(self, on_result: Callable[[], None] = lambda: None) -> None:
        """Train what is not recorded yet.

        Args:
            on_result: Called when a training has been recorded.

        Raises:
            NASError: For what no model could be trained with.
        """
        (self.folder / "trainings").mkdir(parents=True, exist_ok=True)
        (self.folder / "weights").mkdir(exist_ok=True)
        if changed := self._trained_on.differs:
            self.say(f"note: the data set has changed ({changed}); all is trained on it anew")
        self._adopt()
        self._trained_on.record(self.folder)
        left = [turn for turn in self.turns if self._recorded(*turn) is None]
        done = len(self.turns) - len(left)
        if done:
            self.say(f"{done} of {len(self.turns)} trainings are recorded already")
        for index, (contestant, seed) in enumerate(left):
            head = f"training {done + index + 1}/{len(self.turns)}  {contestant.entrant.name}"
            self._train(f"{head}  seed {seed}", contestant, seed, left[index:])
            on_result()

    def weights(self, name: str) -> Path:
        """Return where the weights of an entrant's training with the first seed are."""
        return self.folder / "weights" / f"{re.sub(r'[^A-Za-z0-9._-]', '_', name)}.pt"

    def _train(
        self, head: str, contestant: Contestant, seed: int, left: Sequence[tuple[Contestant, int]]
    ) -> None:
        name = contestant.entrant.name
        weights = self.weights(name) if seed == self.seeds[0] else None
        begin = time.perf_counter()
        watch = _Watch(head, self.training.epochs, begin, self.say)
        metrics, error = {}, ""
        own = {"imgsz": contestant.imgsz} if contestant.imgsz else {}
        try:
            metrics = self.training.estimate(
                contestant.definition, {"seed": seed, **own}, watch, weights=weights
            )
        except TrialError as failure:
            error = f"{failure.kind}: {failure}"
        seconds = time.perf_counter() - begin
        fitness = metrics.get("fitness", math.nan)
        self._record(contestant, Result(name, seed, fitness, seconds, error, metrics))
        said = f"failed ({error})" if error else f"{self.metric} {number(fitness)}"
        self.say(f"{watch.clear}{head}  {said}  {duration(seconds)}{self._time_left(left)}")

    def _time_left(self, left: Sequence[tuple[Contestant, int]]) -> str:
        """Return an estimate from the trainings of each model, or of all where it has none yet."""
        standings = self.standings()
        known = [r.seconds for r in standings.results if not r.error]
        if len(left) < 2 or not known:
            return ""
        usual = sum(known) / len(known)
        own = [standings.seconds(contestant.entrant.name) for contestant, _ in left[1:]]
        return f"  {duration(sum(usual if math.isnan(s) else s for s in own))} left"

    @property
    def _trained_on(self) -> TrainedOn:
        if self._data is None:
            self._data = TrainedOn.of(self.training, self.folder, self.say)
        return self._data

    def _adopt(self) -> None:
        """Give trainings of the version before the names that they have now."""
        if about := self._trained_on.before:
            for turn in self.turns:
                old, new = self._file(*turn, about), self._file(*turn)
                if old.is_file() and not new.is_file():
                    old.replace(new)

    def _file(
        self, contestant: Contestant, seed: int, data: Mapping[str, Any] | None = None
    ) -> Path:
        about = {**(data or self._trained_on.about), **self._schedule}
        about |= {"model": contestant.definition, "seed": seed}
        digest = hashlib.sha256(json.dumps(about, sort_keys=True, default=str).encode())
        return self.folder / "trainings" / f"{digest.hexdigest()[:16]}.json"

    def _record(self, contestant: Contestant, result: Result) -> None:
        text = json.dumps(asdict(result), indent=1)
        write_text(self._file(contestant, result.seed), text + "\n")

    def _recorded(self, contestant: Contestant, seed: int) -> Result | None:
        """Return what a training gave, under the name that the model has now."""
        if not (self.folder / "trainings").is_dir():
            return None  # before the images are read, which takes its time
        file = self._file(contestant, seed)
        if (about := self._trained_on.before) and not file.is_file():
            file = self._file(contestant, seed, about)
        try:
            text = file.read_text(encoding="utf-8")
            return Result(**{**json.loads(text), "name": contestant.entrant.name})
        except (OSError, ValueError, TypeError):  # there is none, or it is damaged: train again
            return None


class _Watch:
    """Says how far a training is, at each epoch on a terminal and now and then elsewhere."""

    def __init__(self, head: str, epochs: int, begin: float, say: Callable[[str], None]) -> None:
        self._head, self._epochs, self._begin, self._say = head, epochs, begin, say
        self._said = begin
        self.clear = "\r\x1b[K" if sys.stdout.isatty() else ""

    def __call__(self, epoch: int, metrics: Mapping[str, float]) -> None:
        now = time.perf_counter()
        left = (now - self._begin) / epoch * (self._epochs - epoch)
        text = f"{self._head}  epoch {epoch}/{self._epochs}  {duration(left)} of this one left"
        if self.clear:
            print(f"{self.clear}{text}", end="", flush=True)
        elif now - self._said > EVERY:
            self._said = now
            self._say(text)
