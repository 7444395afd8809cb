"""A network as a drawing: its backbone down the left, neck and head beside the levels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, NamedTuple

from markupsafe import Markup

from yolo_nas_ext.console import cut
from yolo_nas_ext.network.architecture import Architecture, Block, TimmBackbone
from yolo_nas_ext.report.facts import label
from yolo_nas_ext.report.html import render
from yolo_nas_ext.report.summary import Findings
from yolo_nas_ext.study.trial import Trial

WIDTH = 560
COLUMNS = {"backbone": 44, "down": 184, "up": 316, "head": 448}  # left edges
BOX_WIDTH, BOX_HEIGHT, GAP = 104, 40, 16
PITCH = BOX_HEIGHT + GAP
HEADING = 34
LETTERS = 12  # that fit into a box on a narrow screen, where text is largest


def drawing(architecture: Architecture, name: str) -> Markup:
    """Return an SVG of a network: a box a block with its kind, kernel, channels and repeats.

    Args:
        architecture: The network.
        name: What a screen reader calls it.
    """
    return Markup(render("drawing.html", picture=Picture(architecture), name=name))


class Box(NamedTuple):
    """A box with two lines of text, and what it says when one points at it."""

    left: float
    top: float
    kind: str
    first: str
    second: str
    detail: str
    width: float = BOX_WIDTH
    height: float = BOX_HEIGHT


class Word(NamedTuple):
    """A text outside of boxes."""

    text: str
    x: float
    y: float
    anchor: str = ""


class Picture:
    """Boxes, words, lines and arrows of one drawing, in pixels."""

    width: ClassVar = WIDTH

    def __init__(self, architecture: Architecture) -> None:
        self.boxes: list[Box] = []
        self.words: list[Word] = []
        self.lines: list[str] = []  # paths
        self.arrows: list[str] = []  # corners
        self.neck, self.head = architecture.neck, architecture.head
        self.rows: dict[int, float] = {}  # level: top of the box that gives its output
        self.height = HEADING
        self._backbone(architecture)
        self._neck()
        self._headings()

    def _headings(self) -> None:
        heads = {"backbone": "backbone", "head": "head"}
        if self.neck.down:
            heads |= {"down": "top-down", "up": "bottom-up"}
        for column, text in heads.items():
            x = COLUMNS[column] + BOX_WIDTH / 2
            self.words.append(Word(text, x, 18, "middle"))

    def _backbone(self, architecture: Architecture) -> None:
        ends = {index: level for level, index in architecture.levels.items()}
        joined = {level for level, _ in zip(self.neck.levels[1:], self.neck.up, strict=False)}
        left, y, at_level = COLUMNS["backbone"], float(HEADING), 0
        parts = [_words(block) for block in architecture.backbone]
        if whole := architecture.timm:
            parts = [_words_whole(whole, index) for index in range(len(whole.widths))]
        for index, words in enumerate(parts):
            if index:
                self._arrow(f"M{left + BOX_WIDTH / 2} {y - GAP}V{y}")
            at_level += 1
            level = ends.get(index)
            if level in joined and at_level < 2:  # the neck has two boxes here
                self._line(f"M{left + BOX_WIDTH / 2} {y - 1}V{y + PITCH}")
                y += PITCH
            self.boxes.append(Box(left, y, "backbone", *words))
            if level is not None:
                self.rows[level] = y
                self.words.append(Word(f"P{level}", 4, y + BOX_HEIGHT / 2 + 5))
                at_level = 0
            y += PITCH
        self.height = int(y)

    def _neck(self) -> None:
        """Draw the path down in stride, the path up in stride, and what the head reads."""
        levels, half = self.neck.levels, BOX_HEIGHT / 2
        down, up = COLUMNS["down"], COLUMNS["up"]
        column = dict.fromkeys(levels, "backbone")  # where the newest output of a level is
        below = levels[-1]
        ways = levels if self.neck.kind == "gfpn" else levels[:-1]
        for level, block in zip(reversed(ways), self.neck.down, strict=True):
            y = self.rows[level]
            self._box("down", y, block, "neck")
            self._arrow(f"M{COLUMNS['backbone'] + BOX_WIDTH} {y + half}H{down}")
            column[level] = "down"
            if self.neck.kind == "gfpn" and level > levels[0]:
                self._cross("backbone", level, "down")
            if level == levels[-1]:  # which nothing is above
                continue
            start = self.rows[below]
            if column[below] == "backbone":  # from its end
                self._line(
                    f"M{COLUMNS['backbone'] + BOX_WIDTH} {start + half}"
                    f"H{down + BOX_WIDTH / 2}V{start}"
                )
            self._arrow(f"M{down + BOX_WIDTH / 2} {start}V{y + BOX_HEIGHT}")
            below = level
        lowest = levels[0]
        for level, (conv, block) in zip(levels[1:], self.neck.up, strict=False):
            y = self.rows[level]
            self._box("up", y - PITCH, conv, "neck")
            self._box("up", y, block, "neck")
            middle = up + BOX_WIDTH / 2
            if level == levels[1]:
                start = self.rows[lowest] + half
                self._line(f"M{COLUMNS[column[lowest]] + BOX_WIDTH} {start}H{middle}")
            else:
                start = self.rows[level - 1] + BOX_HEIGHT
            self._arrow(f"M{middle} {start}V{y - PITCH}")
            self._arrow(f"M{middle} {y - GAP}V{y}")
            self._arrow(f"M{COLUMNS[column[level]] + BOX_WIDTH} {y + half}H{up}")
            if self.neck.kind == "gfpn" and level - 1 > lowest:
                self._cross("down", level, "up")
            column[level] = "up"
        for level in self.head.levels:
            self._detect(level, column.get(level, "backbone"))

    def _cross(self, start: str, level: int, end: str) -> None:
        """Draw what queen fusion reads of the level below."""
        above, here = (self.rows[lv] + BOX_HEIGHT / 2 for lv in (level - 1, level))
        self._line(f"M{COLUMNS[start] + BOX_WIDTH} {above}L{COLUMNS[end]} {here}")

    def _detect(self, level: int, source: str) -> None:
        y, left = self.rows[level], COLUMNS["head"]
        self._arrow(f"M{COLUMNS[source] + BOX_WIDTH} {y + BOX_HEIGHT / 2}H{left}")
        stride = f"stride {2**level}"
        self.boxes.append(Box(left, y, "head", "detect", stride, f"reads level {level}, {stride}"))

    def _box(self, column: str, y: float, block: Block, kind: str) -> None:
        self.boxes.append(Box(COLUMNS[column], y, kind, *_words(block)))

    def _line(self, d: str) -> None:
        self.lines.append(d)

    def _arrow(self, d: str) -> None:
        """Draw a path ``M<x> <y>`` with one stroke, ``H<x>`` or ``V<y>``, and a head at its end."""
        self._line(d)
        stroke = max(d.rfind("H"), d.rfind("V"))
        end = float(d[stroke + 1 :])
        x0, y0 = (float(v) for v in d[1:stroke].split())
        if d[stroke] == "H":
            head = f"{end},{y0} {end - 6},{y0 - 3.5} {end - 6},{y0 + 3.5}"
        else:
            back = 6 if end > y0 else -6
            head = f"{x0},{end} {x0 - 3.5},{end - back} {x0 + 3.5},{end - back}"
        self.arrows.append(head)


def _words(block: Block) -> tuple[str, str, str]:
    """Return the two lines in a block's box, and what is said when one points at it."""
    first = cut(block.kind + (f" {block.kernel}x{block.kernel}" if block.kernel else ""), LETTERS)
    second = f"{block.width}" + (f" ×{block.depth}" if block.depth > 1 else "")  # noqa: RUF001
    second += " /2" if block.stride == 2 else ""
    detail = [f"{block.kind}: {block.width} channels"]
    detail += [f"{block.depth} repeats"] if block.depth > 1 else []
    detail += [f"{block.hidden} hidden channels"] if block.hidden else []
    detail += [f"kernel {block.kernel}"] if block.kernel else []
    detail += ["stride 2"] if block.stride == 2 else []
    return first, second, ", ".join(detail)


