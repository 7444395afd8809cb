"""Which channels of a network belong together, so that they can be put into another order.

The channels of a convolution may be permuted where everything that reads them is permuted alike. A
sum ties the channels of its terms together; a split, a concatenation and attention say between
which of them an order can be exchanged. This is the coupling of structured pruning (Fang et al.
2023, arXiv:2301.12900), read off the layer tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from yolo_nas_ext.network.graph import Tensor

# Operations whose outputs are the channels of what they read.
SAME = ("norm", "act", "pool", "upsample", "dormant")


@dataclass(frozen=True, slots=True)
class Group:
    """Channels that can be permuted among themselves.

    Attributes:
        atoms: Rows of channel numbers, equally long. All rows are permuted alike: what is at one
            place of each is one channel of the network, under several numbers.
    """

    atoms: tuple[tuple[int, ...], ...]

    def __len__(self) -> int:
        """Return how many channels can be exchanged."""
        return len(self.atoms[0])


@dataclass(frozen=True, slots=True)
class Coupled:
    """The groups of a network's channels, numbered from 0 in the order in which they are made.

    Attributes:
        groups: Groups of two channels and more.
        heads: For each attention, the channel numbers of each of its heads: heads can be exchanged
            as wholes, and all rows of numbers are equally long.
    """

    groups: tuple[Group, ...]
    heads: tuple[tuple[tuple[int, ...], ...], ...]


class Coupling:
    """Follows channels through a network while its layers are spelled out."""

    def __init__(self) -> None:
        self._ids: dict[int, tuple[int, ...]] = {}  # channels of an activation
        self._tied: list[int] = []  # a channel tied to each, itself where it is the first
        self._marks: list[set[int]] = []  # of each channel: the ranges that it lies in
        self._next_mark = 0
        self._heads: list[tuple[tuple[int, ...], ...]] = []

    def of(self, x: Tensor) -> tuple[int, ...]:
        """Return the channels of an activation; new ones in a fixed order where none are known."""
        found = self._ids.get(x.id, ())
        if len(found) != x.c:
            self.fix(x)
        return self._ids[x.id]

    def fix(self, x: Tensor) -> None:
        """Let an activation have channels that cannot be exchanged."""
        self._ids[x.id] = self._new(x.c)
        for channel in self._ids[x.id]:
            self._mark((channel,))

    def add(
        self, op: str, xs: Sequence[Tensor], y: Tensor, depthwise: bool
    ) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Take note of an operation and return the channels that it reads and writes."""
        read = [self.of(x) for x in xs]
        if op == "conv" and not depthwise:
            self._ids[y.id] = self._new(y.c)
            self._mark(self._ids[y.id])
        elif op == "concat":
            self._ids[y.id] = tuple(channel for ids in read for channel in ids)
        elif op == "matmul":
            if y.c == xs[0].c:  # values, weighted by scores that have no channels
                self._ids[y.id] = read[0]
            else:
                self._tie(read[0], read[1])
        elif op in ("add", "scale"):
            self._tie(read[0], read[1])
            self._ids[y.id] = read[0]
        elif op in SAME or depthwise:
            self._ids[y.id] = read[0] if y.c == xs[0].c else self._fixed(y)
        return read[0], self.of(y)

    def split(self, x: Tensor, views: Sequence[Tensor]) -> None:
        """Take note of views that lie side by side."""
        ids, at = self.of(x), 0
        for view in views:
            self._ids[view.id] = ids[at : at + view.c]
            self._mark(self._ids[view.id])
            at += view.c

    def heads(self, x: Tensor, count: int, views: Sequence[Tensor]) -> None:
        """Take note of views across attention heads, which lie side by side in `x`."""
        ids = self.of(x)
        size = x.c // count
        found: list[list[int]] = [[] for _ in views]
        for head in range(count):
            at = head * size
            for own, view in zip(found, views, strict=True):
                mine = ids[at : at + view.c // count]
                self._mark(mine)
                own.extend(mine)
                at += len(mine)
        for own, view in zip(found, views, strict=True):
            self._ids[view.id] = tuple(own)
        self._heads.append(tuple(ids[i * size : (i + 1) * size] for i in range(count)))

    def settled(self) -> Coupled:
        """Return the groups, once every layer has been seen."""
        members: dict[int, list[int]] = {}
        for channel in range(len(self._tied)):
            members.setdefault(self._first(channel), []).append(channel)
        rows: dict[frozenset[int], list[list[int]]] = {}
        for tied in members.values():
            marks = frozenset().union(*(self._marks[channel] for channel in tied))
            rows.setdefault(marks, []).append(tied)
        groups = [Group(tuple(zip(*row, strict=True))) for row in rows.values() if len(row) > 1]
        return Coupled(tuple(groups), tuple(self._heads))

    def _new(self, count: int) -> tuple[int, ...]:
        first = len(self._tied)
        self._tied.extend(range(first, first + count))
        self._marks.extend(set() for _ in range(count))
        return tuple(range(first, first + count))

    def _fixed(self, y: Tensor) -> tuple[int, ...]:
        self.fix(y)
        return self._ids[y.id]

    def _mark(self, channels: Sequence[int]) -> None:
        self._next_mark += 1
        for channel in channels:
            self._marks[channel].add(self._next_mark)

    def _first(self, channel: int) -> int:
        while self._tied[channel] != channel:
            channel = self._tied[channel]
        return channel

    def _tie(self, some: Sequence[int], others: Sequence[int]) -> None:
        if len(some) != len(others):  # broadcast: nothing can be exchanged
            for channel in (*some, *others):
                self._mark((channel,))
            return
        for a, b in zip(some, others, strict=True):
            first, second = sorted((self._first(a), self._first(b)))
            self._tied[second] = first
