"""Files: where the shipped ones are, and writing one whole or not at all, and never elsewhere."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import IO, Any

from yolo_nas_ext.errors import NASError


def resource(*parts: str) -> Path:
    """Return the path of a shipped file or folder, for example ``resource("cfg", "nas.yaml")``.

    `cfg/` and `datasets/` are inside the package in a wheel, and beside it in a checkout.

    Args:
        *parts: Path components; the first is ``cfg`` or ``datasets``.

    Returns:
        An existing or, for an unknown name, the would-be path below the shipped folder.
    """
    package = Path(str(resources.files("yolo_nas_ext")))
    root = package if (package / parts[0]).is_dir() else package.parent
    return root.joinpath(*parts)


@contextmanager
def replacing(path: Path, mode: int = 0o666) -> Iterator[Path]:
    """Yield a new file beside `path` that takes its place when the block ends well.

    So a reader sees the old file or the new one, each of them whole, and writers do not meet. After
    an error the new file is gone and the old one as it was. A link at `path` is replaced, too, and
    what it leads to stays. Nobody can put a link where the new file will be: its name cannot be
    guessed, and what exists is never opened.

    Args:
        path: The file to be written; its folder exists.
        mode: Permissions, less what the process masks.

    Raises:
        OSError: Where the folder cannot be written.
    """
    temporary = path.with_name(f".{path.name}-{secrets.token_hex(8)}.tmp")
    os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode))
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def read_yaml(path: Path, named: str) -> dict[Any, Any]:
    """Return the keys and values of a YAML file, whichever command reads it.

    Args:
        path: The file.
        named: What a user calls it, for messages: ``model=my.yaml``.

    Raises:
        NASError: For a file that cannot be read, that is no YAML, or that holds no keys.
    """
    import yaml  # which a plain import of the package does without

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise NASError(f"{named}: cannot be read ({error.strerror or error})") from error
    except UnicodeDecodeError as error:
        raise NASError(f"{named}: not a YAML file (its bytes are no UTF-8 text)") from error
    except (yaml.YAMLError, ValueError, TypeError, RecursionError, AttributeError) as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise NASError(f"{named}: not a YAML file ({reason})") from error
    if not isinstance(content, dict):
        kind = "nothing" if content is None else f"a {type(content).__name__}"
        raise NASError(f"{named}: holds {kind} where keys with values are expected")
    return content

def own(path: Path, mode: str) -> IO[str]:
    """Open a text file to write or to add to, which is never one that a link leads to.

    Args:
        path: The file.
        mode: ``w`` or ``a``.

    Raises:
        NASError: For a link.
        OSError: Where it cannot be written.
    """
    if path.is_symlink():
        raise NASError(f"{path}: is a link to {os.path.realpath(path)}; delete the link")

    def opener(name: str, flags: int) -> int:
        return os.open(name, flags | getattr(os, "O_NOFOLLOW", 0), 0o666)

    return open(path, mode, encoding="utf-8", opener=opener)


def refuse_links(folder: Path, key: str, *, follow: bool = False) -> None:
    """Refuse a folder that is going to be written into and has links to elsewhere.

    What is written or deleted behind such a link is somebody else's. The folder itself may be a
    link, which its user has named.

    Args:
        folder: The folder.
        key: The user's key that names it, for messages.
        follow: Whether the user wants the links followed.

    Raises:
        NASError: As above.
    """
    if follow:
        return
    inside = os.path.realpath(folder)
    for parent, folders, names in os.walk(folder):
        for path in (Path(parent, name) for name in sorted((*folders, *names))):
            if path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(inside):
                raise NASError(
                    f"{key}={folder}: {path.relative_to(folder)} in it is a link to "
                    f"{os.path.realpath(path)}, where a run would write, too; delete the link, or "
                    "give follow_links=True if you made it"
                )


def write_text(path: Path, text: str) -> Path:
    """Write a file whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


def write_json(path: Path, content: Any, *, private: bool = False) -> None:
    """Write a file whole or not at all; a private one is for its owner alone."""
    text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    with replacing(path, 0o600 if private else 0o666) as temporary:
        temporary.write_text(text, "utf-8", newline="\n")
