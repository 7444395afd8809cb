"""Trials of an Optuna database by a handful of queries: Optuna itself makes an object a row."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Container, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import optuna
from optuna.distributions import json_to_distribution
from optuna.storages import RDBStorage
from optuna.trial import TrialState
from sqlalchemy import Connection, column, select, table
from sqlalchemy.exc import SQLAlchemyError

from yolo_nas_ext.errors import NASError, RunError

CHUNK = 500  # trials a query; SQLite allows some hundred values in a condition

TRIALS = table("trials", column("trial_id"), column("number"), column("study_id"), column("state"))
DETAILS = (  # of each table its own id, then what is read
    table(
        "trial_params", column("param_id"), column("trial_id"), column("param_name"),
        column("param_value"), column("distribution_json"),
    ),
    table(
        "trial_user_attributes", column("trial_user_attribute_id"), column("trial_id"),
        column("key"), column("value_json"),
    ),
    table(
        "trial_intermediate_values", column("trial_intermediate_value_id"), column("trial_id"),
        column("step"), column("intermediate_value"), column("intermediate_value_type"),
    ),
)  # fmt: skip
NOT_FINITE = {"INF_POS": float("inf"), "INF_NEG": float("-inf"), "NAN": float("nan")}
DAMAGE = (ValueError, LookupError)  # what is raised for rows that Optuna did not write


class Recorded(NamedTuple):
    """What `optuna.trial.FrozenTrial` says of a trial, under its names, as far as it is read.

    Attributes:
        trial_id: Of the trial in the database.
        number: Of the trial in its study.
        state: Its state.
        params: Values of the parameters.
        user_attrs: User attributes.
        intermediate_values: Values by step.
    """

    trial_id: int
    number: int
    state: TrialState
    params: dict[str, Any]
    user_attrs: dict[str, Any]
    intermediate_values: dict[int, float]


def read(
    storage: RDBStorage, study_id: int, after: int = 0, skip: Container[int] = ()
) -> Iterator[Recorded]:
    """Yield the trials of a study by their ids, as `RDBStorage.get_all_trials` has them.

    States are read first, so that of a trial which another process ends meanwhile all is there once
    its state says so.

    Args:
        storage: The database.
        study_id: Of the study.
        after: Highest id of those that are not wanted.
        skip: Ids of further trials that are not wanted.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: For a database that cannot be read.
        ValueError, LookupError: For rows that Optuna did not write.
    """
    with storage.engine.connect() as connection:
        mine = select(TRIALS.c.trial_id, TRIALS.c.number, TRIALS.c.state)
        mine = mine.where(TRIALS.c.study_id == study_id, TRIALS.c.trial_id > after)
        mine = mine.order_by(TRIALS.c.trial_id)
        heads = [row for row in connection.execute(mine) if row[0] not in skip]
        for start in range(0, len(heads), CHUNK):
            part = heads[start : start + CHUNK]
            ids = [row[0] for row in part]
            params, attributes, curves = (_rows(connection, t, ids) for t in DETAILS)
            for trial_id, number, state in part:
                yield Recorded(
                    trial_id,
                    number,
                    TrialState[state],
                    {name: _value(text, place) for _, name, place, text in params[trial_id]},
                    {key: json.loads(text) for _, key, text in attributes[trial_id]},
                    dict(_curve(curves[trial_id])),
                )


def _rows(connection: Connection, source: Any, ids: Sequence[int]) -> dict[int, list[Any]]:
    """Return the rows of some trials by the trial, in the order in which they were written."""
    row_id, *columns = source.c
    query = select(*columns).where(source.c.trial_id.in_(ids)).order_by(row_id)
    found = defaultdict(list)
    for row in connection.execute(query):
        found[row[0]].append(row)
    return found


def _curve(rows: Sequence[Any]) -> Iterator[tuple[int, float]]:
    for _, step, value, kind in rows:
        yield step, NOT_FINITE[kind] if kind in NOT_FINITE else value


@lru_cache(maxsize=100_000)
def _value(distribution: str, place: float) -> Any:
    """Return the value of a parameter from Optuna's number for it."""
    return json_to_distribution(distribution).to_external_repr(place)


@contextmanager
def storage_errors(
    path: Path | str, kind: type[NASError] = RunError, more: tuple[type[Exception], ...] = ()
) -> Iterator[None]:
    """Turn a database's complaint into one line; what was recorded before stays as it is.

    Args:
        path: The database.
        kind: What to raise.
        more: Further exceptions that are a complaint.
    """
    try:
        yield
    except (SQLAlchemyError, optuna.exceptions.StorageInternalError, OSError, *more) as error:
        reason = " ".join(str(error.__cause__ or error).split())[:200]
        raise kind(
            f"study {path}: cannot be read or written ({reason}); check that the disk has room and "
            "the file is an Optuna study, then resume the run: what was recorded is kept"
        ) from error


def recorded_seconds(path: Path) -> float:
    """Return the wall time of all trials, repeats and own trainings in a record of any space.

    A repeat is counted as its trial, whose time it takes.

    Raises:
        NASError: For a file that is no record of a search.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with storage_errors(path, NASError, DAMAGE):
        storage = RDBStorage(f"sqlite:///{path}")
        study = optuna.load_study(study_name="search", storage=storage)
        found = read(storage, study._study_id)
        times = {t.number: float(t.user_attrs.get("seconds", 0)) for t in found}
        again = study.user_attrs.get("repeats", {})
        own = study.user_attrs.get("confirmed", {}).values()
    repeated = sum(times.get(int(number), 0.0) for number in again)
    return sum(times.values()) + repeated + sum(m.get("seconds", 0.0) for m in own)
