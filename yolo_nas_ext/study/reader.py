"""Trials of an Optuna database by a handful of queries: Optuna itself makes an object a row."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from optuna.distributions import json_to_distribution
from optuna.storages import RDBStorage
from optuna.trial import TrialState
from sqlalchemy import Connection, column, select, table

from yolo_nas_ext.files import json_of

CHUNK = 500  # trials a query; SQLite allows some hundred values in a condition

TRIALS = table("trials", column("trial_id"), column("number"), column("study_id"), column("state"))
DETAILS = (  # the columns of each table: its own id, then the values that are read
    table(
        "trial_params",
        column("param_id"),
        column("trial_id"),
        column("param_name"),
        column("param_value"),
        column("distribution_json"),
    ),
    table(
        "trial_user_attributes",
        column("trial_user_attribute_id"),
        column("trial_id"),
        column("key"),
        column("value_json"),
    ),
    table(
        "trial_intermediate_values",
        column("trial_intermediate_value_id"),
        column("trial_id"),
        column("step"),
        column("intermediate_value"),
        column("intermediate_value_type"),
    ),
)
NOT_FINITE = {"INF_POS": float("inf"), "INF_NEG": float("-inf"), "NAN": float("nan")}


class Recorded(NamedTuple):
    """The fields of an `optuna.trial.FrozenTrial` that are read, under their names.

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

    States are read first. So a trial that another process ends meanwhile is complete once its state
    says so.

    Args:
        storage: The database.
        study_id: Of the study.
        after: Highest id that is not wanted.
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
                try:
                    yield Recorded(
                        trial_id,
                        number,
                        TrialState[state],
                        {name: _value(text, place) for _, name, place, text in params[trial_id]},
                        {key: json_of(text) for _, key, text in attributes[trial_id]},
                        dict(_curve(curves[trial_id])),
                    )
                except (ValueError, LookupError, TypeError) as error:
                    raise ValueError(f"trial {number + 1} is damaged: {error!r}") from error


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
