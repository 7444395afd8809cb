"""Checkpoints made of known classes alone: nothing that a file holds is run.

A ``.pt`` is a pickle, which can run anything. Networks need no more than their own classes, so that
files are read as Ultralytics reads them under ``ULTRALYTICS_SAFE_LOAD=1``, whether that is set or
not. What belongs to backbones of timm, and the modules that were registered with Ultralytics'
parser, are known besides: a class is looked up under its whole name and must be one of networks.
"""

from __future__ import annotations

import enum
import importlib
import pickle
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zipfile import is_zipfile

import torch
from torch import nn
from ultralytics.nn import tasks

from yolo_nas_ext.errors import NASError
from yolo_nas_ext.host.dataset import quiet
from yolo_nas_ext.host.plugin import register

register.register(tasks)  # for where Python was started without the hook

VARIABLE = "ULTRALYTICS_SAFE_LOAD"
OURS = "yolo_nas_ext.host."  # also of modules by the paths that earlier versions had
TIMM = "timm."
FEATURES = "timm.models._features.FeatureInfo"  # its one class that is in checkpoints and no module


def content(path: str | Path, where: str) -> dict[str, Any]:
    """Return what a checkpoint holds.

    Args:
        path: A ``.pt`` of Ultralytics or of this package.
        where: What to begin a message with.

    Raises:
        NASError: For a file that is missing, damaged, or holds anything but known classes.
    """
    if not Path(path).is_file():
        raise NASError(f"{where}: no such file; give the path of a .pt that `yolo train` wrote")
    with known(path):
        try:
            with quiet():
                found = tasks.torch_safe_load(str(path), safe_only=True)[0]
            if not isinstance(found, dict):
                raise TypeError("no dictionary")
            return found
        except Exception as error:  # whatever a damaged or hostile file runs into
            refused = isinstance(error.__cause__, pickle.UnpicklingError) and is_zipfile(path)
            what = next(iter(_unknown(path)), "more than networks" if refused else "")
            reason = type(error).__name__
            if what:
                reason = (
                    f"it holds {' '.join(what.split())[:100]}, which no network needs and "
                    f"{VARIABLE}=1, as under which it is read, refuses"
                )
            raise NASError(
                f"{where}: not a checkpoint that can be read safely ({reason}); give a .pt that "
                "`yolo train` wrote"
            ) from error


@contextmanager
def known(path: str | Path) -> Iterator[None]:
    """Let the classes of networks that a checkpoint names be among what torch knows as safe."""
    found = [*_classes(_unknown(path))]
    with torch.serialization.safe_globals(found):  # pyright: ignore[reportArgumentType]
        yield


def hint() -> str:
    """Return what to say of a file that Ultralytics refused; nothing unless it may be for this."""
    return f"; {VARIABLE}=1 lets known networks through alone" if tasks.SAFE_LOAD else ""


def _unknown(path: str | Path) -> list[str]:
    """Return what a checkpoint names beside what torch knows as safe; nothing is made of it."""
    try:
        return sorted(torch.serialization.get_unsafe_globals_in_checkpoint(str(path)))
    except Exception:  # a damaged file, or none of torch's
        return []


def _classes(names: Iterable[str]) -> Iterator[tuple[type, str]]:
    """Yield the classes of networks among some names."""
    registered = {k for k in vars(tasks).values() if isinstance(k, type)}
    registered = {k for k in registered if issubclass(k, nn.Module)}
    by_name = {f"{kind.__module__}.{kind.__qualname__}": kind for kind in registered}
    for name in names:
        if name in by_name:
            yield by_name[name], name
        elif name.startswith((OURS, TIMM)):
            kind = _found(name)
            of_timm = name.startswith(TIMM) and (_of_networks(kind) or name == FEATURES)
            if isinstance(kind, type) and (kind in registered or of_timm):
                yield kind, name


def _found(name: str) -> Any:
    """Return what a name stands for; None for nothing."""
    module, _, attribute = name.rpartition(".")
    try:
        return getattr(importlib.import_module(module), attribute, None)
    except ImportError:
        return None


def _of_networks(kind: Any) -> bool:
    """Say whether something is a class of layers, or of their options, and timm's or torch's."""
    known = isinstance(kind, type) and issubclass(kind, (nn.Module, enum.Enum))
    return known and kind.__module__.startswith((TIMM, "torch.nn."))
