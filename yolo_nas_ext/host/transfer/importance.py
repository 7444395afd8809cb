"""The channels of a trained model from the one that matters most to the one that matters least.

A channel matters as far as the convolutions that read it cannot make up for it with the others. So
the order is found backwards: the channel goes whose loss changes their outputs least once their
weights are fitted anew, which least squares says in closed form. It is optimal brain surgery
(Hassibi & Stork 1993) on channels, with the layer's inputs as the data.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn

from yolo_nas_ext.host.transfer.convolutions import Convolved
from yolo_nas_ext.network.channels import Coupled, Group

RIDGE = 1e-3  # of a channel's mean variance: few pixels do not say how channels go together


@dataclass(frozen=True, slots=True)
class Reader:
    """A convolution that reads the channels of a group.

    Attributes:
        covariance: Of the channels (n, n).
        weights: Products of the weights of two channels, summed over outputs and the kernel (n, n).
        scale: Variance of the convolution's outputs, summed.
    """

    covariance: torch.Tensor
    weights: torch.Tensor
    scale: float


@torch.no_grad()
def covariances(
    model: nn.Module, convolutions: Iterable[Convolved], batches: Sequence[torch.Tensor]
) -> dict[str, torch.Tensor]:
    """Return the covariance of the input channels of every convolution that mixes channels.

    Args:
        model: Ultralytics' model, which is left as it is.
        convolutions: Its convolutions.
        batches: Images (b, channels, h, w) in 0 to 1.
    """
    sums: dict[str, list[torch.Tensor]] = {}
    counts: dict[str, int] = defaultdict(int)

    def note(name: str, _: nn.Module, xs: tuple[torch.Tensor, ...]) -> None:
        (x,) = xs
        flat = x.transpose(0, 1).flatten(1) if x.ndim == 4 else x.T
        first, second = flat.sum(1).double(), (flat @ flat.T).double()
        known = sums.setdefault(name, [torch.zeros_like(first), torch.zeros_like(second)])
        known[0] += first
        known[1] += second
        counts[name] += flat.shape[1]

    hooks = [
        conv.module.register_forward_pre_hook(partial(note, conv.name))
        for conv in convolutions
        if not conv.parts.depthwise
    ]
    training = model.training
    model.eval()
    for batch in batches:
        model(batch)
    model.train(training)
    for hook in hooks:
        hook.remove()
    found = {}
    for name, (first, second) in sums.items():
        mean = first / counts[name]
        found[name] = second / counts[name] - torch.outer(mean, mean)
    return found


@torch.no_grad()
def orders(
    convolutions: Iterable[Convolved],
    coupled: Coupled,
    covariance: Mapping[str, torch.Tensor],
) -> tuple[dict[int, list[int]], dict[int, list[int]]]:
    """Return the order of the channels of every group, and of the heads of every attention.

    Args:
        convolutions: Of a model.
        coupled: Which of its channels go together.
        covariance: Of the inputs of its convolutions, by name.

    Returns:
        Old places by new place, the most important first, as `order.permute` takes them. Groups
        that no convolution mixes stay as they are.
    """
    convolutions = [c for c in convolutions if not c.parts.depthwise and c.name in covariance]
    variances = {c.name: _variance(c, covariance[c.name]) for c in convolutions}
    groups, worth = {}, {}
    for number, group in enumerate(coupled.groups):
        readers = list(_readers(group, convolutions, covariance, variances))
        if readers:
            groups[number], losses = eliminate(readers)
            worth |= {c: loss for atom in group.atoms for c, loss in zip(atom, losses, strict=True)}
    heads = {}
    for number, own in enumerate(coupled.heads):
        sums = [sum(worth.get(channel, 0.0) for channel in head) for head in own]
        heads[number] = sorted(range(len(own)), key=lambda i, s=sums: -s[i])
    return groups, heads


def eliminate(readers: Sequence[Reader]) -> tuple[list[int], list[float]]:
    """Return the places of channels, the most important first, and the loss of each, by place.

    Args:
        readers: What reads the channels; all of as many.
    """
    n = len(readers[0].covariance)
    left = list(range(n))
    gone: list[int] = []
    losses = [0.0] * n
    state = []
    for reader in readers:
        ridge = RIDGE * reader.covariance.diagonal().mean().clamp_min(1e-12)
        inverse = torch.linalg.inv(reader.covariance + ridge * torch.eye(n, dtype=torch.float64))
        state.append((inverse, reader.weights / max(reader.scale, 1e-12)))
    while len(left) > 1:
        each = [weights.diagonal() / inverse.diagonal() for inverse, weights in state]
        loss = torch.stack(each).sum(0)
        at = int(loss.argmin())
        losses[left[at]] = float(loss[at])
        gone.append(left.pop(at))
        state = [_without(inverse, weights, at) for inverse, weights in state]
    losses[left[0]] = max(losses, default=0.0)
    return left + gone[::-1], losses


def _without(
    inverse: torch.Tensor, weights: torch.Tensor, at: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the inverse covariance and the weights' products once a channel is made up for."""
    keep = torch.arange(len(inverse)) != at
    row = inverse[keep, at]
    share = -row / inverse[at, at]  # of the channel, in terms of the others
    own = weights[keep, at]
    crossed = torch.outer(own, share)
    added = crossed + crossed.T + torch.outer(share, share) * weights[at, at]
    weights = weights[keep][:, keep] + added
    return inverse[keep][:, keep] - torch.outer(row, row) / inverse[at, at], weights


def _readers(
    group: Group,
    convolutions: Sequence[Convolved],
    covariance: Mapping[str, torch.Tensor],
    variances: Mapping[str, float],
) -> Iterator[Reader]:
    """Yield what reads the channels of a group; each copy of them in a concatenation is one."""
    for conv in convolutions:
        places: dict[int, list[int]] = defaultdict(list)
        for place, channel in enumerate(conv.parts.reads):
            places[channel].append(place)
        for atom in group.atoms:
            for copy in range(len(places.get(atom[0], ()))):
                at = torch.tensor([places[channel][copy] for channel in atom])
                weights = _by_input(conv)[at]
                known = covariance[conv.name][at][:, at]
                yield Reader(known, weights @ weights.T, variances[conv.name])


def _variance(conv: Convolved, covariance: torch.Tensor) -> float:
    """Return the summed variance of outputs, as if the pixels under a kernel had none in common."""
    weights = _by_input(conv)
    return float(((weights @ weights.T) * covariance).sum())


def _by_input(conv: Convolved) -> torch.Tensor:
    """Return the weights of a convolution as (input channels, all others)."""
    weight: torch.Tensor = conv.module.weight  # pyright: ignore[reportAssignmentType]
    transposed = isinstance(conv.module, nn.ConvTranspose2d)
    return (weight if transposed else weight.transpose(0, 1)).flatten(1).double()
