"""ParentSpace: the networks around a given one, each of its sizes from a half to one and a half."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from yolo_nas_ext.errors import NASError
from yolo_nas_ext.network.architecture import Architecture, Block, Neck
from yolo_nas_ext.space.networks import NetworkSpace
from yolo_nas_ext.space.parts import Part, taken_apart
from yolo_nas_ext.space.point import Point
from yolo_nas_ext.space.schema import is_number, left

NAME = "parent"
MUTATIONS = 2  # moves of a child
FREE = ("imgsz", "levels")  # choices that cost a network little of what it carries over
# Of a draw's other choices, what is changed: most draws keep most of the parent's weights.
CHANGED = (0.05, 0.15, 0.4, 1.0)
# Without the highest level: whether the neck's block at the next one stays, behind the backbone.
LAST, KEPT, GONE = "neck.down.last", "kept", "none"


@dataclass(frozen=True, slots=True)
class Layout:
    """The parts that networks of the same levels and context have.

    Attributes:
        joined: Levels of the neck.
        read: Levels of the head.
        backbone: Stem, stages and what stands behind them, in order.
        down: Of the neck's top-down path, in the order in which they run.
        up: Pairs (what halves, block) of the bottom-up path.
        dead: Choices that change nothing.
    """

    joined: tuple[int, ...]
    read: tuple[int, ...]
    backbone: tuple[Part, ...]
    down: tuple[Part, ...]
    up: tuple[tuple[Part, Part], ...]
    dead: frozenset[str]


class ParentSpace(NetworkSpace):
    """The space of a given network, the parent: its sizes, repeats, levels and context vary.

    The first option of every choice is the parent's own value, where `fix` leaves it; other
    numbers ascend behind it. Kinds of blocks, kernels and the head's settings are the parent's
    everywhere. So are the widths that Ultralytics' modules derive from others: those inside of
    bottlenecks, C3k, SPPF and attention, and the head's towers.

    Args:
        parent: The network.
        task: What it does.
        sizes: Image sizes in pixels as a choice. Without any, networks have the parent's own.
        fix: Choices with the one option that is left of each.
        within: Whether no number is above the parent's and no level below its lowest, so that the
            parent holds all networks; image sizes may be larger.

    Raises:
        NASError: For a parent with a backbone of timm, and an unknown choice or option to fix.
    """

    def __init__(
        self,
        parent: Architecture,
        task: str = "detect",
        *,
        sizes: Sequence[int] = (),
        fix: Mapping[str, Any] | None = None,
        within: bool = False,
    ) -> None:
        if parent.timm:
            raise NASError(
                f"space={NAME}: the parent's backbone is {parent.timm.name} of timm, whose widths "
                "cannot be changed; give space=timm, or baseline=<its YAML> and another space"
            )
        self.parent = parent
        self._parts = taken_apart(parent, task)
        choices: dict[str, tuple[Any, ...]] = {}
        if given := tuple(dict.fromkeys(sizes)) or (parent.imgsz,) * bool(parent.imgsz):
            own = [size for size in given if size == parent.imgsz]
            choices["imgsz"] = (*own, *(size for size in given if size != parent.imgsz))
        choices["levels"] = tuple(self._parts.levels)
        choices["context"] = tuple(self._parts.contexts)
        if any(map(self._last, self._parts.levels)):
            choices[LAST] = (KEPT, GONE)
        lowest = parent.neck.levels[0]
        below = [part for n, part in self._parts.down.items() if n < lowest]
        for way in (self._parts.halving, self._parts.up):
            below += (part for level, part in way.items() if level <= lowest)
        for part in self._parts:
            if not (within and part in below):
                choices |= part.choices()
        if within:
            choices = {name: self._inside(name, options, task) for name, options in choices.items()}
        super().__init__(left(NAME, choices, fix or {}), name=NAME, task=task, mutations=MUTATIONS)
        self._layouts: dict[tuple[str, ...], Layout] = {}

    @property
    def origin(self) -> Point:
        """The point of the parent, at the first image size; with `fix`, what is nearest to it."""
        return self.canonical({name: options[0] for name, options in self.choices.items()})

    def _inside(self, name: str, options: tuple[Any, ...], task: str) -> tuple[Any, ...]:
        """Return the options of a choice that need nothing that the parent has not."""
        own = options[0]
        if name == "levels" and task != "classify":  # whose backbone may end sooner
            joined, read = self._parts.levels[own]
            known = [(text, self._parts.levels[text]) for text in options]
            return tuple(t for t, (neck, head) in known if {*neck, *head} <= {*joined, *read})
        if name == "imgsz" or not is_number(own):
            return options
        return tuple(option for option in options if option <= own)

    # From points to architectures

    def _build(self, point: Mapping[str, Any]) -> Architecture:
        layout = self._layout(point)
        backbone: list[Block] = []
        for part in layout.backbone:
            backbone.append(part.made(point, backbone[-1].width if backbone else 0))
        neck = Neck(
            layout.joined,
            tuple(part.made(point) for part in layout.down),
            tuple((a.made(point), b.made(point)) for a, b in layout.up),
            self.parent.neck.kind if layout.joined[1:] else "pan",
        )
        head = replace(self.parent.head, levels=layout.read)
        return Architecture(tuple(backbone), neck, head, point.get("imgsz", 0))

    def _layout(self, values: Mapping[str, Any]) -> Layout:
        """Return the layout; the choices without numbers decide."""
        key = levels, context, last = values["levels"], values["context"], values.get(LAST, GONE)
        if key in self._layouts:
            return self._layouts[key]
        parts, (joined, read) = self._parts, self._parts.levels[levels]
        top = joined[-1]
        backbone = [part for part in parts.backbone if part.level <= top]
        # A context stands where the parent has it: it has learned that level's features.
        if whole := top == self.parent.neck.levels[-1]:
            backbone += (parts.context[place] for place in parts.contexts[context])
        block = self._last(levels)
        if block and last == KEPT:
            backbone.append(block)
        down: list[Part] = []
        if joined[1:]:
            ways = joined if self.parent.neck.kind == "gfpn" else joined[:-1]
            down = [parts.down[level] for level in reversed(ways)]
        up: list[tuple[Part, Part]] = []
        if self.task != "semantic":  # which reads what the way down has made
            ways = (level for level in joined[1:] if level <= read[-1])
            up = [(parts.halving[level], parts.up[level]) for level in ways]
        used = [*backbone, *down, *(part for pair in up for part in pair)]
        matters = {name for part in used for name in part.names} | {"imgsz", "levels"}
        matters |= {"context"} if whole else {LAST} if block else set()
        dead = frozenset(self.choices.keys() - matters)
        found = Layout(joined, read, tuple(backbone), tuple(down), tuple(up), dead)
        self._layouts[key] = found
        return found

    def _last(self, levels: str) -> Part | None:
        """Return the neck's block that can stay where a level above it is gone.

        In a path-aggregation network the highest level has no block on the way down. The block
        that the parent has at this one, on the way down, is what all below and above it read.
        """
        top, neck = self._parts.levels[levels][0][-1], self.parent.neck
        if top == neck.levels[-1] or neck.kind != "pan":
            return None
        return self._parts.down.get(top)

    def _draw(self, rng: random.Random) -> Point:
        """Return a point some changes away from the parent: few, a part of all, or all of them.

        Points with an option of every choice at random carry little over, and there are very many.
        """
        share = rng.choice(CHANGED)
        return self.canonical(
            {
                name: rng.choice(options) if name in FREE or rng.random() < share else options[0]
                for name, options in self.choices.items()
            }
        )

    # Which choices matter

    def canonical(self, values: Mapping[str, Any]) -> Point:
        """Return the values with every choice that does not matter here at its first option.

        That is the parent's value, so that the parent's own point is canonical.
        """
        result = dict(values)
        for name in self._layout(values).dead:
            result[name] = self.choices[name][0]
        return Point(result)

    def dead(self, values: Mapping[str, Any]) -> set[str]:
        """Return the choices that change nothing at these values."""
        return set(self._layout(values).dead)

    def targets(self, name: str, value: Any) -> list[Any]:
        """Return the options that one move can lead to: of numbers, the next ones up and down."""
        options = self.choices[name]
        if not all(map(is_number, options)):
            return super().targets(name, value)
        ordered = sorted(options)
        at = ordered.index(value)
        return ordered[max(at - 1, 0) : at] + ordered[at + 1 : at + 2]

    # From architectures to points

    def point_of(self, architecture: Architecture) -> Point:
        """Return the point of an architecture.

        Raises:
            NASError: Where the architecture is not in the space: the first choice that has no
                option for it.
        """
        values = self._values(architecture)
        options = {"imgsz": (0,), **self.choices}
        for name, value in values.items():
            if value not in options[name]:
                raise NASError(
                    f"not in space '{NAME}': {name} would be {value!r}; options: "
                    f"{list(options[name])}"
                )
        point = self._completed(values)
        mine = self.architecture(point)
        for part in ("backbone", "neck", "head", "timm"):
            if getattr(mine, part) != getattr(architecture, part):
                raise NASError(
                    f"not in space '{NAME}': its {part} differs from the parent's in more than "
                    "sizes"
                )
        return point

    def near(self, subject: Architecture) -> Point | None:
        """Return the point of an architecture with every number at the option next below it.

        So it costs no more where the options are narrower than the numbers. None where the
        architecture differs from the parent in more than sizes.
        """
        values, options = self._values(subject), {"imgsz": (0,), **self.choices}
        for name, value in values.items():
            if value in options[name]:
                continue
            if name == "imgsz" or not is_number(value):
                return None
            numbers = sorted(options[name])
            values[name] = max((o for o in numbers if o < value), default=numbers[0])
        point = self._completed(values)
        alike = _sizeless(self.architecture(point)) == _sizeless(subject)
        return point if alike else None

    def _completed(self, values: Mapping[str, Any]) -> Point:
        """Return the point of some values, the parent's where there is none."""
        return self.canonical({n: values.get(n, own) for n, (own, *_) in self.choices.items()})

    def _values(self, architecture: Architecture) -> dict[str, Any]:
        """Return what an architecture has of the choices that it shows."""
        joined, read = architecture.neck.levels, architecture.head.levels
        levels = next((t for t, both in self._parts.levels.items() if both == (joined, read)), "")
        values: dict[str, Any] = {"imgsz": architecture.imgsz, "levels": levels}
        if not levels:
            return {**values, "levels": f"{joined[0]}-{joined[-1]}:{read[0]}-{read[-1]}"}
        blocks, neck = architecture.backbone, architecture.neck
        bare = self._layout({**values, "context": "none"})
        behind = blocks[len(bare.backbone) :]
        if joined[-1] == self.parent.neck.levels[-1]:
            kinds = [block.kind + "_add" * block.shortcut for block in behind]
            values["context"] = "+".join(kinds) or "none"
            if values["context"] not in self._parts.contexts:
                return values
        elif self._last(levels):
            values[LAST] = KEPT if behind else GONE
        layout = self._layout({"context": "none", **values})
        pairs = [*zip(layout.backbone, blocks, strict=False)]
        pairs += zip(layout.down, neck.down, strict=False)
        for parts, both in zip(layout.up, neck.up, strict=False):
            pairs += zip(parts, both, strict=True)
        return {**values, **{n: v for part, block in pairs for n, v in part.values(block)}}


def _sizeless(architecture: Architecture) -> Architecture:
    """Return an architecture without its numbers, to compare what it is made of."""

    def bare(block: Block) -> Block:
        return replace(block, width=8, hidden=min(block.hidden, 1), depth=1)

    neck = architecture.neck
    up = tuple((bare(a), bare(b)) for a, b in neck.up)
    joined = replace(neck, down=tuple(map(bare, neck.down)), up=up)
    return replace(architecture, backbone=tuple(map(bare, architecture.backbone)), neck=joined)
