"""Trial: one candidate and what became of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from yolo_nas_ext.network.architecture import Architecture
from yolo_nas_ext.space.choices import Point

TRAINED = "trained_"  # begins the metrics of a training that confirms a trial
FITNESS = ("fitness", "host_fitness")  # what is maximised, and what a projection is made of


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

    def merged(self, again: Sequence[Mapping[str, float]], own: Mapping[str, float]) -> Trial:
        """Return the trial with what was measured after the search.

        Args:
            again: Metrics of repeats. Each becomes the mean of all; what ``fitness`` and
                ``host_fitness`` were at first and in the repeats keeps a name of its own.
            own: Metrics of the confirming training, which join under names of their own.
        """
        trained = {f"{TRAINED}{name}": v for name, v in own.items() if name != "seconds"}
        repeated: dict[str, float] = {}
        for name in self.metrics if again else ():
            values = [metrics[name] for metrics in again if name in metrics]
            if len(values) < len(again):  # of an earlier version's repeats only fitness is known
                continue
            first = self.metrics[name]
            repeated[name] = (first + sum(values)) / (1 + len(values))
            if name in FITNESS:
                repeated |= {f"{name}_first": first, f"{name}_again": sum(values) / len(values)}
        later = {name for metrics in again for name in metrics} - self.metrics.keys()
        for name in sorted(later):  # what is measured of the best alone
            values = [metrics[name] for metrics in again if name in metrics]
            repeated[name] = sum(values) / len(values)
        if not trained and not repeated:
            return self
        return replace(self, metrics={**self.metrics, **trained, **repeated})

    @property
    def trained(self) -> Trial:
        """The trial with what the training that confirms it measured, if there is one."""
        own = {n.removeprefix(TRAINED): v for n, v in self.metrics.items() if n.startswith(TRAINED)}
        if not own:
            return self
        # What a projection was made of is not what this training measured.
        search = {n: v for n, v in self.metrics.items() if not n.startswith("host_fitness")}
        return replace(self, metrics={**search, **own})
