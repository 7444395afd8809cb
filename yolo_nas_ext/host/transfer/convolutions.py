"""The convolutions of a model by their purpose, so that two networks can be compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import nn

from yolo_nas_ext.host.meta_modules import LINEAR, PROTO, branch_places, hooked, within
from yolo_nas_ext.network.architecture import Architecture
from yolo_nas_ext.network.channels import Coupled
from yolo_nas_ext.network.roles import PROTOTYPES, Convolution, Piece, Role, coupled, pieces
from yolo_nas_ext.network.rows import KEYPOINTS, Task

# The name of a piece's convolution: its role, and (name, type) of each module on the way to it.
Key = tuple[Role, tuple[tuple[str, str], ...]]
# Ultralytics' heads whose parts have roles, and their tasks.
HEADS = {
    "Detect": "detect",
    "Segment": "segment",
    "Segment26": "segment",
    "OBB": "obb",
    "OBB26": "obb",
    "Pose": "pose",
    "Pose26": "pose",
    "Classify": "classify",
}


def task_of(model: nn.Module) -> Task:
    """Return what a model of Ultralytics does, from its head, which is one of `HEADS`."""
    head = cast(Any, model.model)[-1]
    nc = head.nc if hasattr(head, "nc") else head.linear.out_features
    keypoints = tuple(getattr(head, "kpt_shape", KEYPOINTS))
    return Task(nc, HEADS[type(head).__name__], cast(Any, keypoints))


@dataclass(frozen=True, slots=True)
class Convolved:
    """A convolution of a model; `output` is the purpose of a branch of the head for its last."""

    name: str
    module: nn.Module
    parts: Convolution
    output: str

    def fits(self, other: Convolved) -> bool:
        """Say whether the weights of another make sense here, with other channels.

        Kernels of odd sizes have a middle, by which the one can be put into the other.
        """
        mine, theirs = self.module, other.module
        if self.parts.depthwise != other.parts.depthwise or type(mine) is not type(theirs):
            return False
        if getattr(mine, "stride", 0) != getattr(theirs, "stride", 0):
            return False
        sizes = [getattr(module, "kernel_size", (1,))[0] for module in (mine, theirs)]
        return sizes[0] == sizes[1] or all(size % 2 for size in sizes)


def convolutions(model: nn.Module, architecture: Architecture) -> dict[Key, Convolved]:
    """Return the convolutions of a model by what they are for."""
    return _named(model, architecture, pieces(architecture, task_of(model), _channels(model)))


def structure(model: nn.Module, architecture: Architecture) -> tuple[dict[Key, Convolved], Coupled]:
    """Return the convolutions of a model by what they are for, and which channels go together."""
    parts, channels = coupled(architecture, task_of(model), _channels(model))
    return _named(model, architecture, parts), channels


def _channels(model: nn.Module) -> int:
    """Return the channels of a model's images."""
    return next(m.in_channels for m in model.modules() if isinstance(m, nn.Conv2d))


def _named(
    model: nn.Module, architecture: Architecture, parts: Sequence[Piece]
) -> dict[Key, Convolved]:
    """Return the convolutions of a network's pieces, with their names and modules."""
    modules = dict(model.named_modules())
    ran = _order(model, 2 ** max(architecture.levels))
    found: dict[Key, Convolved] = {}
    for piece in parts:
        places = _places(piece, architecture)
        own = [(name, place) for place in places for name in ran if within(name, place)]
        for at, ((name, place), own_parts) in enumerate(zip(own, piece.convolutions, strict=True)):
            is_output = piece.role[0] == "head" and name == own[-1][0]
            found[piece.role, _path(modules, place, name, piece, at)] = Convolved(
                name, modules[name], own_parts, piece.role[2] if is_output else ""
            )
    return found


def _order(model: nn.Module, side: int) -> list[str]:
    """Return the names of all convolutions in the order in which Ultralytics runs them.

    A tiny image is faster than one without numbers, for which torch works out each shape in Python.
    """
    seen: list[str] = []
    every: list[Any] = [(n, m) for n, m in model.named_modules() if isinstance(m, LINEAR)]
    hooks = [
        module.register_forward_hook(lambda *_, name=name: seen.append(name))
        for name, module in every
    ]
    weight = every[0][1].weight
    image = weight.new_zeros(1, weight.shape[1], side, side)
    with hooked(model, hooks), torch.no_grad():
        model(image)
    return seen


def _places(piece: Piece, architecture: Architecture) -> list[str]:
    """Return the names of the modules that make up a piece, as they run."""
    if piece.role[0] != "head":
        return [f"model.{piece.row}"]
    _, level, purpose, branch = piece.role
    own = branch_places(purpose, branch, architecture.head.levels.index(level))
    return [f"model.{piece.row}.{place}".removesuffix(".") for place in own]


def _path(
    modules: Mapping[str, nn.Module], prefix: str, name: str, piece: Piece, number: int
) -> tuple[tuple[str, str], ...]:
    """Return (name, type) of the modules from a place of a piece to a convolution.

    One that is the place itself, apart from the rest of its branch, has its number in there.

    Ultralytics wraps the repeats of a row that does not repeat itself; a single one stands there
    bare.
    """
    if piece.role[0] == "head" and piece.role[2] == PROTOTYPES:  # whose places are not of levels
        prefix = f"model.{piece.row}.{PROTO}"
    elif name == prefix:
        return ((str(number), type(modules[name]).__name__),)
    steps = name.removeprefix(prefix + ".").split(".")
    path = []
    for index, step in enumerate(steps):
        at = ".".join([prefix, *steps[: index + 1]])
        path.append((step, type(modules[at]).__name__))
    if piece.role[0] != "head" and type(modules[prefix]).__name__ == piece.module:
        path.insert(0, ("0", piece.module))
    return tuple(path)


def in_branch(key: Key, branch: str) -> Key:
    """Return the key of the same convolution in another branch of the head."""
    role, path = key
    return ((*role[:3], branch) if role[0] == "head" else role), path
