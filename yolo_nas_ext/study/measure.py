"""Measure: what the fitness of a record is, for people.

A search maximises ``fitness``. Where that is a projection, what was measured is recorded beside it,
and it is that which people are shown: the projection says who comes first and nothing else.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from yolo_nas_ext.study.trial import Trial

PROJECTED = "projected_fitness"  # what a projection is called beside what was measured
PARTS = ("", "_first", "_again")  # of a metric that was measured twice, see `Trial.merged`


@dataclass(frozen=True, slots=True)
class Measure:
    """What is measured, and what networks are ranked by.

    Attributes:
        name: Of what is measured, for example ``mAP50-95``.
        metric: The metric that holds it.
        rank: What ``fitness`` is where that is another metric, in words; empty otherwise.
        exact: Whether the same network is measured alike every time.
        trained: Of what the training measures that confirms a trial; empty where it is the same.
    """

    name: str = "fitness"
    metric: str = "fitness"
    rank: str = ""
    exact: bool = False
    trained: str = ""

    @property
    def projects(self) -> bool:
        """Whether networks are ranked by something else than what was measured."""
        return bool(self.rank)

    @property
    def confirmed(self) -> str:
        """What the training measures that confirms a trial."""
        return self.trained or self.name

    def restated(self, trial: Trial) -> Trial:
        """Return a trial whose ``fitness`` is what was measured.

        The projection has the name ``projected_fitness``.
        """
        known = dict(trial.metrics)
        if self.metric == "fitness" or self.metric not in known:
            return trial
        projected = {f"{PROJECTED}{part}": known.pop(f"fitness{part}", None) for part in PARTS}
        measured = {f"fitness{part}": known.pop(f"{self.metric}{part}", None) for part in PARTS}
        found = {**measured, **projected, **known}
        return replace(trial, metrics={n: v for n, v in found.items() if v is not None})

    def noted(self) -> dict[str, Any]:
        """Return what a record keeps of it."""
        return asdict(self)

    @classmethod
    def read(cls, noted: Any) -> Measure:
        """Return what a record keeps; the usual one where that is nothing, or damaged."""
        usual = asdict(cls())
        known = isinstance(noted, dict) and noted.keys() <= usual.keys()
        if not known or any(type(v) is not type(usual[n]) for n, v in noted.items()):
            return cls()
        return cls(**noted)
