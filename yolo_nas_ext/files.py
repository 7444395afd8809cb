"""Files: where the shipped ones are, and writing one whole or not at all, and never elsewhere."""

from __future__ import annotations

import errno
import json
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib import resources
from pathlib import Path
from typing import IO, Any

from yolo_nas_ext.errors import NASError

LONGEST = 1_000_000  # characters of a YAML
LARGEST = 100_000_000  # bytes of a file that is read at once
DEEPEST = 50  # parts of a YAML within one another
GROWN = 100_000  # parts that a YAML's aliases may add
CLASSES = 30_000  # of a data set; ImageNet's largest edition has 21,841
OBJECTS = 20_000  # of an image
DIGITS = 100  # of a whole number; more is none that can be reckoned with
TOO_DEEP = f"more than {DEEPEST} parts are within one another"
TOO_LONG = f"a whole number has more than {DIGITS} digits"


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
        content = yaml_of(text_of(path))
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


def yaml_of(text: str) -> Any:
    """Return what a text of YAML holds, as `yaml.safe_load` does, within bounds.

    Tabs between values, and those of JSON, are spaces, as YAML 1.2 and Ultralytics have it.

    Raises:
        yaml.YAMLError: For what is no YAML, is longer than `LONGEST`, nested deeper than `DEEPEST`,
            holds itself, has a key twice, or grows by its aliases.
    """
    import yaml  # which a plain import of the package does without

    if len(text) > LONGEST:
        raise yaml.YAMLError(f"it has {len(text):,} characters, at most {LONGEST:,} are read")
    if "\t" in text:
        flow = text.lstrip().startswith(("{", "["))
        text = text.replace("\t", " ") if flow else re.sub(r"(?<=[^\s])[ \t]*\t[ \t]*", " ", text)
    try:
        return yaml.load(text, _bounded())
    except (
        ValueError,
        LookupError,
        OverflowError,
        RecursionError,
        TypeError,
        AttributeError,
    ) as error:
        # whatever a value of another type than its tag says runs into
        raise yaml.YAMLError(f"{type(error).__name__}: {error}") from error


def text_of(path: Path, most: int = LARGEST, errors: str = "strict") -> str:
    """Return the text of a file, without a byte-order mark.

    Args:
        path: The file.
        most: Bytes that it may have.
        errors: What is done about bytes that are no text, as of `open`.

    Raises:
        OSError: For a file that cannot be read, or that is none, as a pipe and a device.
        ValueError: For one that is larger, or no text.
    """
    if path.exists() and not path.is_file():
        raise OSError(errno.EISDIR if path.is_dir() else errno.EINVAL, "it is no file")
    if (size := path.stat().st_size) > most:
        raise ValueError(f"it has {size:,} bytes, at most {most:,} are read")
    return path.read_text(encoding="utf-8-sig", errors=errors)


def free_memory() -> int:
    """Return the bytes that can be taken without swapping, within the limit of a container."""
    import psutil

    free = psutil.virtual_memory().available
    group = Path("/sys/fs/cgroup")
    try:
        limit, used = ((group / f"memory.{n}").read_text().strip() for n in ("max", "current"))
        return min(free, int(limit) - int(used))
    except (OSError, ValueError):  # none, or no limit
        return free


def said(value: Any) -> str:
    """Return a value of a file for a message."""
    return " ".join(repr(value).split())[:60]


def is_folder_name(text: str) -> bool:
    """Say whether a text can be the name of a folder everywhere, and of nothing else."""
    plain = text.isprintable() and not set(text) & set('/\\:*?"<>|')
    return plain and 0 < len(text) <= 100 and text.strip(". ") != ""


def is_class_name(text: str) -> bool:
    """Say whether a text may name a class: Ultralytics makes folders of their names, too."""
    parts = text.replace("\\", "/").split("/")
    inside = parts[0] != "" and ".." not in parts and ":" not in parts[0][1:2]
    return text.isprintable() and inside and len(text) <= 200


def json_of(text: str | bytes) -> Any:
    """Return what a text of JSON holds.

    Raises:
        ValueError: For what is no JSON, nested too deep, or holds a number beyond `DIGITS`.
    """
    try:
        return json.loads(text, parse_int=_whole)
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error


def _whole(text: str) -> int:
    if len(text) > DIGITS:
        raise ValueError(TOO_LONG)
    return int(text)


@cache
def _bounded() -> Any:
    """Return PyYAML's safe loader with bounds, which it has not itself."""
    import yaml

    class Bounded(yaml.SafeLoader):
        """Knows of every node how large and how deep it is with its aliases written out."""

        def __init__(self, stream: str) -> None:
            super().__init__(stream)
            self.known: dict[int, tuple[int, int]] = {}
            self.written, self.level = 0, 0

        def compose_node(self, parent: Any, index: Any) -> Any:
            alias = self.check_event(yaml.AliasEvent)
            mark = self.peek_event().start_mark
            self.level += 1
            if self.level > DEEPEST:
                raise yaml.MarkedYAMLError(problem=TOO_DEEP, problem_mark=mark)
            node = super().compose_node(parent, index)
            self.level -= 1
            if alias and id(node) not in self.known:
                raise yaml.MarkedYAMLError(problem="a part holds itself", problem_mark=mark)
            if not alias:
                self.known[id(node)] = self.measured(node)
            size, depth = self.known[id(node)]
            if depth > DEEPEST:
                raise yaml.MarkedYAMLError(problem=TOO_DEEP, problem_mark=mark)
            if size > self.written + GROWN:
                problem = "its aliases make it far larger than it is"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=mark)
            return node

        def check_keys(self, node: Any) -> None:
            """Refuse a key that stands twice, of which PyYAML takes the last without a word."""
            before: set[tuple[str, str]] = set()
            for name, _ in node.value:
                if not isinstance(name, yaml.ScalarNode) or name.value == "<<":
                    continue
                if (one := (name.tag, name.value)) in before:
                    problem = f"the key {name.value[:60]!r} stands twice"
                    raise yaml.MarkedYAMLError(problem=problem, problem_mark=name.start_mark)
                before.add(one)

        def measured(self, node: Any) -> tuple[int, int]:
            """Return the size and the depth of a node whose parts are known."""
            own = 1
            parts: list[Any] = []
            if isinstance(node, yaml.ScalarNode):
                own += len(node.value) // 16
                if node.tag.endswith(":int") and len(node.value) > DIGITS:
                    raise yaml.MarkedYAMLError(problem=TOO_LONG, problem_mark=node.start_mark)
            elif isinstance(node, yaml.MappingNode):
                self.check_keys(node)
                parts = [part for pair in node.value for part in pair]
            else:
                parts = node.value
            self.written += own
            sizes = [self.known[id(part)] for part in parts]
            size = own + sum(size for size, _ in sizes)
            return size, 1 + max((depth for _, depth in sizes), default=0)

    return Bounded


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
