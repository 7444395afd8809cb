"""Scores: one number, higher is better, out of what a training has measured."""

from __future__ import annotations

from collections.abc import Mapping


def localisation(metrics: Mapping[str, float], part: str = "loss") -> float:
    """Return the negated box loss: how far boxes are from their objects, 1 - CIoU on average.

    It compares between heads, which neither the loss of bins nor that of distances does; of an
    end-to-end head the one-to-many branch is taken, which is assigned objects as other heads are.
    Without boxes it is the negated sum of all losses.

    Args:
        metrics: Of a training or of one of its epochs, see `host.trainer.Result`.
        part: ``loss`` of training images, or ``val_loss`` of held-out ones.
    """
    for name in (f"{part}_many_box", f"{part}_box"):
        if name in metrics:
            return -metrics[name]
    return -sum(value for name, value in metrics.items() if name.startswith(f"{part}_"))
