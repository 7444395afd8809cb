"""How a data set was made of scans, kept with it and in its checkpoints.

A model sees pictures as its training did: the same axis, window, spacing and channels. A recipe is
what scans that come later are read by. It holds settings and class names, and nothing of a scan.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

from yolo_nas_ext.data.scans.options import Options
from yolo_nas_ext.errors import NASError
from yolo_nas_ext.files import json_of

KEY = "scans"  # of a checkpoint
RECORD = "conversion.json"  # of a data set that `nas-data` made
VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How scans become what a model takes.

    Attributes:
        options: Every option of the conversion, with what labels mean decided.
        names: Class names by label, in the order of the model's classes.
    """

    options: Options
    names: dict[int, str]

    @property
    def labels(self) -> list[int]:
        """The label of each class, by the model's index."""
        return list(self.names)

    def to_dict(self) -> dict[str, Any]:
        """Return the recipe as JSON has it."""
        return {
            "version": VERSION,
            "options": asdict(self.options),
            # A list, as JSON's keys are text and may be sorted.
            "classes": [[label, name] for label, name in self.names.items()],
        }


def from_dict(content: Mapping[str, Any], where: str) -> Recipe:
    """Return the recipe that `Recipe.to_dict` wrote.

    Args:
        content: Its dictionary.
        where: What to call the file in a message.

    Raises:
        NASError: For one of another version, or with options that this version does not know.
    """
    try:
        if content["version"] != VERSION:
            raise ValueError(f"version {content['version']}")
        options = _restored(Options, content["options"])
        return Recipe(options=options, names={_label(k): str(v) for k, v in content["classes"]})
    except (KeyError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:100]
        raise NASError(
            f"{where}: says in a way that this version does not know how its scans were converted "
            f"({reason}); convert the scans again with yolo nas-data"
        ) from error


def spacings(data: str | Path) -> dict[str, tuple[float, float, float]]:
    """Return the distance of slices, rows and columns in mm of every scan that is a volume.

    Args:
        data: See `beside`.

    Returns:
        Distances by the scan's pseudonym; of the pixels that were written. Nothing of other data.
    """
    found = _record(data).get("scans")
    result = {}
    for key, scan in found.items() if isinstance(found, dict) else ():
        if isinstance(scan, dict) and {"between_mm", "spacing_mm"} <= set(scan):
            x, y = scan["spacing_mm"]
            result[key] = float(scan["between_mm"]), float(y), float(x)
    return result


def resampled(data: str | Path) -> bool:
    """Say whether pictures have other pixels than their scans, so that outlines run between them.

    Args:
        data: See `beside`.
    """
    try:
        return bool(_record(data)["recipe"]["options"]["cut"]["spacing"])
    except (KeyError, TypeError):
        return False


def beside(data: str | Path) -> Recipe | None:
    """Return the recipe of a data set; None for one that was not made of scans.

    Args:
        data: A data YAML, or a folder that has the data set.

    Raises:
        NASError: For a record that is damaged or of another version.
    """
    found = _record(data).get("recipe")
    return from_dict(found, f"{RECORD} of {data}") if isinstance(found, dict) else None


def _record(data: str | Path) -> dict[str, Any]:
    """Return what a data set says of its conversion; nothing where it does not."""
    path = Path(data)
    try:
        content = json_of(((path if path.is_dir() else path.parent) / RECORD).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _label(value: Any) -> Any:
    """Return a label as it was: a number, or the name of a folder."""
    return int(value) if str(value).lstrip("-").isdecimal() else value


def _restored(kind: Any, content: Mapping[str, Any]) -> Any:
    """Return a frozen dataclass of what `asdict` and JSON made of it."""
    known = {field.name: field for field in fields(kind)}
    if unknown := sorted(set(content) - set(known)):
        raise ValueError(f"the option {unknown[0]}")
    usual = kind()
    values = {}
    for name, value in content.items():
        default = getattr(usual, name)
        values[name] = _restored(type(default), value) if is_dataclass(default) else _plain(value)
    return kind(**values)


def _plain(value: Any) -> Any:
    """Return tuples for JSON's lists, and numbers for keys that are numbers."""
    if isinstance(value, list | tuple):
        return tuple(_plain(part) for part in value)
    if isinstance(value, Mapping):
        return {_label(key): _plain(part) for key, part in value.items()}
    return value
