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


def detect(g: Graph, xs: Sequence[Tensor], kind: Kind, nc: int, extra: int = 0) -> None:
    """Run the detection head: of each branch, of each level, the boxes and then the classes.

    `extra` are further numbers an anchor, from convolutions of their own.
    """
    reg_max = kind.reg_max
    c2, c3 = max(16, xs[0].c // 4, reg_max * 4), max(xs[0].c, min(nc, 100))
    c4 = max(xs[0].c // 4, extra)
    boxes: list[Tensor] = []
    for branch in range(2 if kind.end2end else 1):
        for x in xs:
            y = g.conv(
                g.conv(g.conv(x, c2, 3), c2, 3), 4 * reg_max, norm=False, act=False, bias=True
            )
            if branch == 0:
                boxes.append(y)
            if kind.legacy:
                y = g.conv(g.conv(x, c3, 3), c3, 3)
            else:
                y = g.conv(g.conv(x, x.c, 3, 1, x.c), c3)
                y = g.conv(g.conv(y, c3, 3, 1, c3), c3)
            g.conv(y, nc, norm=False, act=False, bias=True)
            if extra:
                y = g.conv(g.conv(x, c4, 3), c4, 3)
                g.conv(y, extra, norm=False, act=False, bias=True)
    if reg_max > 1:  # the fixed convolution that turns a distribution over bins into a distance
        anchors = sum(y.h * y.w for y in boxes)
        bins = g.concat([y._replace(h=1, w=y.h * y.w) for y in boxes])
        g.conv(bins._replace(c=reg_max, h=4, w=anchors), 1, norm=False, act=False)


def _segment(
    g: Graph, xs: Sequence[Tensor], kind: Kind, nc: int, masks: int, prototypes: int
) -> None:
    detect(g, xs, kind, nc, masks)
    y = g.transposed(g.conv(xs[0], prototypes, 3), prototypes)
    g.conv(g.conv(y, prototypes, 3), masks)


def _semantic(g: Graph, xs: Sequence[Tensor], kind: Kind, nc: int) -> None:
    width = xs[0].c
    g.conv(g.conv(xs[0], width, 3), nc, norm=False, act=False, bias=True)
    if len(xs) > 1:
        branch = Graph()
        branch.conv(branch.conv(xs[1], width, 3), nc, norm=False, act=False, bias=True)
        g.dormant(xs[1], sum(layer.params for layer in branch.layers))


def _pose(g: Graph, xs: Sequence[Tensor], kind: Kind, nc: int, keypoints: tuple[int, int]) -> None:
    detect(g, xs, kind, nc, keypoints[0] * keypoints[1])


def _classify(g: Graph, xs: Sequence[Tensor], kind: Kind, nc: int) -> None:
    y = g.average(g.conv(xs[0], 1280))
    g.conv(y, nc, norm=False, act=False, bias=True)  # a linear layer is a convolution of a pixel


# Module of Ultralytics -> its layers; arguments are those of its row.
HEADS: dict[str, Callable[..., Any]] = {
    "Detect": detect,
    "Segment": _segment,
    "OBB": detect,
    "Pose": _pose,
    "Classify": _classify,
    "SemanticSegment": _semantic,
}
BOXLESS = ("Classify", "SemanticSegment")  # heads that find no boxes
