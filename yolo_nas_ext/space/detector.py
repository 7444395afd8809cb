"""DetectorSpace: stem, stages, context, levels, neck and head of a detector, read from a YAML."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import Any

from yolo_nas_ext.errors import NASError, did_you_mean
from yolo_nas_ext.files import read_yaml, resource
from yolo_nas_ext.network.architecture import Architecture, Block, Head, Neck
from yolo_nas_ext.network.blocks import BLOCKS
from yolo_nas_ext.network.rows import FINEST, PLAIN, for_task
from yolo_nas_ext.network.timm_backbones import OWN, option, timm_backbone
from yolo_nas_ext.space.constraints import Offered
from yolo_nas_ext.space.decode import (
    context_blocks,
    neck_block,
    neck_width,
    split_levels,
    stage_blocks,
    stem_block,
)
from yolo_nas_ext.space.encode import Encoder
from yolo_nas_ext.space.networks import NetworkSpace
from yolo_nas_ext.space.parse import parse
from yolo_nas_ext.space.point import Point
from yolo_nas_ext.space.schema import SpaceFile, Stage, fixed

# The fields of an architecture in their order, as a message names them.
FIELDS = ("backbone", "neck", "head", "image size", "backbone of timm")

REMEMBERED = 10_000  # sets of choices without effect; about 2 KB each


class DetectorSpace(NetworkSpace):
    """A space of detectors; its points are turned into architectures by `architecture`.

    Args:
        file: The parsed definition; `load` reads one from a file.
        task: What the networks do. A classifier has no neck; of segmentation, only levels whose
            lowest one the head reads is P3 are left.
        yolo26: Whether they have YOLO26's own heads; see `network.architecture.Head`.

    Raises:
        NASError: Where no levels are left.
    """

    def __init__(self, file: SpaceFile, task: str = "detect", *, yolo26: bool = False) -> None:
        choices = dict(file.choices)
        if task in ("segment", "semantic"):
            # Ultralytics' validator compares masks at a quarter of the image's size, and those of
            # its head are twice as fine as the lowest level. Its exporter enlarges semantic masks
            # eight times.
            levels, of_head = choices["levels"], task == "segment"
            choices["levels"] = tuple(v for v in levels if split_levels(v)[of_head][0] == FINEST)
            if not choices["levels"]:
                raise NASError(
                    f"space={file.name}: levels are {', '.join(levels)}; with task={task} the "
                    "head has to read P3 as its lowest level: add "
                    + ("3-5 or 2-5:3-5" if of_head else "3-5")
                )
        super().__init__(
            choices,
            name=file.name,
            task=task,
            rules=file.rules,
            moves=file.moves,
            mutations=file.mutations,
        )
        self.stages = file.stages
        self.yolo26 = yolo26
        # The choices that others' effect hangs on have few options; moves in the space ask often.
        kinds = [f"{stage.name}.{part}" for stage in self.stages for part in ("block", "down")]
        self._deciding = ("backbone", "levels", *kinds, "neck.block", "neck.top")
        self._dead: dict[tuple[Any, ...], Set[str]] = {}

    @classmethod
    def load(
        cls,
        source: str | Path,
        task: str = "detect",
        fix: Mapping[str, Any] | None = None,
        sizes: Sequence[int] = (),
        *,
        yolo26: bool = False,
    ) -> DetectorSpace:
        """Return the space of a file, or of a name in the shipped `cfg/spaces`.

        Args:
            source: The file or name.
            task: What the networks do.
            fix: Choices with the one option that is left of each.
            sizes: Image sizes in pixels as a choice, in place of the file's.
            yolo26: See the class.

        Raises:
            NASError: For an unknown name, for anything in the file that is not of the grammar, and
                for an unknown choice or option to fix.
        """
        path = Path(source)
        if path.suffix not in (".yaml", ".yml"):
            path = resource("cfg", "spaces", f"{source}.yaml")
        if not path.is_file():
            shipped = sorted(p.stem for p in resource("cfg", "spaces").glob("*.yaml"))
            raise NASError(
                f"space={source}: no such space.{did_you_mean(source, shipped)} Give one of "
                f"{', '.join(shipped)} or the path of a YAML"
            )
        content = read_yaml(path, f"space file {path}")
        if sizes:
            content["imgsz"] = list(sizes)
        file = parse(content, path.stem, f"space file {path}")
        return cls(fixed(file, fix) if fix else file, task, yolo26=yolo26)

    # From points to architectures

    def _build(self, point: Mapping[str, Any]) -> Architecture:
        neck_levels, head_levels = split_levels(point["levels"])
        joined = self._joined(neck_levels)
        timm = None if self._own(point) else timm_backbone(point["backbone"], joined)
        backbone = [] if timm else self._blocks(point)
        imgsz = point.get("imgsz", 0)
        if self.task == "classify":
            return Architecture(tuple(backbone), Neck(joined, (), ()), Head(joined), imgsz, timm)
        kind = point.get("neck.kind", "pan") if neck_levels[1:] else "pan"
        ways = neck_levels if kind == "gfpn" else neck_levels[:-1]
        down = tuple(neck_block(point, level) for level in reversed(ways))
        up = tuple(
            (
                Block("conv", neck_width(point, level - 1), 1, 2, 0, 3),
                neck_block(point, level, top=level == neck_levels[-1]),
            )
            for level in neck_levels[1:]
            if level <= head_levels[-1]
        )
        neck = Neck(neck_levels, down, up, kind)
        boxes = point["head.reg_max"], point["head.end2end"]
        head = Head(head_levels, *boxes, yolo26=self.yolo26)
        return for_task(Architecture(tuple(backbone), neck, head, imgsz, timm), self.task)

    def _blocks(self, point: Mapping[str, Any]) -> list[Block]:
        """Return the blocks of stem, stages and context."""
        backbone = [stem_block(point)]
        for stage in self.present(point):
            backbone.extend(stage_blocks(stage, point, backbone[-1].width))
        return [*backbone, *context_blocks(point["context"], backbone[-1].width)]

    def _own(self, point: Mapping[str, Any]) -> bool:
        """Say whether the backbone is of the space's own blocks."""
        return point.get("backbone", OWN) == OWN

    def present(self, point: Mapping[str, Any]) -> list[Stage]:
        """Return the stages up to the level where the backbone ends; none of a backbone of timm."""
        if not self._own(point):
            return []
        top = split_levels(point["levels"])[0][-1]
        return [stage for stage in self.stages if stage.level <= top]

    # Which choices matter

    def canonical(self, values: Mapping[str, Any]) -> Point:
        """Return the values with every choice that does not matter here at its first option."""
        result = dict(values)
        dead = self.dead(result)
        for name in dead:
            result[name] = self.choices[name][0]
        if self.task in PLAIN:
            result["levels"] = self._first_like(split_levels(result["levels"])[0], result)
        for prefix, kind in self._kinds(result):
            name = f"{prefix}.kernel"
            allowed = BLOCKS[kind].kernels
            if name not in dead and allowed and result[name] not in allowed:
                result[name] = next(k for k in self.choices[name] if k in allowed)
        return Point(result)

    def active(self, point: Mapping[str, Any]) -> list[str]:
        """Return the choices with more than one option that change the network at this point."""
        left = super().active(point)
        if self.task in PLAIN and (
            len({self._joined(split_levels(v)[0]) for v in self.choices["levels"]}) == 1
        ):
            left = [name for name in left if name != "levels"]
        return left

    def _joined(self, neck_levels: tuple[int, ...]) -> tuple[int, ...]:
        """Return what is built of a neck's levels: of a classifier, which has none, the highest."""
        return neck_levels[-1:] if self.task == "classify" else neck_levels

    def _levels_of(self, values: Mapping[str, Any]) -> list[str]:
        """Return the options of the levels that the backbone of these values has."""
        rules = [rule for rule in self.rules if isinstance(rule, Offered)]
        return [
            levels
            for levels in self.choices["levels"]
            if all(rule.holds({**values, "levels": levels}) for rule in rules)
        ]

    def timm_networks(self) -> Iterator[Architecture]:
        """Yield for each backbone of timm and image size the network of most of its levels."""
        first = {name: options[0] for name, options in self.choices.items()}
        for backbone in self.choices.get("backbone", ()):
            levels = self._levels_of({**first, "backbone": backbone})
            if backbone != OWN and levels:
                most = max(levels, key=lambda o: (split_levels(o)[0][-1], -split_levels(o)[0][0]))
                for imgsz in self.choices.get("imgsz", (0,)):
                    values = {**first, "backbone": backbone, "levels": most}
                    values |= {"imgsz": imgsz} if imgsz else {}
                    yield self.architecture(self.canonical(values))

    def _first_like(self, neck_levels: tuple[int, ...], values: Mapping[str, Any]) -> str:
        """Return the first option of the backbone's levels that is the same without a head."""
        options = self._levels_of(values)
        wanted = self._joined(neck_levels)
        found = (o for o in options if self._joined(split_levels(o)[0]) == wanted)
        return next(found, f"{wanted[0]}-{wanted[-1]}")

    def _allowed(self, point: Point) -> bool:
        """Say whether the rules hold between the choices that matter."""
        dead = self.dead(point)
        values = {name: value for name, value in point.items() if name not in dead}
        return all(rule.holds(values) for rule in self.rules)

    def _kinds(self, values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        for stage in self.present(values):
            yield stage.name, values[f"{stage.name}.block"]
        yield "neck", values["neck.block"]

    def dead(self, values: Mapping[str, Any]) -> Set[str]:
        """Return the choices that change nothing at these values."""
        deciding = tuple(map(values.get, self._deciding))
        if (known := self._dead.get(deciding)) is None:
            if len(self._dead) >= REMEMBERED:
                self._dead.clear()
            known = self._dead[deciding] = self._find_dead(values)
        return known

    def _find_dead(self, values: Mapping[str, Any]) -> Set[str]:
        neck_levels, head_levels = split_levels(values["levels"])
        present = {stage.name for stage in self.present(values)}
        prefixes = {stage.name for stage in self.stages} - present
        if len(neck_levels) == 1 or self.task == "classify":
            prefixes.add("neck")
        if self.task in PLAIN:
            prefixes.add("head")
        if not self._own(values):
            prefixes |= {"stem", "context"}
        dead = {name for name in self.choices if name.split(".")[0] in prefixes}
        for stage in self.present(values):
            if stage.stride == 1 or values[f"{stage.name}.down"] == "inside":
                dead.add(f"{stage.name}.down_width")
            if stage.stride == 1:
                dead.add(f"{stage.name}.down")
        # Whether there is the neck's last block of the bottom-up path.
        built = head_levels[-1] == neck_levels[-1] and self.task != "semantic"
        for prefix, kind in self._kinds(values):
            block = BLOCKS[kind]
            top = BLOCKS.get(values["neck.top"]) if prefix == "neck" and built else None
            if not block.kernels and not (top and top.kernels):
                dead.add(f"{prefix}.kernel")
            if not block.bottleneck:
                dead |= {f"{prefix}.expansion", f"{prefix}.hidden"}
        if not built:
            dead.add("neck.top")
        return frozenset(dead & self.choices.keys())

    # From architectures to points

    def point_of(self, architecture: Architecture) -> Point:
        """Return the point of an architecture.

        Raises:
            NASError: Where the architecture is not in the space: the first choice that has no
                option for it.
        """
        known = self._known(architecture)
        values = Encoder(self.name, self.choices, self.stages).values(architecture, known)
        point = self.canonical(values)
        if self.architecture(point) != architecture:
            theirs, mine = (
                dataclasses.astuple(a) for a in (architecture, self.architecture(point))
            )
            field = next(n for n, a, b in zip(FIELDS, theirs, mine, strict=True) if a != b)
            raise NASError(
                f"not in space '{self.name}': its {field} differs from all of the space's"
            )
        if not self._allowed(point):
            raise NASError(f"not in space '{self.name}': it breaks a rule between the choices")
        return point

    def _known(self, architecture: Architecture) -> dict[str, Any]:
        """Return the values of the backbone, the levels and the head of an architecture."""
        neck, head, timm = architecture.neck, architecture.head, architecture.timm
        values: dict[str, Any] = {"imgsz": architecture.imgsz, "backbone": OWN}
        values |= {"backbone": option(timm.name, timm.pretrained)} if timm else {}
        levels = f"{neck.levels[0]}-{neck.levels[-1]}"
        if self.task in PLAIN:
            return {**values, "levels": self._first_like(neck.levels, values)}
        if head.levels != neck.levels:
            levels += ":" + "-".join(str(level) for level in (head.levels[0], head.levels[-1]))
        boxes = {"head.reg_max": head.reg_max, "head.end2end": head.end2end}
        return {**values, "levels": levels, **boxes}
