"""The channels of a model in another order, which changes nothing of what it computes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import nn

from yolo_nas_ext.host.meta_modules import norm_of
from yolo_nas_ext.host.transfer.convolutions import Convolved
from yolo_nas_ext.network.channels import Coupled

NORM = ("weight", "bias", "running_mean", "running_var")


@torch.no_grad()
def permute(
    model: nn.Module,
    convolutions: Iterable[Convolved],
    coupled: Coupled,
    groups: Mapping[int, Sequence[int]],
    heads: Mapping[int, Sequence[int]] | None = None,
) -> None:
    """Put the channels of a model into another order, in place.

    Args:
        model: Ultralytics' model.
        convolutions: All of its convolutions, with the channels that they read and write.
        coupled: Which channels go together.
        groups: For the number of a group, the old place of the channel at each new place.
        heads: The same for the heads of an attention, which are exchanged as wholes afterwards.
    """
    convolutions = list(convolutions)
    _apply(model, convolutions, _moves(coupled, groups))
    for number, order in (heads or {}).items():
        own = coupled.heads[number]
        pairs = [zip(own[at], own[old], strict=True) for at, old in enumerate(order)]
        moved = {here: there for pair in pairs for here, there in pair}
        _apply(model, convolutions, moved)


def _moves(coupled: Coupled, groups: Mapping[int, Sequence[int]]) -> dict[int, int]:
    """Return for each channel that moves the one whose weights it takes."""
    return {
        atom[at]: atom[old]
        for number, order in groups.items()
        for atom in coupled.groups[number].atoms
        for at, old in enumerate(order)
    }


def _apply(model: nn.Module, convolutions: Sequence[Convolved], moves: Mapping[int, int]) -> None:
    modules = dict(model.named_modules())
    for conv in convolutions:
        module, transposed = conv.module, isinstance(conv.module, nn.ConvTranspose2d)
        outs = sources(conv.parts.writes, moves)
        ins = None if conv.parts.depthwise else sources(conv.parts.reads, moves)
        weight: torch.Tensor = module.weight  # pyright: ignore[reportAssignmentType]
        if ins is not None:
            weight.copy_(weight.index_select(0 if transposed else 1, ins))
        weight.copy_(weight.index_select(1 if transposed else 0, outs))
        if (bias := getattr(module, "bias", None)) is not None:
            bias.copy_(bias[outs])
        norm = modules.get(norm_of(conv.name))
        for name in NORM if isinstance(norm, nn.BatchNorm2d) else ():
            tensor = getattr(norm, name)
            tensor.copy_(tensor[outs])


def sources(channels: Sequence[int], moves: Mapping[int, int]) -> torch.Tensor:
    """Return for each place of a row of channels the place that it takes its weights from.

    A channel that stands in the row several times, as in the concatenation of a tensor with its
    pooled copies, takes from the copy of its own number.
    """
    places: dict[int, list[int]] = defaultdict(list)
    for place, channel in enumerate(channels):
        places[channel].append(place)
    seen: dict[int, int] = defaultdict(int)
    found = []
    for channel in channels:
        found.append(places[moves.get(channel, channel)][seen[channel]])
        seen[channel] += 1
    return torch.tensor(found, dtype=torch.long)
