"""One typed, frozen class per command: its fields are the keys, and all else is made from them.

`keys` reads a class, `read` makes an instance of what the user gave, and `page` writes the help.
"""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, ClassVar, TypeVar

from yolo_nas_ext.config.fields import Parse
from yolo_nas_ext.console import quoted
from yolo_nas_ext.errors import NASError, did_you_mean, without_password

WIDTH = 100  # columns of the help


@dataclass(frozen=True)
class Key:
    """One key of a command.

    Attributes:
        field: Name of the field, which may have a ``_`` behind it.
        usual: The default, as a user types it; None for an empty one.
        parse: Makes a value of what was given; it raises ValueError with what is allowed.
        group: Heading of the help that it stands under.
        about: What it means, in a sentence or two.
        kind: ``str``, ``int``, ``float``, ``bool``, ``list`` or ``number``, which has a suffix.
    """

    field: str
    usual: Any
    parse: Parse
    group: str
    about: str
    kind: str

    @property
    def name(self) -> str:
        """What a user types; a field has a ``_`` behind a name that Python or the class has."""
        return self.field.rstrip("_")

    def value(self, raw: Any) -> Any:
        """Return what a raw value stands for.

        Raises:
            NASError: For a value that is not of the key's type.
        """
        try:
            return self.parse(raw)
        except (ValueError, OverflowError) as error:
            raise NASError(f"{self.name}={raw}: not allowed; {self.name} takes {error}") from error


def key(usual: Any, parse: Parse, group: str, about: str, *, kind: str = "") -> Any:
    """Return the field of a key; see `Key`. The kind is that of the field's type unless given."""
    made = parse(usual)
    metadata = {"usual": usual, "parse": parse, "group": group, "about": about, "kind": kind}
    if isinstance(made, dict):  # which every instance has its own of
        return field(default_factory=lambda: parse(usual), metadata=metadata)
    return field(default=made, metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of one run of a command.

    Attributes:
        host: Keys of Ultralytics' training that the user gave.
        given: Names of the keys that the user gave.
    """

    command: ClassVar[str]  # what a user types before the keys
    about: ClassVar[str]  # what the help begins with
    # left out where a run is repeated
    unsaid: ClassVar[tuple[str, ...]] = ("resume", "follow_links", "threads")

    host: Mapping[str, Any] = field(default_factory=dict)
    given: frozenset[str] = frozenset()

    @property
    def values(self) -> dict[str, Any]:
        """The value of every key by its name, as it may be written: without passwords."""
        found = {name: getattr(self, key.field) for name, key in keys(type(self)).items()}
        return {n: without_password(v) if isinstance(v, str) else v for n, v in found.items()}


S = TypeVar("S", bound=Settings)


@cache
def keys(kind: type[Settings]) -> dict[str, Key]:
    """Return the keys of a command by their names."""
    found = [
        Key(f.name, **{**f.metadata, "kind": f.metadata["kind"] or _kind(str(f.type))})
        for f in dataclasses.fields(kind)
        if "usual" in f.metadata
    ]
    return {key.name: key for key in found}


def _kind(annotation: str) -> str:
    """Return what users call a type."""
    plain = annotation.partition(" |")[0].partition("[")[0]
    return {"tuple": "list", "Mapping": "list"}.get(plain, plain)


def read(
    kind: type[S],
    given: Mapping[str, Any],
    passed: Mapping[str, Any] | None = None,
    refused: Mapping[str, str] | None = None,
) -> S:
    """Return the settings of a command from what the user gave.

    Args:
        kind: The command's class.
        given: Keys and raw values.
        passed: Keys of Ultralytics' training, which are passed through, with their defaults.
        refused: Keys that the command has not, with the reason.

    Raises:
        NASError: For an unknown key, or a value that is not of its type.
    """
    known, passed, refused = keys(kind), passed or {}, refused or {}
    values, host = {}, {}
    for name, raw in given.items():
        if name in known:
            values[known[name].field] = known[name].value(raw)
        elif name in refused:
            raise NASError(f"{name}={raw}: {refused[name]}")
        elif name in passed:
            host[name] = raw
        else:
            raise NASError(
                f"{name}={raw}: unknown key.{did_you_mean(name, [*known, *passed])} "
                f"`yolo {kind.command} help` lists the keys"
            )
    return kind(**values, host=host, given=frozenset(given))


def shown(value: Any) -> str:
    """Return a value as a user types it."""
    if isinstance(value, Mapping):
        pairs = ((n, f"{v:g}" if isinstance(v, float) else v) for n, v in value.items())
        return ",".join(f"{name}:{one}" for name, one in pairs)
    return (",".join(map(str, value)) or "none") if isinstance(value, tuple) else str(value)


def repeating(settings: Settings) -> str:
    """Return the command that repeats a run: every key that is not at its default."""
    usual = type(settings)().values
    parts = [
        quoted(f"{name}={shown(value)}")
        for name, value in {**settings.values, **settings.host}.items()
        if name not in settings.unsaid and value != usual.get(name)
    ]
    return " ".join(["yolo", settings.command, *parts])


def groups(kind: type[Settings]) -> dict[str, list[Key]]:
    """Return the keys of a command by the headings of its help."""
    found: dict[str, list[Key]] = {}
    for one in keys(kind).values():
        found.setdefault(one.group, []).append(one)
    return found


def page(kind: type[Settings]) -> str:
    """Return the keys of a command as YAML, each with its default, its type and what it means."""
    lines: list[str] = []
    for title, members in groups(kind).items():
        lines += ["", f"# {title} ".ljust(WIDTH, "-")]
        for one in members:
            usual = "" if one.usual is None else f" {str(one.usual).strip()}"
            lines += textwrap.wrap(
                one.about,
                WIDTH,
                initial_indent=f"{one.name}:{usual} # ({one.kind}) ",
                subsequent_indent="  # ",
                break_long_words=False,
                break_on_hyphens=False,
            )
    return "\n".join(lines).strip() + "\n"


def help_text(*kinds: type[Settings]) -> str:
    """Return what `yolo <command> help` prints."""
    return "\n".join(f"{kind.about.strip()}\n\n{page(kind)}" for kind in kinds)
