"""A space as one supernet: the slots that its networks have in common, and how large each must be.

A slot is a place with one role (the block of level 3, the down-sampling of the bottom-up path at
level 4), as in `network.roles`. What can stand in a slot are branches, one for each type of block,
each with weights of its own. Within a branch, widths, hidden widths, kernels and depths are shared.
A smaller block uses the leading channels of each part, the centre of the kernel and the first
repeats. A slot that a network does not have hands on what it reads, so levels can be left out.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from yolo_nas_ext.errors import NASError
from yolo_nas_ext.network.architecture import Architecture, Block, Head
from yolo_nas_ext.network.block_rows import ChainRow
from yolo_nas_ext.network.blocks import BLOCKS
from yolo_nas_ext.network.modules import LIGHT_HEAD, is_legacy
from yolo_nas_ext.network.roles import (
    CONTEXT,
    MORE,
    Convolution,
    Parts,
    Role,
    run_chain,
    run_head,
    total,
)
from yolo_nas_ext.network.rows import KEYPOINTS, PLAIN, Task, rows
from yolo_nas_ext.network.timm_backbones import blocks_alone
from yolo_nas_ext.space.decode import split_levels
from yolo_nas_ext.space.networks import NetworkSpace
from yolo_nas_ext.space.parent import LAST, ParentSpace

# Choices that change what the loss sees: networks that differ in them cannot learn together.
FIXED = ("head.reg_max", "head.end2end")
# Choices whose options are branches with weights of their own, or leave parts out.
KINDS = ("block", "down", "kernel", "context", "levels", "top", "kind", "last")
HEAD = "head"
YOLO26 = "yolo26"  # behind a task: its head is YOLO26's own


@dataclass(frozen=True, slots=True)
class Wired:
    """What stands in a slot of one network.

    Attributes:
        blocks: Blocks in order; none hands the input on.
        inputs: Make-up of what it reads.
    """

    blocks: tuple[Block, ...]
    inputs: Parts

    @property
    def chain(self) -> tuple[ChainRow, ...]:
        """Ultralytics' rows without their sources."""
        return tuple(row for block in self.blocks for row in BLOCKS[block.kind].rows(block))

    @property
    def branch(self) -> str:
        """Name of the weights it takes: types of its blocks, strides and outer shortcuts."""
        return "+".join(
            block.kind
            + ("2" if block.stride == 2 else "")
            + ("_add" if block.shortcut and not BLOCKS[block.kind].deep else "")
            for block in self.blocks
        )


@dataclass(frozen=True, slots=True)
class Path:
    """One network as what stands in the slots of a supernet.

    Attributes:
        slots: By name, in the order in which they run.
        head: The network's head.
        inputs: Make-up of what the head reads at each of its levels.
        legacy: Whether Ultralytics builds its older head, with other branches for the classes.
    """

    slots: dict[str, Wired]
    head: Head
    inputs: tuple[Parts, ...]
    legacy: bool


@dataclass(frozen=True, slots=True)
class Variant:
    """A branch at its largest, with one kernel.

    Attributes:
        chain: Ultralytics' rows.
        inputs: Make-up of what it reads.
        convolutions: In the order in which Ultralytics runs them, each as wide as any network has
            it.
    """

    chain: tuple[ChainRow, ...]
    inputs: Parts
    convolutions: tuple[Convolution, ...]


