"""Architecture: a frozen description of one network, without weights."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache
from typing import Any


@dataclass(frozen=True, slots=True)
class Block:
    """One block of the catalogue in `network.blocks` with its sizes.

    Attributes:
        kind: Name in the catalogue.
        width: Output channels.
        depth: Repeats inside the block.
        stride: 2 where the block halves the resolution, else 1.
        hidden: Channels of the bottleneck; 0 where the block has none.
        kernel: Kernel size in pixels where the block has a choice, else 0.
        shortcut: Whether inner bottlenecks add their input.
    """

    kind: str
    width: int
    depth: int = 1
    stride: int = 1
    hidden: int = 0
    kernel: int = 0
    shortcut: bool = False


@dataclass(frozen=True, slots=True)
class Neck:
    """What joins levels of the backbone; `network.neck` has the wiring.

    Attributes:
        levels: Levels joined, ascending and without gaps; level n has stride 2**n.
        down: Blocks of the top-down path, from the level below the highest to the lowest; of a
            ``gfpn`` from the highest.
        up: Pairs of (downsampling, block) of the bottom-up path, from the second lowest level up to
            the highest that the head reads.
        kind: ``pan``, a path-aggregation network (Liu et al. 2018), or ``gfpn``, DAMO-YOLO's
            efficient RepGFPN with its queen fusion (Xu et al. 2022).
    """

    levels: tuple[int, ...]
    down: tuple[Block, ...]
    up: tuple[tuple[Block, Block], ...]
    kind: str = "pan"


@dataclass(frozen=True, slots=True)
class Head:
    """Ultralytics' head.

    Attributes:
        levels: Levels it reads, ascending.
        reg_max: Bins of the box distribution; 1 regresses distances directly.
        end2end: Whether a second, one-to-one branch makes non-maximum suppression unnecessary.
        yolo26: Whether a segmentation, a pose or an OBB network has the head that YOLO26 has for
            it, and not that of the series before; other tasks have one head.
    """

    levels: tuple[int, ...]
    reg_max: int = 16
    end2end: bool = False
    yolo26: bool = False


@dataclass(frozen=True, slots=True)
class TimmBackbone:
    """A backbone of timm, in place of blocks.

    Attributes:
        name: As timm calls it.
        pretrained: Whether it starts from timm's weights.
        indices: Features that are read, by timm's numbers, ascending.
        levels: Their levels.
        widths: Their channels.
    """

    name: str
    pretrained: bool
    indices: tuple[int, ...]
    levels: tuple[int, ...]
    widths: tuple[int, ...]


@dataclass(frozen=True)
class Architecture:
    """A network as choices, never weights. Hashable; equal networks have the same key everywhere.

    Attributes:
        backbone: Stem, stages and context in order. Its levels end where the next stride of 2
            begins.
        neck: What joins the levels.
        head: What reads them.
        imgsz: Height and width in pixels of the images that it is meant for. 0 says that it has no
            size of its own and takes the search's.
        timm: A backbone of timm, in the place of `backbone`, which has no blocks then.
    """

    backbone: tuple[Block, ...]
    neck: Neck
    head: Head
    imgsz: int = 0
    timm: TimmBackbone | None = None

    @cached_property
    def key(self) -> str:
        """Ten hexadecimal digits that depend on the architecture alone."""
        text = json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:10]

    def with_key(self, key: str) -> Architecture:
        """Return this architecture; its key is known and need not be worked out."""
        self.__dict__["key"] = key
        return self

    def to_dict(self) -> dict[str, Any]:
        """Return plain lists, dictionaries and numbers.

        What came later is left out at its default, so that keys of recorded networks stay.
        """
        found = json.loads(json.dumps(asdict(self)))
        if self.neck.kind == "pan":
            del found["neck"]["kind"]
        if not self.head.yolo26:
            del found["head"]["yolo26"]
        if not self.imgsz:
            del found["imgsz"]
        timm = found.pop("timm")
        if timm:  # under the name that files of before have
            found["whole"] = timm
        return found

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Architecture:
        """Return the architecture that `to_dict` described; parts alike are one object."""
        neck, head = data["neck"], data["head"]
        return cls(
            backbone=tuple(_block(**block) for block in data["backbone"]),
            neck=_neck(
                levels=tuple(neck["levels"]),
                down=tuple(_block(**block) for block in neck["down"]),
                up=tuple((_block(**a), _block(**b)) for a, b in neck["up"]),
                kind=neck.get("kind", "pan"),
            ),
            head=_head(**{**head, "levels": tuple(head["levels"])}),
            imgsz=data.get("imgsz", 0),
            timm=_timm(data.get("whole")),
        )

    @property
    def levels(self) -> dict[int, int]:
        """Index of the last backbone block of every level; of one of timm, of the feature."""
        if self.timm:
            return {level: index for index, level in enumerate(self.timm.levels)}
        level, ends = 0, {}
        for index, block in enumerate(self.backbone):
            level += block.stride == 2
            ends[level] = index
        return ends

    @property
    def widths(self) -> dict[int, int]:
        """Channels of every level of the backbone."""
        if self.timm:
            return dict(zip(self.timm.levels, self.timm.widths, strict=True))
        return {level: self.backbone[index].width for level, index in self.levels.items()}


def _timm(data: Mapping[str, Any] | None) -> TimmBackbone | None:
    """Return a backbone of timm from plain lists."""
    if data is None:
        return None
    numbers = {name: tuple(data[name]) for name in ("indices", "levels", "widths")}
    return TimmBackbone(data["name"], data["pretrained"], **numbers)


# A record holds many thousand networks made of a few hundred blocks.
_block = lru_cache(maxsize=10_000)(Block)
_neck = lru_cache(maxsize=10_000)(Neck)
_head = lru_cache(maxsize=10_000)(Head)
