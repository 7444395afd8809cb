"""What a proxy is given, and the guarantee that it leaves no trace."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import torch
from torch import nn

T = TypeVar("T")


@dataclass(frozen=True)
class Capture:
    """An untrained network and one batch.

    Attributes:
        model: The network; a proxy may change it, see `measure`.
        images: The batch, n x channels x height x width.
        loss: Returns the task's loss of a model on the images of some indices.
        outputs: Returns the predictions of a model for images, first dimension n each.
        features: Returns the outputs of the backbone's rows in order, n x channels x h x w.
        seed: Of what a proxy draws.
    """

    model: nn.Module
    images: torch.Tensor
    loss: Callable[[nn.Module, Sequence[int]], torch.Tensor]
    outputs: Callable[[nn.Module, torch.Tensor], list[torch.Tensor]]
    features: Callable[[nn.Module, torch.Tensor], list[torch.Tensor]]
    seed: int = 0

    @property
    def generator(self) -> torch.Generator:
        """A fresh generator of the seed, which draws on the CPU: the same numbers everywhere."""
        return torch.Generator().manual_seed(self.seed)


def measure(proxy: Callable[[Capture], T], capture: Capture) -> T:
    """Return what a proxy says, on a copy of the model and with all global state put back."""
    with untouched():
        torch.manual_seed(capture.seed)
        return proxy(replace(capture, model=deepcopy(capture.model)))


@contextmanager
def untouched() -> Iterator[None]:
    """Put back the generators of Python, numpy and torch, and torch's global settings."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    devices = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    settings = (
        torch.get_default_dtype(),
        torch.get_num_threads(),
        torch.is_grad_enabled(),
        torch.are_deterministic_algorithms_enabled(),
    )
    try:
        torch.set_grad_enabled(True)
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])
        if devices:
            torch.cuda.set_rng_state_all(devices)
        torch.set_default_dtype(settings[0])
        torch.set_num_threads(settings[1])
        torch.set_grad_enabled(settings[2])
        torch.use_deterministic_algorithms(settings[3])


def weighted(model: nn.Module) -> list[torch.Tensor]:
    """Return the weights of convolutions and linear layers that are trained."""
    return [
        module.weight
        for module in model.modules()
        if isinstance(module, (nn.Conv2d, nn.Linear)) and module.weight.requires_grad
    ]
