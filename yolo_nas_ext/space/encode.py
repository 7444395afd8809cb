"""A network as values of a space's choices: the way back of `space.decode`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from yolo_nas_ext.errors import NASError
from yolo_nas_ext.network.architecture import Architecture, Block, Neck
from yolo_nas_ext.network.block_rows import round8
from yolo_nas_ext.network.blocks import BLOCKS, hidden_width
from yolo_nas_ext.network.timm_backbones import OWN
from yolo_nas_ext.space.decode import context_blocks, neck_width
from yolo_nas_ext.space.schema import CONTEXTS, Stage

# What a network has where the space leaves no choice of it.
OTHERWISE: dict[str, tuple[Any, ...]] = {"neck.kind": ("pan",), "imgsz": (0,), "backbone": (OWN,)}


@dataclass(frozen=True, slots=True)
class Encoder:
    """Reads networks as values of the choices of one space.

    Attributes:
        name: Name of the space, for messages.
        choices: Options of every choice.
        stages: Stages of the space's own backbone.
    """

    name: str
    choices: Mapping[str, Sequence[Any]]
    stages: Sequence[Stage]

    def values(self, architecture: Architecture, known: Mapping[str, Any]) -> dict[str, Any]:
        """Return a value for every choice; a choice that the network does not show has its first.

        Args:
            architecture: The network.
            known: Values of the image size, the backbone, the levels and the head.

        Raises:
            NASError: For the first choice that has no option for the network.
        """
        found = {name: options[0] for name, options in self.choices.items()}
        found.update(known)
        if found["backbone"] == OWN and OWN in self.choices.get("backbone", (OWN,)):
            self._add_backbone(architecture, found)
        if len(architecture.neck.levels) > 1:
            self._add_neck(architecture.neck, found)
        for name, value in found.items():
            options = self.choices[name] if name in self.choices else OTHERWISE[name]
            if value not in options:
                raise NASError(
                    f"not in space '{self.name}': {name} would be {value!r}; options: "
                    f"{list(options)}"
                )
        return {name: value for name, value in found.items() if name in self.choices}

    def _add_backbone(self, architecture: Architecture, values: dict[str, Any]) -> None:
        """Add the choices of stem, stages and context to `values`."""
        stem, *rest = architecture.backbone
        values |= {
            "stem.block": stem.kind,
            "stem.width": stem.width,
            "stem.kernel": stem.kernel,
        }
        for stage in self.stages:
            if stage.level <= architecture.neck.levels[-1]:
                rest = self._add_stage(stage, rest, values)
        values["context"] = next(
            (n for n in CONTEXTS if rest == context_blocks(n, rest[-1].width if rest else 0)),
            "+".join(block.kind for block in rest),
        )

    def _add_stage(self, stage: Stage, rest: list[Block], values: dict[str, Any]) -> list[Block]:
        """Add a stage's choices to `values` and return the blocks behind it."""
        name, down = stage.name, None
        if stage.stride == 2 and rest and not BLOCKS[rest[0].kind].bottleneck:
            down, *rest = rest
        if not rest:
            raise NASError(f"not in space '{self.name}': it has no stage {name}")
        block, *rest = rest
        values |= {f"{name}.block": block.kind, f"{name}.width": block.width}
        values |= {f"{name}.depth": block.depth, f"{name}.kernel": block.kernel or 3}
        if stage.stride == 2:
            values[f"{name}.down"] = down.kind if down else "inside"
            if down:
                values[f"{name}.down_width"] = self._ratio(
                    f"{name}.down_width", lambda r: round8(r * block.width) == down.width
                )
        self._add_hidden(name, [block], values)
        return rest

    def _add_hidden(self, name: str, blocks: list[Block], values: dict[str, Any]) -> None:
        """Add the hidden width, or the expansion that gives the hidden widths of all blocks."""
        if f"{name}.hidden" in self.choices:
            values[f"{name}.hidden"] = blocks[0].hidden
        else:
            values[f"{name}.expansion"] = self._ratio(
                f"{name}.expansion",
                lambda e: all(hidden_width(b.kind, b.width, e) == b.hidden for b in blocks),
                round(blocks[0].hidden / blocks[0].width, 3),
            )

    def _add_neck(self, neck: Neck, values: dict[str, Any]) -> None:
        """Add the choices of the neck to `values`."""
        values["neck.kind"] = neck.kind
        by_level = {lv: b for lv, b in zip(neck.levels, reversed(neck.down), strict=False)}
        by_level |= {lv: pair[1] for lv, pair in zip(neck.levels[1:], neck.up, strict=False)}
        lowest = neck.down[-1]
        values["neck.block"], values["neck.depth"] = lowest.kind, lowest.depth
        values["neck.kernel"] = lowest.kernel or 3
        top = by_level.get(neck.levels[-1])
        values["neck.top"] = top.kind if top and top.kind != lowest.kind else "same"
        self._add_hidden("neck", list(by_level.values()), values)
        for width in self.choices["neck.width"]:
            for growth in self.choices["neck.growth"]:
                sizes = {"neck.width": width, "neck.growth": growth}
                if all(neck_width(sizes, lv) == block.width for lv, block in by_level.items()):
                    values |= sizes
                    return
        raise NASError(
            f"not in space '{self.name}': no neck.width and neck.growth give the widths "
            f"{[block.width for block in by_level.values()]}"
        )

    def _ratio(self, name: str, fits: Callable[[Any], bool], otherwise: Any = None) -> Any:
        """Return the option of a ratio for which `fits` holds."""
        return next((option for option in self.choices[name] if fits(option)), otherwise)
