"""Proxies that count which units are active for which image; a forward pass each."""

from __future__ import annotations

import torch
from torch import nn

from yolo_nas_ext.estimators.zero_cost.proxies.capture import Capture

# Their units count as active where what comes in is positive.
ACTIVATIONS = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.SiLU, nn.GELU, nn.Hardswish, nn.Mish)


def patterns(capture: Capture) -> list[torch.Tensor]:
    """Return which units are active, n x units and boolean, for each use of an activation."""
    found: list[torch.Tensor] = []

    def note(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        found.append(inputs[0].detach().flatten(1) > 0)

    # Ultralytics shares one activation module among its convolutions; its hook runs at every use.
    for module in capture.model.modules():
        if isinstance(module, ACTIVATIONS):
            module.register_forward_pre_hook(note)
    with torch.no_grad():
        capture.outputs(capture.model, capture.images)
    return found


def naswot(capture: Capture) -> float:
    """Return NASWOT (Mellor et al. 2021, arXiv:2006.04647): images told apart by active units.

    The log-determinant of the kernel that counts, for each two images, the units in which their
    patterns agree.
    """
    n = len(capture.images)
    kernel = torch.zeros(n, n, dtype=torch.float64)
    for active in patterns(capture):
        code = active.float()
        kernel += (code @ code.T + (1 - code) @ (1 - code).T).double().cpu()
    return float(torch.linalg.slogdet(kernel)[1])


def swap(capture: Capture) -> float:
    """Return SWAP (Peng et al. 2024, arXiv:2403.04161): distinct patterns of units over the images.

    At most 2 to the number of images, which therefore should be 16 or more; 62 at the most.
    """
    bits = 2 ** torch.arange(len(capture.images), dtype=torch.int64)
    codes = [
        torch.unique((active.long().cpu() * bits[:, None]).sum(0)) for active in patterns(capture)
    ]
    return float(len(torch.unique(torch.cat(codes)))) if codes else 0.0
