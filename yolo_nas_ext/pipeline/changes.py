"""The scores of a parent's single changes: what `strategy=additive` adds up.

A change is scored by what it leaves of the parent's function, see `estimators.zero_cost.carried`.
Only what can lose something is measured: what is new begins with no effect, and image sizes and
levels are told apart by trainings alone. Of narrower options the narrowest is measured, and the
others lie on a parabola between it and the parent.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from yolo_nas_ext.console import Progress
from yolo_nas_ext.errors import NASError, TrialError
from yolo_nas_ext.estimators.training import Training
from yolo_nas_ext.estimators.zero_cost.carried import Carried
from yolo_nas_ext.files import json_of, text_of, write_text
from yolo_nas_ext.host.transfer.weights import load
from yolo_nas_ext.space.parent import ParentSpace
from yolo_nas_ext.space.point import Point
from yolo_nas_ext.strategies.additive import STRUCTURAL

FILE = "changes.json"
BAR = "scoring the parent's changes {done}/{total}  {left} left"
EVERY = 30.0  # seconds from one line to the next where nobody watches


class ChangeScores:
    """Scores points that differ from the parent in one choice; kept in the run folder.

    Args:
        space: The space of the parent.
        training: Trains the candidates from the parent.
    """

    def __init__(self, space: ParentSpace, training: Training) -> None:
        self.space, self.origin = space, space.origin
        self._training = training
        self._folder: Path | None = None
        self._weights: Path | None = None

    def use(self, folder: Path, weights: Path | None) -> None:
        """Keep scores in a folder, and score from the fine-tuned parent once it is there.

        Args:
            folder: The run folder.
            weights: Where the checkpoint of the parent's trial goes, if it is one.
        """
        self._folder, self._weights = folder, weights

    @property
    def made(self) -> bool:
        """Whether there are scores in the run folder."""
        return self._folder is not None and (self._folder / FILE).is_file()

    def __call__(self, points: Sequence[Point]) -> list[float]:
        """Return the scores of points: 0 of what loses nothing, less of what does.

        Raises:
            NASError: For a parent that nothing can be compared with.
        """
        changes = [self._change(point) for point in points]
        wanted = {(name, self._narrowest(name, option)): None for name, option in changes if name}
        known = self._known()
        missing = [key for key in wanted if key[1] is not None and _text(key) not in known]
        if missing:
            known |= self._measured(missing)
            self._keep(known)
        return [self._score(name, option, known) for name, option in changes]

    def _change(self, point: Point) -> tuple[str, Any]:
        """Return the choice that a point differs in, and its option."""
        names = [name for name in point if point[name] != self.origin[name]]
        structural = [name for name in names if name in STRUCTURAL]
        name = structural[0] if structural else next(iter(names), "")
        return name, point[name] if name else None

    def _narrowest(self, name: str, option: Any) -> Any:
        """Return the option that is measured for one; None where it loses nothing at first."""
        own = self.origin[name]
        if name in STRUCTURAL:
            return None
        if not isinstance(own, int) or isinstance(own, bool):
            return option
        if option >= own:
            return None
        return min(o for o in self.space.choices[name])

    def _score(self, name: str, option: Any, known: Mapping[str, float]) -> float:
        if not name or (least := self._narrowest(name, option)) is None:
            return 0.0
        value = known[_text((name, least))]
        if not isinstance(least, int) or isinstance(least, bool):
            return value
        own = self.origin[name]
        return value * ((own - option) / (own - least)) ** 2

    def _measured(self, keys: Sequence[tuple[str, Any]]) -> dict[str, float]:
        carried = self._carried()
        found = {}
        with Progress(len(keys), BAR, every=EVERY) as progress:
            for done, (name, option) in enumerate(keys, 1):
                point = self.space.canonical({**self.origin, name: option})
                try:
                    fitness = carried.estimate(self.space.architecture(point))["fitness"]
                except TrialError:
                    fitness = float("-inf")
                found[_text((name, option))] = fitness
                progress(done)
        return found

    def _carried(self) -> Carried:
        """Return what scores networks: from the fine-tuned parent where there is one."""
        if self._weights is not None and self._weights.is_file():
            return Carried(self._training, load(self._weights, "weights"))
        return Carried(self._training)

    def _known(self) -> dict[str, float]:
        file = self._folder / FILE if self._folder else None
        if file is None or not file.is_file():
            return {}
        try:
            return {str(k): float(v) for k, v in json_of(text_of(file)).items()}
        except (OSError, ValueError, AttributeError, TypeError):  # damaged: measured again
            return {}

    def _keep(self, known: Mapping[str, float]) -> None:
        if self._folder is not None:
            write_text(self._folder / FILE, json.dumps(known, indent=1) + "\n")


def _text(key: tuple[str, Any]) -> str:
    return f"{key[0]}={key[1]}"


def scorable(training: Any) -> bool:
    """Say whether changes of a parent can be scored by what trains its networks."""
    if not isinstance(training, Training):
        return False
    try:
        Carried(training)
    except NASError:  # random weights, or a task without boxes
        return False
    return True
