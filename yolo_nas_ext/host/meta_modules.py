"""Modules of Ultralytics without weights, which are lent the weights of a supernet.

They lie on torch's ``meta`` device. Building them draws numbers even there, which whoever asks
gets back: whether one is built or remembered must make no difference.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import nn
from ultralytics.nn import modules as host
from ultralytics.nn import tasks
from ultralytics.nn.modules import Detect
from ultralytics.nn.modules.block import DFL
from ultralytics.utils.torch_utils import initialize_weights

from yolo_nas_ext.network.block_rows import ChainRow
from yolo_nas_ext.network.roles import BRANCHES, CLASSIFIER, MORE, PROTOTYPES, SIDE
from yolo_nas_ext.network.rows import Task, head_row

# Modules with weights whose channels have parts.
LINEAR = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)
# Where Ultralytics' heads keep the branches of a purpose, one a level.
PARTS = {"box": "cv2", "class": "cv3", **{name: "cv4" for more in MORE.values() for name in more}}


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
def head_skeleton(
    widths: tuple[int, ...], legacy: bool, task: Task, reg_max: int, end2end: bool
) -> nn.Module:
    """Return a head as Ultralytics builds it, without weights but the fixed ones."""
    name, args = head_row(task, widths[0])
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
    prefix = branch_prefix(purpose, branch, index)
    return [
        name
        for name, module in head.named_modules()
        if name.startswith(prefix) and isinstance(module, LINEAR)
    ]


def branch_prefix(purpose: str, branch: str, index: int) -> str:
    """Return how the names of all modules of a branch in a head of Ultralytics begin.

    Args:
        purpose: See `network.roles.Piece`.
        branch: One of `network.roles.BRANCHES`.
        index: Number of the level among the head's levels.
    """
    if purpose == CLASSIFIER:
        return ""
    if purpose == PROTOTYPES:
        return "proto."
    return f"{'one2one_' if branch == BRANCHES[1] else ''}{PARTS[purpose]}.{index}."


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
