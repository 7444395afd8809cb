"""``fidelity=asha``: a candidate is trained in steps, each of which it has to earn."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from yolo_nas_ext.errors import NASError, TrialError, did_you_mean
from yolo_nas_ext.estimators.base import Context, hand_over
from yolo_nas_ext.estimators.training import Training
from yolo_nas_ext.files import json_of, text_of, write_text
from yolo_nas_ext.network.architecture import Architecture

REDUCTION = 3  # of three candidates one goes up a rung
RUNGS = 3  # at most; fewer epochs than nine make fewer of them
GROWS = ("epochs", "imgsz", "images")
REPORTED = "rung_fitness"


def parse(text: str) -> tuple[str, ...]:
    """Return what grows from rung to rung: ``asha``, ``asha:imgsz``, ``asha:imgsz+images``.

    Epochs always do.

    Raises:
        NASError: For anything else.
    """
    name, _, parts = text.partition(":")
    grows = tuple(part.strip() for part in parts.split("+") if part.strip())
    wrong = name if name != "asha" else next((g for g in grows if g not in GROWS), "")
    if wrong or name != "asha":
        raise NASError(
            f"fidelity={text}: no such fidelity '{wrong}'.{did_you_mean(wrong, ('asha', *GROWS))} "
            f"Allowed: asha, or asha: and what else than epochs grows, {' + '.join(GROWS[1:])}"
        )
    return grows


class Rungs:
    """Evaluates by a training in rungs of growing fidelity (Li et al. 2020, arXiv:1810.05934).

    Each rung trains three times as many epochs in all as the one before, and goes on from its
    weights: the step sizes are those of a training of its own (a warm restart), the moments of the
    optimiser begin anew. After each rung but the last its fitness is reported at 1, 3, ..., where a
    pruner may end the trial. A trial that was killed goes on at the rung that it was in.

    Args:
        training: Trains and measures; its fidelity is that of the last rung.
        grows: What grows besides epochs: ``imgsz``, by about the root of three, or ``images``, by
            three.
    """

    seeded = True

    def __init__(self, training: Training, grows: tuple[str, ...] = ()) -> None:
        self.training = training
        last = training.fidelity
        below = range(RUNGS - 1, -1, -1)
        epochs = sorted({max(1, round(last["epochs"] / REDUCTION**i)) for i in below})
        self.rungs = [
            self._rung(epoch, len(epochs) - 1 - i, grows) for i, epoch in enumerate(epochs)
        ]

    def use_context(self, context: Context) -> None:
        """Have the trainings keep their files there."""
        hand_over(context, self.training)

    def _rung(self, epochs: int, below: int, grows: tuple[str, ...]) -> dict[str, float]:
        """Return the fidelity of a rung so many below the last."""
        rung = {**self.training.fidelity, "epochs": epochs}
        if "imgsz" in grows:
            side = rung["imgsz"] / REDUCTION ** (below / 2)
            rung["imgsz"] = max(32, 32 * round(side / 32))
        if "images" in grows:
            rung["images"] = max(1, round(rung["images"] / REDUCTION**below))
        return rung

    @property
    def fidelity(self) -> Mapping[str, float]:
        """That of the last rung."""
        return self.training.fidelity

    def estimate(
        self,
        architecture: Architecture,
        fidelity: Mapping[str, float] | None = None,
        report: Any = None,
        weights: Path | None = None,
        inherit: Path | None = None,
    ) -> Mapping[str, float]:
        """Return the metrics of the last rung, and what the others measured is reported.

        Args:
            architecture: What to train.
            fidelity: Its ``seed`` is used; rungs have fidelities of their own.
            report: Called after each rung but the last with 1, 3, 9, ... and ``rung_fitness``; what
                it raises ends the trial.
            weights: Where the last rung's checkpoint goes; those of the rungs are kept beside it
                until the trial has ended.
            inherit: What the first rung starts from.

        Raises:
            TrialError: For a candidate that cannot be trained, or when `report` raises it.
        """
        seed = int((fidelity or {}).get("seed", self.training.seed))
        with tempfile.TemporaryDirectory() as folder:
            notes = _Notes(weights or Path(folder) / "network.pt", seed)
            try:
                for number in range(len(self.rungs) - 1):
                    if number not in notes.measured:
                        metrics = self._train(number, architecture, seed, notes, inherit)
                        notes.add(number, metrics)
                    if report:
                        report(REDUCTION**number, {REPORTED: notes.measured[number]["fitness"]})
                last = len(self.rungs) - 1
                metrics = self._train(last, architecture, seed, notes, inherit, weights)
            except TrialError:
                notes.remove()
                raise
            notes.remove()
        return metrics

    def _train(
        self,
        number: int,
        architecture: Architecture,
        seed: int,
        notes: _Notes,
        inherit: Path | None,
        weights: Path | None = None,
    ) -> dict[str, float]:
        """Train the epochs of a rung, from the weights of the one before, and measure."""
        last = number == len(self.rungs) - 1
        spent = self.rungs[number - 1]["epochs"] if number else 0
        rung = dict(self.rungs[number])
        if own := getattr(architecture, "imgsz", 0):
            rung["imgsz"] = own
        return self.training.estimate(
            architecture,
            {**rung, "epochs": rung["epochs"] - spent, "seed": seed},
            weights=weights if last else notes.weights(number),
            inherit=notes.weights(number - 1) if number else inherit,
        )


def in_rungs(training: Training, fidelity: str) -> Rungs:
    """Return a training in the rungs that the key ``fidelity`` names."""
    return Rungs(training, parse(fidelity))


def rung_fitness(metrics: Mapping[str, float]) -> float:
    """Return the score of a rung, by which candidates of the same rung are compared."""
    return metrics[REPORTED]


class _Notes:
    """Checkpoints and metrics of the rungs that a trial has done, for it to go on from them."""

    def __init__(self, weights: Path, seed: int) -> None:
        self._folder = weights.parent / "rungs"
        self._stem = f"{weights.stem}-{seed}"
        self._file = self._folder / f"{self._stem}.json"
        self.measured: dict[int, dict[str, float]] = {}
        if self._file.is_file():
            self.measured = _measured(self._file)
        self._folder.mkdir(parents=True, exist_ok=True)

    def weights(self, number: int) -> Path:
        """Return where a rung's checkpoint goes."""
        return self._folder / f"{self._stem}-{number}.pt"

    def add(self, number: int, metrics: Mapping[str, float]) -> None:
        """Note a rung's metrics, once its checkpoint is there."""
        self.measured[number] = dict(metrics)
        write_text(self._file, json.dumps(self.measured))

    def remove(self) -> None:
        """Delete all of it."""
        for file in (self._file, *map(self.weights, range(RUNGS))):
            file.unlink(missing_ok=True)


def _measured(file: Path) -> dict[int, dict[str, float]]:
    """Return the metrics of the rungs in a file; where it is damaged they are trained again."""
    try:
        found = json_of(text_of(file))
        measured = {int(number): dict(metrics) for number, metrics in found.items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}
    fine = all(type(m.get("fitness")) in (int, float) for m in measured.values())
    return measured if fine else {}
