"""The report of a transfer: the parts of a model that took weights from another, in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from yolo_nas_ext.network.roles import BRANCHES, Role


@dataclass(frozen=True, slots=True)
class Share:
    """A part of a model's tensors.

    Attributes:
        names: Tensors, running statistics of batch norms included.
        parameters: Trained numbers; running statistics are none.
    """

    names: tuple[str, ...]
    parameters: int


@dataclass(frozen=True, slots=True)
class Transfer:
    """The tensors that a model took from a source, and the ones it did not.

    Attributes:
        source: Name of the source.
        copied: Tensors that equal the source's.
        sliced: Tensors that took some of their channels, or took from wider ones; ``parameters``
            counts the numbers taken.
        left: Tensors that kept their initialisation; ``parameters`` counts those of the sliced
            tensors that did so, too. The fixed numbers of the box decoding are not counted.
        parts: For each part of the network (numbers taken, numbers it has), in its order.
        rules: How many convolutions came by each rule of `counterparts`.
        fitted: How many convolutions were fitted to the source by least squares.
    """

    source: str
    copied: Share
    sliced: Share
    left: Share
    parts: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    rules: Mapping[str, int] = field(default_factory=dict)
    fitted: int = 0

    @property
    def percent(self) -> float:
        """Part of the parameters that came from the source, in percent."""
        taken = self.copied.parameters + self.sliced.parameters
        return 100 * taken / (taken + self.left.parameters)

    @property
    def summary(self) -> str:
        """One line for people."""
        total = sum(share.parameters for share in (self.copied, self.sliced, self.left))
        return (
            f"{self.percent:.1f} % of {total:,} parameters from {self.source}: "
            f"{len(self.copied.names)} tensors copied, {len(self.sliced.names)} sliced, "
            f"{len(self.left.names)} left as initialised"
        )

    @property
    def lines(self) -> list[str]:
        """`summary`, which parts of the network came whole, in part or not, and by which rule."""
        kinds: dict[str, list[str]] = {"whole": [], "in part": [], "not at all": []}
        for name, (taken, total) in self.parts.items():
            if 0 < taken < total:
                kinds["in part"].append(f"{name} ({100 * taken / total:.0f} %)")
            else:
                kinds["whole" if taken else "not at all"].append(name)
        rules = [f"from {rule}: {count} convolutions" for rule, count in self.rules.items()]
        rules += [f"fitted by least squares: {self.fitted} convolutions"] if self.fitted else []
        return [
            self.summary,
            *(f"{k}: {', '.join(names) or 'none'}" for k, names in kinds.items()),
            *rules,
        ]


def part_of(role: Role) -> str:
    """Return the name of the part that has a role, for people: ``backbone P4 block 1``."""
    if role[0] == "head":
        _, level, purpose, branch = role
        return f"head P{level} {purpose}" + (f" ({branch})" if branch == BRANCHES[1] else "")
    place, first, *rest = role[:-1]  # without the row within its block
    level = f"P{first}" if isinstance(first, int) else first
    return " ".join([place, level, *map(str, rest)])
