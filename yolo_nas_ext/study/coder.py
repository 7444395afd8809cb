"""Coder: trials as Optuna writes them, and back."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from yolo_nas_ext.errors import NASError
from yolo_nas_ext.files import said
from yolo_nas_ext.network.architecture import Architecture
from yolo_nas_ext.space.choices import ChoiceSpace, Point
from yolo_nas_ext.study.reader import Recorded
from yolo_nas_ext.study.trial import Trial

STATES = {
    "running": TrialState.RUNNING,
    "complete": TrialState.COMPLETE,
    "failed": TrialState.FAIL,
    "pruned": TrialState.PRUNED,
}
KEY = re.compile("[0-9a-f]{10}")
WORD = re.compile(r"[\w.:/+-]{0,200}", re.ASCII)  # of a block, a path or a backbone of timm
SIMPLE = (bool, int, float, str, type(None))


def write_finished(storage: BaseStorage, trial_id: int, trial: Trial) -> None:
    """Write the end of a running trial; its state comes last and makes it count."""
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
            intermediate_values=dict(trial.curve),
        )

    def thaw(self, frozen: Recorded, place: str = "the study") -> Trial:
        """Return the trial that an Optuna trial records.

        Args:
            frozen: As it was read.
            place: Where it was read from, for messages.

        Raises:
            NASError: For a trial of another space, or one that is damaged.
        """
        attrs = frozen.user_attrs
        if damage := next(_damages(frozen), ""):
            raise NASError(
                f"{place}: trial {frozen.number + 1} is damaged: {damage}; put back a copy of the "
                "record, or start a new run"
            )
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
                error=" ".join(attrs["error"].split()),  # a line, whoever wrote it
                name=attrs["name"],
                curve=dict(frozen.intermediate_values),
            )
        except (KeyError, StopIteration, TypeError, ValueError, AttributeError) as error:
            raise NASError(
                f"{place}: trial {frozen.number + 1} is of another space or tool, or damaged "
                f"({error!r}); resume with the space that the run was started with"
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


def _damages(frozen: Recorded) -> Iterator[str]:
    """Yield what in a trial is not as it was written."""
    attrs = frozen.user_attrs
    for name, kind, text in KINDS:
        if name in attrs and not isinstance(attrs[name], kind):
            yield f"{name} is {said(attrs[name])}, not {text}"
    yield from _unsafe(attrs)
    for name in ("metrics", "fidelity", "cost"):
        yield from numbers(name, attrs.get(name, {}))
    for step, value in frozen.intermediate_values.items():
        if not number(value):
            yield f"the value of step {step} is {said(value)}, not a number"


def _unsafe(attrs: Mapping[str, Any]) -> Iterator[str]:
    """Yield what in a trial is no name: keys become files, and names lines of definitions."""
    key = attrs.get("key", "0" * 10)
    if not isinstance(key, str) or not KEY.fullmatch(key):
        yield f"key is {said(key)}, not ten hexadecimal digits"
    tables = [t for n in ("metrics", "fidelity", "cost") if isinstance(t := attrs.get(n), Mapping)]
    for name in (attrs.get("name", ""), *(str(name) for table in tables for name in table)):
        if isinstance(name, str) and not name.isprintable():
            yield f"{said(name)} is no name of one line"
    for word in _texts(attrs.get("architecture")):
        if not WORD.fullmatch(word):
            yield f"architecture: {said(word)} is no name"


def _texts(value: Any) -> Iterator[str]:
    """Yield the texts in nested lists and dictionaries."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list | tuple):
        for inner in value.values() if isinstance(value, Mapping) else value:
            yield from _texts(inner)


KINDS: tuple[tuple[str, Any, str], ...] = (
    ("name", str, "a text"),
    ("error", str, "a text"),
    ("in_space", bool, "true or false"),
    ("metrics", dict, "numbers by name"),
    ("fidelity", dict, "numbers by name"),
    ("cost", dict, "numbers by name"),
    ("seconds", (int, float), "a number"),
    ("architecture", dict, "a network"),
)


def numbers(name: str, values: Any) -> Iterator[str]:
    """Yield what is no number among named values."""
    if not isinstance(values, Mapping):
        yield f"{name} is {said(values)}, not numbers by name"
        return
    for key, value in values.items():
        if not number(value):
            yield f"{name}: {key} is {said(value)}, not a number"


def number(value: Any) -> bool:
    """Say whether a value is a number."""
    return isinstance(value, int | float) and not isinstance(value, bool)
