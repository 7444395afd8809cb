"""Arguments of a command line: ``key=value`` into keys and raw values."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from yolo_nas_ext.config.search import SearchSettings
from yolo_nas_ext.config.settings import Settings, keys
from yolo_nas_ext.errors import NASError, did_you_mean
from yolo_nas_ext.files import DIGITS, yaml_of

PATTERNS = ("group",)  # keys of regular expressions, which look like anything


def parse_arguments(
    arguments: Sequence[str], kinds: Sequence[type[Settings]] = (SearchSettings,)
) -> dict[str, Any]:
    """Return keys and values of ``key=value`` arguments, values read as YAML reads them.

    A text stays as it is typed: YAML would make 1 of a folder 001, and a list of ``[0-9]``.

    Args:
        arguments: What stands behind the command.
        kinds: The classes of the command, for messages.

    Raises:
        NASError: For an argument without ``=``, or a key given twice.
    """
    import yaml  # which the help does without

    result: dict[str, Any] = {}
    texts = {
        f.name.rstrip("_")
        for kind in kinds
        for f in fields(kind)
        if "usual" in f.metadata and str(f.type).startswith("str")
    }
    for argument in _join_equals(arguments):
        name, equals, raw = argument.lstrip("-").rstrip(",").partition("=")
        if not equals or not name:
            hint = did_you_mean(name, [key for kind in kinds for key in keys(kind)])
            raise NASError(
                f"'{argument}': expected key=value.{hint} `yolo {kinds[0].command} help` lists "
                "the keys"
            )
        if name in result:
            raise NASError(f"{name}: given twice; give it once")
        if not raw.strip():  # which would pass for no limit, or for a default
            raise NASError(f"{name}=: nothing stands behind it; give a value, or leave {name} out")
        try:
            if name in PATTERNS:
                result[name] = raw
            else:
                result[name] = _text(raw) if name in texts else _value(raw)
        except yaml.YAMLError as error:
            raise NASError(f"{name}={raw[:80]}: cannot be read as a value") from error
    return result


def _text(raw: str) -> Any:
    """Return a text as it is typed where YAML would read a number, a date or a truth value."""
    value = _value(raw)
    return value if value is None or isinstance(value, (str, list, dict)) else raw.strip()


def _value(raw: str) -> Any:
    """Return a value as YAML reads it, with None and numbers as Python writes them.

    YAML 1.1 would make 8 of 010, and 90 of 1:30.
    """
    if raw.lower() in ("none", "null"):
        return None
    if re.fullmatch(rf"[-+]?[0-9]{{1,{DIGITS}}}", raw):
        return int(raw)
    if re.fullmatch(r"[-+]?[0-9_]+(:[0-9_.]+)+", raw):
        return raw
    if re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+", raw):
        return float(raw)
    if re.search(r":\s|^[A-Za-z]:|[#&*!|>%@`]", raw):  # paths and the like
        return raw
    return yaml_of(raw)


def _join_equals(arguments: Sequence[str]) -> list[str]:
    """Return arguments with ``key = value`` and ``key= value`` joined, as Ultralytics does."""
    joined: list[str] = []
    for argument in arguments:
        if joined and (
            joined[-1].endswith("=") or (argument.startswith("=") and "=" not in joined[-1])
        ):
            joined[-1] += argument
        else:
            joined.append(argument)
    return joined
