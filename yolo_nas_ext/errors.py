"""Errors that a user can act on."""

from __future__ import annotations

import difflib
import errno
import os
import re
from collections.abc import Iterable
from urllib.parse import unquote

# What a disk says that has no room for this user, or for a file of that size, or is read alone.
FULL = frozenset(getattr(errno, name, -1) for name in ("ENOSPC", "EDQUOT", "EFBIG"))
DENIED = frozenset((errno.EACCES, errno.EPERM, errno.EROFS))  # to this user, or to all
# What a machine says that is at its end: of its disks, files, memory or network folders.
_NAMES = ("EIO", "EMFILE", "ENFILE", "ENOMEM", "ESTALE", "ENOTCONN", "ETIMEDOUT", "EREMOTEIO")
TROUBLE = frozenset(getattr(errno, name, -1) for name in _NAMES)
THEN = "resume the run: what was recorded is kept"
# Where passwords stand: in URLs as SQLAlchemy reads them, and behind names in queries and texts.
_IN_URL = re.compile(r"(://[^:/@\s]*):(\S*)@")
_SECRET = r"[\w.-]*(?:passw|passphrase|pwd|secret|token|credential|api_?key|access_?key)[\w.-]*"
_NAMED = re.compile(rf"\b({_SECRET}|odbc_connect)(=|%3D)([^&;\s'\"]*[^&;\s'\":,.)])", re.IGNORECASE)


class NASError(Exception):
    """Bad input: one line that names the key or file, what arrived, what is allowed and what to do.

    The command prints the message alone and exits with `code`. Passwords are masked in it.
    """

    code = 2

    def __init__(self, message: object = "") -> None:
        super().__init__(masked(str(message)))


class RunError(NASError):
    """A run that failed for reasons outside the input, such as a full disk; exit code 1."""

    code = 1


def in_a_line(error: BaseException, most: int = 200) -> str:
    """Return the kind of an error and its text in one line, of so many characters at most."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:most]}"


def no_room(error: BaseException, then: str = "the same command goes on") -> RunError | None:
    """Return what to say of a disk that is full, or that may not be written; None of others.

    Args:
        error: What was raised.
        then: What goes on once there is room.
    """
    if not isinstance(error, OSError):
        return None
    file = error.filename
    where = f"{os.fsdecode(file)}:" if isinstance(file, (str, bytes, os.PathLike)) else "a file"
    if "temporary directory" in str(error):  # as `tempfile` says of a full disk
        return RunError(f"{error}; make room there or set TMPDIR, then {then}")
    if error.errno in FULL:
        return RunError(f"{where} cannot be written ({error.strerror}); make room, then {then}")
    if error.errno in DENIED:
        what = "cannot be read or written"
        return RunError(f"{where} {what} ({error.strerror}); see to its permissions, then {then}")
    if error.errno in TROUBLE:
        return RunError(f"{where} {error.strerror}; see to this machine, then {then}")
    return None


class TrialError(Exception):
    """A candidate that could not be evaluated: recorded with its trial, never the end of a search.

    Args:
        kind: What went wrong in one word: ``build``, ``memory``, ``nan``, ``timeout``, ``device``
            (a GPU that its process can use no more) or ``error``. It may be left out, as in
            ``TrialError("needs 3 levels")``, and is ``error`` then.
        message: One line for the record.
    """

    def __init__(self, kind: str, message: str | None = None) -> None:
        kind, message = ("error", kind) if message is None else (kind, message)
        super().__init__(message)
        self.kind = kind

    def __reduce__(self) -> tuple[type[TrialError], tuple[str, str]]:
        # Another process makes it of both again.
        return type(self), (self.kind, str(self))


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """Return ``" Did you mean 'x'?"`` for the known name nearest to `name`, or an empty string."""
    names = {text.lower(): text for text in known}  # a wrong capital is no difference
    near = difflib.get_close_matches(str(name).lower(), list(names), n=1, cutoff=0.6)
    return f" Did you mean '{names[near[0]]}'?" if near else ""


def masked(text: str, url: str = "") -> str:
    """Return a text with ``***`` in place of the passwords that URLs and options in it hold.

    Args:
        text: Any text.
        url: A URL whose password is masked wherever the text has it.
    """
    for secret in sorted(_secrets(url), key=len, reverse=True):
        text = text.replace(secret, "***")
    text = _IN_URL.sub(r"\1:***@", text)
    return _NAMED.sub(r"\1\2***", text)


def _secrets(url: str) -> set[str]:
    """Return the passwords of a URL, as they stand there and as a server gets them."""
    found = {match[2] for match in _IN_URL.finditer(url)}
    found |= {match[3] for match in _NAMED.finditer(url)}
    return {s for text in found for s in (text, unquote(text)) if len(s) > 2}


def without_password(text: str) -> str:
    """Return a URL without its password, as it may be written into files; other texts as they are.

    A password of a query goes with its name.
    """
    if "://" not in text:
        return text
    head, _, query = _IN_URL.sub(r"\1@", text).partition("?")
    kept = [part for part in query.split("&") if part and not _NAMED.match(part)]
    return "?".join([head, *(["&".join(kept)] if kept else [])])
