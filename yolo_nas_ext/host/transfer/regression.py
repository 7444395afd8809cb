"""Weights fitted by least squares, so that a network computes what another one does.

Channels that are left out are made up for by those that stay: each convolution, in the order in
which they run, is given the weights with which it comes nearest to the outputs of its counterpart,
from the inputs that it really has by then. That is the reconstruction of channel pruning (He et al.
2017, arXiv:1707.06168), with a ridge around the weights that were carried over. It takes one
forward pass of either network.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import nn

from yolo_nas_ext.host.meta_modules import hooked, norm_of

PIXELS = 24576  # of an activation that weights are fitted to
# Of the mean variance of the inputs, to choose from, and where there is nothing to choose by.
RIDGES = (0.01, 0.03, 0.1, 0.3, 1.0)
RIDGE = 0.1
HELD_OUT = 0.75  # of the images; by the others the ridge is chosen
ALIKE = 1e-9  # of the outputs' mean square: below that there is but rounding to fit
TINY = 1e-8  # of a variance
Places = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
Size = tuple[int, int]  # height and width of an activation
# What a convolution is fitted to, (channels, pixels), where these are, and of how large an output.
Wanted = tuple[torch.Tensor, Places, Size]


class Seen(NamedTuple):
    """The statistics of what a batch norm sees in some images, and the ones that it has."""

    mean: torch.Tensor
    variance: torch.Tensor
    running_mean: torch.Tensor
    running_var: torch.Tensor


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


class Outputs(NamedTuple):
    """What a source computes of some images.

    Attributes:
        convolutions: By name (channels, pixels), where the pixels are, and of how large an output.
        norms: By name what batch norms see.
    """

    convolutions: dict[str, Wanted]
    norms: dict[str, Seen]


@torch.no_grad()
def fit(
    model: nn.Module,
    source: nn.Module,
    pairs: Sequence[Pair],
    images: torch.Tensor,
    known: Outputs | None = None,
    ridges: Sequence[float] | None = None,
) -> int:
    """Fit the convolutions of a model to a source and estimate its batch norms again, in place.

    A convolution that computes what its counterpart does is left as it is, which is seen by what it
    gives. So the layers before the first change cost their forward pass alone.

    Args:
        model: Ultralytics' model, with the weights that the ridge is around.
        source: Ultralytics' model of the source.
        pairs: What is fitted to what.
        images: Images (n, channels, height, width) in 0 to 1, as training sees them.
        known: What the source computes of them, see `outputs_of`; it is run unless given.
        ridges: To choose from, by images that were not fitted to; `RIDGES` unless given.

    Returns:
        How many convolutions were changed.
    """
    known = known or outputs_of(source, images, {pair.theirs for pair in pairs})
    wanted = {
        pair.mine: _wanted(pair, known) for pair in pairs if pair.theirs in known.convolutions
    }
    modules = dict(model.named_modules())
    changed: list[str] = []

    def solve(
        pair: Pair, module: Any, xs: tuple[torch.Tensor, ...], own: torch.Tensor
    ) -> torch.Tensor | None:
        y, at, size = wanted.pop(pair.mine)
        if size != tuple(own.shape[2:]):  # the same part at another level, such as a context
            like.pop(norm_of(pair.mine), None)
            return None
        if _solve(module, xs[0], own, y, at, pair.outs[0], ridges or RIDGES):
            changed.append(pair.mine)
        elif module.bias is None:
            return None
        return type(module).forward(module, xs[0])  # by the new weights, without the hooks

    hooks = [
        modules[pair.mine].register_forward_hook(partial(solve, pair))
        for pair in pairs
        if isinstance(modules[pair.mine], nn.Conv2d) and pair.mine in wanted
    ]
    like = {norm_of(pair.mine): (norm_of(pair.theirs), pair.outs) for pair in pairs}

    def estimate(name: str, norm: Any, xs: tuple[torch.Tensor, ...]) -> None:
        _estimate(known.norms, like.get(name), norm, xs)

    hooks += [
        norm.register_forward_pre_hook(partial(estimate, name))
        for name, norm in modules.items()
        if isinstance(norm, nn.BatchNorm2d)
    ]
    with hooked(model, hooks):
        model(images)
    return len(changed)


@torch.no_grad()
def outputs_of(
    source: nn.Module, images: torch.Tensor, names: Collection[str] | None = None
) -> Outputs:
    """Return what the convolutions of a source give, and what their norms see.

    Args:
        source: Ultralytics' model.
        images: As of `fit`.
        names: Of convolutions; all of them unless given.
    """
    found = Outputs({}, {})
    modules = dict(source.named_modules())
    if names is None:
        names = [n for n, m in modules.items() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]

    def note(name: str, _: nn.Module, xs: Any, y: torch.Tensor) -> None:
        if y.ndim == 4:
            image, row, column = at = _places(y.shape)
            size = y.shape[2], y.shape[3]
            found.convolutions[name] = y[image, :, row, column].T, at, size

    def watch(name: str, norm: Any, xs: tuple[torch.Tensor, ...]) -> None:
        found.norms[name] = Seen(*_statistics(xs[0]), norm.running_mean, norm.running_var)

    hooks = [modules[name].register_forward_hook(partial(note, name)) for name in names]
    hooks += [
        modules[name].register_forward_pre_hook(partial(watch, name))
        for name in {norm_of(name) for name in names}
        if isinstance(modules.get(name), nn.BatchNorm2d)
    ]
    with hooked(source, hooks):
        source(images)
    return found


def _wanted(pair: Pair, known: Outputs) -> Wanted:
    """Return what the outputs that a pair shares are fitted to."""
    here, at, size = known.convolutions[pair.theirs]
    here = pair.seen(here) if pair.seen else here
    return here[pair.outs[1]], at, size


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
    own: torch.Tensor,
    wanted: torch.Tensor,
    at: Places,
    rows: torch.Tensor,
    ridges: Sequence[float],
) -> bool:
    """Fit the weights of some outputs; return whether there was anything to fit.

    Args:
        module: The convolution.
        x: What it sees.
        own: What it makes of it.
        wanted: What it should make of it at some pixels.
        at: Where these are.
        rows: The outputs.
        ridges: As of `fit`.
    """
    image, row, column = at
    rest = wanted - own[image, :, row, column].T[rows]
    level = rest.mean(1, keepdim=True)
    rest = rest - level
    changes = float(rest.pow(2).mean()) > ALIKE * float(wanted.pow(2).mean())
    if changes:
        seen = _patches(module, x, at)  # below (c or 1, inputs, pixels)
        xs = seen[rows] if module.groups > 1 else seen.flatten(0, 1)[None]
        middle = xs.mean(2, keepdim=True)
        xs = xs - middle
        if module.groups > 1:
            change = _regressed(*_moments(xs, rest[:, :, None]), RIDGE)[0, :, :, 0]
        else:
            change = _best(xs[0], rest.T, image, ridges).T
        spelled = "ci,cin->cn" if module.groups > 1 else "ci,zin->cn"
        level = level - torch.einsum(spelled, change, middle)
        module.weight[rows] += change.reshape(module.weight[rows].shape)
    if module.bias is not None:
        module.bias[rows] += level[:, 0]
    return changes


def _moments(xs: torch.Tensor, ys: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the mean products of inputs (..., inputs, pixels) with themselves and with outputs."""
    return xs @ xs.transpose(-1, -2) / xs.shape[-1], xs @ ys / xs.shape[-1]


