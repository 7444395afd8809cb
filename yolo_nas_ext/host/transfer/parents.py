"""The parent of a search: a checkpoint that is found, read without running it, and checked."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import torch
from ultralytics.utils import ONLINE, SETTINGS
from ultralytics.utils.downloads import GITHUB_ASSETS_NAMES, attempt_download_asset

from yolo_nas_ext.console import say
from yolo_nas_ext.errors import NASError, did_you_mean
from yolo_nas_ext.host import models, restricted
from yolo_nas_ext.host.dataset import DataSet
from yolo_nas_ext.host.transfer.weights import Source, check_finite, of_its_network, source
from yolo_nas_ext.network.architecture import Architecture
from yolo_nas_ext.network.emit import emit
from yolo_nas_ext.network.parse import classes_of, read
from yolo_nas_ext.network.rows import KEYPOINTS, Task

SUFFIX = ".pt"
USUAL = 640  # pixels, of a checkpoint that does not say what it was trained at


@dataclass(frozen=True, slots=True)
class Parent:
    """A trained network that others start from.

    Attributes:
        path: The checkpoint.
        name: The stem of its file.
        task: What it does.
        names: Class names by number.
        channels: Of the images that it reads.
        imgsz: Image size in pixels that it was trained at.
        definition: Its model definition.
        source: Its weights. Its architecture is None where `unread` says why.
        unread: Why its architecture cannot be read, so that no other network can take its weights
            by role; empty where it can.
        digest: Of the file's bytes.
        key: The user's key that named it, for messages.
    """

    path: Path
    name: str
    task: str
    names: Mapping[int, str]
    channels: int
    imgsz: int
    definition: Mapping[str, Any] = field(repr=False)
    source: Source = field(repr=False)
    unread: str = ""
    digest: str = ""
    key: str = "model"

    @property
    def architecture(self) -> Architecture:
        """The network, of a parent that can be read.

        Raises:
            NASError: For one that cannot.
        """
        if self.unread:
            raise NASError(
                f"{self.key}={self.path}: its network cannot be changed ({self.unread}), so no "
                "space can be made of it; give another space=, where it is a baseline, or a parent "
                "of YOLOv8's, YOLO11's or YOLO26's kind"
            )
        return self.source.architecture

    @property
    def yaml(self) -> dict[str, Any]:
        """The model definition to train; as it is where the architecture cannot be read."""
        if self.unread:
            return {n: v for n, v in self.definition.items() if n != "yaml_file"}
        points: Any = tuple(self.definition.get("kpt_shape") or KEYPOINTS)
        return emit(self.architecture, len(self.names), self.task, points)

    def check(self, data: DataSet) -> None:
        """Refuse data that it cannot be trained on.

        Raises:
            NASError: For images of other channels.
        """
        if data.channels != self.channels:
            raise NASError(
                f"{self.key}={self.path}: reads images of {self.channels} channels, those of "
                f"data={data.source} have {data.channels}; "
                + f"convert scans with channels={self.channels}, " * (self.channels in (1, 3))
                + "give a parent that was trained on such images, or leave it out"
            )


def located(name: str, key: str = "model") -> Path:
    """Return where a checkpoint is; one of Ultralytics' is downloaded if it is not there.

    Args:
        name: A path, or the name of a file that Ultralytics publishes, such as ``yolo11n.pt``.
        key: The user's key that names it, for messages.

    Raises:
        NASError: For what is neither, or without internet.
    """
    path = Path(name)
    if path.is_file():
        return path
    kept = Path(SETTINGS["weights_dir"]) / path  # where Ultralytics looks, too
    if kept.is_file():
        return kept
    where = f"{key}={name}"
    if path.suffix != SUFFIX or path.name != name or name not in GITHUB_ASSETS_NAMES:
        known = [n for n in GITHUB_ASSETS_NAMES if n.startswith("yolo") and n.endswith(SUFFIX)]
        hint = did_you_mean(name, known) if path.name == name else ""
        raise NASError(
            f"{where}: no such file.{hint} Give the path of a .pt that `yolo train` wrote, or a "
            "name that Ultralytics publishes, such as yolo11n.pt"
        )
    if not ONLINE:
        raise NASError(
            f"{where}: no such file, and it cannot be downloaded, as there is no internet here or "
            "YOLO_OFFLINE is set; give the path of a .pt"
        )
    say(f"downloading {name}")
    try:
        found = Path(attempt_download_asset(name))
    except Exception as error:  # whatever a connection runs into
        raise NASError(
            f"{where}: cannot be downloaded ({' '.join(str(error).split())[:200]}); give the path "
            "of a .pt"
        ) from error
    if not found.is_file():
        raise NASError(f"{where}: cannot be downloaded; give the path of a .pt")
    return found


def load(name: str | Path, key: str = "model") -> Parent:
    """Return a checkpoint of Ultralytics; nothing that it holds is run.

    See `host.restricted`.

    Args:
        name: See `located`.
        key: The user's key that names it, for messages.

    Raises:
        NASError: For a file that is missing, damaged, hostile, fused or pruned, or of no network of
            Ultralytics'.
    """
    path = located(str(name), key)
    stat = path.stat()
    return _load(path, key, (stat.st_mtime_ns, stat.st_size))


def as_given(name: str, key: str = "model") -> tuple[dict[str, Any], int, str] | None:
    """Return definition, classes and task of a checkpoint that is counted and timed alone.

    See `host.models.GIVEN`; None for any other.

    Raises:
        NASError: For a file that is missing, damaged or hostile.
    """
    path = located(name, key)
    content = restricted.content(path, f"{key}={path}")
    model: Any = content.get("ema") or content.get("model")
    task = next((task for task, kind in models.GIVEN.values() if type(model) is kind), None)
    definition = getattr(model, "yaml", None)
    if task is None or not isinstance(definition, dict):
        return None
    return definition, classes_of(definition), task


@lru_cache(maxsize=8)
def _load(path: Path, key: str, state: tuple[int, int]) -> Parent:
    where = f"{key}={path}"
    try:
        return _made(path, key, restricted.content(path, where))
    except NASError:
        raise
    except Exception as error:  # whatever attributes of another kind than its own run into
        raise NASError(
            f"{where}: holds a damaged network ({type(error).__name__}: "
            f"{' '.join(str(error).split())[:100]}); give a .pt that `yolo train` wrote"
        ) from error


def _made(path: Path, key: str, content: Mapping[str, Any]) -> Parent:
    """Return what a checkpoint's content is as a parent."""
    where = f"{key}={path}"
    model: Any = content.get("ema") or content.get("model")
    task = models.task_of_model(model)
    if not task or not isinstance(getattr(model, "yaml", None), dict):
        kind = type(model).__name__
        raise NASError(
            f"{where}: holds no network that can be trained ({kind}); give a .pt of a "
            f"{', '.join(models.BUILT)} model that `yolo train` wrote"
        )
    if model.is_fused():
        raise NASError(
            f"{where}: is fused for inference, and has no batch norms to train; give the .pt that "
            "`yolo train` wrote"
        )
    definition, tensors = dict(model.yaml), model.float().state_dict()
    names = {int(number): str(name) for number, name in dict(model.names).items()}
    points: Any = tuple(definition.get("kpt_shape") or KEYPOINTS)
    check_finite(tensors, where)
    stem = next((t for t in tensors.values() if t.ndim == 4), torch.zeros(1, 3, 1, 1))
    try:
        architecture = read(definition, definition.get("scale") or "")
        begin = source(
            architecture, tensors, names, str(path), where, Task(len(names), task, points)
        )
        unread = ""
    except NASError as error:
        begin = _as_it_is(definition, tensors, names, path, where, task, int(stem.shape[1]))
        unread = str(error).removeprefix(f"{where}: ").removeprefix("model definition: ")
        unread = unread.partition("; ")[0]
    return Parent(
        path,
        path.stem,
        task,
        names,
        int(stem.shape[1]),
        _size(definition, content),
        definition,
        begin,
        unread,
        hashlib.sha256(path.read_bytes()).hexdigest()[:16],
        key,
    )


def _as_it_is(
    definition: Mapping[str, Any],
    tensors: Mapping[str, torch.Tensor],
    names: Mapping[int, str],
    path: Path,
    where: str,
    task: str,
    channels: int,
) -> Source:
    """Return the weights of a network that the catalogue of blocks does not know."""
    with of_its_network(where):
        model: Any = models.build(definition, task=task, nc=len(names), ch=channels)
        model.load_state_dict(dict(tensors))
    model.names = dict(names)
    return Source(cast(Any, None), model, str(path))


def _size(definition: Mapping[str, Any], content: Mapping[str, Any]) -> int:
    """Return the image size in pixels of a training, as a multiple of 32."""
    given = definition.get("imgsz") or (content.get("train_args") or {}).get("imgsz") or USUAL
    try:
        side = max(map(int, given)) if isinstance(given, (list, tuple)) else int(given)
    except (TypeError, ValueError):
        side = USUAL
    return max(32, 32 * round(side / 32))
