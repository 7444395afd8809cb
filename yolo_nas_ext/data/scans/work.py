"""The folder beside an output in which scans are worked on, until all is moved into place."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from yolo_nas_ext.data.scans.anonymise import new_salt
from yolo_nas_ext.errors import NASError
from yolo_nas_ext.files import json_of, refuse_links, text_of, write_json

BAR = "{percent:3.0f}% of {total:.0f} scans, {spent} so far, {left} left"


def beside(out: Path) -> Path:
    """Return the folder of an output."""
    return out.parent / f".{out.name}.partial"


@contextmanager
def opened(out: Path, what: str) -> Iterator[Path]:
    """Hold the folder of an output for this process alone.

    Args:
        out: The output, from the root.
        what: What works there, for messages: a conversion, a prediction.

    Raises:
        NASError: For links, another process that works there, or a disk that cannot be written.
    """
    work = beside(out)
    try:
        if work.is_symlink():
            raise NASError(f"out={out}: {work} beside it is a link; delete it")
        work.mkdir(parents=True, exist_ok=True)
        refuse_links(work, "out")
        with _locked(work):
            yield work
    except Timeout as error:
        raise NASError(f"out={out}: another {what} writes there; wait for it") from error
    except OSError as error:
        raise NASError(
            f"out={out}: cannot be written ({error.strerror or error}); give a folder on a writable"
            " disk with room; the same command then goes on"
        ) from error


@contextmanager
def _locked(work: Path) -> Iterator[None]:
    """Hold a folder for this process alone; the lock's file goes with it."""
    file = work.with_name(f"{work.name}.lock")
    with FileLock(file, timeout=0):
        try:
            yield
        finally:
            if os.name != "nt":  # which removes no file that is open
                file.unlink(missing_ok=True)


def salt_of(
    work: Path, settings: Any, salt: str | None, what: str, say: Callable[[str], None]
) -> str:
    """Return the salt of an interrupted run of the same settings, else begin anew.

    Args:
        work: The folder.
        settings: What decides what is made of a scan; compared by what it prints.
        salt: The user's.
        what: What was interrupted, for the note.
        say: Prints a line.
    """
    file = work / "state.json"
    asked = hashlib.sha256(repr(settings).encode()).hexdigest()
    if file.is_file():
        state = read(file)
        known = state.get("salt")
        if isinstance(known, str) and state.get("options") == asked and salt in (None, known):
            return known
        say(f"note: the settings are not those of the interrupted {what}; beginning anew")
        shutil.rmtree(work / "scans", ignore_errors=True)
    salt = salt or new_salt()
    write_json(file, {"options": asked, "salt": salt}, private=True)
    return salt


def read(file: Path) -> dict[str, Any]:
    """Return what an earlier run wrote; nothing where it is damaged or not there."""
    try:
        found = json_of(text_of(file))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
