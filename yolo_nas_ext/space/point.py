"""Point: a value for every choice of a space."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any


class Point(Mapping[str, Any]):
    """A read-only, hashable assignment of a value to every choice of a space."""

    __slots__ = ("_hash", "_places", "_values")

    def __init__(self, values: Mapping[str, Any]) -> None:
        # Points are many and their names few: all with the same ones share them.
        self._places = _places(tuple(values))
        self._values = tuple(values.values())
        self._hash = hash(frozenset(zip(self._places, self._values, strict=True)))

    def __getitem__(self, name: str) -> Any:
        return self._values[self._places[name]]

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._values)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if isinstance(other, Point):
            if self._hash != other._hash:
                return False
            if self._places is other._places:
                return self._values == other._values
        return isinstance(other, Mapping) and dict(self) == dict(other)

    def __reduce__(self) -> tuple[type[Point], tuple[dict[str, Any]]]:
        # Another process has another hash of the same texts.
        return Point, (dict(self),)

    def __repr__(self) -> str:
        return f"Point({dict(self)})"


@lru_cache(maxsize=4096)
def _places(names: tuple[str, ...]) -> dict[str, int]:
    return {name: place for place, name in enumerate(names)}
