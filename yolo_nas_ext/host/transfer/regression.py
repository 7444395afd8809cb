"""Weights fitted by least squares, so that a network computes what another one does.

Channels that are left out are made up for by those that stay: each convolution, in the order in
which they run, is given the weights with which it comes nearest to the outputs of its counterpart,
from the inputs that it really has by then. That is the reconstruction of channel pruning (He et al.
2017, arXiv:1707.06168), with a ridge around the weights that were carried over. It takes one
forward pass of either network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

PIXELS = 16384  # of an activation that weights are fitted to
# Of the mean variance of the inputs; found on YOLO11n and coco128, see docs/evidence.md.
RIDGE = 0.1
ALIKE = 1e-8  # of the variance of the outputs: below that there is nothing to fit
Places = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


@dataclass(frozen=True, slots=True)
class Pair:
    """A convolution and its counterpart.

    Attributes:
        mine: Name in the model that is fitted.
        theirs: Name in the source.
        outs: Output channels that both have: (mine, theirs).
        seen: Makes of the counterpart's outputs (channels, pixels) what is fitted to, if it is not
            these outputs themselves.
    """

    mine: str
    theirs: str
    outs: tuple[torch.Tensor, torch.Tensor]
    seen: Callable[[torch.Tensor], torch.Tensor] | None = None


@torch.no_grad()
def fit(
    model: nn.Module,
    source: nn.Module,
    pairs: Sequence[Pair],
    images: torch.Tensor,
    *,
    ridge: float = RIDGE,
) -> int:
    """Fit the convolutions of a model to a source and estimate its batch norms again, in place.

    Args:
        model: Ultralytics' model, with the weights that the ridge is around.
        source: Ultralytics' model of the source.
        pairs: What is fitted to what.
        images: Images (n, channels, height, width) in 0 to 1, as training sees them.
        ridge: Relative to the mean variance of a convolution's inputs.

    Returns:
        How many convolutions were changed.
    """
    wanted = _outputs(source, pairs, images)
    modules = dict(model.named_modules())
    changed: list[str] = []

    def solve(pair: Pair, module: Any, xs: tuple[torch.Tensor, ...]) -> None:
        if _solve(module, xs[0], *wanted.pop(pair.mine), pair.outs[0], ridge):
            changed.append(pair.mine)

    hooks = [
        modules[pair.mine].register_forward_pre_hook(partial(solve, pair))
        for pair in pairs
        if isinstance(modules[pair.mine], nn.Conv2d)
    ]
    hooks += [
        norm.register_forward_pre_hook(_estimate)
        for norm in modules.values()
        if isinstance(norm, nn.BatchNorm2d)
    ]
    with _hooked(model, hooks):
        model(images)
    return len(changed)


def _outputs(
    source: nn.Module, pairs: Sequence[Pair], images: torch.Tensor
) -> dict[str, tuple[torch.Tensor, Places]]:
    """Return what the counterparts give, (channels, pixels), and where in the image."""
    found: dict[str, tuple[torch.Tensor, Places]] = {}
    modules = dict(source.named_modules())

    def note(pair: Pair, _: nn.Module, xs: Any, y: torch.Tensor) -> None:
        if y.ndim == 4:
            image, row, column = at = _places(y.shape)
            here = y[image, :, row, column].T
            here = pair.seen(here) if pair.seen else here
            found[pair.mine] = here[pair.outs[1]], at

    hooks = [modules[pair.theirs].register_forward_hook(partial(note, pair)) for pair in pairs]
    with _hooked(source, hooks):
        source(images)
    return found


@contextmanager
def _hooked(model: Any, hooks: Sequence[Any]) -> Iterator[None]:
    """Let a model run for its layers' sake, with hooks, and be as it was afterwards."""
    training = {name: module.training for name, module in model.named_modules()}
    model.eval()
    model.model[-1].training = True  # or it would decode its outputs
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
        for name, module in model.named_modules():
            module.training = training[name]


def _places(shape: torch.Size) -> Places:
    """Return (image, row, column) of some pixels of an activation, the same for equal shapes."""
    images, _, height, width = shape
    count = images * height * width
    if count <= PIXELS:
        at = torch.arange(count)
    else:
        at = torch.randperm(count, generator=torch.Generator().manual_seed(0))[:PIXELS]
    return at // (height * width), at // width % height, at % width


def _patches(module: nn.Conv2d, x: torch.Tensor, at: Places) -> torch.Tensor:
    """Return what a convolution sees at some pixels of its output: (channels, taps, pixels)."""
    (height, width), (down, right) = module.kernel_size, module.stride
    top, left = module.padding  # pyright: ignore[reportAssignmentType]
    padded = nn.functional.pad(x, (left, left, top, top))  # pyright: ignore[reportArgumentType]
    image, row, column = at
    taps = [
        padded[image, :, row * down + i, column * right + j]
        for i in range(height)
        for j in range(width)
    ]
    return torch.stack(taps).permute(2, 0, 1)


def _solve(
    module: nn.Conv2d,
    x: torch.Tensor,
    wanted: torch.Tensor,
    at: Places,
    rows: torch.Tensor,
    ridge: float,
) -> bool:
    """Fit the weights of some outputs; return whether there was anything to fit."""
    seen = _patches(module, x, at)
    own = module.weight[rows].flatten(1)
    xs = seen[rows] if module.groups > 1 else seen.flatten(0, 1)[None]  # (c or 1, inputs, pixels)
    spelled = "ci,cin->cn" if module.groups > 1 else "ci,zin->cn"
    rest = wanted - torch.einsum(spelled, own, xs)
    if module.bias is not None:
        rest = rest - module.bias[rows, None]
    level = rest.mean(1, keepdim=True)
    rest = rest - level
    if alike := float(rest.pow(2).mean()) <= ALIKE * float(wanted.var()):
        change = torch.zeros_like(own)
    else:
        middle = xs.mean(2, keepdim=True)
        xs = xs - middle
        gram = xs @ xs.transpose(1, 2) / xs.shape[2]  # (c or 1, inputs, inputs)
        size = gram.diagonal(dim1=1, dim2=2).mean(1).clamp_min(1e-8)
        gram = gram + ridge * size[:, None, None] * torch.eye(gram.shape[1])
        if module.groups > 1:
            change = torch.linalg.solve(gram, (xs @ rest[:, :, None] / xs.shape[2])).squeeze(2)
        else:
            change = torch.linalg.solve(gram[0], xs[0] @ rest.T / xs.shape[2]).T
        level = level - torch.einsum(spelled, change, middle)
        module.weight[rows] += change.reshape(module.weight[rows].shape)
    if module.bias is not None:
        module.bias[rows] += level[:, 0]
    return not alike


def _estimate(norm: Any, xs: tuple[torch.Tensor, ...]) -> None:
    """Let a batch norm have the statistics of what it sees."""
    (x,) = xs
    norm.running_mean.copy_(x.mean((0, 2, 3)))
    norm.running_var.copy_(x.var((0, 2, 3)))
