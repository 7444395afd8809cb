"""A comparison: every model trained with every seed, each training recorded when it has ended.

Models take turns: all of them with the first seed, then all with the second. So what the machine
does meanwhile happens to all of them, and whatever is there at any time compares like with like.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

from yolo_nas_ext.compare import recipes
from yolo_nas_ext.compare.trained_on import TrainedOn
from yolo_nas_ext.compare.turns import Turn, Turns
from yolo_nas_ext.config.compare import CompareSettings
from yolo_nas_ext.config.names import metric_name
from yolo_nas_ext.config.settings import repeating
from yolo_nas_ext.console import Progress, duration, number, say
from yolo_nas_ext.errors import TrialError
from yolo_nas_ext.estimators.base import Context, hand_over
from yolo_nas_ext.estimators.factory import int8_by, precision_of
from yolo_nas_ext.estimators.training import UntouchedTraining
from yolo_nas_ext.executors import Executor
from yolo_nas_ext.executors.processes import Processes
from yolo_nas_ext.executors.spread import spread
from yolo_nas_ext.files import json_of, text_of, write_text
from yolo_nas_ext.host import devices
from yolo_nas_ext.host.bench import Bench
from yolo_nas_ext.host.metrics import parted
from yolo_nas_ext.study.leaderboard import Evaluation, Leaderboard, Model
from yolo_nas_ext.study.trial import Trial

# What decides a training's metrics, besides model, data, seed and Ultralytics' keys.
SCHEDULE = ("task", "epochs", "imgsz", "batch", "augment", "fitness", "inherit", "device")
EPOCH = "  epoch {done}/{total}  {left} of this one left"
EVERY = 60.0  # seconds from one line to the next within a training where nobody watches


@dataclass(frozen=True)
class Comparison:
    """Models x seeds -> metrics, kept in a folder with one file per training.

    A file is written whole or not at all. It is found again by what was trained and how: the model
    definition, the weights that it starts from, the data, the schedule and the seed. So a
    comparison goes on where it was, also with models or seeds that have been added, and nothing
    that has changed passes for what it was.

    Attributes:
        config: Settings, with the schedule.
        training: How to train and measure from random weights.
        models: The compared models.
        folder: Where the record is; given when everything was checked.
        latency: How latency was measured, in words; empty where it was not.
        say: Prints a line.
        tuned: How to train models that start from weights, see `compare.recipes`.
        taught: Digest of the teacher of those that our recipe trains; empty without one.
        leak: What the part measured on shares with the training images; empty where it is new.
        bench: The command of the user's that measures latency, where that is so.
    """

    config: CompareSettings
    training: UntouchedTraining
    models: tuple[Model, ...]
    folder: Path = Path()
    latency: str = ""
    say: Callable[[str], None] = say
    tuned: recipes.Trainings = field(default_factory=dict)
    taught: str = ""
    leak: str = ""
    bench: Bench | None = None

    def use_context(self, context: Context) -> None:
        """Have the trainings keep their files there."""
        for training in (self.training, *self.tuned.values()):
            hand_over(context, training)

    @property
    def seeds(self) -> range:
        """Seeds of the trainings."""
        return range(self.config.seed, self.config.seed + self.config.seeds)

    @property
    def turns(self) -> list[tuple[Model, int]]:
        """All trainings, in turns."""
        return [(model, seed) for seed in self.seeds for model in self.models]

    @property
    def metric(self) -> str:
        """What fitness is, in words."""
        return metric_name(self.training.task, self.config.fitness)

    @property
    def command(self) -> str:
        """What repeats the comparison."""
        return repeating(self.config)

    @property
    def protocol(self) -> dict[str, Any]:
        """How models are trained and measured, for the reader."""
        config = self.config
        train, measured = self.training.split
        own = [f"{model.name} at {model.imgsz}" for model in self.models if model.imgsz]
        return {
            "trained on": f"all {len(train)} images of train",
            "initial weights": recipes.starts(self.models),
            **({"mixture": recipes.MIXED} if recipes.mixed(self.models) else {}),
            "measured on": f"{len(measured)} images of {config.part}, "
            + (self.leak or "which no search looks at"),
            "schedule": f"{recipes.schedules(self.models)}; averaged weights of the last epoch",
            "epochs": config.epochs,
            "batch": config.batch,
            "imgsz": "; ".join([str(config.imgsz), *own]),
            "seeds": ", ".join(map(str, self.seeds)),
            "order": "every model with one seed before any with the next",
            "interval": "95 %, Student's t over seeds; of differences over seeds and images",
            "latency": self.latency or "not measured",
            **config.host,
            **({"augment": config.augment} if config.augment else {}),
            **{name: version(name) for name in ("ultralytics", "torch")},
        }

    @property
    def complete(self) -> bool:
        """Whether every training has ended."""
        return len(self.leaderboard().evaluations) == len(self.turns)

    def leaderboard(self) -> Leaderboard:
        """Return what the trainings so far say."""
        found = (self._recorded(model, seed) for model, seed in self.turns)
        evaluations = [evaluation for evaluation in found if evaluation is not None]
        return Leaderboard(
            self.models, evaluations, metric=self.metric, part=self.config.part, leak=self.leak
        )

    def weights(self, name: str) -> Path:
        """Return where the weights of a model's training with the first seed are."""
        return self.folder / "weights" / f"{self._file_name(name)}.pt"

    def definition(self, name: str) -> Path:
        """Return where the definition of a model is, as it was trained."""
        return self.folder / "models" / f"{self._file_name(name)}.yaml"

    def _file_name(self, name: str) -> str:
        """Return what the files of a model are called, which are those of no other one."""
        plain = _plain(name)
        alike = [m.name for m in self.models if _plain(m.name).casefold() == plain.casefold()]
        first = min(alike, key=lambda other: (other != _plain(other), other), default=name)
        own = hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:8]
        return plain if name == first else f"{plain}-{own}"

    def train(self, on_evaluation: Callable[[Evaluation], None] = lambda _: None) -> None:
        """Train what is not recorded yet.

        Args:
            on_evaluation: Called with a training once it is recorded.

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
        at_a_time = min(self.config.at_a_time, len(left))
        if at_a_time > 1:
            self._train_together(left, at_a_time, on_evaluation)
            return
        for index, (model, seed) in enumerate(left):
            head = self._head(done + index, model, seed)
            on_evaluation(self._train(head, model, seed, left[index + 1 :]))

    def _head(self, done: int, model: Model, seed: int) -> str:
        return f"training {done + 1}/{len(self.turns)}  {model.name}  seed {seed}"

    def _train_together(
        self,
        left: Sequence[tuple[Model, int]],
        at_a_time: int,
        on_evaluation: Callable[[Evaluation], None],
    ) -> None:
        """Train several models at a time, each in a process of its own."""
        turns = Turns([self._turn(model, seed) for model, seed in left])
        waiting = iter(range(len(left)))
        done = len(self.turns) - len(left)
        open_ = dict(enumerate(left))

        def pool() -> Executor:
            return Processes(turns, at_a_time, devices.pool(self.config.device))

        def wanted() -> Trial | None:
            number = next(waiting, None)
            return None if number is None else Trial(number, None)

        for ended in spread(pool, wanted):
            model, seed = open_.pop(ended.number)
            found = self._note(
                self._head(done, model, seed),
                model,
                seed,
                ended.metrics if ended.state == "complete" else {},
                ended.error,
                ended.seconds,
                [*open_.values()],
            )
            done += 1
            on_evaluation(found)

    def _turn(self, model: Model, seed: int) -> Turn:
        """Return how one model is trained with one seed."""
        own = {"imgsz": model.imgsz} if model.imgsz else {}
        return Turn(
            self.tuned.get((model.recipe, model.weights), self.training),
            model.definition,
            {"seed": seed, **own},
            self.weights(model.name) if seed == self.seeds[0] else None,
        )

    def _train(
        self, head: str, model: Model, seed: int, left: Sequence[tuple[Model, int]]
    ) -> Evaluation:
        """Train and record one model with one seed."""
        turn = self._turn(model, seed)
        begin = time.perf_counter()
        metrics, error = {}, ""
        own_say = None if self.say is say else self.say
        with Progress(self.training.epochs, EPOCH, head=head, every=EVERY, say=own_say) as progress:
            try:
                metrics = turn.train(lambda epoch, _: progress(epoch))
            except TrialError as failure:
                error = f"{failure.kind}: {failure}"
        return self._note(head, model, seed, metrics, error, time.perf_counter() - begin, left)

    def _note(
        self,
        head: str,
        model: Model,
        seed: int,
        metrics: Mapping[str, float],
        error: str,
        seconds: float,
        left: Sequence[tuple[Model, int]],
    ) -> Evaluation:
        """Record a training that has ended, say what it gave, and return it."""
        fitness = metrics.get("fitness", math.nan)
        without, others = parted(metrics)
        found = Evaluation(model.name, seed, fitness, seconds, error, others, without)
        self._record(model, found)
        said = f"failed ({error})" if error else f"{self.metric} {number(fitness)}"
        self.say(f"{head}  {said}  {duration(seconds)}{self._time_left(left)}")
        return found

    def _time_left(self, left: Sequence[tuple[Model, int]]) -> str:
        """Return an estimate from the trainings of each model, or of all where it has none yet."""
        leaderboard = self.leaderboard()
        known = [e.seconds for e in leaderboard.evaluations if not e.error]
        if not left or not known:
            return ""
        usual = sum(known) / len(known)
        own = [leaderboard.seconds(model.name) for model, _ in left]
        seconds = sum(usual if math.isnan(s) else s for s in own) / self.config.at_a_time
        return f"  {duration(seconds)} left"

    @cached_property
    def _trained_on(self) -> TrainedOn:
        return TrainedOn.of(self.training, self.folder, self.say)

    def _adopt(self) -> None:
        """Give trainings of the version before the names that they have now."""
        if about := self._trained_on.before:
            for turn in self.turns:
                old, new = self._file(*turn, about), self._file(*turn)
                if old.is_file() and not new.is_file():
                    old.replace(new)

    def _file(self, model: Model, seed: int, data: Mapping[str, Any] | None = None) -> Path:
        about = {
            **(data or self._trained_on.about),
            **{name: self.config.values[name] for name in SCHEDULE},
            "host": dict(self.config.host),
            "model": model.definition,
            "seed": seed,
        }
        if self.config.ddp:  # batch norms see a part of the batch
            about["ddp"] = True
        if model.weights:
            about |= {"weights": model.digest, "recipe": model.recipe}
        if precision := precision_of(self.config):
            about["precision"] = precision
            about |= {"int8_by": by} if (by := int8_by(self.config)) else {}
        if self.taught and model.recipe == recipes.OURS:
            about["teacher"] = self.taught
        digest = hashlib.sha256(json.dumps(about, sort_keys=True, default=str).encode())
        return self.folder / "trainings" / f"{digest.hexdigest()[:16]}.json"

    def _record(self, model: Model, evaluation: Evaluation) -> None:
        text = json.dumps(asdict(evaluation), indent=1)
        write_text(self._file(model, evaluation.seed), text + "\n")

    def _recorded(self, model: Model, seed: int) -> Evaluation | None:
        """Return what a training gave, under the name that the model has now."""
        if not (self.folder / "trainings").is_dir():
            return None  # before the images are read, which takes its time
        file = self._file(model, seed)
        if (about := self._trained_on.before) and not file.is_file():
            file = self._file(model, seed, about)
        try:
            found = Evaluation(**{**json_of(text_of(file)), "name": model.name})
            values = [found.fitness, found.seconds, found.seed, *found.metrics.values()]
            values += found.without
            numbers = all(type(value) in (int, float) for value in values)
            return found if numbers and isinstance(found.error, str) else None
        except (
            OSError,
            ValueError,
            TypeError,
            AttributeError,
        ):  # there is none, or it is damaged: train again
            return None


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "_", name)
