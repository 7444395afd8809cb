"""Trials of an Optuna database by a handful of queries: Optuna itself makes an object a row."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, json_to_distribution
from optuna.storages import BaseStorage, RDBStorage
from optuna.trial import FrozenTrial, TrialState, create_trial
from sqlalchemy import Connection, column, select, table
from sqlalchemy.exc import SQLAlchemyError

from yolo_nas_ext.errors import NASError, RunError
from yolo_nas_ext.network.architecture import Architecture
from yolo_nas_ext.space.choices import ChoiceSpace, Point
from yolo_nas_ext.study.trial import Trial

CHUNK = 500  # trials a query; SQLite allows some hundred values in a condition

TRIALS = table("trials", column("trial_id"), column("number"), column("study_id"), column("state"))
DETAILS = (  # of each table its own id, then what is read
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


STATES = {
    "running": TrialState.RUNNING,
    "complete": TrialState.COMPLETE,
    "failed": TrialState.FAIL,
    "pruned": TrialState.PRUNED,
}
SIMPLE = (bool, int, float, str, type(None))


def write_outcome(storage: BaseStorage, trial_id: int, trial: Trial) -> None:
    """Write what became of a running trial; its state comes last and makes it count."""
    for name, value in attributes(trial).items():
        storage.set_trial_user_attr(trial_id, name, value)
    for step, value in trial.curve.items():
        storage.set_trial_intermediate_value(trial_id, step, value)
    values = [trial.fitness] if trial.state == "complete" else None
    storage.set_trial_state_values(trial_id, STATES[trial.state], values)


def attributes(trial: Trial) -> dict[str, Any]:
    """Return what an Optuna trial carries besides its parameters and value."""
    architecture = trial.architecture
    record: dict[str, Any] = {
        "name": trial.name,
        "in_space": trial.point is not None,
        "fidelity": dict(trial.fidelity),
        "metrics": dict(trial.metrics),
        "cost": dict(trial.cost),
        "seconds": trial.seconds,
        "error": trial.error,
    }
    if architecture is not None:
        record |= {"key": architecture.key, "architecture": architecture.to_dict()}
    return record


class Coder:
    """Points as Optuna parameters and back; choices with one option are left out."""

    def __init__(self, space: ChoiceSpace) -> None:
        self._names = tuple(space.choices)
        self._keyed: bool | None = None  # whether a record's keys are still those of its networks
        self._options: dict[str, dict[Any, Any]] = {}
        self._fixed: dict[str, Any] = {}
        for name, options in space.choices.items():
            if len(options) == 1:
                self._fixed[name] = options[0]
            else:  # Optuna stores plain values only; others go by their text
                plain = all(isinstance(o, SIMPLE) for o in options)
                self._options[name] = {(o if plain else repr(o)): o for o in options}
        self._back = {
            name: {o: code for code, o in table.items()} for name, table in self._options.items()
        }
        self._distributions: dict[str, BaseDistribution] = {
            name: CategoricalDistribution(tuple(table)) for name, table in self._options.items()
        }

    @property
    def fingerprint(self) -> str:
        """Digest of all choices and options."""
        text = repr([(name, tuple(table)) for name, table in self._options.items()] + [self._fixed])
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def freeze(self, trial: Trial) -> FrozenTrial:
        """Return an Optuna trial in the state of the trial."""
        params: dict[str, Any] = {}
        distributions: dict[str, BaseDistribution] = {}
        if trial.point is not None:
            params = {name: self._back[name][trial.point[name]] for name in self._options}
            distributions = self._distributions
        return create_trial(
            state=STATES[trial.state],
            value=trial.fitness if trial.state == "complete" else None,
            params=params,
            distributions=distributions,
            user_attrs=attributes(trial),
        )

    def thaw(self, frozen: Recorded) -> Trial:
        """Return the trial that an Optuna trial records."""
        attrs = frozen.user_attrs
        try:
            point = None
            if attrs["in_space"]:
                values = {n: self._options[n][code] for n, code in frozen.params.items()}
                values |= self._fixed
                point = Point({n: values[n] for n in self._names})
            return Trial(
                number=frozen.number,
                point=point,
                architecture=self._architecture(attrs),
                fidelity=attrs["fidelity"],
                state=next(name for name, state in STATES.items() if state == frozen.state),
                metrics=attrs["metrics"],
                cost=attrs["cost"],
                seconds=attrs["seconds"],
                error=attrs["error"],
                name=attrs["name"],
                curve=dict(frozen.intermediate_values),
            )
        except (KeyError, StopIteration, TypeError) as error:
            raise NASError(
                f"trial {frozen.number} of the study is of another space or tool ({error!r}); "
                "resume with the space that the run was started with"
            ) from error

    def _architecture(self, attrs: Mapping[str, Any]) -> Architecture | None:
        """Return a recorded architecture with its recorded key, which takes long to work out.

        The first key says whether the record's keys are those of this version.
        """
        described = attrs.get("architecture")
        if not described:
            return None
        found = Architecture.from_dict(described)
        if self._keyed is None:
            self._keyed = found.key == attrs["key"]
        return found.with_key(attrs["key"]) if self._keyed else found
