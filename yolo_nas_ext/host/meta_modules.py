"""Modules of Ultralytics without weights, which are lent the weights of a supernet.

They lie on torch's ``meta`` device. Building them draws numbers even there, which whoever asks
gets back: whether one is built or remembered must make no difference.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import torch
from torch import nn
from ultralytics.nn import modules as host
from ultralytics.nn import tasks
from ultralytics.nn.modules import Detect
from ultralytics.nn.modules.block import DFL
from ultralytics.utils.torch_utils import initialize_weights

from yolo_nas_ext.network.architecture import Head
from yolo_nas_ext.network.block_rows import ChainRow
from yolo_nas_ext.network.roles import (
    BRANCHES,
    CLASSIFIER,
    MORE,
    PIXELS,
    PROTOTYPES,
    REFINED,
    SIDE,
    SPREAD,
)
from yolo_nas_ext.network.rows import Task, head_row

# Modules with weights whose channels have parts.
LINEAR = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)
# Where Ultralytics' heads keep the branches of a purpose, one a level; the last layer of YOLO26's
# keypoints stands apart.
PARTS: dict[str, tuple[str, ...]] = {
    "box": ("cv2",),
    "class": ("cv3",),
    **{name: ("cv4",) for more in MORE.values() for name in more},
    "keypoints": ("cv4", "cv4_kpts"),
    SPREAD: ("cv4_sigma",),
}
PROTO = "proto"  # where they keep what prototypes are made by, in parts that run in this order
PROTO_PARTS = ("feat_fuse", "cv1", "upsample", "cv2", "cv3")
FLOW = "flow_model"  # what YOLO26's keypoints are trained by: the same in all networks


@lru_cache(maxsize=1024)
def skeleton(
    chain: tuple[ChainRow, ...], channels: int, task: str = "detect"
) -> tuple[nn.Module, tuple[str, ...]]:
    """Return rows as Ultralytics builds them, weightless, and their convolutions as they run."""
    definition = {"nc": 1, "backbone": [[-1, n, m, _thawed(a)] for n, m, a in chain], "head": []}
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        made, _ = tasks.parse_model(definition, ch=channels, verbose=False)
        _set_constants(made, task)
    seen: list[str] = []
    watched = []
    for name, module in made.named_modules():
        if isinstance(module, nn.Conv2d):
            watched.append(module.register_forward_hook(lambda *_, name=name: seen.append(name)))
        elif isinstance(module, nn.BatchNorm2d):
            module.forward = _unchanged  # most of the time otherwise
    made.eval()(torch.zeros(1, channels, SIDE, SIDE, device="meta"))
    for hook in watched:
        hook.remove()
    for module in made.modules():
        if isinstance(module, nn.BatchNorm2d):
            del module.forward
    return made, tuple(seen)


def _set_constants(made: nn.Module, task: str) -> None:
    """Set the constants of batch norms as Ultralytics does, in all models but classifiers."""
    if task != "classify":
        initialize_weights(made)


def _unchanged(input: torch.Tensor) -> torch.Tensor:
    return input


@lru_cache(maxsize=256)
def head_skeleton(widths: tuple[int, ...], legacy: bool, task: Task, head: Head) -> nn.Module:
    """Return a head as Ultralytics builds it, without weights but the fixed ones.

    Args:
        widths: Channels of each level that it reads.
        legacy: Whether Ultralytics builds its older head.
        task: What it does.
        head: Its settings; its levels have no say.
    """
    name, args = head_row(task, head, widths[0])
    reg_max, end2end = head.reg_max, head.end2end
    kind: Any = getattr(host, name)
    before = getattr(kind, "legacy", False)
    kind.legacy = legacy  # of the module's own class, as Ultralytics' parser leaves it
    try:
        with torch.random.fork_rng(devices=[]):
            with torch.device("meta"):
                plain = task.name == "classify"
                given = (*widths, *args) if plain else (*args, reg_max, end2end, widths)
                made: Any = kind(*given)
                _set_constants(made, task.name)
            if isinstance(made, Detect) and reg_max > 1:
                made.dfl = DFL(reg_max)
    finally:
        kind.legacy = before
    made.legacy = legacy
    return made


def branch_names(head: nn.Module, purpose: str, branch: str, index: int) -> list[str]:
    """Return the convolutions of a branch at a level, in order."""
    every = [name for name, module in head.named_modules() if isinstance(module, LINEAR)]
    places = branch_places(purpose, branch, index)
    return [name for place in places for name in every if within(name, place)]


def within(name: str, place: str) -> bool:
    """Say whether a module is the one of a place, or a part of it."""
    return name == place or not place or name.startswith(f"{place}.")


def branch_places(purpose: str, branch: str, index: int) -> tuple[str, ...]:
    """Return the names of the modules that make up a branch in a head of Ultralytics, as they run.

    Args:
        purpose: See `network.roles.Piece`.
        branch: One of `network.roles.BRANCHES`.
        index: Number of the level among the head's levels.
    """
    if purpose == CLASSIFIER:
        return ("",)
    if purpose == PROTOTYPES:
        return tuple(f"{PROTO}.{part}" for part in PROTO_PARTS)
    if purpose == PIXELS:
        return (f"{PROTO}.semseg",)
    if purpose == REFINED:  # of the levels above the finest one
        return (f"{PROTO}.feat_refine.{index - 1}",)
    kind = "one2one_" if branch == BRANCHES[1] else ""
    return tuple(f"{kind}{part}.{index}" for part in PARTS[purpose])


def undecoded(model: nn.Module) -> None:
    """Let the head of a model that is not in training give what it gives there, in place.

    These are outputs before they are decoded, and those that training alone asks for.
    """
    head: Any = model.model[-1]  # pyright: ignore[reportIndexIssue]
    for module in filter(None, (head, getattr(head, PROTO, None))):
        module.training = True


@contextmanager
def hooked(model: nn.Module, hooks: Sequence[Any]) -> Iterator[None]:
    """Let a model run for its layers' sake, with hooks, and be as it was afterwards."""
    training = {name: module.training for name, module in model.named_modules()}
    model.eval()
    undecoded(model)
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
        for name, module in model.named_modules():
            module.training = training[name]


def conv_key(modules: Mapping[str, nn.Module], name: str, chain: Sequence[ChainRow]) -> str:
    """Return names and types on the way to a convolution, alike whether its row repeats or not."""
    row, *rest = name.split(".")
    steps, at = [row, "0"], row
    if type(modules[row]).__name__ != chain[int(row)][1]:  # Ultralytics wraps rows that repeat
        steps[1], *rest = rest
        at = f"{row}.{steps[1]}"
    for step in rest:
        at = f"{at}.{step}"
        steps.append(f"{step}:{type(modules[at]).__name__}")
    return "/".join(steps)


def norm_of(name: str) -> str:
    """Return the name of the batch norm behind a convolution, if it has one."""
    return f"{name.rpartition('.')[0]}.bn"


def _thawed(value: Any) -> Any:
    return list(map(_thawed, value)) if isinstance(value, (list, tuple)) else value
