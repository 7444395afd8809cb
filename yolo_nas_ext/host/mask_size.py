"""Masks of Ultralytics' models at another size than that of the pictures that were looked at.

A picture may be of another size than the slice that it was made of. Masks that are thresholded at
the picture's size and resized lose a border; here logits are resized, once.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.nn import functional
from ultralytics.utils import ops

PIXELS = 16_000_000  # that are there as numbers of 4 bytes at a time
FINER = 4  # a prototype's pixel has as many of the network's input each way


@contextmanager
def masks_at(shape: tuple[int, int] | None) -> Iterator[None]:
    """Let Ultralytics' predictors draw masks and maps of classes at a size.

    Args:
        shape: Height and width; that of the pictures without.
    """
    usual = ops.process_mask_native, ops.scale_masks
    if shape is not None:

        def of_objects(protos: Any, coefficients: Any, boxes: Any, picture: Any) -> torch.Tensor:
            return objects(protos, coefficients, boxes, tuple(picture), shape)

        def of_pixels(masks: Any, picture: Any, mode: str = "bilinear") -> torch.Tensor:
            return resized(masks, tuple(picture[:2]), shape, mode)

        ops.process_mask_native, ops.scale_masks = of_objects, of_pixels  # type: ignore[assignment]
    try:
        yield
    finally:
        ops.process_mask_native, ops.scale_masks = usual


def resized(
    masks: torch.Tensor, picture: tuple[int, int], shape: tuple[int, int], mode: str = "bilinear"
) -> torch.Tensor:
    """Return masks without the border of a letterbox, at another size.

    Args:
        masks: Of the letterbox, (n, c, h, w).
        picture: Height and width of what was put into it.
        shape: Those to return.
        mode: How, for torch's `interpolate`.
    """
    sides = masks.shape[2:]
    gain = min(side / size for side, size in zip(sides, picture, strict=True))
    inner = [max(round(size * gain), 1) for size in picture]
    # A border of an odd number of pixels has the smaller half first, as Ultralytics puts it.
    top, left = (round((side - n) / 2 - 0.1) for side, n in zip(sides, inner, strict=True))
    cut = masks[..., top : top + inner[0], left : left + inner[1]].float()
    return functional.interpolate(cut, shape, mode=mode)


def objects(
    protos: torch.Tensor,
    coefficients: torch.Tensor,
    boxes: torch.Tensor,
    picture: tuple[int, int],
    shape: tuple[int, int],
) -> torch.Tensor:
    """Return the masks of objects, as Ultralytics' `process_mask_native` does, at another size.

    Args:
        protos: Prototypes (c, h, w).
        coefficients: Those of each object, (n, c).
        boxes: Left, top, right and bottom edge in pixels of the picture, (n, 4).
        picture: Its height and width.
        shape: Those of the masks.

    Returns:
        Bytes (n, height, width).
    """
    c, height, width = protos.shape
    masks = torch.zeros((len(coefficients), *shape), dtype=torch.uint8, device=protos.device)
    many = max(1, PIXELS // (FINER**2 * height * width + shape[0] * shape[1]))
    for start in range(0, len(coefficients), many):
        part = coefficients[start : start + many] @ protos.float().view(c, -1)
        part = part.view(1, -1, height, width)
        part = functional.interpolate(part, scale_factor=FINER, mode="bilinear")
        masks[start : start + many] = resized(part, picture, shape)[0] > 0
    factor = boxes.new_tensor([shape[1] / picture[1], shape[0] / picture[0]] * 2)
    return ops.crop_mask(masks, boxes * factor)
