"""A database under several processes: what passes is waited for, what does not is said plainly."""

from __future__ import annotations

import random
import re
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import optuna
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from sqlalchemy.exc import ArgumentError, IntegrityError, NoSuchModuleError, SQLAlchemyError

from yolo_nas_ext.errors import NASError, RunError, masked

T = TypeVar("T")

BUSY = 60  # seconds that a process waits for a file which another one writes
PATIENCE = 60.0  # seconds that a process waits for what passes
WAITS = 0.05, 1.0  # seconds between two tries, the first and the longest
# What a database says while another process writes the same, or makes the tables.
PASSING = re.compile(r"locked|busy|deadlock|serializ|already exists|duplicate|unique", re.I)
HALF_MADE = re.compile(r"no such table|does not exist|doesn't exist|multiple heads", re.I)
# What is wrong, by what the database says of it, and what to do.
ADVICE: tuple[tuple[str, str], ...] = (
    (r"trial \d+ is damaged", "put back a copy of the record"),
    (r"disk is full|no space left|full|disk i/o", "check that the disk has room"),
    (r"locked|busy", "other processes write it all the time; try again, with fewer of them"),
    (
        r"unable to open|no such file|is a directory",
        "check that its folder is there and can be written",
    ),
    (
        r"readonly|read-only|permission denied for",
        "check that it may be written, or copy the run elsewhere",
    ),
    (
        r"not a database|malformed|corrupt|encrypted",
        "the file is no SQLite database, or is damaged; give a copy of it or another file",
    ),
    (
        r"password|authentication|access denied|role .* does not exist|no pg_hba",
        "check user and password (PGPASSWORD, ~/.pgpass or the URL; a run records none)",
    ),
    (
        r"database .* does not exist|unknown database",
        "make the database, for example by createdb, or name another",
    ),
    (
        r"refused|could not connect|can't connect|could not translate|name or service|timed? ?out|"
        r"closed the connection|no route|terminat",
        "check that a server runs at this host and port",
    ),
)
ELSE = "check that it is a study of Optuna's, and that the disk has room"
OTHER_KINDS = {  # storages of Optuna's that have no such URL
    "journal": "a journal file cannot be shared by searches; give sqlite:///study.db on one "
    "machine, or a PostgreSQL or MySQL URL for several",
    "redis": "Redis keeps no studies for searches; give sqlite:///study.db on one machine, or a "
    "PostgreSQL or MySQL URL for several",
}
OTHER_KINDS |= {"rediss": OTHER_KINDS["redis"], "journalfile": OTHER_KINDS["journal"]}


def check_url(storage: str) -> None:
    """Refuse what is no URL where processes share a record; a file is of one process.

    Raises:
        NASError: With the URL of that file.
    """
    if "://" not in storage:
        raise NASError(
            f"storage={storage}: cannot be used, as it is no URL; give one such as "
            f"sqlite:///{storage or 'study.db'}"
        )


def opened(url: str, place: str, name: str, **options: Any) -> tuple[RDBStorage, optuna.Study]:
    """Return a database and the study of a name in it; both are made if they are not there.

    Processes that start together make the tables together: who comes second tries again.

    Args:
        url: Of the database.
        place: The same for messages, without a password.
        name: Of the study.
        **options: Of `optuna.storages.RDBStorage`.

    Raises:
        NASError: For a URL that cannot be used.
    """
    kind = url.partition("://")[0].lower()
    if reason := OTHER_KINDS.get(kind):
        raise NASError(f"storage={place}: cannot be used; {reason}")

    def both() -> tuple[RDBStorage, optuna.Study]:
        storage = RDBStorage(url, **options)
        study = optuna.create_study(
            study_name=name, storage=storage, direction="maximize", load_if_exists=True
        )
        return storage, study

    try:
        return patiently(both, making=True)
    except (ImportError, NoSuchModuleError, ArgumentError) as error:
        reason = masked(" ".join(str(error).split()), url)[:200]
        raise NASError(
            f"storage={place}: cannot be used ({reason}); give a URL such as "
            "sqlite:///study.db, and install the driver that it names"
        ) from error
    except RuntimeError as error:  # the tables of another version of Optuna
        raise NASError(
            f"storage={place}: cannot be used ({' '.join(str(error).split())[:300]})"
        ) from error


def patiently(do: Callable[[], T], *, making: bool = False) -> T:
    """Return what a function returns, after as many tries as it takes.

    Args:
        do: What may meet another process; to be tried again it changes nothing where it fails.
        making: Whether tables may be half made.

    Raises:
        Exception: What it raises that does not pass, or not for `PATIENCE` seconds.
    """
    end, (wait, longest) = time.monotonic() + PATIENCE, WAITS
    while True:
        try:
            return do()
        except Exception as error:
            if not _passes(error, making) or time.monotonic() > end:
                raise
        time.sleep(random.uniform(wait / 2, wait))
        wait = min(2 * wait, longest)


def _passes(error: BaseException, making: bool) -> bool:
    """Say whether an error is of what another process does at the moment."""
    cause = error.__cause__ if isinstance(error, StorageInternalError) else error
    if making and isinstance(cause, AssertionError | IntegrityError):
        return True
    name = type(cause).__module__.partition(".")[0]
    text = str(cause)
    if isinstance(cause, SQLAlchemyError):
        text = str(getattr(cause, "orig", None) or cause)
    elif name != "alembic":
        return isinstance(cause, optuna.exceptions.DuplicatedStudyError)
    half_made = making and HALF_MADE.search(text) and not re.search("database|role", text)
    return bool(PASSING.search(text) or half_made)


@contextmanager
def storage_errors(
    path: Path | str,
    kind: type[NASError] = RunError,
    more: tuple[type[Exception], ...] = (),
    url: str = "",
) -> Iterator[None]:
    """Turn a database's complaint into one line; what was recorded before stays as it is.

    Args:
        path: The database.
        kind: What to raise.
        more: Further exceptions that are a complaint.
        url: Whose password is masked in what the database says.
    """
    try:
        yield
    except (SQLAlchemyError, StorageInternalError, OSError, *more) as error:
        inner = error.__cause__ if isinstance(error, StorageInternalError) else None
        cause = inner or error
        said = masked(" ".join(str(getattr(cause, "orig", None) or cause).split()), url)
        found = (way for pattern, way in ADVICE if re.search(pattern, said, re.I))
        raise kind(
            f"study {path}: cannot be read or written ({said[:200]}); {next(found, ELSE)}, then "
            "resume the run: what was recorded is kept"
        ) from error


@contextmanager
def no_warnings() -> Iterator[None]:
    """Silence Optuna, which warns at every call that heartbeats are an experiment."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        yield
