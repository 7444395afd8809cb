"""Proxies of how signals travel through the backbone."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional

from yolo_nas_ext.estimators.zero_cost.proxies.capture import Capture

NUDGE = 0.01  # size of Zen's perturbation


def zen(capture: Capture) -> float:
    """Return the Zen score (Lin et al. 2021, arXiv:2102.01063); two forward passes of the backbone.

    The logarithm of how much the last features of a Gaussian network change under a small Gaussian
    perturbation of Gaussian images, plus those of the batch norms' mean standard deviations, which
    would hide it.
    """
    generator, logs = capture.generator, []

    def note(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        logs.append(0.5 * math.log(float(inputs[0].var(dim=(0, 2, 3), correction=0).mean())))

    with torch.no_grad():
        hooks = []
        for module in capture.model.modules():
            if isinstance(module, nn.Conv2d):
                module.weight.copy_(torch.randn(module.weight.shape, generator=generator))
            elif isinstance(module, nn.BatchNorm2d):
                hooks.append(module.register_forward_pre_hook(note))
        images, noise = (
            torch.randn(capture.images.shape, generator=generator).to(capture.images.device)
            for _ in range(2)
        )
        plain = capture.features(capture.model, images)[-1]
        for hook in hooks:
            hook.remove()
        moved = capture.features(capture.model, images + NUDGE * noise)[-1]
    change = float((plain - moved).abs().flatten(1).sum(1).mean())
    return math.log(change) + math.fsum(logs) if change > 0 else -math.inf


def spread(feature: torch.Tensor) -> float:
    """Return the entropy of a feature's principal components over images and pixels, in nats."""
    rows = feature.detach().transpose(0, 1).flatten(1).double()
    values = torch.linalg.eigvalsh(torch.cov(rows, correction=0).reshape(len(rows), len(rows)))
    values = values.clamp_min(0)
    share = values / values.sum().clamp_min(1e-30)
    return float(torch.special.entr(share).sum())


def gain(before: torch.Tensor, after: torch.Tensor, generator: torch.Generator) -> float | None:
    """Return the largest singular value by which a row hands gradients back, channel to channel."""
    sign = torch.randint(0, 2, after.shape, generator=generator).to(after) * 2 - 1
    back = torch.autograd.grad(after, before, sign, retain_graph=True, allow_unused=True)[0]
    if back is None:
        return None
    if back.shape[2:] != sign.shape[2:]:
        back = functional.adaptive_avg_pool2d(back, sign.shape[2:])  # pyright: ignore[reportArgumentType]
    rows, columns = (t.transpose(0, 1).flatten(1) for t in (back, sign))
    return float(torch.linalg.matrix_norm(rows @ columns.T / rows.shape[1], 2))


def az_nas(capture: Capture) -> dict[str, float]:
    """Return three of the four scores of AZ-NAS (Lee and Ham 2024, arXiv:2403.19232).

    Expressivity: the sum over the backbone's rows of the features' `spread`. Progressivity: the
    least rise of it from a row to the next. Trainability: the mean over rows of -s - 1 / s, where s
    is their `gain`, which is best at 1. The fourth, complexity, is the FLOPs. They are ranked among
    networks, not summed. One forward and one backward pass of the backbone.
    """
    found = capture.features(capture.model, capture.images)
    spreads = [spread(feature) for feature in found]
    generator = capture.generator
    gains = [gain(x, y, generator) for x, y in pairwise(found)]
    kept = [s for s in gains if s]
    return {
        "expressivity": math.fsum(spreads),
        "progressivity": min((b - a for a, b in pairwise(spreads)), default=0.0),
        "trainability": math.fsum(-s - 1 / s for s in kept) / len(kept) if kept else -math.inf,
    }
