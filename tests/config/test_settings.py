from __future__ import annotations

from collections.abc import Mapping
from dataclasses import FrozenInstanceError, dataclass
from importlib import import_module
from typing import ClassVar

import pytest

from yolo_nas_ext.config.fields import bounds, flag, optional, text, texts, whole
from yolo_nas_ext.config.settings import Settings, key, keys, page, read, repeating
from yolo_nas_ext.errors import NASError
from yolo_nas_ext.host.plugin.startup import COMMANDS

KINDS = [
    kind
    for command in COMMANDS
    for kind in import_module(f"yolo_nas_ext.config.{command.removeprefix('nas-')}").HELP
]


@dataclass(frozen=True, kw_only=True)
class PieSettings(Settings):
    """The settings of a pie."""

    command: ClassVar[str] = "nas-pie"
    about: ClassVar[str] = "A pie."

    seed: int = key(0, whole(0), "One", "seed of the pie")
    json: bool = key(False, flag, "Two", "as JSON " + "and no other thing " * 8)
    fruit: tuple[str, ...] = key("apple,plum", texts, "Two", "what is in it")
    most: Mapping[str, float] = key(None, bounds, "One", "bounds", kind="list")
    import_: str | None = key(None, optional(text), "Two", "a word of Python")


def test_what_is_not_given_is_as_usual():
    pie = read(PieSettings, {"seed": 3, "import": "a"})
    usual = {"json": False, "fruit": ("apple", "plum"), "most": {}}
    assert pie.values == {**usual, "seed": 3, "import": "a"}
    assert pie.import_ == "a" and pie.given == {"seed", "import"} and not pie.host


def test_settings_are_frozen():
    with pytest.raises(FrozenInstanceError):
        PieSettings().seed = 1  # pyright: ignore


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"sed": 1}, r"sed=1: unknown key. Did you mean 'seed'\? `yolo nas-pie help` lists"),
        ({"seed": -1}, "seed=-1: not allowed; seed takes a whole number"),
        ({"json": "yes"}, "json=yes: not allowed; json takes True or False"),
        ({"lr": 1}, "lr=1: is not ours"),
    ],
)
def test_bad_keys_are_one_clear_line(given, message):
    with pytest.raises(NASError, match=message) as caught:
        read(PieSettings, given, {"lr0": 0.1}, {"lr": "is not ours"})
    assert "\n" not in str(caught.value)


def test_the_command_repeats_what_is_not_as_usual():
    given = {"seed": 2, "most": {"a": 0.5}, "fruit": "none", "lr0": 0.2, "import": "a b"}
    pie = read(PieSettings, given, {"lr0": 0.1})
    assert repeating(pie) == ("yolo nas-pie seed=2 fruit=none most=a:0.5 'import=a b' lr0=0.2")
    assert read(PieSettings, {"most": "a:0.5"}).most == {"a": 0.5}


def test_a_page_is_grouped_and_wrapped():
    lines = page(PieSettings).splitlines()
    assert lines[0] == "# One ".ljust(100, "-")
    assert lines[1:3] == ["seed: 0 # (int) seed of the pie", "most: # (list) bounds"]
    assert lines[5].startswith("json: False # (bool) as JSON") and lines[6].startswith("  # ")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_key_is_typed_grouped_and_explained(kind):
    for name, one in keys(kind).items():
        assert one.kind in ("str", "int", "float", "bool", "list", "number"), name
        assert one.group and one.about == one.about.strip() and not one.about.endswith("."), name
        assert getattr(kind(), one.field) == one.parse(one.usual), name
