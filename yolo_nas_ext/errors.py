"""Errors that a user can act on."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class NASError(Exception):
    """Bad input: one line that names the key or file, what arrived, what is allowed and what to do.

    The command prints the message alone and exits with `code`.
    """

    code = 2


class RunError(NASError):
    """A run that failed for reasons outside the input, such as a full disk; exit code 1."""

    code = 1


class TrialError(Exception):
    """A candidate that could not be evaluated: recorded with its trial, never the end of a search.

    Args:
        kind: What went wrong in one word: ``build``, ``memory``, ``nan``, ``timeout`` or ``error``.
        message: One line for the record.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """Return ``" Did you mean 'x'?"`` for the known name nearest to `name`, or an empty string."""
    names = {text.lower(): text for text in known}  # a wrong capital is no difference
    near = difflib.get_close_matches(str(name).lower(), list(names), n=1, cutoff=0.6)
    return f" Did you mean '{names[near[0]]}'?" if near else ""
