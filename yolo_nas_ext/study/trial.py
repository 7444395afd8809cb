"""Trial: one candidate and what became of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from yolo_nas_ext.network.architecture import Architecture
from yolo_nas_ext.space.choices import Point

TRAINED = "trained_"  # begins the metrics of a training that confirms a trial


@dataclass(frozen=True, slots=True)
class Trial:
    """One candidate and what became of it.

    Attributes:
        number: Place in the order of proposals, from 0.
        point: The point of the space, or None for a baseline that is not in the space.
        architecture: The network, for a detector.
        fidelity: How it was evaluated, for example ``{"epochs": 10, "imgsz": 128}``.
        state: ``running``, ``complete``, ``failed``, or ``pruned`` when its learning curve fell
            behind.
        metrics: What was measured; ``fitness`` is maximised, other names carry their unit.
        cost: Analytic costs: ``params``, ``flops``, ``memory_bytes``, ``layers``.
        seconds: Wall time of the estimate.
        error: ``kind: message`` of a failed or pruned trial.
        name: Name of a baseline, for example ``yolov8n``; empty for a proposal.
        curve: Learning curve: how good it was after each epoch, higher is better.
    """

    number: int
    point: Point | None
    architecture: Architecture | None = None
    fidelity: Mapping[str, float] = field(default_factory=dict)
    state: str = "running"
    metrics: Mapping[str, float] = field(default_factory=dict)
    cost: Mapping[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    error: str = ""
    name: str = ""
    curve: Mapping[int, float] = field(default_factory=dict)

    @property
    def network(self) -> Architecture:
        """The architecture, of a trial that has one."""
        assert self.architecture is not None
        return self.architecture

    @property
    def fitness(self) -> float:
        """Finite fitness of a complete trial, else minus infinity."""
        value = self.metrics.get("fitness", math.nan)
        return value if self.state == "complete" and math.isfinite(value) else -math.inf

    def merged(self, again: Sequence[float], own: Mapping[str, float]) -> Trial:
        """Return the trial with what was measured after the search.

        Args:
            again: Fitness in repeats; ``fitness`` becomes the mean of all.
            own: Metrics of the confirming training, which join under names of their own.
        """
        trained = {f"{TRAINED}{name}": v for name, v in own.items() if name != "seconds"}
        fitness = {}
        if again:
            values = [self.fitness, *again]
            fitness = {
                "fitness": sum(values) / len(values),
                "fitness_first": self.fitness,
                "fitness_again": sum(again) / len(again),
            }
        if not trained and not fitness:
            return self
        return replace(self, metrics={**self.metrics, **trained, **fitness})

    @property
    def trained(self) -> Trial:
        """The trial with what the training that confirms it measured, if there is one."""
        own = {n.removeprefix(TRAINED): v for n, v in self.metrics.items() if n.startswith(TRAINED)}
        return replace(self, metrics={**self.metrics, **own}) if own else self
