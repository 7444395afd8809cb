"""Rules between the choices of a space: each can be checked, and repaired in a random draw."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol


class Rule(Protocol):
    """A relation between choices; it says nothing where one of them is missing from the values."""

    def holds(self, values: Mapping[str, Any]) -> bool:
        """Say whether the values satisfy the rule."""
        ...

    def repair(
        self, values: dict[str, Any], choices: Mapping[str, Sequence[Any]], rng: random.Random
    ) -> None:
        """Change values in place so that the rule holds, where the options allow it."""
        ...


@dataclass(frozen=True, slots=True)
class NonDecreasing:
    """Numbers that may not shrink from one choice to the next, for example the stages' widths."""

    names: tuple[str, ...]

    def holds(self, values: Mapping[str, Any]) -> bool:
        """Say whether each number is at least the one before."""
        numbers = [values[name] for name in self.names if name in values]
        return all(a <= b for a, b in pairwise(numbers))

    def repair(
        self, values: dict[str, Any], choices: Mapping[str, Sequence[Any]], rng: random.Random
    ) -> None:
        """Draw each number again from the options that leave room for the next ones.

        Sorting would be simpler but does not work where the choices have different options.
        """
        if self.holds(values):
            return
        ceiling = float("inf")
        ceilings = []
        for name in reversed(
            self.names
        ):  # the most that a choice can take so that its successors can follow
            ceiling = max((o for o in choices[name] if o <= ceiling), default=ceiling)
            ceilings.append(ceiling)
        drawn = sorted(values[name] for name in self.names)
        floor = float("-inf")
        for name, top, wish in zip(self.names, reversed(ceilings), drawn, strict=True):
            room = [o for o in choices[name] if floor <= o <= top]
            if not room:
                return
            values[name] = min(room, key=lambda o, wish=wish: (abs(o - wish), o))
            floor = values[name]


@dataclass(frozen=True, slots=True)
class Ratio:
    """A number between `low` and `high` times another, for example a bottleneck's width."""

    name: str
    of: str
    low: float
    high: float

    def holds(self, values: Mapping[str, Any]) -> bool:
        """Say whether the number lies within the bounds."""
        if self.name not in values or self.of not in values:
            return True
        return self.low * values[self.of] <= values[self.name] <= self.high * values[self.of]

    def repair(
        self, values: dict[str, Any], choices: Mapping[str, Sequence[Any]], rng: random.Random
    ) -> None:
        """Draw the number again from the options within the bounds."""
        if not self.holds(values):
            base = values[self.of]
            room = [o for o in choices[self.name] if self.low * base <= o <= self.high * base]
            if room:
                values[self.name] = rng.choice(room)


@dataclass(frozen=True)
class Offered:
    """Levels that the chosen backbone has; `table` has those options of each backbone's."""

    table: Mapping[str, frozenset[str]]

    def holds(self, values: Mapping[str, Any]) -> bool:
        """Say whether the backbone has the levels."""
        if "levels" not in values or "backbone" not in values:
            return True
        return values["levels"] in self.table[values["backbone"]]

    def repair(
        self, values: dict[str, Any], choices: Mapping[str, Sequence[Any]], rng: random.Random
    ) -> None:
        """Draw the levels again from those of the backbone."""
        if not self.holds(values):
            room = [o for o in choices["levels"] if o in self.table[values["backbone"]]]
            if room:
                values["levels"] = rng.choice(room)
