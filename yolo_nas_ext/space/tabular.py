"""Tabular benchmarks: detectors that were trained in full, to try a strategy on in a second.

    from yolo_nas_ext import search, tables

    table = tables.load("brain")
    study = search(table.space, table, strategy="bayes", trials=10)
    print(table.regret(study.best.point))

The tables are made of the reference sets by benchmarks/reference_table.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from yolo_nas_ext.errors import NASError, did_you_mean
from yolo_nas_ext.files import resource
from yolo_nas_ext.space.choices import ChoiceSpace
from yolo_nas_ext.space.point import Point


class TableSpace(ChoiceSpace):
    """The networks of a table as a space: every assignment stands for the nearest of them.

    Args:
        points: What describes each network, by choice.
    """

    def __init__(self, points: Iterable[Mapping[str, Any]]) -> None:
        self._points = [Point(values) for values in points]
        names = list(self._points[0])
        super().__init__({n: dict.fromkeys(sorted(p[n] for p in self._points)) for n in names})

    @property
    def size(self) -> int:
        """Number of networks: that of assignments says nothing about when all have been seen."""
        return len(self._points)

    def enumerate(self) -> Iterator[Point]:
        """Yield every network that is feasible."""
        return (point for point in self._points if self.feasible(point))

    def canonical(self, values: Mapping[str, Any]) -> Point:
        """Return the network that differs in the fewest choices, the first of equals."""
        return min(self._points, key=lambda p: sum(p[name] != values[name] for name in p))


class Table:
    """A tabular benchmark: a space, and what its networks were measured to be.

    Args:
        content: ``about``, and ``rows`` of ``point``, ``metrics`` and ``cost``.

    Attributes:
        about: What was trained, on what and how.
        space: The networks.
    """

    def __init__(self, content: Mapping[str, Any]) -> None:
        self.about: str = content["about"]
        self.space = TableSpace(row["point"] for row in content["rows"])
        self._rows = {Point(row["point"]): row for row in content["rows"]}

    def __len__(self) -> int:
        return len(self._rows)

    def __call__(self, point: Mapping[str, Any]) -> dict[str, float]:
        """Return the metrics of a network and its costs, ``params_m`` and ``flops_g``."""
        row = self._rows[self.space.canonical(point)]
        cost = row["cost"]
        return {**row["metrics"], "params_m": cost["params"] / 1e6, "flops_g": cost["flops"] / 1e9}

    def regret(self, point: Mapping[str, Any]) -> float:
        """Return by how much the fitness of a network is below that of the best one."""
        best = max(row["metrics"]["fitness"] for row in self._rows.values())
        return best - self(point)["fitness"]


def names() -> list[str]:
    """Return the names of the shipped tables."""
    return sorted(file.stem for file in resource("cfg", "tables").glob("*.json"))


def load(name: str) -> Table:
    """Return a shipped table.

    Raises:
        NASError: For an unknown name.
    """
    known = names()
    if name not in known:
        hint = did_you_mean(name, known)
        raise NASError(f"table {name}: no such table.{hint} Allowed: {', '.join(known)}")
    return Table(json.loads(resource("cfg", "tables", f"{name}.json").read_text(encoding="utf-8")))
