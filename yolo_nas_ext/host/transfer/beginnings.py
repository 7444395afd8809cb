"""How parts of a network begin that have no counterpart: they change nothing, and can learn."""

from __future__ import annotations

import math
import re
from typing import Any

import torch
from torch import nn
from ultralytics.nn.modules import Bottleneck
from ultralytics.nn.modules.block import PSABlock

from yolo_nas_ext.host.transfer.counterparts import Counterpart


def begin_as_identity(model: nn.Module, carried: set[str]) -> None:
    """Let repeats that a source has not be the identity, in place.

    The last batch norm of each residual branch has a scale of zero (Goyal et al. 2017,
    arXiv:1706.02677). Repeats whose outputs are concatenated need no such thing: what reads them
    has weights of zero. A super-block of one repeat has no row of further ones, so that a row is a
    repeat where the row before it was carried over.

    Args:
        model: Ultralytics' model.
        carried: Names of the modules around convolutions that took weights.
    """

    def has(prefix: str) -> bool:
        return any(name == prefix or name.startswith(f"{prefix}.") for name in carried)

    for name, module in model.named_modules():
        row = re.fullmatch(r"model\.(\d+)", name)
        behind = row is not None and has(f"model.{int(row[1]) - 1}")
        repeats = {f"{name}.{number}": repeat for number, repeat in module.named_children()}
        if type(module) is Bottleneck and row:
            repeats = {name: module}
        elif type(module) is not nn.Sequential:
            continue
        for at, repeat in repeats.items() if behind or has(name) else ():
            for norm in _last_norms(repeat) if not has(at) else ():
                nn.init.zeros_(norm.weight)
                nn.init.zeros_(norm.bias)


def _last_norms(repeat: Any) -> list[Any]:
    """Return the batch norms at the ends of a repeat's residual branches."""
    if isinstance(repeat, Bottleneck) and repeat.add:
        return [repeat.cv2.bn]
    if isinstance(repeat, PSABlock) and repeat.add:
        return [repeat.attn.proj.bn, repeat.ffn[1].bn]
    return []


def shift_prior(bias: torch.Tensor, part: Counterpart, levels: int) -> None:
    """Let class outputs that come from another level know how many cells theirs has, in place.

    Ultralytics starts the bias at the logarithm of objects a cell; a level lower has four times as
    many cells.

    Args:
        bias: Of the class outputs.
        part: What they come from.
        levels: How many levels lower they are than there.
    """
    bias[part.outs[0]] -= levels * math.log(4)
