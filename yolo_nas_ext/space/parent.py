"""ParentSpace: the networks around a given one, each of its sizes from a half to one and a half."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
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
        for part in self._parts:
            choices |= part.choices()
        super().__init__(left(NAME, choices, fix or {}), name=NAME, task=task, mutations=MUTATIONS)
        self._unused: dict[tuple[str, str], frozenset[str]] = {}

    @property
    def origin(self) -> Point:
        """The point of the parent, at the first image size; with `fix`, what is nearest to it."""
        return self.canonical({name: options[0] for name, options in self.choices.items()})

    # From points to architectures

    def _build(self, point: Mapping[str, Any]) -> Architecture:
        parts = self._parts
        joined, read = parts.levels[point["levels"]]
        backbone: list[Block] = []
        for part in self._backbone(point["levels"], point["context"]):
            backbone.append(part.made(point, backbone[-1].width if backbone else 0))
        neck = Neck(
            joined,
            tuple(part.made(point) for part in self._down(joined)),
            tuple((a.made(point), b.made(point)) for a, b in self._up(joined, read)),
            self.parent.neck.kind if joined[1:] else "pan",
        )
        head = replace(self.parent.head, levels=read)
        return Architecture(tuple(backbone), neck, head, point.get("imgsz", 0))

    def _backbone(self, levels: str, context: str) -> list[Part]:
        """Return the parts of the backbone of these levels, and what is kept of the context.

        A context stands at the level that the parent has it at, and nowhere else: what it has
        learned are that level's features.
        """
        parts = self._parts
        top, own = (parts.levels[text][0][-1] for text in (levels, next(iter(parts.levels))))
        kept = [parts.context[place] for place in parts.contexts[context]] if top == own else []
        return [*(part for part in parts.backbone if part.level <= top), *kept]

    def _down(self, joined: tuple[int, ...]) -> list[Part]:
        """Return the parts of the neck's top-down path in the order in which they run."""
        if not joined[1:] or self.task == "classify":
            return []
        ways = joined if self.parent.neck.kind == "gfpn" else joined[:-1]
        return [self._parts.down[level] for level in reversed(ways)]

    def _up(self, joined: tuple[int, ...], read: tuple[int, ...]) -> list[tuple[Part, Part]]:
        """Return the parts of the bottom-up path: what halves and the block, of each level."""
        if self.task == "semantic":  # reads what the way down has made
            return []
        levels = [level for level in joined[1:] if level <= read[-1]]
        return [(self._parts.halving[level], self._parts.up[level]) for level in levels]

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
        dead = self._dead(values)
        for name in dead:
            result[name] = self.choices[name][0]
        return Point(result)

    def dead(self, values: Mapping[str, Any]) -> set[str]:
        """Return the choices that change nothing at these values."""
        return set(self._dead(values))

    def _dead(self, values: Mapping[str, Any]) -> frozenset[str]:
        """Return them; the levels and the context decide."""
        key = levels, context = values["levels"], values["context"]
        if key in self._unused:
            return self._unused[key]
        joined, read = self._parts.levels[levels]
        used = [*self._backbone(levels, context), *self._down(joined)]
        used += [part for pair in self._up(joined, read) for part in pair]
        matters = {name for part in used for name in part.names} | {"imgsz", "levels"}
        if joined[-1] == self.parent.neck.levels[-1]:
            matters.add("context")
        found = self._unused[key] = frozenset(self.choices.keys() - matters)
        return found

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
        point = self.canonical(
            {name: values.get(name, options[0]) for name, options in self.choices.items()}
        )
        mine = self.architecture(point)
        for part in ("backbone", "neck", "head", "timm"):
            if getattr(mine, part) != getattr(architecture, part):
                raise NASError(
                    f"not in space '{NAME}': its {part} differs from the parent's in more than "
                    "sizes"
                )
        return point

    def _values(self, architecture: Architecture) -> dict[str, Any]:
        """Return what an architecture has of the choices that it shows."""
        joined, read = architecture.neck.levels, architecture.head.levels
        levels = next((t for t, both in self._parts.levels.items() if both == (joined, read)), "")
        if not levels:
            text = f"{joined[0]}-{joined[-1]}:{read[0]}-{read[-1]}"
            return {"imgsz": architecture.imgsz, "levels": text}
        blocks, neck = architecture.backbone, architecture.neck
        stages = len(self._backbone(levels, next(reversed(self._parts.contexts))))
        kinds = [block.kind + "_add" * block.shortcut for block in blocks[stages:]]
        context = "+".join(kinds) or "none"
        values = {"imgsz": architecture.imgsz, "levels": levels, "context": context}
        if context not in self._parts.contexts:
            return values
        pairs = list(zip(self._backbone(levels, context), blocks, strict=False))
        pairs += zip(self._down(joined), neck.down, strict=False)
        for parts, both in zip(self._up(joined, read), neck.up, strict=False):
            pairs += zip(parts, both, strict=True)
        return {**values, **{n: v for part, block in pairs for n, v in part.values(block)}}
