"""Half the digits for convolutions in training, where the processor counts them faster."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch


def native() -> bool:
    """Return whether the CPU multiplies bfloat16 itself; elsewhere it only takes longer."""
    found = getattr(torch.cpu, "get_capabilities", dict)()  # of torch 2.10 and later
    return bool(found.get("avx512_bf16") or found.get("amx_bf16") or found.get("bf16"))


def halve(model: Any) -> None:
    """Let a model of Ultralytics' predict in bfloat16 while it is in training, and only then.

    Weights, losses and the optimiser keep 32 bits, as boxes need them; so does what is measured.

    Args:
        model: Ultralytics' model; copies of it behave alike. `restore` ends it.
    """
    # By its class: an attribute that knows the model would keep it in memory.
    model.__class__ = _halved(type(model))


def restore(model: Any) -> None:
    """Give a model back its own class, before it is written to a file."""
    if type(model) is _halved(type(model).__base__):
        model.__class__ = type(model).__base__


@cache
def _halved(kind: Any) -> Any:
    """Return a class of models that differs from another in its `predict` alone."""

    def predict(self: Any, images: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        if not self.training:
            return kind.predict(self, images, *args, **kwargs)
        with torch.autocast("cpu", torch.bfloat16):
            return _in_full(kind.predict(self, images, *args, **kwargs))

    return type(kind.__name__, (kind,), {"predict": predict, "__module__": kind.__module__})


def _in_full(value: Any) -> Any:
    """Return nested outputs with 32 bits."""
    if isinstance(value, torch.Tensor):
        return value.float() if value.is_floating_point() else value
    if isinstance(value, dict):
        return {name: _in_full(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_in_full(one) for one in value)
    return value
