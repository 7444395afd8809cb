"""Backbones of timm: their features, their options in a space file, and their layers.

No library is imported in this folder: `LIBRARY` names the module that answers. It is imported when
a space, a model definition or a count has such a backbone, and answers are remembered.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib import import_module
from typing import Any, NamedTuple, Protocol, cast

from yolo_nas_ext.errors import NASError, did_you_mean
from yolo_nas_ext.network.architecture import TimmBackbone
from yolo_nas_ext.network.graph import Bundle, Graph, Tensor, longest_paths

# Who answers, by name: this folder may import neither timm nor the folder that does.
LIBRARY = "yolo_nas_ext.host.plugin.timm_trace"
OWN = "own"  # option of the choice `backbone`: the space's stem, stages and context
KEYS = ("timm", "pretrained")
ALLOWED = "'own', {timm: <name>} or {timm: <name>, pretrained: true}"
TIMM, PRETRAINED = "timm/", "/pretrained"


class Features(NamedTuple):
    """The features of a backbone, by the library's numbers.

    Attributes:
        levels: Level n has stride 2**n; 0 where the stride is no power of two.
        widths: Channels.
    """

    levels: tuple[int, ...]
    widths: tuple[int, ...]


class Step(NamedTuple):
    """One operation of a backbone's forward pass on one image.

    Attributes:
        op: As in `graph.Layer`; besides ``relu``, an activation that costs nothing behind a
            convolution, and ``average``, a mean over all pixels.
        reads: (number of the activation, channels, height, width) of each input; 0 is the image.
        writes: The same of the output. A number that was read says that it is done in place.
        kernel: Kernel size in pixels.
        stride: Stride.
        groups: Groups of a convolution.
        pad: Padding in pixels.
        params: Parameters, as Ultralytics counts them.
        ops: Multiply-adds, as Ultralytics counts them.
        name: What the library calls the operation.
        plain: Whether these numbers say all of it, so that its time can be looked up.
    """

    op: str
    reads: tuple[Tensor, ...]
    writes: Tensor
    kernel: int = 1
    stride: int = 1
    groups: int = 1
    pad: int = 0
    params: int = 0
    ops: int = 0
    name: str = ""
    plain: bool = True


class Trace(NamedTuple):
    """A forward pass: its steps in order, and the activations that are its features."""

    steps: tuple[Step, ...]
    features: tuple[Tensor, ...]


class Library(Protocol):
    """Who knows backbones by name. Both methods raise `NASError` for what cannot be had."""

    def features(self, name: str) -> Features:
        """Return what a backbone offers."""
        ...

    def trace(self, name: str, indices: tuple[int, ...], channels: int, imgsz: int) -> Trace:
        """Return the forward pass on an image of channels x imgsz x imgsz to some features."""
        ...


def _library() -> Library:
    """Return who is asked; it is imported when the first question comes."""
    return cast(Library, import_module(LIBRARY))


@lru_cache(maxsize=1000)
def features(name: str) -> Features:
    """Return what a backbone of timm offers; see `Library`."""
    return _library().features(name)


@lru_cache(maxsize=1000)
def trace(name: str, indices: tuple[int, ...], channels: int, imgsz: int) -> Trace:
    """Return a backbone's forward pass; see `Library`."""
    return _library().trace(name, indices, channels, imgsz)


# Options of the choice `backbone`


def option_of(value: Any) -> str:
    """Return the option that an entry of a space file's ``backbone`` means.

    Raises:
        NASError: For anything else than `ALLOWED`.
    """
    if value == OWN:
        return OWN
    name, pretrained = None, False
    if isinstance(value, dict):
        for key in value:
            if key not in KEYS:
                raise NASError(f"has the unknown key '{key}'.{did_you_mean(key, KEYS)}")
        name, pretrained = value.get("timm"), value.get("pretrained", False)
    if not isinstance(name, str) or not isinstance(pretrained, bool):
        raise NASError(f"has the option {value!r}; allowed is {ALLOWED}")
    return option(name, pretrained)


def option(name: str, pretrained: bool) -> str:
    """Return how a backbone is written as an option, for example ``timm/resnet18/pretrained``."""
    return f"{TIMM}{name}{PRETRAINED if pretrained else ''}"


def blocks_alone(choices: Mapping[str, Sequence[Any]]) -> tuple[str, str]:
    """Return a backbone of timm among a space's options, and how to leave such ones out.

    Both are empty where there is none.
    """
    options = choices.get("backbone", (OWN,))
    timm = next((o for o in options if o != OWN), "")
    how = "fix it with fix=backbone:own" if OWN in options else "give a space that has blocks"
    return timm, how if timm else ""


def name_of(text: str) -> tuple[str, bool]:
    """Return the name and whether timm's weights are wanted, of an option other than `OWN`."""
    return text.removeprefix(TIMM).removesuffix(PRETRAINED), text.endswith(PRETRAINED)


def offered(text: str) -> dict[int, int]:
    """Return the feature of every level of an option other than `OWN`: the last one there."""
    known = features(name_of(text)[0])
    return {level: index for index, level in enumerate(known.levels) if level}


def timm_backbone(text: str, levels: tuple[int, ...]) -> TimmBackbone:
    """Return an option's backbone with the features of some levels, which it has to offer."""
    name, pretrained = name_of(text)
    indices = tuple(offered(text)[level] for level in levels)
    widths = tuple(features(name).widths[index] for index in indices)
    return TimmBackbone(name, pretrained, indices, levels, widths)


# Layers


def run(
    graph: Graph, x: Tensor, n: int, name: str, pretrained: bool, indices: tuple[int, ...]
) -> Bundle:
    """Run a row ``Timm`` on a recorder of layers."""
    found = trace(name, tuple(indices), x.c, x.h)
    ids = {0: x.id}
    for step in found.steps:
        if not step.plain and graph.exact:
            raise NASError(
                f"timm/{name}: its time cannot be predicted, as it has layers ({step.name}) that "
                "no device profile knows; give latency=measure, or leave it out of the space"
            )
        reads = [t._replace(id=ids[t.id]) for t in step.reads]
        number = step.writes.id
        wanted = step.writes._replace(id=ids[number] if number in ids else -1)
        y = graph.traced(
            step.op,
            reads,
            wanted,
            kernel=step.kernel,
            stride=step.stride,
            groups=step.groups,
            pad=step.pad,
            params=step.params,
            ops=step.ops,
        )
        ids[number] = y.id
    return Bundle.of([t._replace(id=ids[t.id]) for t in found.features])


def pick(graph: Graph, x: Tensor, n: int, width: int, index: int) -> Tensor:
    """Run a row ``Index`` on a recorder of layers: there are none."""
    if not isinstance(x, Bundle):
        raise NASError("a row Index reads a row that has one output only")
    return x.parts[index]


@lru_cache(maxsize=1000)
def paths(backbone: TimmBackbone, channels: int, imgsz: int) -> list[tuple[tuple[int, ...], int]]:
    """Return each level's fan-ins along the longest path from the image to it, and its channels.

    Args:
        backbone: The backbone; levels below the ones in use are included.
        channels: Channels of the image.
        imgsz: Height and width of the image in pixels.
    """
    levels = offered(option(backbone.name, False))
    upto = {level: index for level, index in levels.items() if level <= backbone.levels[-1]}
    graph = Graph(1)
    image = Tensor(0, channels, imgsz, imgsz)
    found = run(graph, image, 1, backbone.name, False, tuple(upto.values()))
    reached = longest_paths(graph.layers)
    return [(reached[t.id], t.c) for t in found.parts]
