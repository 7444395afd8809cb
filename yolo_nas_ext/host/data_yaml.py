"""The YAML of a data set: where it lies, what it says, and what makes images that are missing."""

from __future__ import annotations

import contextlib
import logging
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from ultralytics.data import utils
from ultralytics.utils import LOGGER, ONLINE, ROOT

from yolo_nas_ext.console import say
from yolo_nas_ext.errors import NASError, did_you_mean
from yolo_nas_ext.files import resource, yaml_of
from yolo_nas_ext.host import parts
from yolo_nas_ext.host.labels import text

SUFFIXES = (".yaml", ".yml")


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence Ultralytics' log and its look-up of fonts, which waits for the internet."""
    level, font = LOGGER.level, utils.check_font
    LOGGER.setLevel(logging.CRITICAL)
    utils.check_font = lambda *args, **kwargs: None
    try:
        yield
    finally:
        LOGGER.setLevel(level)
        utils.check_font = font


def is_remote(data: str) -> bool:
    """Say whether a name stands for what Ultralytics fetches."""
    return "://" in data


def download(data: str) -> str:
    """Return the code or the URL by which a data set is made that is not there.

    Returns:
        What stands behind ``download:`` in a data YAML of somebody's; nothing where nothing does,
        and for the data sets of this package and of Ultralytics.
    """
    with contextlib.suppress(NASError):
        path = located(data, fetch=False)
        if path.is_file() and not is_shipped(path):
            return str(mapping(path).get("download") or "")
    return ""


def is_shipped(path: Path) -> bool:
    """Say whether a file is this package's or Ultralytics'."""
    folders = (resource("datasets"), ROOT / "cfg" / "datasets")
    return any(path.resolve().is_relative_to(folder.resolve()) for folder in folders)


def located(data: str, *, fetch: bool = True) -> Path:
    """Return the YAML or folder that a name stands for; what is elsewhere is fetched."""
    path = Path(data)
    try:
        path.is_file()
    except (OSError, ValueError) as error:
        raise NASError(
            f"data={data[:80]}: can be the name of no file ({error.args[-1]})"
        ) from error
    if path.is_dir():
        found = [p for p in (path / "data.yaml", path / f"{path.name}.yaml") if p.is_file()]
        # A YAML that only names the classes says nothing about the folders: the layout does.
        laid_out = "train" in parts.called(path / "images")
        return next((p for p in found if not laid_out or "train" in mapping(p)), path)
    shipped = {p.stem: p for p in resource("datasets").glob("*.yaml")}
    if path.is_file():
        return path
    if path.name == data and path.stem in shipped:
        return shipped[path.stem]
    if is_remote(data) and not ONLINE:
        raise NASError(
            f"data={data}: cannot be fetched, as there is no internet here or YOLO_OFFLINE is set; "
            "give a file or a folder of this machine"
        )
    with quiet(), contextlib.suppress(Exception):
        name = data if path.suffix else f"{data}.yaml"
        found: Any = utils.check_file(name, hard=False, download=fetch)
        if found and Path(found).is_file():
            return Path(found)
    raise NASError(
        f"data={data}: no such file or folder.{did_you_mean(path.stem, shipped)} Give a data YAML, "
        f"a folder with images/train and labels/train, or one of {', '.join(sorted(shipped))}"
    )


def checked(file: Path, path: Path, content: dict[str, Any]) -> dict[str, Any]:
    """Return Ultralytics' data dictionary; what makes a missing data set is printed before."""
    made_by = content.get("download")
    try:
        return utils.check_det_dataset(str(file), autodownload=False)
    except FileNotFoundError:
        if not isinstance(made_by, str) or not made_by.strip():
            raise
    if not is_shipped(path):
        if made_by.lower().startswith("http") and not ONLINE:
            raise NASError(
                f"data={path}: its images are not there, and {made_by.strip()} cannot be fetched, "
                "as there is no internet here or YOLO_OFFLINE is set"
            )
        say(f"note: {path} has no images yet and makes them by download:")
        say(textwrap.indent(made_by.strip(), "  "))
    return utils.check_det_dataset(str(file))


def mapping(path: Path) -> dict[str, Any]:
    """Return the keys of a YAML."""
    if path.suffix.lower() not in SUFFIXES and path.is_file():
        raise NASError(
            f"data={path}: no data YAML, whose name ends with .yaml or .yml; an archive is "
            "unpacked first, and a COCO JSON becomes a data set by yolo nas-data source="
        )
    try:
        content = yaml_of(text(path))
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise NASError(f"data={path}: not a YAML file ({reason})") from error
    if not isinstance(content, dict):
        raise NASError(f"data={path}: holds no keys; give path, train, val and names")
    return content
