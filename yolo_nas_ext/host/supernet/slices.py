"""Shared weights, and the parts of them that are lent to a module of Ultralytics'."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from yolo_nas_ext.errors import NASError
from yolo_nas_ext.network.roles import Convolution, Parts, shared, total


class Unit(nn.Module):
    """The shared weights of a convolution and of its batch norm, as wide as any network has them.

    Args:
        parts: Its channels.
        kernel: Kernel size in pixels; 0 for a linear layer.
        bias: Whether the convolution has a bias.
        norm: Whether a batch norm follows.
        transposed: Whether it is a transposed convolution.
    """

    def __init__(
        self, parts: Convolution, kernel: int, bias: bool, norm: bool, transposed: bool = False
    ) -> None:
        super().__init__()
        outs = total(parts.outputs)
        self.parts = parts
        ins, groups = (outs, outs) if parts.depthwise else (total(parts.inputs), 1)
        if kernel:
            kind = nn.ConvTranspose2d if transposed else nn.Conv2d
            self.conv: nn.Module = kind(ins, outs, kernel, groups=groups, bias=bias)
        else:
            self.conv = nn.Linear(ins, outs, bias)
        self.bn = nn.BatchNorm2d(outs) if norm else None


@dataclass(frozen=True, slots=True)
class Loan:
    """A tensor of a skeleton and the part of a shared one that it is lent.

    Attributes:
        name: Name in the skeleton.
        unit: Key of the unit.
        tensor: Name within the unit.
        outs: Numbers of the output channels.
        ins: Numbers of the input channels; None for all there are.
        kernel: Kernel size in pixels; 0 for a tensor without one.
        outs_at: Dimension of the output channels; those of the input are the other of 0 and 1.
    """

    name: str
    unit: str
    tensor: str
    outs: torch.Tensor | int
    ins: torch.Tensor | int | None
    kernel: int
    outs_at: int = 0

    def take(self, units: Any) -> torch.Tensor:
        """Return the lent part, a view where the channels are the leading ones."""
        value = _get(units[self.unit], self.tensor)
        value = taken(value, self.outs, self.outs_at)
        if self.ins is not None:
            value = taken(value, self.ins, 1 - self.outs_at)
        if self.kernel and (rest := value.shape[-1] - self.kernel):
            first = rest // 2
            value = value[..., first : first + self.kernel, first : first + self.kernel]
        return value

    def give(self, units: Any, value: torch.Tensor) -> None:
        """Write values into the lent part."""
        whole = _get(units[self.unit], self.tensor)
        part = whole[_spread(self, whole)]
        if self.kernel and (rest := whole.shape[-1] - self.kernel):
            first = rest // 2
            part[..., first : first + self.kernel, first : first + self.kernel] = value.to(part)
        else:
            part = value.to(part)
        whole[_spread(self, whole)] = part


@dataclass(frozen=True, slots=True)
class Wiring:
    """A skeleton and what it is lent."""

    skeleton: nn.Module
    loans: tuple[Loan, ...]

    def state(self, units: Any) -> dict[str, torch.Tensor]:
        """Return the tensors for the skeleton by name."""
        return {loan.name: loan.take(units) for loan in self.loans}


def numbers(active: Parts, store: Parts, slot: str) -> torch.Tensor | int:
    """Return which channels of a store are taken: their number if they lead, else each's.

    Args:
        active: Make-up of what is taken.
        store: Make-up of all there is.
        slot: What to call the place in a message.

    Raises:
        NASError: Where the store has fewer.
    """
    found = [theirs for _, theirs in shared(active, store)]
    if len(found) != total(active):
        raise NASError(f"{slot}: the supernet has not the {total(active)} channels asked for")
    return len(found) if found == list(range(len(found))) else torch.tensor(found)


def taken(value: torch.Tensor, which: torch.Tensor | int, dim: int) -> torch.Tensor:
    """Return some channels, a view where they are the leading ones; see `numbers`."""
    if isinstance(which, int):
        return value if which == value.shape[dim] else value.narrow(dim, 0, which)
    return value.index_select(dim, which.to(value.device))


def _spread(loan: Loan, whole: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Return the index of the channels that are lent in a whole tensor."""
    places = [torch.arange(size) for size in whole.shape[:2]]
    for dim, which in ((loan.outs_at, loan.outs), (1 - loan.outs_at, loan.ins)):
        if which is not None:
            places[dim] = torch.arange(which) if isinstance(which, int) else which
    if whole.ndim == 1:
        return (places[0],)
    return places[0][:, None], places[1][None]


def _get(module: Any, name: str) -> torch.Tensor:
    for step in name.split("."):
        module = getattr(module, step)
    return module
