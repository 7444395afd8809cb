"""The end of a search: its best networks and the hand-made models, all trained in full, on val.

What a search measures it has also picked by, on images held out of train and after short trainings.
So the few best are trained again from random weights, on the whole of train with the host's
complete schedule, and measured once on the user's own val beside the hand-made models; what that
says is the verdict, whatever the search thought.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from yolo_nas_ext.compare import definitions as comparison
from yolo_nas_ext.compare import outputs
from yolo_nas_ext.compare.runner import Contest
from yolo_nas_ext.config.compare import CompareSettings
from yolo_nas_ext.config.search import SearchSettings
from yolo_nas_ext.config.settings import repeating
from yolo_nas_ext.estimators.factory import training_options
from yolo_nas_ext.estimators.training import UntouchedTraining
from yolo_nas_ext.files import write_text
from yolo_nas_ext.host import dataset
from yolo_nas_ext.network.emit import emit
from yolo_nas_ext.report.summary import label
from yolo_nas_ext.study.leaderboard import Standings
from yolo_nas_ext.study.study import Study
from yolo_nas_ext.study.trial import Trial

FOLDER = "finals"
SAME = (
    "data",
    "task",
    "imgsz",
    "seed",
    "seeds",
    "baseline",
    "device",
    "threads",
    "augment",
    "runtime",
    "precision",
)


@dataclass(frozen=True)
class Entry:
    """Finals that can be held: settings and data are checked.

    Attributes:
        config: Settings of the comparison.
        train: What is trained on.
        training: How.
        definitions: Those of the hand-made models, by name.
        most: Number of found networks that take part.
    """

    config: CompareSettings
    train: dataset.DataSet
    training: UntouchedTraining
    definitions: Mapping[str, Mapping[str, Any]]
    most: int


@dataclass
class Finals:
    """Finals that are being held, or are over.

    Attributes:
        contest: The trainings.
        settings: Of the comparison.
        trials: The found networks that take part, by name.
        command: What repeats them.
    """

    contest: Contest
    settings: CompareSettings
    trials: Mapping[str, Trial]
    command: str

    @property
    def standings(self) -> Standings:
        """What the trainings so far say."""
        return self.contest.standings()

    @property
    def complete(self) -> bool:
        """Whether every training has ended."""
        return len(self.standings.results) == len(self.contest.turns)

    @property
    def winner(self) -> Trial | None:
        """The best of the found networks; None until all trainings have ended."""
        best = self.standings.best_other
        return self.trials[best.name] if best and self.complete else None

    @property
    def protocol(self) -> dict[str, Any]:
        """How models were trained and measured, for the reader."""
        return outputs.protocol(self.contest, self.settings)

    @property
    def next_command(self) -> str:
        """What to run with the weights of the best model of all."""
        return outputs.following(self.contest)

    def weights(self, trial: Trial) -> Path:
        """Return where the weights of a found network are, of the first seed."""
        return self.contest.weights(label(trial))


def prepare(config: SearchSettings, train: dataset.DataSet) -> Entry | None:
    """Return the finals of a search, everything checked before it begins; None without any.

    Args:
        config: Settings of the search.
        train: Its data.

    Raises:
        NASError: For settings or data that no finals can be held with.
    """
    if not config.finalists:
        return None
    settings = CompareSettings(
        **{name: config.values[name] for name in SAME},
        epochs=config.final_epochs,
        batch=config.final_batch,
        fitness=config.fitness if config.fitness in ("froc", "dice") else "host",
        host=config.host,
    )
    comparison.clock(settings)
    measured = dataset.read(config.data, config.task, part=settings.part)
    names = comparison.labels(config.baseline)
    definitions = {
        name: comparison.read(path, config.task, "baseline")
        for path, name in zip(config.baseline, names, strict=True)
    }
    options = training_options(settings)
    training = UntouchedTraining(train, measured, **options, teacher=config.teacher)
    return Entry(settings, train, training, definitions, config.finalists)


def enter(entry: Entry, study: Study, folder: Path, seconds: float) -> Finals:
    """Return the finals of a record, with what of them is recorded; nothing is written.

    Args:
        entry: From `prepare`.
        study: The record of the search.
        folder: Its run folder; all goes into ``finals`` there.
        seconds: What the search took.
    """
    trials = {label(trial): trial for trial in chosen(study, entry.most)}
    data, config = entry.train, entry.config
    definitions = {
        name: emit(trial.network, data.nc, config.task, data.keypoints)
        for name, trial in trials.items()
    } | dict(entry.definitions)
    entered = comparison.contestants(
        definitions, data, config.imgsz, list(entry.definitions), dict.fromkeys(trials, seconds)
    )
    contest = Contest(
        entry.training,
        entered,
        range(config.seed, config.seed + config.seeds),
        folder / FOLDER,
        schedule=comparison.schedule(config),
        part=config.part,
    )
    return Finals(contest, config, trials, _again(config, contest, trials))


def hold(finals: Finals, folder: Path) -> bool:
    """Train the finalists and the hand-made models, as far as that is not recorded, and compare.

    Args:
        finals: From `enter`.
        folder: The run folder; ``verdict.md`` goes there.

    Returns:
        Whether Ctrl-C ended them.
    """
    contest, config = finals.contest, finals.settings
    contest.folder.mkdir(exist_ok=True)
    contest.training.images = contest.folder / "images"
    print(f"\nfinals: {', '.join(finals.trials)} from random weights beside the hand-made models")
    comparison.announce(config, contest, folder)
    comparison.write_models(contest)
    try:
        interrupted = comparison.run(contest, config, finals.command)
    finally:
        shutil.rmtree(contest.training.images, ignore_errors=True)
    said = (contest.folder / "verdict.md").read_text(encoding="utf-8")
    write_text(folder / "verdict.md", said)
    return interrupted


def chosen(study: Study, most: int) -> list[Trial]:
    """Return the found networks that go into the finals.

    They are, in this order and as far as they differ: the best; the best that costs no more than
    the best hand-made network; the cheapest that is no worse than it; then the front by fitness;
    then all others by fitness. So there is a candidate for each sentence of the verdict.
    """
    everything = _by_fitness([t for t in study.candidates if not t.name and t.architecture])
    inside = {trial.number for trial in study.front}
    on_front = [t for t in everything if t.number in inside]
    confirmed = [t for t in everything if t.trained is not t]  # by a training of its own
    order = sorted(confirmed, key=lambda t: -t.trained.fitness)[:1] or on_front[:1]
    hand = _by_fitness([t for t in study.complete if t.name and "flops" in t.cost])[:1]
    for other in hand:
        cheaper = [t for t in on_front if t.cost.get("flops", 0) <= other.cost["flops"]]
        as_good = [t for t in on_front if t.fitness >= other.fitness]
        order += cheaper[:1] + sorted(as_good, key=lambda t: t.cost.get("flops", 0))[:1]
    found: dict[str, Trial] = {}
    for trial in (*order, *on_front, *everything):
        found.setdefault(trial.network.key, trial)
    return list(found.values())[:most]


def _by_fitness(trials: Sequence[Trial]) -> list[Trial]:
    return sorted(trials, key=lambda t: (-t.fitness, t.number))


def _again(config: CompareSettings, contest: Contest, trials: Mapping[str, Trial]) -> str:
    """Return the command that compares the same models once more, outside of the search."""
    files = tuple(str(contest.folder / "models" / f"{name}.yaml") for name in trials)
    return repeating(replace(config, models=files, name="finals"))
