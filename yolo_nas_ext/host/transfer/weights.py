"""Weights of one network into another: by role and shape, not by row number.

`network.roles` says which parts of two networks have the same purpose and how the channels of their
convolutions are made up; `counterparts` has the rules. The tensors of a convolution and of its
batch norm go over together. Where widths differ, the leading channels of each part do: `prepare`
puts the most important ones there first, and `regression` makes up for the others. What has no
counterpart keeps its initialisation.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from yolo_nas_ext.errors import NASError, TrialError
from yolo_nas_ext.host import models, restricted
from yolo_nas_ext.host.meta_modules import FLOW, norm_of
from yolo_nas_ext.host.transfer import boxes, keypoints
from yolo_nas_ext.host.transfer.beginnings import begin_as_identity, shift_prior
from yolo_nas_ext.host.transfer.convolutions import HEADS, Convolved, Key, convolutions, task_of
from yolo_nas_ext.host.transfer.counterparts import (
    LEVEL,
    RULES,
    Channels,
    Counterpart,
    Repeats,
    counterparts,
)
from yolo_nas_ext.host.transfer.regression import RIDGE, Outputs, Pair, fit, outputs_of
from yolo_nas_ext.host.transfer.report import Share, Transfer, part_of
from yolo_nas_ext.network.architecture import Architecture
from yolo_nas_ext.network.emit import emit
from yolo_nas_ext.network.parse import read
from yolo_nas_ext.network.roles import SPREAD
from yolo_nas_ext.network.rows import KEYPOINTS, Task


@dataclass(frozen=True, slots=True)
class Source:
    """Weights to take from.

    Attributes:
        architecture: The network.
        model: Ultralytics' model of it, with the weights.
        name: What to call it.
        images: Images (n, channels, size, size) in 0 to 1 that networks are fitted on; see
            `prepare.prepared`.
        repeats: Its blocks' repeats, from the one that matters most.
        memory: What the model computes of the images, by their size in pixels: of a source that
            many networks are fitted to, which are told apart by one ridge as well as by the best of
            several. It is not kept unless given.
    """

    architecture: Architecture
    model: nn.Module
    name: str
    images: torch.Tensor | None = field(default=None, repr=False)
    repeats: Repeats = field(default_factory=dict)
    memory: dict[int, Outputs] | None = field(default=None, repr=False)

    def outputs_of(self, images: torch.Tensor) -> Outputs | None:
        """Return what is kept of what the model computes of `images_at` a size, if anything is."""
        if self.memory is None:
            return None
        size = images.shape[-1]
        if size not in self.memory:
            self.memory[size] = outputs_of(self.model, images)
        return self.memory[size]

    def images_at(self, imgsz: int) -> torch.Tensor:
        """Return the images at a size in pixels; as they are at 0, as of `Architecture.imgsz`."""
        assert self.images is not None
        if not imgsz or imgsz == self.images.shape[-1]:
            return self.images
        size = (imgsz, imgsz)
        return nn.functional.interpolate(self.images, size, mode="bilinear", antialias=True)


def load(path: str | Path, key: str = "inherit") -> Source:
    """Return the weights of a checkpoint of Ultralytics; nothing that it holds is run.

    Args:
        path: A ``.pt`` of Ultralytics or of this package.
        key: The user's key, for messages.

    Raises:
        NASError: For a file that is missing, damaged, or of a network that the catalogue of blocks
            does not know.
    """
    where = f"{key}={path}"
    content = restricted.content(path, where)
    try:
        model = content.get("ema") or content["model"]
        definition, state = dict(model.yaml), model.float().state_dict()
    except Exception as error:  # whatever holds no network runs into
        raise NASError(
            f"{where}: not a checkpoint that can be read ({type(error).__name__}); give a .pt that "
            "`yolo train` wrote"
        ) from error
    try:
        if (head := definition["head"][-1][2]) not in HEADS:
            raise NASError(f"its head is {head}")
        architecture = read(definition, definition.get("scale") or "")
        points: Any = definition.get("kpt_shape") or KEYPOINTS
        task = Task(len(model.names), HEADS[head], tuple(points))
    except NASError as error:
        raise NASError(
            f"{where}: its network cannot be read into a space ({error}); give a detector of "
            "YOLOv8's, YOLO11's or YOLO26's kind, or a found one"
        ) from error
    return source(architecture, state, dict(model.names), str(path), where, task)


def source(
    architecture: Architecture,
    state: Mapping[str, torch.Tensor],
    names: Mapping[int, str],
    name: str = "the source",
    where: str = "weights",
    task: Task | None = None,
) -> Source:
    """Return weights to take from, of a network that is known.

    Args:
        architecture: The network.
        state: Tensors under Ultralytics' names.
        names: Class names by number.
        name: What to call it.
        where: What to begin a message with.
        task: What the network does; a detector unless given.

    Raises:
        NASError: For tensors that are not those of the network, or that are no numbers.
    """
    check_finite(state, where)
    stem = next((t for t in state.values() if t.ndim == 4), torch.zeros(1, 3, 1, 1))
    model = unset(architecture, task or Task(len(names)), stem.shape[1])
    with of_its_network(where):
        model.load_state_dict(dict(state))
    model.names = dict(names)
    return Source(architecture, model, name)


def check_finite(state: Mapping[str, torch.Tensor], where: str) -> None:
    """Refuse weights that a training has broken, which no transfer or fine-tuning would mend.

    Raises:
        NASError: Naming the first tensor with a value that is infinite or no number.
    """
    bad = [n for n, t in state.items() if t.is_floating_point() and not t.isfinite().all()]
    if bad:
        raise NASError(
            f"{where}: {len(bad)} of its {len(state)} tensors hold values that are infinite or no "
            f"numbers, such as {bad[0]}; give a checkpoint of before its training broke"
        )


@contextmanager
def of_its_network(where: str) -> Iterator[None]:
    """Refuse tensors that are not those of the network that is built and filled within.

    Args:
        where: What to begin the message with.

    Raises:
        NASError: As above.
    """
    try:
        yield
    except (TrialError, RuntimeError) as error:
        reason = str(error).splitlines()[-1].strip()[:200]
        raise NASError(
            f"{where}: its weights are not those of its network ({reason}); give a checkpoint as "
            "`yolo train` wrote it, not a fused or pruned one"
        ) from error


@torch.no_grad()
def transfer(
    model: nn.Module, architecture: Architecture, source: Source, names: Mapping[int, str]
) -> Transfer:
    """Write what a source has for a model into it, in place.

    Outputs of the classes go by the classes' names, those of keypoints need the same keypoints, and
    bins of boxes go by their distance. The two may be of different tasks. A one-to-one branch that
    the source has not takes the weights of its other one: Ultralytics makes it a copy of that. What
    the source has not begins so that it changes nothing: new inputs have weights of zero, and new
    repeats are the identity.

    With images, see `prepare.prepared`, convolutions are then fitted to what the source computes,
    and batch norms are estimated again.

    Args:
        model: Ultralytics' model of `architecture`, of any weights.
        architecture: Its network.
        source: Where the weights come from.
        names: Class names of the model by number.

    Returns:
        What was transferred and what was not.
    """
    mine = convolutions(model, architecture)
    bins = architecture.head.reg_max, source.architecture.head.reg_max
    tasks, to_yolo26 = (task_of(model), task_of(source.model)), architecture.head.yolo26
    same_kind = to_yolo26 == source.architecture.head.yolo26
    turn = partial(keypoints.turned, numbers=tasks[0].keypoints[1], to_yolo26=to_yolo26)
    found = counterparts(
        mine,
        convolutions(source.model, source.architecture),
        classes=_by_name(names, source.model.names),  # pyright: ignore[reportArgumentType]
        alike={
            "keypoints": tasks[0].keypoints == tasks[1].keypoints,
            SPREAD: tasks[0].keypoints == tasks[1].keypoints,
            "angle": same_kind,  # which one head takes as it is, and the other makes of a logit
        },
        repeats=source.repeats,
        boxes=boxes.shared_bins(*bins),
    )
    state, given = model.state_dict(), source.model.state_dict()
    taken: dict[str, int] = {}
    copied: set[str] = set()
    for name, part in found.items():
        for tensor_name, tensor, values in _tensors(state, name, given, part.theirs.name):
            turns = part.mine.output == "keypoints" and not same_kind
            values = turn(values, level=values.ndim == 1) if turns else values
            taken[tensor_name] = _write_part(tensor, values, part)
            whole = taken[tensor_name] == tensor.numel() and tensor.equal(values.to(tensor))
            if whole and not turns:
                copied.add(tensor_name)
        if part.rule == LEVEL and part.mine.output == "class":
            shift_prior(state[f"{name}.bias"], part, part.lower)
        if part.mine.output == "box":
            boxes.fill(state, name, given, part.theirs.name, bins)
    theirs = _wholes(given, architecture, source.architecture)
    for what, name in _wholes(state, architecture, source.architecture).items():
        if what in theirs:
            state[name].copy_(given[theirs[what]])
            taken[name] = state[name].numel()
            copied.add(name)
    begin_as_identity(model, {name.rpartition(".")[0] for name in found})
    fitted = 0
    if source.images is not None:
        seen = {} if same_kind else {"keypoints": partial(turn, level=True)}
        fitted = _fit(model, architecture, source, found, bins, seen)
    rules = Counter(part.rule for part in found.values())
    done = _report(model, mine, source.name, taken, copied)
    return replace(done, rules={rule: rules[rule] for rule in RULES if rules[rule]}, fitted=fitted)


def _fit(
    model: nn.Module,
    architecture: Architecture,
    source: Source,
    found: Mapping[str, Counterpart],
    bins: tuple[int, int],
    seen: Mapping[str, Callable[[torch.Tensor], torch.Tensor]],
) -> int:
    """Fit a model to its source and return how many convolutions were.

    Outputs of the purposes of `seen` are fitted to what it makes of the source's.
    """
    pairs = []
    for name, part in found.items():
        if part.rule == LEVEL:  # has activations of another size
            continue
        if part.mine.output == "box" and bins[0] != bins[1]:
            if bins[0] == 1:
                outs = (torch.arange(4), torch.arange(4))
                pairs.append(Pair(name, part.theirs.name, outs, partial(boxes.sides, bins=bins[1])))
        elif len(part.outs[0]):
            pairs.append(Pair(name, part.theirs.name, part.outs, seen.get(part.mine.output)))
    images = source.images_at(architecture.imgsz)
    ridges = None if source.memory is None else (RIDGE,)
    return fit(model, source.model, pairs, images, source.outputs_of(images), ridges)


def _wholes(tensors: Iterable[str], mine: Architecture, theirs: Architecture) -> dict[str, str]:
    """Return what has no channels to choose from by what it is, and its name in a model.

    It is the backbone of timm that two networks have, be it to other levels, and YOLO26's flow.
    """
    timm = mine.timm and theirs.timm and mine.timm.name == theirs.timm.name
    found = {}
    for name in tensors:
        if timm and name.startswith("model.0."):
            found[name] = name
        elif FLOW in name.split("."):
            found[name.split(".", 2)[2]] = name
    return found


def foretell(
    architecture: Architecture,
    source: Source,
    names: Mapping[int, str],
    channels: int = 3,
    task: str = "detect",
    keypoints: tuple[int, int] = KEYPOINTS,
) -> Transfer:
    """Return what a network would take from a source, without keeping it.

    Args:
        architecture: The network.
        source: See `transfer`.
        names: Class names by number.
        channels: Channels of the image.
        task: What the network does.
        keypoints: Number of keypoints and numbers a point, of the task pose.
    """
    model = unset(architecture, Task(len(names), task, keypoints), channels)
    return transfer(model, architecture, source, names)


def unset(architecture: Architecture, task: Task, channels: int = 3) -> Any:
    """Return Ultralytics' model of a network, for weights to be written into.

    Raises:
        TrialError: For a network that cannot be built.
    """
    definition = emit(architecture, task.nc, task.name, task.keypoints)
    return models.build(definition, task=task.name, ch=channels, nc=task.nc)


def _report(
    model: nn.Module,
    mine: Mapping[Key, Convolved],
    name: str,
    taken: Mapping[str, int],
    copied: set[str],
) -> Transfer:
    """Return what became of every tensor."""
    trained = dict(model.named_parameters())
    sizes = {
        name: tensor.numel() if name in trained else 0
        for name, tensor in model.state_dict().items()
        if tensor.is_floating_point() and ".dfl." not in name
    }
    equal = [n for n in sizes if n in copied]
    sliced = [n for n in sizes if taken.get(n) and n not in copied]
    left = [n for n in sizes if not taken.get(n)]
    numbers = [sum(min(sizes[n], taken[n]) for n in names) for names in (equal, sliced)]
    return Transfer(
        name,
        Share(tuple(equal), numbers[0]),
        Share(tuple(sliced), numbers[1]),
        Share(tuple(left), sum(sizes.values()) - sum(numbers)),
        _by_part(mine, sizes, taken),
    )


def _by_part(
    mine: Mapping[Key, Convolved],
    sizes: Mapping[str, int],
    taken: Mapping[str, int],
) -> dict[str, tuple[int, int]]:
    """Return (numbers taken, numbers) of the parts of a network."""
    found: dict[str, tuple[int, int]] = {}
    for (role, _), conv in mine.items():
        both = conv.name, norm_of(conv.name)
        names = [f"{name}.{kind}" for name in both for kind in ("weight", "bias")]
        names = [name for name in names if name in sizes]
        some, all_ = found.get(part := part_of(role), (0, 0))
        some += sum(min(sizes[name], taken.get(name, 0)) for name in names)
        found[part] = some, all_ + sum(sizes[name] for name in names)
    if flow := [name for name in sizes if FLOW in name.split(".")]:
        found["head flow"] = (
            sum(sizes[name] for name in flow if taken.get(name)),
            sum(sizes[name] for name in flow),
        )
    return found


# Tensors


def _tensors(
    state: Mapping[str, torch.Tensor], name: str, given: Mapping[str, torch.Tensor], other: str
) -> Iterator[tuple[str, torch.Tensor, torch.Tensor]]:
    """Yield (name, tensor, the source's tensor) of a convolution and its batch norm."""
    for mine, theirs in ((name, other), (norm_of(name), norm_of(other))):
        for kind in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"):
            if f"{mine}.{kind}" in state:
                yield f"{mine}.{kind}", state[f"{mine}.{kind}"], given[f"{theirs}.{kind}"]


def _by_name(mine: Mapping[int, str], theirs: Mapping[int, str]) -> Channels:
    numbers = {name: number for number, name in theirs.items()}
    pairs = [(number, numbers[name]) for number, name in mine.items() if name in numbers]
    both = torch.tensor(pairs, dtype=torch.long).reshape(-1, 2)
    return both[:, 0], both[:, 1]


def _write_part(tensor: torch.Tensor, values: torch.Tensor, part: Counterpart) -> int:
    """Write the channels that both have into a tensor and return how many numbers that were."""
    values = values.to(tensor)
    if tensor.ndim == 0:  # the count of batches that a norm has seen
        tensor.copy_(values)
        return 1
    rows, their_rows = part.outs
    if tensor.ndim < 2:
        tensor[rows] = values[their_rows]
        return len(rows)
    if isinstance(part.mine.module, nn.ConvTranspose2d):
        tensor, values = tensor.transpose(0, 1), values.transpose(0, 1)
    if tensor.ndim == 4 and tensor.shape[2:] != values.shape[2:]:
        values = _centred(values, tensor.shape[-1])
    each = tensor[0, 0].numel()
    if part.ins is None:
        tensor[rows] = values[their_rows]
        return len(rows) * each
    columns, their_columns = part.ins
    if len(columns):  # what is read besides changes nothing yet
        tensor[rows] = 0
    tensor[rows[:, None], columns] = values[their_rows[:, None], their_columns]
    return len(rows) * len(columns) * each


def _centred(values: torch.Tensor, size: int) -> torch.Tensor:
    """Return kernels of another odd size: cropped, or amid zeros."""
    rest = (size - values.shape[-1]) // 2
    return nn.functional.pad(values, (rest, rest, rest, rest))  # cuts where it is negative
