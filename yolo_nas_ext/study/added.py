"""What `Study.add` is given, before any of it is recorded."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from yolo_nas_ext.errors import NASError, did_you_mean
from yolo_nas_ext.space.choices import ChoiceSpace
from yolo_nas_ext.study.trial import Trial

ENDS = ("complete", "failed", "pruned")  # states of a trial that has ended


def checked(
    trials: Any, space: ChoiceSpace, known: Collection[int], *, gaps: bool, given: bool
) -> list[Trial]:
    """Return finished trials as they are recorded, their values as plain numbers.

    Args:
        trials: A list of trials.
        space: Whose points they are of.
        known: Numbers that are in the record.
        gaps: Whether numbers may be left out.
        given: Whether the numbers are those of the trials, and not given by a database.

    Raises:
        NASError: For what is no finished trial of the space, or a number that is taken.
    """
    if isinstance(trials, Trial) or not isinstance(trials, Sequence):
        what = type(trials).__name__
        raise NASError(f"Study.add() takes a list of trials, not one {what}: study.add([trial])")
    taken = set(known)
    found = []
    for trial in trials:
        if not isinstance(trial, Trial):
            raise NASError(
                f"Study.add() takes a list of trials, not of {type(trial).__name__}; give "
                "Trial(number, point, state='complete', metrics={'fitness': ...})"
            )
        if given:
            _check_number(trial, taken, gaps)
            taken.add(trial.number)
        found.append(_plain(trial, space))
    return found


def _check_number(trial: Trial, taken: Collection[int], gaps: bool) -> None:
    """Refuse a number that is taken, or that a file would not give."""
    following = max(taken, default=-1) + 1
    if trial.number in taken:
        raise NASError(
            f"trial {trial.number} is in the record already; the next number is {following}"
        )
    if not gaps and trial.number != following:
        raise NASError(
            f"trial {trial.number!r}: numbers of a file follow each other; give {following}"
        )


def _plain(trial: Trial, space: ChoiceSpace) -> Trial:
    """Return a trial with plain numbers and a point of the space."""
    name = f"trial {trial.number}"
    if trial.state not in ENDS:
        raise NASError(
            f"{name}: state={trial.state!r} is none of a finished trial."
            f"{did_you_mean(trial.state, ENDS)} Allowed: {', '.join(ENDS)}"
        )
    metrics = _numbers(f"{name}: metrics", trial.metrics)
    if trial.state == "complete" and not math.isfinite(metrics.get("fitness", math.nan)):
        raise NASError(
            f"{name}: fitness is {metrics.get('fitness', 'missing')}, and a complete trial needs a "
            "finite one in metrics; give it, or state='failed' with error='nan: ...'"
        )
    try:
        point = None if trial.point is None else space.point(trial.point)
    except NASError as error:
        raise NASError(f"{name}: {error}") from error
    except (TypeError, AttributeError) as error:
        raise NASError(f"{name}: {trial.point!r} is no point; give space.point({{...}})") from error
    return replace(
        trial,
        point=point,
        metrics=metrics,
        cost=_numbers(f"{name}: cost", trial.cost),
        fidelity=_numbers(f"{name}: fidelity", trial.fidelity),
        curve=_numbers(f"{name}: curve", trial.curve),
        seconds=_number(f"{name}: seconds", trial.seconds),
    )


def _numbers(where: str, values: Any) -> dict[Any, Any]:
    """Return numbers by name as plain ones."""
    if not isinstance(values, Mapping):
        raise NASError(f"{where}: needs numbers by name, not {type(values).__name__}")
    return {name: _number(f"{where}: {name}", value) for name, value in values.items()}


def _number(where: str, value: Any) -> int | float:
    """Return a number as a plain one: NumPy's and torch's are written into no file."""
    if type(value) in (int, float):
        return value
    try:
        if isinstance(value, str):
            raise TypeError
        return float(value)
    except (TypeError, ValueError) as error:
        raise NASError(f"{where} is {value!r:.80}, not a number") from error
