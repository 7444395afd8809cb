"""Proxies of gradients at initialisation; a forward and a backward pass each, ZiCo two."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn

from yolo_nas_ext.estimators.zero_cost.proxies.activations import ACTIVATIONS
from yolo_nas_ext.estimators.zero_cost.proxies.capture import Capture, weighted

PARTS = 2  # of the batch, whose gradients ZiCo compares
SMALL = 1e-5  # keeps the logarithms of eigenvalues finite


def _gradients(capture: Capture, images: Sequence[int] | None = None) -> list[torch.Tensor]:
    """Return the gradients of the loss with respect to `weighted`; zeros where it has none."""
    weights = weighted(capture.model)
    value = capture.loss(capture.model, range(len(capture.images)) if images is None else images)
    found = torch.autograd.grad(value, weights, allow_unused=True)
    return [torch.zeros_like(w) if g is None else g for w, g in zip(weights, found, strict=True)]


def snip(capture: Capture) -> float:
    """Return SNIP (Lee et al. 2019, arXiv:1810.02340): the sum of |weight x gradient|."""
    pairs = zip(weighted(capture.model), _gradients(capture), strict=True)
    return math.fsum(float((w.detach() * g).abs().sum()) for w, g in pairs)


def grad_norm(capture: Capture) -> float:
    """Return the sum of the layers' gradient norms (Abdelfattah et al. 2021, arXiv:2101.08134)."""
    return math.fsum(float(g.norm()) for g in _gradients(capture))


def synflow(capture: Capture) -> float:
    """Return the logarithm of SynFlow (Tanaka et al. 2020, arXiv:2006.05467), which needs no data.

    The sum of weight x gradient of the summed output for an image of ones, with all weights
    positive, without normalisation and, as everything is positive then, without activations. Its
    logarithm, as the value itself has hundreds of digits.
    """
    model = capture.model.double()
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, (nn.BatchNorm2d, *ACTIVATIONS)):
                setattr(module, name, nn.Identity())
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.abs_()
    weights = weighted(model)
    total = sum(
        y.sum() for y in capture.outputs(model, torch.ones_like(capture.images[:1]).double())
    )
    assert isinstance(total, torch.Tensor)
    found = torch.autograd.grad(total, weights, allow_unused=True)
    flow = math.fsum(
        float((w.detach() * g).sum()) for w, g in zip(weights, found, strict=True) if g is not None
    )
    return math.log(flow) if flow > 0 else -math.inf


def jacov(capture: Capture) -> float:
    """Return the Jacobian score of Mellor et al. 2020 (arXiv:2006.04647v1).

    From the eigenvalues v of the correlation between the images' input gradients: minus the sum of
    ln(v + k) + 1 / (v + k), which is more the less they are correlated.
    """
    images = capture.images.clone().requires_grad_(True)
    total = sum(y.sum() for y in capture.outputs(capture.model, images))
    assert isinstance(total, torch.Tensor)
    jacobian = torch.autograd.grad(total, images)[0].flatten(1).double()
    values = torch.linalg.eigvalsh(torch.corrcoef(jacobian)) + SMALL
    return float(-(values.log() + 1 / values).sum())


def zico(capture: Capture) -> float:
    """Return ZiCo (Li et al. 2023, arXiv:2301.11300): how large and steady gradients are.

    The sum over layers of the logarithm of the sum over weights of E|g| / sqrt(Var|g|), over the
    gradients g of two halves of the batch; weights whose gradients do not vary are left out.
    """
    n = len(capture.images)
    parts = [range(i * n // PARTS, (i + 1) * n // PARTS) for i in range(PARTS)]
    layers = zip(*(_gradients(capture, part) for part in parts), strict=True)
    terms = []
    for gradients in layers:
        sizes = torch.stack(gradients).abs().double()
        spread = sizes.std(dim=0, correction=0)
        varies = spread > 0
        if varies.any():
            terms.append(math.log(float((sizes.mean(dim=0)[varies] / spread[varies]).sum())))
    return math.fsum(terms)
