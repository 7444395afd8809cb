"""The evaluation of a trial: its latency, the weights it starts from, the estimator's metrics."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from yolo_nas_ext import executors, plugins
from yolo_nas_ext.config.search import SearchSettings
from yolo_nas_ext.errors import NASError, TrialError
from yolo_nas_ext.estimators.multi_fidelity import rung_fitness
from yolo_nas_ext.estimators.training import localisation
from yolo_nas_ext.executors.run_trial import Estimate, Report, metrics_of
from yolo_nas_ext.host import devices
from yolo_nas_ext.pipeline import energy, latency, warm_start
from yolo_nas_ext.pipeline.baselines import Begin
from yolo_nas_ext.pipeline.plan import Plan
from yolo_nas_ext.study.study import Study
from yolo_nas_ext.study.trial import Trial


def _ignore(epoch: int, value: float) -> None:
    """Take no notice of a learning curve."""


@dataclass(frozen=True)
class Evaluation:
    """Evaluates a trial of a run; copied to other processes, data included.

    Attributes:
        estimator: How.
        folder: The run folder, where weights go.
        study: The record, where weights are taken from parents.
        blocks: File with blocks of the user's, which every process has to know.
        score: What a learning curve consists of, from the metrics of an epoch or a rung.
        timing: What measures the latency first, where it is measured of each candidate.
        energy: What measures the energy first, where something asks for it.
        begins: How baselines begin that do not as candidates do, by name.
        parent: Name of the parent, which is measured whatever its latency.
    """

    estimator: Any
    folder: Path
    study: Study | None = None
    blocks: str | None = None
    score: Callable[[Mapping[str, float]], float] = localisation
    timing: latency.Timing | None = None
    energy: energy.Energy | None = None
    begins: Mapping[str, Begin] = field(default_factory=dict)
    parent: str = ""

    def __call__(
        self, trial: Trial, report: Report = _ignore, **other: float
    ) -> Mapping[str, float]:
        """Return the metrics of the trial's network; `other` fidelity replaces the trial's."""
        plugins.load_blocks(self.blocks)
        weights = warm_start.weights_of(self.folder, trial)
        begin = self.begins.get(trial.name, Begin())
        nearest = warm_start.nearest(trial, self.study, self.folder) if self.study else None
        inherit = begin.inherit or nearest
        start = {"inherit": inherit} if inherit else {}
        measured = {} if other else self._measured(trial, begin.definition)

        def on_epoch(epoch: int, metrics: Mapping[str, float]) -> None:
            report(epoch, self.score(metrics))

        try:
            found = (begin.estimator or self.estimator).estimate(
                begin.definition or trial.network,
                {**trial.fidelity, **other},
                on_epoch,
                weights=weights,
                **start,
            )
        except Exception as error:
            if bug := self._bug(error):
                raise TrialError("error", bug) from error
            raise
        return {**metrics_of(found, "estimate()"), **measured}

    @staticmethod
    def _bug(error: Exception) -> str:
        """Return what went wrong and where in the user's file, if it is a mistake there."""
        if isinstance(error, TrialError | NASError | MemoryError | OSError):
            return ""
        return plugins.reason(error) if plugins.place_of(error) else ""

    def use_device(self, device: str) -> None:
        """Train on that device from now on, in this process."""
        devices.use(device)

    def _measured(self, trial: Trial, definition: Mapping[str, Any] | None) -> dict[str, float]:
        """Return the latency and the energy of a network, where they are measured of each."""
        found: dict[str, float] = {}
        network = trial.architecture or definition
        if self.timing is not None and network is not None:
            of_parent = bool(self.parent) and trial.name == self.parent
            timing = replace(self.timing, limit=None) if of_parent else self.timing
            found |= timing.of_candidate(network)
        if self.energy is not None and trial.architecture is not None:
            found |= self.energy.of_candidate(trial.architecture)
        return found


def evaluation(plan: Plan, folder: Path, study: Study) -> Evaluation:
    """Return how the trials of a plan are evaluated."""
    config, timing = plan.config, plan.timing
    if timing is not None and timing.bench is not None:
        timing.bench.keep(folder)
    if plan.energy is not None and plan.energy.bench is not None:
        plan.energy.bench.keep(folder)
    return Evaluation(
        plan.estimator,
        folder,
        study if config.inherit == warm_start.PARENT else None,
        config.blocks,
        rung_fitness if config.fidelity else localisation,
        timing if timing and timing.profile is None else None,
        plan.energy,
        plan.first.begins,
        plan.parent.name if plan.parent else "",
    )


@dataclass(frozen=True)
class Again:
    """Evaluates a trial under another seed; copied to other processes.

    Attributes:
        evaluate: How trials are evaluated.
        seed: The seed.
    """

    evaluate: Evaluation
    seed: int

    def __call__(self, trial: Trial, report: Report) -> Mapping[str, float]:
        """Return the metrics of the trial's network; of its learning curve nothing is said."""
        return self.evaluate(trial, seed=self.seed)

    def use_device(self, device: str) -> None:
        """Train on that device from now on, in this process."""
        self.evaluate.use_device(device)


def here(config: SearchSettings, estimate: Estimate) -> executors.Executor:
    """Return what evaluates on this machine, whose workers share its cores and its GPUs."""
    shared = devices.pool(config.device)
    return executors.make("local", estimate, config.jobs, devices=shared)


def executor(config: SearchSettings, evaluation: Estimate) -> executors.Executor:
    """Return what evaluates the trials."""
    if config.executor == "ray":
        return executors.make(
            "ray",
            evaluation,
            config.jobs if "jobs" in config.given else 0,
            address=config.ray_address,
            cpus=config.cpus_per_trial,
            gpus=config.gpus_per_trial,
        )
    return here(config, evaluation)