def check(space: NetworkSpace) -> None:
    """Refuse a space that one supernet cannot hold.

    Raises:
        NASError: It names the first choice that cannot be shared, and how to fix it.
    """
    if space.task not in MORE:
        raise NASError(
            f"task={space.task}: the supernet has no such head; give estimator=short, or one of "
            f"task={', '.join(MORE)}"
        )
    for name in () if space.task in PLAIN else FIXED:
        if len(options := space.choices.get(name, ())) > 1:
            raise NASError(
                f"space={space.name}: {name} has the options {', '.join(map(str, options))}, which "
                f"cannot share weights, as it changes what the loss sees; fix it with "
                f"fix={name}:{options[0]}"
            )

    timm, instead = blocks_alone(space.choices)
    if timm:
        raise NASError(
            f"space={space.name}: backbone has {timm}, whose weights are not shared; {instead}, or "
            "give estimator=short"
        )
    for name, options in space.choices.items():
        if plugins := [o for o in options if o in BLOCKS and BLOCKS[o].plugin]:
            raise NASError(
                f"space={space.name}: {name} has {plugins[0]}, a block of this package, whose "
                "weights are not shared; leave it out of the space, or give estimator=short"
            )
    if isinstance(space, ParentSpace):
        _check_parent(space.parent)
    elif len(sizes := space.choices.get("imgsz", ())) > 1:
        raise NASError(
            f"space={space.name}: imgsz has the options {', '.join(map(str, sizes))}, but a "
            f"supernet is trained on images of one size; fix it with fix=imgsz:{sizes[0]}"
        )
    if "gfpn" in space.choices.get("neck.kind", ()):
        raise NASError(
            f"space={space.name}: neck.kind has gfpn, whose queen fusion the supernet has no slots "
            "for; fix it with fix=neck.kind:pan, or give estimator=short"
        )


def _check_parent(parent: Architecture) -> None:
    """Refuse a parent whose networks share no weights."""
    neck = parent.neck
    blocks = (*parent.backbone, *neck.down, *(block for pair in neck.up for block in pair))
    own = next((block.kind for block in blocks if BLOCKS[block.kind].plugin), "")
    queen = neck.kind == "gfpn"
    if own or queen:
        what = "has a neck of kind gfpn" if queen else f"has {own}, a block of this package"
        raise NASError(
            f"space=parent: the parent {what}, whose weights are not shared; give estimator=short"
        )


def path(architecture: Architecture, channels: int = 3) -> Path:
    """Return a network as what stands in the slots of a supernet.

    Args:
        architecture: The network.
        channels: Channels of the image.
    """
    found: dict[str, Wired] = {}
    reads: Parts = channels

    def put(name: str, *blocks: Block) -> Parts:
        wired = found[name] = Wired(blocks, reads)
        return run_chain_cached(wired.chain, wired.inputs)[1]

    level, place = 0, itertools.count(1)
    context = tuple(b for b in architecture.backbone if b.kind in CONTEXT)
    backbone: dict[int, Parts] = {}
    for block in architecture.backbone[: len(architecture.backbone) - len(context)]:
        if block.stride == 2:
            level, place = level + 1, itertools.count(1)
            name = f"l{level}.down"
        else:
            name = f"l{level}.block{next(place)}"
        backbone[level] = reads = put(name, block)
    if context:
        backbone[level] = reads = put(f"l{level}.context", *context)
    neck = architecture.neck
    lateral = {neck.levels[-1]: reads}
    for level, block in zip(reversed(neck.levels[:-1]), neck.down, strict=True):
        reads = (reads, backbone[level])
        lateral[level] = reads = put(f"top_down{level}.block", block)
    outputs = dict(lateral)
    for level, (down, block) in zip(neck.levels[1:], neck.up, strict=False):
        reads = (put(f"bottom_up{level}.down", down), lateral[level])
        outputs[level] = reads = put(f"bottom_up{level}.block", block)
    every = [row for part in rows(architecture, 1) for row in part]
    head = architecture.head
    return Path(found, head, tuple(outputs[lv] for lv in head.levels), is_legacy(every))


# Networks differ in few places: nearly every slot has been seen before.
run_chain_cached = lru_cache(maxsize=20_000)(run_chain)
_run_head_cached = lru_cache(maxsize=20_000)(run_head)


