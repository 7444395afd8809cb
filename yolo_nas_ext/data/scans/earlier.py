"""A data set that is converted into again: its split and its pseudonyms stay."""

from __future__ import annotations

import fnmatch
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from yolo_nas_ext.errors import NASError
from yolo_nas_ext.files import json_of

RECORD = "conversion.json"
OURS = (
    *("images", "labels", "train", "val", "test", RECORD, "data.yaml", "data_fold*.yaml"),
    *("fold*_train.txt", "fold*_val.txt", "lesions.json", "*.cache", "*.npy"),
)


@dataclass(frozen=True, slots=True)
class Earlier:
    """What an earlier conversion left.

    Attributes:
        split: The part of every patient's pseudonym.
        folds: The fold of every patient's pseudonym.
    """

    split: Mapping[str, str] = field(default_factory=dict)
    folds: Mapping[str, int] = field(default_factory=dict)


def find(out: Path, work: Path) -> Earlier:
    """Return what an earlier conversion into a folder left; nothing where there is none.

    Args:
        out: The folder.
        work: The folder of a conversion that was interrupted, which may hold what `out` was.

    Raises:
        NASError: For a folder that is not empty and no data set of scans.
    """
    old = aside(work)
    here = out if out.exists() or not old.exists() else old
    if not here.exists() or (here.is_dir() and not any(here.iterdir())):
        return Earlier()
    try:
        record = json_of((here / RECORD).read_text("utf-8"))
        split = {str(p): str(side) for p, side in record["split"].items()}
        folds = {str(p): int(fold) for p, fold in record.get("folds", {}).items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise NASError(
            f"out={out}: exists and is not an empty folder; give a new one or remove it"
        ) from error
    return Earlier(split, folds)


def aside(work: Path) -> Path:
    """Return where a data set is kept while the next one takes its place."""
    return work / "before"


def salt_file(out: Path) -> Path:
    """Return the file beside a data set that keeps its salt."""
    return out.with_name(f".{out.name}.salt")


def salt_of(out: Path) -> str | None:
    """Return the salt that an earlier conversion left beside its data set."""
    try:
        return salt_file(out).read_text("utf-8").strip() or None
    except OSError:
        return None


def keep_salt(out: Path, salt: str) -> None:
    """Write the salt beside a data set, readable by its owner alone."""
    file = salt_file(out)
    file.touch(mode=0o600)
    file.write_text(f"{salt}\n", "utf-8")


def replace(out: Path, whole: Path, work: Path) -> None:
    """Put a data set into the place of an earlier one; files that are not ours stay.

    Args:
        out: The data set, which may exist.
        whole: What is to be there.
        work: The folder of the conversion.
    """
    old = aside(work)
    if out.exists() and not old.exists():
        if any(out.iterdir()):
            os.rename(out, old)
        else:
            out.rmdir()
    os.rename(whole, out)
    if old.exists():
        for path in old.iterdir():
            if not any(fnmatch.fnmatch(path.name, name) for name in OURS):
                shutil.move(str(path), out / path.name)
        shutil.rmtree(old)
