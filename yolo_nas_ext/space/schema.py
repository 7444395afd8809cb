"""The grammar of a space file: what its keys are, and what each may hold. See docs/spaces.md."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from yolo_nas_ext.errors import NASError, did_you_mean
from yolo_nas_ext.network.block_rows import KERNELS, BlockType
from yolo_nas_ext.network.blocks import BLOCKS
from yolo_nas_ext.space.constraints import Rule

# Context modules between backbone and neck: (block, whether it adds its input) in order.
CONTEXTS: dict[str, tuple[tuple[str, bool], ...]] = {
    "none": (),
    "sppf": (("sppf", False),),
    "sppf_add": (("sppf", True),),
    "c2psa": (("c2psa", False),),
    "sppf+c2psa": (("sppf", False), ("c2psa", False)),
    "sppf_add+c2psa": (("sppf", True), ("c2psa", False)),
}
STEMS = ("conv", "focus")
DOWNS = ("conv", "scdown", "adown", "aconv", "inside")
STAGE_BLOCKS = [k for k, b in BLOCKS.items() if b.deep and k not in ("c2psa", "c3k2_attn")]
NECK_BLOCKS = [k for k, b in BLOCKS.items() if b.deep and k != "c2psa"]
NECKS = ("pan", "gfpn")
MOVES = ("scale", "step")


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage of the backbone: one block, behind a down-sampling where its stride is 2."""

    name: str
    level: int
    stride: int


@dataclass(frozen=True, slots=True)
class SpaceFile:
    """A parsed space file."""

    name: str
    choices: dict[str, tuple[Any, ...]]
    stages: tuple[Stage, ...]
    rules: tuple[Rule, ...]
    moves: dict[str, tuple[str, tuple[float, ...]]]
    mutations: int


Check = Callable[[Any], bool]
_width: tuple[Check, str] = (
    lambda v: is_integer(v) and v >= 8 and v % 8 == 0,
    "a multiple of 8 of at least 8 (Ultralytics rounds others up)",
)
_count: tuple[Check, str] = (
    lambda v: is_integer(v) and 1 <= v <= 64,
    "a whole number from 1 to 64",
)
_fraction: tuple[Check, str] = (
    lambda v: is_number(v) and 0 < v <= 2,
    "a number above 0, at most 2",
)
_expansion: tuple[Check, str] = (
    lambda v: is_number(v) and 0 < v <= 8,
    "a number above 0, at most 8 (of inverted bottlenecks; others are at most 1)",
)
_flag: tuple[Check, str] = (lambda v: isinstance(v, bool), "true or false")
SIZE: tuple[Check, str] = (
    lambda v: is_integer(v) and v >= 32 and v % 32 == 0,
    "a multiple of 32 pixels",
)
_kernel: tuple[Check, str] = (lambda v: v in KERNELS, "1, 3, 5 or 7")


def one_of(*names: str) -> tuple[Check, str]:
    """Return the check of an option that has one of some names, and what is allowed."""
    return (lambda v: v in names), "one of " + ", ".join(names)


# For each section of the file: key -> (check of an option, what is allowed, default or None if
# required).
STEM = {
    "block": (*one_of(*STEMS), "conv"),
    "width": (*_width, None),
    "kernel": (*_kernel, 3),
}
STAGE = {
    "stride": (lambda v: v in (1, 2), "1 or 2", 2),
    "down": (*one_of(*DOWNS), "conv"),
    "down_width": (*_fraction, 1),
    "block": (*one_of(*STAGE_BLOCKS), None),
    "depth": (*_count, 1),
    "width": (*_width, None),
    "kernel": (*_kernel, 3),
    "expansion": (*_expansion, 0.5),
    "hidden": (*_width, None),
}
NECK = {
    "kind": (*one_of(*NECKS), NECKS[0]),
    "block": (*one_of(*NECK_BLOCKS), None),
    "top": (*one_of("same", *NECK_BLOCKS), "same"),
    "depth": (*_count, 1),
    "width": (*_width, None),
    "growth": (*_fraction, 2),
    "kernel": (*_kernel, 3),
    "expansion": (*_expansion, 0.5),
}
HEAD = {
    "reg_max": (lambda v: is_integer(v) and 1 <= v <= 32, "a whole number from 1 to 32", 16),
    "end2end": (*_flag, False),
}
TOP = (
    "description",
    "imgsz",
    "backbone",
    "stem",
    "stages",
    "context",
    "levels",
    "neck",
    "head",
    "rules",
    "mutation",
)


def admit(kind: str, block: BlockType) -> None:
    """Add a block to the catalogue, for stages and necks of every space that is read from now on.

    A chain of rows is read as this block before it is read as one of the shipped ones.

    Args:
        kind: Its name, which no other block has.
        block: What it is.
    """
    shipped = dict(BLOCKS)
    BLOCKS.clear()
    BLOCKS.update({kind: block, **shipped})
    STAGE_BLOCKS.append(kind)
    NECK_BLOCKS.append(kind)
    STAGE["block"] = (*one_of(*STAGE_BLOCKS), None)
    NECK["block"] = (*one_of(*NECK_BLOCKS), None)
    NECK["top"] = (*one_of("same", *NECK_BLOCKS), "same")


def fixed(file: SpaceFile, fix: Mapping[str, Any]) -> SpaceFile:
    """Return a definition with one option left of some choices.

    Args:
        file: The definition.
        fix: The option that is left, by choice.

    Raises:
        NASError: For an unknown choice or option.
    """
    return replace(file, choices=left(file.name, file.choices, fix))


def left(
    space: str, choices: Mapping[str, tuple[Any, ...]], fix: Mapping[str, Any]
) -> dict[str, tuple[Any, ...]]:
    """Return the options of a space's choices with one left of those to fix; see `fixed`.

    Args:
        space: Name of the space, for messages.
        choices: Its choices.
        fix: The option that is left, by choice; compared as text, whatever its case.

    Raises:
        NASError: For an unknown choice or option.
    """
    result = dict(choices)
    for name, wanted in fix.items():
        if name not in result:
            raise NASError(
                f"fix={name}: space '{space}' has no such choice."
                f"{did_you_mean(name, result)} Choices: {', '.join(result)}"
            )
        options = result[name]
        same = [o for o in options if str(o).lower() == str(wanted).lower()]
        if not same:
            hint = did_you_mean(wanted, [o for o in options if isinstance(o, str)])
            raise NASError(
                f"fix={name}:{wanted}: not an option; allowed: "
                f"{', '.join(map(str, options))}{'.' * bool(hint)}{hint}"
            )
        result[name] = (same[0],)
    return result


def is_integer(value: Any) -> bool:
    """Say whether a value is a whole number; a flag is none."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    """Say whether a value is a number; a flag is none."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)
