"""Outputs of boxes between heads with other bins.

A bin is a distance in strides, so bins of two heads are matched by their number. A head that gives
distances and one that gives a distribution over bins are turned into one another: a distribution
into its mean by least squares, a distance into a bell around it.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from yolo_nas_ext.host.transfer.counterparts import Channels

UNLIKELY = -10.0  # logit of a bin that the source has not
SIDES = 4


def shared_bins(mine: int, theirs: int) -> Channels:
    """Return the outputs that two heads have in common, by their numbers of bins."""
    if mine != theirs and 1 in (mine, theirs):
        none = torch.zeros(0, dtype=torch.long)
        return none, none
    both = [(s * mine + i, s * theirs + i) for s in range(SIDES) for i in range(min(mine, theirs))]
    pairs = torch.tensor(both, dtype=torch.long)
    return pairs[:, 0], pairs[:, 1]


def fill(
    state: Mapping[str, torch.Tensor],
    mine: str,
    given: Mapping[str, torch.Tensor],
    theirs: str,
    bins: tuple[int, int],
) -> None:
    """Give the bins that the source has not their start, in place.

    Args:
        state: Tensors of the model.
        mine: Name of the convolution of a level's box outputs.
        given: Tensors of the source.
        theirs: Its name there.
        bins: Numbers of bins of the model and of the source.
    """
    count, known = bins
    weight, bias = state[f"{mine}.weight"], state[f"{mine}.bias"]
    if known == 1 < count:
        # A bell of deviation 1 around d: -(i - d)^2 / 2, of which a softmax does not see -d^2 / 2.
        steps = torch.arange(count).to(bias)
        w, b = given[f"{theirs}.weight"].to(weight), given[f"{theirs}.bias"].to(bias)
        columns = min(w.shape[1], weight.shape[1])
        weight.zero_()
        spread = steps[None, :, None, None, None] * w[:, None]
        weight[:, :columns] = spread.flatten(0, 1)[:, :columns]
        bias.copy_((steps * b[:, None] - steps**2 / 2).flatten())
    elif 1 < known < count:
        for side in range(SIDES):
            new = slice(side * count + known, (side + 1) * count)
            weight[new] = 0
            bias[new] = UNLIKELY


def sides(logits: torch.Tensor, bins: int) -> torch.Tensor:
    """Return the mean distances (4, pixels) of distributions over bins (4 * bins, pixels)."""
    shares = logits.reshape(SIDES, bins, -1).softmax(1)
    steps = torch.arange(bins, dtype=logits.dtype, device=logits.device)
    return (shares * steps[:, None]).sum(1)
