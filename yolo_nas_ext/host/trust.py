"""What a recorded run names that runs code or reaches elsewhere, and who has put it there.

A run folder is signed with a key of its user's, kept beside Ultralytics' settings. The signature
holds for what the settings name and where that lies. So a run that somebody else started, or whose
settings somebody has changed, is told from one's own.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import secrets
from collections.abc import Container, Iterator, Mapping
from pathlib import Path
from typing import Any

from ultralytics.utils import USER_CONFIG_DIR

from yolo_nas_ext.cost.latency.command import is_command
from yolo_nas_ext.errors import NASError, masked
from yolo_nas_ext.host import data_yaml

SIGNED = "signed"  # key of the settings
KEY = "yolo_nas_ext.key"
CODE = re.compile(r"\.py(:\w+)?\s*$", re.IGNORECASE)


def named(content: Mapping[str, Any]) -> dict[str, str]:
    """Return what of a run's settings runs code or reaches elsewhere: what it does, by key.

    Args:
        content: Keys and raw values; paths in them are seen from the working directory.
    """
    found = {}
    for key, value in content.items():
        for text in _texts(value):
            if does := _does(key, text):
                found[key] = does
    return found


def _does(key: str, text: str) -> str:
    """Return what a value of a key does; nothing where it is looked at alone."""
    if key == "storage":
        return "is written to"
    if key == "ray_address":
        return "" if text == "auto" else "gets and sends code"
    if key in ("latency", "energy") and is_command(text):
        return "is run"
    if key == "blocks" or CODE.search(text):
        return "runs code"
    if "://" in text or (key == "data" and data_yaml.is_remote(text)):
        return "is fetched"
    if key == "data" and data_yaml.download(text):
        return "has download: code"
    return ""


def _texts(value: Any) -> Iterator[str]:
    """Yield the texts of a value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from (text for part in value.values() for text in _texts(part))
    elif isinstance(value, list | tuple):
        yield from (text for part in value for text in _texts(part))
    elif value is not None:
        yield str(value)


def signature(content: Mapping[str, Any]) -> str:
    """Return what says that this user's own command put there what the settings name.

    Returns:
        Nothing where they name nothing, or where no key can be kept.
    """
    keys = named(content)
    if not keys or not (key := _key()):
        return ""
    parts = {name: [_place(text) for text in _texts(content[name])] for name in keys}
    return hmac.new(key, json.dumps(parts, sort_keys=True).encode(), hashlib.sha256).hexdigest()


def _place(text: str) -> str:
    """Return what a value names, with where it lies."""
    head, mark, path = text.partition("://")
    if mark and not head.startswith("sqlite"):
        return text
    return f"{head}{mark}{os.path.abspath(path.removeprefix('/') if mark else text)}"


def _key() -> bytes:
    """Return the user's key, made at its first use; nothing where it cannot be kept."""
    file = Path(USER_CONFIG_DIR) / KEY
    try:
        try:
            flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY
            with open(os.open(file, flags, 0o600), "w", encoding="ascii") as new:
                new.write(secrets.token_hex(32))
        except FileExistsError:
            pass
        return file.read_bytes()
    except OSError:
        return b""


def check(
    where: str,
    content: Mapping[str, Any],
    signed: Any,
    repeated: Container[str],
    only: Container[str] = (),
) -> None:
    """Refuse settings that name what runs code or reaches elsewhere, unless their user wants it.

    That is so for keys that are repeated on the command line, and for a run that was started by
    the same user, as its signature says.

    Args:
        where: The run folder with the user's key, for messages.
        content: The run's settings.
        signed: The signature beside them, if there is one.
        repeated: Keys that are given on the command line.
        only: The keys that count; all where none are named.

    Raises:
        NASError: Naming them.
    """
    found = {n: does for n, does in named(content).items() if not only or n in only}
    left = {n: does for n, does in found.items() if n not in repeated}
    if not left or _is(signed, signature(content)):
        return
    said = ", ".join(f"{n}={masked(','.join(_texts(content[n])))} ({d})" for n, d in left.items())
    raise NASError(
        f"{where}: its args.yaml names {said}, and was not written by your own command in this "
        f"place; look at it, then repeat {' '.join(f'{n}=' for n in left)} beside it to go on"
    )


def _is(signed: Any, signature: str) -> bool:
    same = hmac.compare_digest(str(signed).encode("utf-8", "replace"), signature.encode())
    return bool(signature) and same
