"""Which pseudonym stands for which scan: a list for its owner alone, outside of the output."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

from yolo_nas_ext.errors import NASError
from yolo_nas_ext.files import replacing


def check(path: Path | None, key: str = "linkage") -> None:
    """Refuse a list that is there already.

    Args:
        path: Its file.
        key: The user's key that names it.

    Raises:
        NASError: As above.
    """
    if path and path.exists():
        raise NASError(
            f"{key}={path}: exists; give the name of a new file, as no list of scans is overwritten"
        )


def write(path: Path, linkage: Mapping[str, str]) -> None:
    """Write the pseudonym of each scan.

    Raises:
        NASError: For a file that cannot be written.
    """
    try:
        with (
            replacing(path, 0o600) as temporary,
            temporary.open("w", encoding="utf-8", newline="") as file,
        ):
            csv.writer(file).writerows([("scan", "pseudonym"), *linkage.items()])
    except OSError as error:
        raise NASError(f"linkage={path}: cannot be written ({error.strerror})") from error
