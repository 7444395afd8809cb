"""Modules of the host without weights, which are lent those of a supernet.

They lie on torch's ``meta`` device. Building them draws numbers even there, which whoever asks
gets back: whether one is built or remembered must make no difference.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import nn
from ultralytics.nn import tasks
from ultralytics.nn.modules import Detect
from ultralytics.nn.modules.block import DFL
from ultralytics.utils.torch_utils import initialize_weights

from yolo_nas_ext.space.blocks import ChainRow
from yolo_nas_ext.space.roles import BRANCHES, SIDE


@lru_cache(maxsize=1024)
def skeleton(chain: tuple[ChainRow, ...], channels: int) -> tuple[nn.Module, tuple[str, ...]]:
    """Return rows as the host builds them, without weights, and their convolutions as they run."""
    definition = {"nc": 1, "backbone": [[-1, n, m, _thawed(a)] for n, m, a in chain], "head": []}
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        made, _ = tasks.parse_model(definition, ch=channels, verbose=False)
        initialize_weights(made)
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


def _unchanged(input: torch.Tensor) -> torch.Tensor:
    return input


@lru_cache(maxsize=256)
def head_skeleton(
    widths: tuple[int, ...], legacy: bool, nc: int, reg_max: int, end2end: bool
) -> nn.Module:
    """Return a head as the host builds it, without weights but those that are fixed."""
    before = Detect.legacy
    Detect.legacy = legacy
    try:
        with torch.random.fork_rng(devices=[]):
            with torch.device("meta"):
                made: Any = Detect(nc, reg_max, end2end, widths)
                initialize_weights(made)
            if reg_max > 1:
                made.dfl = DFL(reg_max)
    finally:
        Detect.legacy = before
    made.legacy = legacy
    return made


def branch_names(head: nn.Module, purpose: str, branch: str, index: int) -> list[str]:
    """Return the convolutions of a branch at a level, in order."""
    part = {"box": "cv2", "class": "cv3"}[purpose]
    prefix = f"{'one2one_' if branch == BRANCHES[1] else ''}{part}.{index}."
    return [
        name
        for name, module in head.named_modules()
        if name.startswith(prefix) and isinstance(module, nn.Conv2d)
    ]


def conv_key(modules: Mapping[str, nn.Module], name: str, chain: Sequence[ChainRow]) -> str:
    """Return names and types on the way to a convolution, alike whether its row repeats or not."""
    row, *rest = name.split(".")
    steps, at = [row, "0"], row
    if type(modules[row]).__name__ != chain[int(row)][1]:  # the host wraps rows that repeat
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
