"""``inherit=parent``: a candidate starts from the weights of the nearest trial before it."""

from __future__ import annotations

import re
from pathlib import Path

from yolo_nas_ext.study.study import Study
from yolo_nas_ext.study.trial import Trial

PARENT = "parent"


def weights_of(folder: Path, trial: Trial) -> Path:
    """Return where a trial's weights go in its run folder."""
    return folder / "weights" / f"{stem(trial)}.pt"


def stem(trial: Trial) -> str:
    """Return the key of a trial's network, or its name where the network cannot be read."""
    if trial.architecture is not None:
        return trial.architecture.key
    return re.sub(r"[^A-Za-z0-9._-]", "_", trial.name)


def nearest(trial: Trial, study: Study, folder: Path) -> Path | None:
    """Return the weights that a candidate starts from.

    They are those of the complete trial before it that shares most choices with it, the later of
    equals, among those whose weights are still there. A network that is no point of the space has
    no parent and is none.
    """
    point = trial.point
    if point is None:
        return None
    best = (-1, -1)
    found = None
    for other in study.trials[: trial.number]:
        if other.state != "complete" or other.point is None:
            continue
        near = sum(point[name] == value for name, value in other.point.items()), other.number
        if near > best and (file := weights_of(folder, other)).is_file():
            best, found = near, file
    return found


def notes(study: Study, folder: Path) -> list[str]:
    """Return what to say when a search with inherited weights begins."""
    said = [
        "inherit=parent: fitness depends on what was trained before, so it orders networks less "
        "well; candidates are not re-evaluated under another seed, as parents have seen what that "
        "would hold out. confirm_by=full trains the best alone before one is named",
        f"the weights of all trials stay in {folder / 'weights'} until the search is done, some 2 "
        "bytes a parameter",
    ]
    gone = sum(t.state == "complete" and not weights_of(folder, t).is_file() for t in study.trials)
    if gone:
        said.append(
            f"{gone} trials have no weights left, as a finished search keeps the best's alone; "
            "they are no parents"
        )
    return said


def disk_use(folder: Path) -> str:
    """Return how much the weights of a run take."""
    sizes = [file.stat().st_size for file in (folder / "weights").glob("*.pt")]
    return f"{len(sizes)} trials' weights take {sum(sizes) / 1e6:.1f} MB in {folder / 'weights'}"