def definition(
    space: NetworkSpace, nc: int, channels: int = 3, keypoints: tuple[int, int] = KEYPOINTS
) -> dict[str, Any]:
    """Return Ultralytics' model definition of the supernet of a space.

    Its rows are the plugin modules of `host.supernet.elastic`. Every slot is a block with branches,
    every concatenation a join that up-samples or not, and one head reads all levels.

    Args:
        space: The space; `check` says whether it can be shared.
        nc: Number of classes.
        channels: Channels of the image.
        keypoints: Number of keypoints and numbers a point, of the task pose.

    Raises:
        NASError: As `check`.
    """
    check(space)
    task = Task(nc, space.task, keypoints)
    branches, heads, head = _capacities(space, task, channels)
    levels = [split_levels(option) for option in space.choices["levels"]]
    low, high = min(neck[0] for neck, _ in levels), max(neck[-1] for neck, _ in levels)
    table: list[list[Any]] = []
    at: dict[str, int] = {}

    def add(name: str, module: str, source: Any, *args: Any) -> None:
        at[name] = len(table)
        sources = [source] if isinstance(source, int) else list(source)
        # Ultralytics' parser takes several sources of its own modules alone; the model sets them.
        table.append([-1, 1, module, [name, *args, sources]])

    def block(name: str) -> None:
        if name in branches:
            add(name, "ElasticBlock", -1, _plain(branches[name]))

    ends: dict[int, int] = {}
    for level in range(1, high + 1):
        block(f"l{level}.down")
        for place in itertools.count(1):
            if (name := f"l{level}.block{place}") not in branches:
                break
            block(name)
        block(f"l{level}.context")
        ends[level] = len(table) - 1
    count = len(table)
    if task.name == "classify":  # has no neck
        low = high
    lateral = {high: ends[high]}
    for level in reversed(range(low, high)):
        add(f"top_down{level}.join", "ElasticJoin", (-1, ends[level]), True)
        block(f"top_down{level}.block")
        lateral[level] = len(table) - 1
    outputs = {**ends, **lateral}
    for level in range(low + 1, high + 1):
        if f"bottom_up{level}.block" in branches:
            block(f"bottom_up{level}.down")
            add(f"bottom_up{level}.join", "ElasticJoin", (-1, lateral[level]), False)
            block(f"bottom_up{level}.block")
            outputs[level] = len(table) - 1
    head_levels = sorted({level for _, level, *_ in heads})
    add(
        HEAD,
        "ElasticHead",
        [outputs[level] for level in head_levels],
        [nc, task.name, list(keypoints), *[YOLO26] * head.yolo26],
        head.reg_max,
        head.end2end,
        head_levels,
        heads,
    )
    return {"nc": nc, "backbone": table[:count], "head": table[count:]}


def _plain(branches: Mapping[str, Sequence[Variant]]) -> dict[str, list[Any]]:
    """Return variants as lists for the arguments of a row."""
    return {
        name: [
            [[[n, m, list(args)] for n, m, args in v.chain], v.inputs, _listed(v.convolutions)]
            for v in variants
        ]
        for name, variants in branches.items()
    }


def _listed(convolutions: Iterable[Convolution]) -> list[list[Any]]:
    return [[c.inputs, c.outputs, c.depthwise] for c in convolutions]


# How large everything must be