def _regressed(gram: torch.Tensor, wanted: torch.Tensor, *ridges: float) -> torch.Tensor:
    """Return the weights (..., inputs, outputs) of ridge regressions, one after the other.

    Args:
        gram: Mean products of the inputs (..., inputs, inputs), whose means are 0.
        wanted: Mean products of inputs and outputs (..., inputs, outputs).
        *ridges: Relative to the mean variance of the inputs.
    """
    size = gram.diagonal(dim1=-1, dim2=-2).mean(-1).clamp_min(TINY)
    step = size[..., None, None] * torch.eye(gram.shape[-1]).to(gram)
    return torch.stack([torch.linalg.solve(gram + ridge * step, wanted) for ridge in ridges])


def _best(
    xs: torch.Tensor, ys: torch.Tensor, image: torch.Tensor, ridges: Sequence[float]
) -> torch.Tensor:
    """Return the weights (inputs, outputs) of the ridge that foretells images it has not seen best.

    Args:
        xs: Inputs (inputs, pixels).
        ys: Outputs (pixels, outputs).
        image: Number of each pixel's image.
        ridges: To choose from.
    """
    if len(ridges) == 1:
        return _regressed(*_moments(xs, ys), *ridges)[0]
    held_out = image >= HELD_OUT * (int(image.max()) + 1)
    if not held_out.any() or held_out.all():
        return _regressed(*_moments(xs, ys), RIDGE)[0]
    kept, rest = (_moments(xs[:, part], ys[part]) for part in (~held_out, held_out))
    errors = (ys[held_out] - xs[:, held_out].T @ _regressed(*kept, *ridges)).pow(2).mean((1, 2))
    share = float(held_out.double().mean())
    gram, wanted = (k + share * (r - k) for k, r in zip(kept, rest, strict=True))
    return _regressed(gram, wanted, ridges[int(errors.argmin())])[0]


def _estimate(
    known: Mapping[str, Seen],
    like: tuple[str, tuple[torch.Tensor, torch.Tensor]] | None,
    norm: Any,
    xs: tuple[torch.Tensor, ...],
) -> None:
    """Let a batch norm have the statistics of what it sees, as the counterpart has those of its.

    That is, it differs from its counterpart by what the images say of the difference: statistics
    over all of a training are better than those over some images.
    """
    mean, variance = _statistics(xs[0])
    if like is not None and (seen := known.get(like[0])) is not None:
        rows, theirs = like[1]
        mean[rows] += (seen.running_mean - seen.mean)[theirs]
        ratio = (variance[rows] + TINY) / (seen.variance[theirs] + TINY)
        variance[rows] = seen.running_var[theirs] * ratio
    norm.running_mean.copy_(mean)
    norm.running_var.copy_(variance)


def _statistics(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the mean and the variance of every channel."""
    return x.mean((0, 2, 3)), x.var((0, 2, 3))
