"""A strategy from a file of the user's: what is wrong with it is said in one line."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

from yolo_nas_ext import plugins
from yolo_nas_ext.errors import NASError
from yolo_nas_ext.space.choices import ChoiceSpace, Point
from yolo_nas_ext.study.objectives import Goal
from yolo_nas_ext.study.trial import Trial

GIVES = "has to return a list of points"


class Own:
    """A strategy of the user's, whose proposals are checked.

    Args:
        name: ``file.py:Name`` of its class, which is made with ``(space, goal=goal)``.
        space: Where it looks.
        goal: Objectives and limits.

    Raises:
        NASError: For a class that cannot be made, or whose ``propose`` takes other arguments.
    """

    def __init__(self, name: str, space: ChoiceSpace, goal: Goal | None) -> None:
        made = plugins.load(name, "strategy")
        self._name, self._space = f"strategy={name}", space
        try:
            self.inner = made(space, goal=goal)
        except Exception as error:
            raise NASError(
                f"{self._name}: cannot be made with (space, goal=goal) ({plugins.reason(error)})"
            ) from error
        propose = getattr(self.inner, "propose", None)
        if not callable(propose):
            raise NASError(f"{self._name}: has no propose(history, n, rng)")
        if wrong := plugins.refuses(propose, (), 1, random.Random(0)):
            raise NASError(
                f"{self._name}: propose() cannot be called as propose(history, n, rng) ({wrong})"
            )

    def propose(self, history: Sequence[Trial], n: int, rng: random.Random) -> list[Point]:
        """Return what it proposes, as points of the space; nothing for None.

        Raises:
            NASError: For an exception in it, or proposals that are no list of points.
        """
        try:
            found = self.inner.propose(history, n, rng)
        except NASError:
            raise
        except Exception as error:
            raise NASError(f"{self._name}: propose() failed ({plugins.reason(error)})") from error
        if found is None:
            return []
        if isinstance(found, Mapping):
            raise NASError(f"{self._name}: propose() {GIVES}, not one point: return [point]")
        if not isinstance(found, Sequence) or isinstance(found, str):
            raise NASError(f"{self._name}: propose() {GIVES}, not {type(found).__name__}")
        return [self._point(each) for each in found]

    def _point(self, found: Any) -> Point:
        """Return a proposal as a point of the space."""
        if not isinstance(found, Mapping):
            raise NASError(f"{self._name}: propose() {GIVES}, not of {type(found).__name__}")
        try:
            return self._space.point(found)
        except NASError as error:
            raise NASError(f"{self._name}: propose() {GIVES} of the space: {error}") from error
