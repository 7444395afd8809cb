"""What the small commands share: their keys and their tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from yolo_nas_ext.errors import NASError, did_you_mean


def checked(
    given: Mapping[str, Any], keys: Mapping[str, Callable[[Any], Any]], usual: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the values of a command's keys.

    Args:
        given: Keys and raw values, as on the command line.
        keys: What makes a value of what was given; it raises ValueError with what is allowed.
        usual: Values of what was not given.

    Raises:
        NASError: For an unknown key or a bad value.
    """
    values = dict(usual)
    for name, raw in given.items():
        if name not in keys:
            raise NASError(
                f"{name}={raw}: unknown key.{did_you_mean(name, keys)} Allowed: {', '.join(keys)}"
            )
        try:
            values[name] = keys[name](raw)
        except ValueError as error:
            raise NASError(f"{name}={raw}: not allowed; {name} takes {error}") from error
    return values


def flag(value: Any) -> bool:
    """Accept true or false."""
    if not isinstance(value, bool):
        raise ValueError("True or False")
    return value


def aligned(cells: Sequence[Sequence[str]]) -> str:
    """Return rows of texts as a table: the first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in cells
    )