def _words_whole(whole: TimmBackbone, index: int) -> tuple[str, str, str]:
    """Return the same of a feature of a backbone of timm, whose name may be too long for a box."""
    name = cut(whole.name, LETTERS)
    weights = "timm's weights" if whole.pretrained else "random weights"
    detail = f"timm/{whole.name}, {weights}: feature {whole.indices[index]}, "
    return name, f"{whole.widths[index]}", f"{detail}{whole.widths[index]} channels"


MOST = 40  # drawings on a page; one is some 5 kB


def previewed(findings: Findings) -> list[Trial]:
    """Return the trials with a drawing: the best, the front and the baselines."""
    shown = [*findings.front[::-1], *findings.baselines]
    if findings.best is not None:
        shown.insert(0, findings.best)
    unique = {trial.number: trial for trial in shown if trial.architecture is not None}
    return list(unique.values())[:MOST]


class Preview(NamedTuple):
    """A drawing that is shown when its point is pointed at."""

    number: int
    name: str
    facts: str
    drawing: Markup


def previews(
    findings: Findings, trials: Sequence[Trial], finals: Mapping[str, str]
) -> list[Preview]:
    """Return drawings; the style sheet shows the first, or the one that is asked for.

    Args:
        findings: Of the record.
        trials: From `previewed`.
        finals: What the final comparison says of a network, by its label.
    """
    found = []
    for trial in trials:
        facts = findings.facts(trial)
        if "latency_ms" in trial.metrics:
            facts.append(f"{trial.metrics['latency_ms']:.3g} ms")
        if label(trial) in finals:
            facts.append(finals[label(trial)])
        picture = drawing(trial.network, label(trial))
        found.append(Preview(trial.number, label(trial), " · ".join(facts), picture))
    return found
