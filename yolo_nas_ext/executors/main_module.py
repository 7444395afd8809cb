"""The script that starts a search, which every worker process imports once more.

A script that starts a search as it is imported, without a ``__main__`` guard, would start one in
every worker, too.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.process import current_process
from multiprocessing.spawn import get_preparation_data
from types import FrameType

from yolo_nas_ext.errors import NASError

SAFE = "PYTHONSAFEPATH"
UNGUARDED = 93  # exit code of a process that was about to start a search as it was imported
PATH = "init_main_from_path"  # where `multiprocessing` says which script a process imports


class NoGuardError(NASError, SystemExit):
    """A script without a guard: it ends in this one line, and without a traceback.

    Args:
        what: The key that asks for processes, and its value.
    """

    def __init__(self, what: str) -> None:
        script = get_preparation_data("").get(PATH) or "the script"
        super().__init__(
            f"{what}: {script} starts a search as it is imported, and every worker imports it; put "
            "the search under if __name__ == '__main__':, or use jobs=1"
        )
        self.code = str(self)  # pyright: ignore[reportAttributeAccessIssue]  # printed by Python


def leave_if_imported() -> None:
    """End a process that is only there to import the script, before it starts a search as well."""
    if getattr(current_process(), "_inheriting", False):
        raise SystemExit(UNGUARDED)


def check_guard(jobs: int | None) -> None:
    """Refuse a script without a guard before anything is written.

    Only where the script's own lines are what is running, one process is started that does nothing
    but import it.

    Args:
        jobs: Number of processes that are going to be started.

    Raises:
        NoGuardError: For a script that starts a search as it is imported.
    """
    if not jobs or jobs < 2 or PATH not in get_preparation_data("") or not _at_top_level():
        return
    process = multiprocessing.get_context("spawn").Process(target=_nothing)
    with from_elsewhere():
        process.start()
    process.join()
    if process.exitcode == UNGUARDED:
        raise NoGuardError(f"jobs={jobs}")


@contextmanager
def from_elsewhere() -> Iterator[None]:
    """Have a process that is started import nothing from the folder where the command is typed.

    Until it knows the paths of this one, it would look there first, where others' files may be.
    Python 3.10 cannot be told.
    """
    before = os.environ.get(SAFE)
    os.environ[SAFE] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[SAFE]
        else:
            os.environ[SAFE] = before


def _at_top_level() -> bool:
    """Say whether a line of the script itself, outside of any function, has led here."""
    main = vars(sys.modules["__main__"])
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        if frame.f_globals is main and frame.f_code.co_name == "<module>":
            return True
        frame = frame.f_back
    return False


def _nothing() -> None:
    """Do nothing."""
