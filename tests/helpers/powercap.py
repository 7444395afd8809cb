"""A folder as Linux shows the counters of processors' energy in."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def powercap(
    folder: Path, zones: Mapping[str, str], microjoules: int = 0, most: int = 10**12
) -> Path:
    """Write counters that begin at `microjoules` and anew after `most`; return the folder."""
    for zone, name in zones.items():
        (folder / zone).mkdir(parents=True)
        (folder / zone / "name").write_text(f"{name}\n")
        (folder / zone / "energy_uj").write_text(f"{microjoules}\n")
        (folder / zone / "max_energy_range_uj").write_text(f"{most}\n")
    return folder
