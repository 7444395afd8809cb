"""An integer programme over choices: one option of each, the highest sum of values, under rows."""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp

NODES = 2000  # of the search tree; the best solution by then is taken, as a clock would vary
CLOSE = 1e-9  # of a row: what rounding may exceed it by


class Row(NamedTuple):
    """A linear condition: the weights of the chosen options sum to at most a bound.

    Attributes:
        weights: Of every option of every choice, of shape (options,).
        bound: The most that they may sum to.
    """

    weights: np.ndarray
    bound: float


class Programme:
    """Chooses one option of each choice.

    Args:
        choices: Options of every choice by its name.

    Attributes:
        items: Every (choice, option), in the order of all arrays of shape (options,).
        starts: Where the options of each choice begin in `items`.
    """

    def __init__(self, choices: Mapping[str, Sequence[Any]]) -> None:
        self.choices = {name: tuple(options) for name, options in choices.items()}
        self.items = [
            (name, option) for name, options in self.choices.items() for option in options
        ]
        sizes = [len(options) for options in self.choices.values()]
        self.starts = np.cumsum([0, *sizes])[:-1]
        self._place = {item: i for i, item in enumerate(self.items)}
        self._one = np.repeat(np.eye(len(sizes)), sizes, axis=1)

    def places(self, values: Mapping[str, Any]) -> np.ndarray:
        """Return the places in `items` of an assignment's options, one of each choice."""
        return np.array([self._place[name, values[name]] for name in self.choices], dtype=int)

    def away(self, values: Mapping[str, Any], least: int) -> Row:
        """Return the row by which solutions differ from an assignment in at least some choices."""
        weights = np.zeros(len(self.items))
        weights[self.places(values)] = 1.0
        return Row(weights, float(len(self.choices) - least))

    def most(self, values: np.ndarray, rows: Sequence[Row], allowed: np.ndarray) -> float:
        """Return what no solution exceeds: of each row alone, the least of some Lagrangian bounds.

        Args:
            values: Of every option, of shape (options,).
            rows: Conditions.
            allowed: Which options may be chosen, of shape (options,).
        """
        if not self.choices:
            return 0.0
        found = float(self._highest(values, allowed))
        scale = float(np.abs(values).max()) or 1.0
        for row in rows:
            prices = np.geomspace(0.01, 100.0, 41) * scale / (np.abs(row.weights).max() or 1.0)
            best = self._highest(values - prices[:, None] * row.weights, allowed)
            found = min(found, float((best + prices * row.bound).min()))
        return found

    def _highest(self, values: np.ndarray, allowed: np.ndarray) -> np.ndarray:
        """Return the highest sum without conditions, of shape (...) of values (..., options)."""
        open_values = np.where(allowed, values, -np.inf)
        return np.maximum.reduceat(open_values, self.starts, axis=-1).sum(axis=-1)

    def solve(
        self, values: np.ndarray, rows: Sequence[Row], allowed: np.ndarray
    ) -> dict[str, Any] | None:
        """Return the assignment of the highest sum of values, or None where there is none.

        Args:
            values: Of every option, of shape (options,).
            rows: Conditions.
            allowed: Which options may be chosen, of shape (options,).
        """
        if not self.choices:
            return {} if all(row.bound >= -CLOSE for row in rows) else None
        conditions = [LinearConstraint(self._one, 1.0, 1.0)]
        if rows:
            weights = np.array([row.weights for row in rows])
            upper = np.array([row.bound for row in rows])
            sizes = np.maximum(np.abs(weights).max(axis=1), np.abs(upper))
            sizes[sizes == 0] = 1.0
            lower = np.full(len(rows), -np.inf)
            upper = upper / sizes + CLOSE
            conditions.append(LinearConstraint(weights / sizes[:, None], lower, upper))  # pyright: ignore[reportArgumentType]
        bounds = Bounds(0.0, allowed.astype(float))  # pyright: ignore[reportArgumentType]
        with _silent():
            found = milp(
                -values / (float(np.abs(values).max()) or 1.0),
                constraints=conditions,
                integrality=np.ones(len(self.items)),
                bounds=bounds,
                options={"mip_rel_gap": 0.0, "node_limit": NODES},
            )
        if found.x is None:
            return None
        parts = np.split(found.x, self.starts[1:])
        names = zip(self.choices.items(), parts, strict=True)
        return {name: options[int(part.argmax())] for (name, options), part in names}


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Keep the process' standard output empty.

    HiGHS, which solves the programme, prints a line at times, whatever it is told
    (HighsMipSolverData::transformNewIntegerFeasibleSolution).
    """
    try:
        flush = ctypes.CDLL(None).fflush
    except (TypeError, AttributeError, OSError):  # systems whose C library is found otherwise
        yield
        return
    flush(None)
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        yield
    finally:
        flush(None)
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)
