"""A source made ready: its channels in the order of their importance, and images to fit on."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace

import torch

from yolo_nas_ext.host.transfer.convolutions import structure
from yolo_nas_ext.host.transfer.counterparts import measured_repeats
from yolo_nas_ext.host.transfer.importance import covariances, orders
from yolo_nas_ext.host.transfer.order import permute
from yolo_nas_ext.host.transfer.weights import Source

IMAGES = 64  # of 416 px; of larger ones fewer, so that they fit into memory
LEAST = 16


def number_of_images(imgsz: int) -> int:
    """Return how many images of a size in pixels transfers are fitted on."""
    return min(IMAGES, max(LEAST, round(IMAGES * (416 / imgsz) ** 2)))


@torch.no_grad()
def prepared(source: Source, batches: Sequence[torch.Tensor]) -> Source:
    """Return a source that transfers take the best of.

    Args:
        source: The weights; they are left as they are.
        batches: Images (b, channels, size, size) in 0 to 1, as training sees them.

    Returns:
        The same function with its channels in another order, the most important first, and with
        the images, on which a transfer fits what it carried over.
    """
    model = deepcopy(source.model)
    found, coupled = structure(model, source.architecture)
    kept = {name: module.training for name, module in model.named_modules()}
    model.eval()
    repeats = measured_repeats(model, found, lambda: model(batches[0]))
    covariance = covariances(model, found.values(), batches)
    permute(model, found.values(), coupled, *orders(found.values(), coupled, covariance))
    for name, module in model.named_modules():
        module.training = kept[name]
    return replace(source, model=model, images=torch.cat(list(batches)), repeats=repeats)
