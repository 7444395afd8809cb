"""The data set of a comparison, as its folder records it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yolo_nas_ext.estimators.training import UntouchedTraining
from yolo_nas_ext.files import json_of, text_of, write_json
from yolo_nas_ext.host.data_identity import changes, digest, first_digest, identity

FILE = "data.json"
FIRST = "first"  # in it: what version 0.1 called the data


@dataclass(frozen=True, slots=True)
class TrainedOn:
    """What a comparison trains on and measures on.

    Attributes:
        identity: Of the images and labels of both parts.
        about: What names the trainings on them.
        before: What named trainings on them in version 0.1; empty where it cannot have written one.
        differs: What has changed since the folder recorded it, in words; empty where nothing has.
    """

    identity: Mapping[str, Any]
    about: Mapping[str, Any]
    before: Mapping[str, Any]
    differs: str

    @classmethod
    def of(cls, training: UntouchedTraining, folder: Path, say: Callable[[str], None]) -> TrainedOn:
        """Return that of a training, beside what a folder records of it; nothing is written.

        Args:
            training: With its data and how that is divided.
            folder: Of the comparison.
            say: Prints a line before many images are read.
        """
        recorded = _recorded(folder)
        now = identity(training.data, recorded, say)
        differs = "; ".join(changes(recorded, now)) if recorded else ""
        # Kept as long as the data stay, as a sitting of fewer models or seeds finds but its own.
        first = first_digest(training.data) if recorded is None else recorded.get(FIRST)
        before = {"data": first} if first and not differs else {}
        return cls(
            now,
            {"data": digest(now), "measured": len(training.split[1])},
            before,
            differs,
        )

    def record(self, folder: Path) -> None:
        """Write it into the folder of the comparison."""
        first = {FIRST: self.before["data"]} if self.before else {}
        if _recorded(folder) != {**self.identity, **first}:
            write_json(folder / FILE, {**self.identity, **first})


def _recorded(folder: Path) -> dict[str, Any] | None:
    try:
        found = json_of(text_of(folder / FILE))
    except (OSError, ValueError):  # none is recorded, or it is damaged
        return None
    return found if isinstance(found, dict) else None
