"""NetworkSpace: what spaces have in common whose points are networks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterable, Iterator, Mapping, Set
from typing import Any

from yolo_nas_ext.network.architecture import Architecture
from yolo_nas_ext.space.choices import ChoiceSpace
from yolo_nas_ext.space.point import Point
from yolo_nas_ext.space.schema import Stage

CACHE = 200_000  # architectures remembered by point; about 1 KB each


class NetworkSpace(ChoiceSpace, ABC):
    """A space whose points are turned into architectures by `architecture`.

    Args:
        choices: See `ChoiceSpace`.
        name: Name of the space.
        task: What the networks do.
        **more: Further arguments of `ChoiceSpace`.
    """

    stages: tuple[Stage, ...] = ()

    def __init__(
        self, choices: Mapping[str, Iterable[Hashable]], *, name: str, task: str, **more: Any
    ) -> None:
        super().__init__(choices, **more)
        self.name = name
        self.task = task
        self._architectures: dict[Point, Architecture] = {}

    def architecture(self, point: Mapping[str, Any]) -> Architecture:
        """Return the architecture of a point."""
        point = point if isinstance(point, Point) else self.point(point)
        if (known := self._architectures.get(point)) is None:
            if len(self._architectures) >= CACHE:
                self._architectures.clear()
            known = self._architectures[point] = self._build(point)
        return known

    @abstractmethod
    def point_of(self, architecture: Architecture) -> Point:
        """Return the point of an architecture.

        Raises:
            NASError: Where the architecture is not in the space; it says why.
        """

    def sizes(self, usual: int) -> tuple[int, ...]:
        """Return the image sizes of the networks in pixels; the usual one if they are no choice."""
        return tuple(self.choices.get("imgsz", (usual,)))

    def subject(self, point: Point) -> Architecture:
        """Return the architecture, which is what limits look at."""
        return self.architecture(point)

    def identity(self, point: Point) -> Hashable:
        """Return the architecture's key: equal networks are one candidate."""
        return self.architecture(point).key

    def active(self, point: Mapping[str, Any]) -> list[str]:
        """Return the choices with more than one option that change the network at this point."""
        dead = self.dead(point)
        return [n for n, options in self.choices.items() if len(options) > 1 and n not in dead]

    @abstractmethod
    def dead(self, values: Mapping[str, Any]) -> Set[str]:
        """Return the choices that change nothing at these values."""

    def timm_networks(self) -> Iterator[Architecture]:
        """Yield networks on every backbone of timm in the space; there is none of them here."""
        yield from ()

    @abstractmethod
    def _build(self, point: Mapping[str, Any]) -> Architecture:
        """Return the architecture of a canonical point."""
