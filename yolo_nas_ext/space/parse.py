"""The content of a space file -> `SpaceFile`; what it may hold is in `space.schema`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from yolo_nas_ext.errors import NASError, did_you_mean
from yolo_nas_ext.network import timm_backbones
from yolo_nas_ext.network.blocks import BLOCKS
from yolo_nas_ext.network.timm_backbones import OWN
from yolo_nas_ext.space.constraints import NonDecreasing, Offered, Ratio, Rule
from yolo_nas_ext.space.schema import (
    CONTEXTS,
    HEAD,
    MOVES,
    NECK,
    NECKS,
    SIZE,
    STAGE,
    STAGE_BLOCKS,
    STEM,
    TOP,
    Check,
    SpaceFile,
    Stage,
    is_integer,
    is_number,
    one_of,
)


def parse(content: Any, name: str, where: str) -> SpaceFile:
    """Return the space that a YAML's content describes.

    Args:
        content: What the YAML holds.
        name: Name of the space.
        where: How error messages name the file.

    Raises:
        NASError: For anything that is not of the grammar: the key, what it holds, what is allowed.
    """
    _mapping(content, where, TOP)
    choices: dict[str, tuple[Any, ...]] = {"backbone": _backbones(content, where)}
    own = ("stem", "stages") if OWN in choices["backbone"] else ()
    for key in (*own, "levels", "neck"):
        if key not in content:
            raise NASError(f"{where}: key '{key}' is missing")
    stages: tuple[Stage, ...] = ()
    if own:
        _add_section(content["stem"], "stem", STEM, where, choices)
        stages = _stages(content["stages"], where, choices)
        choices["context"] = _options(
            content.get("context", "none"), "context", *one_of(*CONTEXTS), where
        )
    elif useless := [key for key in ("stem", "stages", "context") if key in content]:
        raise NASError(
            f"{where}: {useless[0]} is of no use, as no backbone is 'own'; leave it out, or add "
            "'own' to backbone"
        )
    rules: list[Rule] = []
    choices["levels"] = _parse_levels(content["levels"], choices["backbone"], stages, rules, where)
    if choices["backbone"] == (OWN,):  # as in spaces from before there was another
        choices.pop("backbone")
    if "imgsz" in content:
        choices["imgsz"] = _options(content["imgsz"], "imgsz", *SIZE, where)
    _add_section(content["neck"], "neck", NECK, where, choices)
    if choices["neck.kind"] == NECKS[:1]:  # as in spaces from before there was another
        choices.pop("neck.kind")
    _add_section(content.get("head") or {}, "head", HEAD, where, choices)
    _check_kernels(content, choices, stages, where)
    moves, mutations = _mutation(content.get("mutation") or {}, choices, where)
    rules += _rules(content.get("rules") or {}, choices, stages, where)
    return SpaceFile(name, choices, stages, tuple(rules), moves, mutations)


def _backbones(content: Mapping[str, Any], where: str) -> tuple[str, ...]:
    """Return the options of the backbone."""
    given = _listed(content.get("backbone", OWN))
    try:
        found = [timm_backbones.option_of(value) for value in given]
    except NASError as error:
        raise NASError(f"{where}: backbone {error}") from error
    return _options(found, "backbone", lambda v: True, timm_backbones.ALLOWED, where)


def _stages(content: Any, where: str, choices: dict[str, tuple[Any, ...]]) -> tuple[Stage, ...]:
    if not isinstance(content, dict) or not content:
        raise NASError(f"{where}: stages holds {content!r}; expected a mapping from name to stage")
    stages, level = [], 1
    for stage, keys in content.items():
        name = str(stage)
        if name in TOP or "." in name:
            raise NASError(f"{where}: stages.{name}: this name is taken; use p2, p3, p4b, ...")
        _add_section(keys, name, STAGE, where, choices, optional=("hidden",))
        (stride,) = choices.pop(f"{name}.stride")[:1]
        if f"{name}.hidden" in choices:
            choices.pop(f"{name}.expansion")
        if stride == 1:
            choices.pop(f"{name}.down")
            choices.pop(f"{name}.down_width")
        elif "inside" in choices[f"{name}.down"]:
            for kind in choices[f"{name}.block"]:
                if not BLOCKS[kind].stride:
                    able = ", ".join(k for k in STAGE_BLOCKS if BLOCKS[k].stride)
                    raise NASError(
                        f"{where}: {name}.down: block {kind} cannot down-sample inside; only "
                        f"{able} can, others need a down of conv, scdown, adown or aconv"
                    )
        level += stride == 2
        stages.append(Stage(name, level, stride))
    return tuple(stages)


def _add_section(
    content: Any,
    prefix: str,
    grammar: Mapping[str, tuple[Check, str, Any]],
    where: str,
    choices: dict[str, tuple[Any, ...]],
    optional: tuple[str, ...] = (),
) -> None:
    """Add the choices of one section of the file."""
    _mapping(content, f"{where}: {prefix}", tuple(grammar))
    for key, (check, allowed, default) in grammar.items():
        if key in content:
            value = content[key]
        elif key in optional:
            continue
        elif default is None:
            raise NASError(f"{where}: {prefix}.{key} is missing; give {allowed}, or a list of such")
        else:
            value = default
        choices[f"{prefix}.{key}"] = _options(value, f"{prefix}.{key}", check, allowed, where)


def _options(value: Any, name: str, check: Check, allowed: str, where: str) -> tuple[Any, ...]:
    """Return the options of a choice: of a scalar one, of a list all, of from/to/step the range."""
    if isinstance(value, dict):
        _mapping(value, f"{where}: {name}", ("from", "to", "step"))
        try:
            options: list[Any] = list(range(value["from"], value["to"] + 1, value.get("step", 1)))
        except (KeyError, TypeError, ValueError) as error:
            raise NASError(
                f"{where}: {name} is {value}; a range has whole numbers 'from', 'to' and 'step'"
            ) from error
    else:
        options = value if isinstance(value, list) else [value]
    if not options:
        raise NASError(f"{where}: {name} has no options; give {allowed}, or a list of such")
    for option in options:
        try:
            good = check(option)
        except TypeError:
            good = False
        if not good:
            known = allowed.removeprefix("one of ").split(", ")
            hint = did_you_mean(option, known) if allowed.startswith("one of ") else ""
            raise NASError(
                f"{where}: {name} has the option {option!r}; allowed is {allowed}.{hint}"
            )
    if len(set(map(repr, options))) != len(options):
        raise NASError(f"{where}: {name} lists an option twice: {options}")
    return tuple(options)


def _parse_levels(
    value: Any, backbones: tuple[str, ...], stages: tuple[Stage, ...], rules: list[Rule], where: str
) -> tuple[Any, ...]:
    """Return the options of the levels, and add the rule that pairs them with backbones."""
    reaches = {name: _reach(name, stages, where) for name in backbones}
    reachable = set().union(*reaches.values())
    allowed = (
        "'low-high' for neck and head, or 'low-high:low-high' for each, within levels "
        f"{min(reachable)} to {max(reachable)}, for example '3-5' or '2-5:3-5'"
    )

    def check(text: Any) -> bool:
        try:
            parts = [tuple(int(n) for n in part.split("-")) for part in text.split(":")]
        except (AttributeError, ValueError):
            return False
        if not 1 <= len(parts) <= 2 or any(len(p) != 2 or p[0] > p[1] for p in parts):
            return False
        neck, head = parts[0], parts[-1]
        inside = neck[0] <= head[0] and head[1] <= neck[1]
        return (
            inside
            and any(has(text, reach) for reach in reaches.values())
            and (len(parts) == 1 or neck != head)
        )

    def has(text: str, reach: set[int]) -> bool:
        low, high = text.split(":")[0].split("-")
        return set(range(int(low), int(high) + 1)) <= reach

    options = _options(value, "levels", check, allowed, where)
    table = {n: frozenset(o for o in options if has(o, r)) for n, r in reaches.items()}
    for name, left in table.items():
        if not left:
            raise NASError(
                f"{where}: backbone {name} has the levels "
                f"{', '.join(map(str, sorted(reaches[name])))}, which are enough for none of "
                f"levels {', '.join(options)}; add others, or leave it out"
            )
    if any(len(left) < len(options) for left in table.values()):
        rules.append(Offered(table))
    return options


def _reach(backbone: str, stages: tuple[Stage, ...], where: str) -> set[int]:
    """Return the levels of a backbone."""
    if backbone == OWN:
        return {stage.level for stage in stages}
    try:
        return set(timm_backbones.offered(backbone))
    except NASError as error:
        raise NASError(f"{where}: backbone: {error}") from error


def _check_kernels(
    content: Mapping[str, Any],
    choices: Mapping[str, tuple[Any, ...]],
    stages: tuple[Stage, ...],
    where: str,
) -> None:
    """Refuse a block that none of the kernel options suits."""
    own = content["stages"].items() if stages else ()
    sections = {str(stage): (f"stages.{stage}", keys) for stage, keys in own}
    sections["neck"] = ("neck", content["neck"])
    for name, (path, keys) in sections.items():
        options = list(choices[f"{name}.kernel"])
        for kind in choices[f"{name}.block"]:
            able = list(BLOCKS[kind].kernels)
            if not able or set(able) & set(options):
                continue
            what = f"is {options}, but block {kind} has kernels {able}: add one of them"
            if "kernel" not in keys:
                what = (
                    f"is not given and then {options[0]}, which block {kind} cannot have: add "
                    f"kernel: {able} to {path}, or some of these"
                )
            raise NASError(f"{where}: {path}.kernel {what}")


def _rules(
    content: Any, choices: Mapping[str, tuple[Any, ...]], stages: tuple[Stage, ...], where: str
) -> tuple[Rule, ...]:
    _mapping(content, f"{where}: rules", ("nondecreasing", "hidden"))
    rules: list[Rule] = []
    names = ["stem", *(stage.name for stage in stages)]
    for key in _listed(content.get("nondecreasing", [])):
        over = tuple(f"{n}.{key}" for n in names if f"{n}.{key}" in choices)
        if key not in ("width", "depth", "hidden") or len(over) < 2:
            raise NASError(
                f"{where}: rules.nondecreasing: {key!r}; allowed is width, depth, hidden"
            )
        rules.append(NonDecreasing(over))
    if "hidden" in content:
        bounds = content["hidden"]
        if not (isinstance(bounds, list) and len(bounds) == 2 and all(map(is_number, bounds))):
            raise NASError(f"{where}: rules.hidden is {bounds!r}; expected [lowest, highest] ratio")
        rules.extend(
            Ratio(f"{n}.hidden", f"{n}.width", *bounds) for n in names if f"{n}.hidden" in choices
        )
    return tuple(rules)


def _mutation(
    content: Any, choices: Mapping[str, tuple[Any, ...]], where: str
) -> tuple[dict[str, tuple[str, tuple[float, ...]]], int]:
    attributes = {name.split(".")[-1] for name in choices}
    _mapping(content, f"{where}: mutation", ("moves", *sorted(attributes)))
    moves = {}
    for attribute, how in content.items():
        if attribute == "moves":
            continue
        _mapping(how, f"{where}: mutation.{attribute}", MOVES)
        if len(how) != 1 or not all(map(is_number, _listed(next(iter(how.values()))))):
            raise NASError(
                f"{where}: mutation.{attribute} is {how!r}; give one of scale: [factors], "
                "step: [offsets]"
            )
        kind, amounts = next(iter(how.items()))
        for name, options in choices.items():
            if name.split(".")[-1] == attribute:
                if kind == "scale" and not all(map(is_number, options)):
                    raise NASError(f"{where}: mutation.{attribute}: scale needs numbers as options")
                moves[name] = (kind, tuple(_listed(amounts)))
    mutations = content.get("moves", 1)
    if not is_integer(mutations) or not 1 <= mutations <= 20:
        raise NASError(f"{where}: mutation.moves is {mutations!r}; a whole number from 1 to 20")
    return moves, mutations


def _mapping(content: Any, where: str, keys: tuple[str, ...]) -> None:
    """Refuse what is not a mapping with keys among `keys`."""
    if not isinstance(content, dict):
        raise NASError(
            f"{where}: holds {content!r}; expected a mapping with keys {', '.join(keys)}"
        )
    for key in content:
        if key not in keys:
            raise NASError(
                f"{where}: unknown key '{key}'.{did_you_mean(key, keys)} Allowed: {', '.join(keys)}"
            )


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