def _capacities(
    space: NetworkSpace, task: Task, channels: int
) -> tuple[dict[str, dict[str, list[Variant]]], list[list[Any]], Head]:
    """Return variants by slot and branch, the head's convolutions by role and legacy, a head."""
    slots: dict[str, dict[str, dict[Any, Variant]]] = {}
    heads: dict[tuple[bool, Role], tuple[Convolution, ...]] = {}
    legacies = _legacies(space)
    every = [path(architecture, channels) for architecture in dict.fromkeys(corners(space))]
    for one in every:
        for name, wired in one.slots.items():
            own, _ = run_chain_cached(wired.chain, wired.inputs)
            variants = slots.setdefault(name, {}).setdefault(wired.branch, {})
            kernels = tuple((b.kernel, b.depth) for b in wired.blocks)
            before = variants.get(kernels)
            if before is None or total(before.inputs) <= total(wired.inputs):
                chain, inputs = wired.chain, wired.inputs
            else:
                chain, inputs = before.chain, before.inputs
            merged = _merge_all(before.convolutions, own) if before else own
            variants[kernels] = Variant(chain, inputs, merged)
        for legacy in legacies:
            for role, own in _run_head_cached(one.head, one.inputs, legacy, task).items():
                key = (legacy and role[2] == "class", role)  # boxes have the same branches
                heads[key] = _merge_all(heads[key], own) if key in heads else own
    branches = {
        slot: {branch: list(found.values()) for branch, found in kinds.items()}
        for slot, kinds in slots.items()
    }
    listed = [[legacy, *role[1:], _listed(own)] for (legacy, role), own in heads.items()]
    return branches, listed, every[0].head


def _legacies(space: NetworkSpace) -> list[bool]:
    """Return whether networks of the space have the older head, the newer one, or both."""
    if isinstance(space, ParentSpace):
        return sorted({path(architecture).legacy for architecture in corners(space)})
    always = min(split_levels(option)[0][-1] for option in space.choices["levels"])
    parts = [f"{s.name}.block" for s in space.stages if s.level <= always] + ["neck.block"]
    kinds = [[_light(kind) for kind in space.choices[part]] for part in parts]
    rest = [n for n in space.choices if n.endswith(".block") and n not in (*parts, "stem.block")]
    others = {k for name in (*rest, "neck.top") for k in space.choices[name]} - {"same"}
    newer = any(map(any, kinds)) or any(map(_light, others))
    older = not any(map(all, kinds))
    return [False] * newer + [True] * older


def _light(kind: str) -> bool:
    """Say whether a type of block makes Ultralytics build its newer head."""
    return any(m in LIGHT_HEAD for _, m, _ in BLOCKS[kind].rows(Block(kind, 64, 2, 1, 32, 3)))


def corners(space: NetworkSpace) -> Iterator[Architecture]:
    """Yield networks among which every branch of every slot is as large as the space has it."""
    largest = {
        name: options[0] if is_kind(name) else max(options)
        for name, options in space.choices.items()
    }
    stages = [stage.name for stage in space.stages]
    groups: list[tuple[str, ...]] = [("stem.block", "stem.kernel"), ("levels", "context", LAST)]
    groups += [(f"{s}.block", f"{s}.kernel", f"{s}.down") for s in stages]
    groups += [("levels", "context", f"{s}.width") for s in stages]
    groups.append(
        ("levels", *(f"neck.{key}" for key in "block top kernel width growth expansion".split()))
    )
    for group in groups:
        names = [name for name in group if name in space.choices]
        for options in itertools.product(*(space.choices[name] for name in names)):
            values = space.canonical({**largest, **dict(zip(names, options, strict=True))})
            yield space.architecture(values)


def is_kind(name: str) -> bool:
    """Say whether the options of a choice are branches with weights of their own, or levels."""
    return name.rpartition(".")[2] in KINDS


def _merge_all(a: Sequence[Convolution], b: Sequence[Convolution]) -> tuple[Convolution, ...]:
    return tuple(
        Convolution(merge(x.inputs, y.inputs), merge(x.outputs, y.outputs), x.depthwise)
        for x, y in zip(a, b, strict=True)
    )


def merge(a: Parts, b: Parts) -> Parts:
    """Return parts that have room for both of two activations in the same role.

    Parts of the same place are merged; where only one is made of parts, the result is not either.
    """
    if 0 in (a, b):
        return b if a == 0 else a
    if isinstance(a, int) or isinstance(b, int):
        return max(total(a), total(b))
    pairs = itertools.zip_longest(a, b, fillvalue=0)
    return tuple(merge(x, y) for x, y in pairs)
