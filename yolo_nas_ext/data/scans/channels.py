"""Several scans of one place as the channels of a picture: contrasts of a patient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from yolo_nas_ext.data.scans import grids
from yolo_nas_ext.data.scans.volumes import Facts, Scan, ScanError, Volume

MOST = 3  # channels of a picture


@dataclass(frozen=True, slots=True)
class Channels:
    """Scans on one grid; the first says where they are.

    Attributes:
        parts: The scans, in the order of their channels.
        facts: What their headers said.
    """

    parts: tuple[Scan, ...]
    facts: Facts = field(default_factory=Facts)

    def planes(self, axis: int) -> int:
        """Return the number of slices across an axis."""
        return self.parts[0].planes(axis)

    def plane(self, axis: int, index: int) -> np.ndarray:
        """Return a slice (h, w) of the first."""
        return self.parts[0].plane(axis, index)

    def spacing_of(self, axis: int) -> tuple[float, float]:
        """Return the distance of a slice's rows and of its columns in mm."""
        return self.parts[0].spacing_of(axis)


def joined(parts: Sequence[Scan], axis: int) -> Channels:
    """Return scans as channels.

    Raises:
        ScanError: For scans on several grids, or pictures that have colours already.
    """
    first = parts[0]
    for part in parts[1:]:
        if part.facts.colour or first.facts.colour:
            raise ScanError("type", "has colours, which are channels already; leave out contrasts=")
        try:
            laid, notes = grids.lay(first, part, axis)
        except ScanError as error:
            raise ScanError("shape", f"{WHY} ({error})") from error
        if laid is not part or notes:
            raise ScanError("shape", WHY)
    removed = sorted({name for part in parts for name in part.facts.removed})
    facts = Facts(
        tuple(removed),
        sum(part.facts.private for part in parts),
        any(part.facts.text for part in parts),
        notes=tuple(dict.fromkeys(note for part in parts for note in part.facts.notes)),
    )
    return Channels(tuple(parts), facts)


WHY = "has contrasts on several grids; register and resample them to one"


def base(scan: Scan) -> Scan:
    """Return the scan that says where a scan is: itself, or the first of its channels."""
    return scan.parts[0] if isinstance(scan, Channels) else scan


def between(scan: Scan, axis: int) -> tuple[float, str] | None:
    """Return the distance of slices in mm and the file's orientation, which only volumes have."""
    first = base(scan)
    return (first.spacing[axis], first.was) if isinstance(first, Volume) else None
