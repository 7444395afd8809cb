"""The layers of Ultralytics' heads, one for each task."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from yolo_nas_ext.network.graph import Graph, Tensor


class Kind(NamedTuple):
    """The settings of a head that stand outside of its row.

    Attributes:
        reg_max: See `architecture.Head`.
        end2end: See `architecture.Head`.
        legacy: Whether Ultralytics builds its older head.
    """

    reg_max: int
    end2end: bool
    legacy: bool


# Parameters of the flow that YOLO26's keypoints are trained by: 6 steps of 2 small networks.
FLOW = 6 * 2 * sum(a * b + b for a, b in ((2, 64), (64, 64), (64, 2)))


def detect(
    g: Graph, xs: Sequence[Tensor], kind: Kind, nc: int, extra: int = 0, taught: int = 0
) -> None:
    """Run the detection head: of each branch, of each level, the boxes and then the classes.

    `extra` are further numbers an anchor, from convolutions of their own; `taught` are numbers
    beside them that training alone asks for.
    """
    reg_max = kind.reg_max
    c2, c3 = max(16, xs[0].c // 4, reg_max * 4), max(xs[0].c, min(nc, 100))
    c4 = max(xs[0].c // 4, extra + taught)
    boxes: list[Tensor] = []
    for branch in range(2 if kind.end2end else 1):
        for x in xs:
            y = _outputs(g, g.conv(g.conv(x, c2, 3), c2, 3), 4 * reg_max)
            if branch == 0:
                boxes.append(y)
            if kind.legacy:
                y = g.conv(g.conv(x, c3, 3), c3, 3)
            else:
                y = g.conv(g.conv(x, x.c, 3, 1, x.c), c3)
                y = g.conv(g.conv(y, c3, 3, 1, c3), c3)
            _outputs(g, y, nc)
            if extra:
                y = g.conv(g.conv(x, c4, 3), c4, 3)
                _outputs(g, y, extra)
            if taught:
                g.in_training(y, lambda own, y: _outputs(own, y, taught))
    if reg_max > 1:  # the fixed convolution that turns a distribution over bins into a distance
        anchors = sum(y.h * y.w for y in boxes)
        bins = g.concat([y._replace(h=1, w=y.h * y.w) for y in boxes])
        g.conv(bins._replace(c=reg_max, h=4, w=anchors), 1, norm=False, act=False)


def _segment(
    g: Graph, xs: Sequence[Tensor], kind: Kind, nc: int, masks: int, prototypes: int
) -> None:
    detect(g, xs, kind, nc, masks)
    _prototypes(g, xs[0], masks, prototypes)


def _prototypes(g: Graph, x: Tensor, masks: int, prototypes: int) -> None:
    y = g.transposed(g.conv(x, prototypes, 3), prototypes)
    g.conv(g.conv(y, prototypes, 3), masks)


def _segment26(
    g: Graph, xs: Sequence[Tensor], kind: Kind, nc: int, masks: int, prototypes: int
) -> None:
    """Prototypes of all levels, summed up; in training they learn the classes of pixels, too."""
    detect(g, xs, kind, nc, masks)
    fused = xs[0]
    for steps, x in enumerate(xs[1:], 1):
        fused = g.add(fused, g.upsample(g.conv(x, xs[0].c), 2**steps))

    def classes(own: Graph, x: Tensor) -> None:
        _outputs(own, own.conv(own.conv(x, prototypes, 3), prototypes, 3), nc)

    g.in_training(fused, classes)
    _prototypes(g, g.conv(fused, prototypes, 3), masks, prototypes)


def _semantic(g: Graph, xs: Sequence[Tensor], kind: Kind, nc: int) -> None:
    width = xs[0].c
    _outputs(g, g.conv(xs[0], width, 3), nc)
    if len(xs) > 1:
        g.in_training(xs[1], lambda own, x: _outputs(own, own.conv(x, width, 3), nc))


def _pose(g: Graph, xs: Sequence[Tensor], kind: Kind, nc: int, keypoints: tuple[int, int]) -> None:
    detect(g, xs, kind, nc, keypoints[0] * keypoints[1])


def _pose26(
    g: Graph, xs: Sequence[Tensor], kind: Kind, nc: int, keypoints: tuple[int, int]
) -> None:
    """Keypoints and, in training, how far off they may be along x and y."""
    points, numbers = keypoints
    g.dormant(xs[0], FLOW)
    detect(g, xs, kind, nc, points * numbers, points * 2)


def _outputs(g: Graph, x: Tensor, c: int) -> Tensor:
    return g.conv(x, c, norm=False, act=False, bias=True)


def _classify(g: Graph, xs: Sequence[Tensor], kind: Kind, nc: int) -> None:
    y = g.average(g.conv(xs[0], 1280))
    _outputs(g, y, nc)  # a linear layer is a convolution of a pixel


# Module of Ultralytics -> its layers; arguments are those of its row.
HEADS: dict[str, Callable[..., Any]] = {
    "Detect": detect,
    "Segment": _segment,
    "Segment26": _segment26,
    "OBB": detect,
    "OBB26": detect,
    "Pose": _pose,
    "Pose26": _pose26,
    "Classify": _classify,
    "SemanticSegment": _semantic,
}
BOXLESS = ("Classify", "SemanticSegment")  # heads that find no boxes
