"""Augmented batches, prepared once for all short trainings that would draw the same ones.

Augmentation follows from the seed, the images and Ultralytics' arguments, not from the network. So
every candidate of a search is shown the same batches, and all but the first can take those of
the first: the loading of an epoch is 8 % of a short training of YOLOv8n at 128 px.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import psutil
import torch

from yolo_nas_ext.host.training.image_cache import HeldImages

Batch = dict[str, Any]

MOST = 2**29  # bytes of batches that a process keeps
MEMORY = 0.05  # part of the free memory that they may take, if that is less
# Arguments that say nothing about batches.
ASIDE = ("save_dir", "name", "project", "model", "pretrained", "resume", "plots")
# Modules of these packages draw no numbers from the generators that augmentation draws from.
KNOWN = ("torch", "ultralytics", "timm", "yolo_nas_ext")
# A transform's class as Ultralytics has Albumentations write it down: with its module's name if it
# is another package's, and nobody knows what that does.
CLASS = re.compile(r'"__class_fullname__": "([^"]*)"')


@dataclass(frozen=True)
class Kept:
    """Batches of a training, by epoch, and the bytes that they take."""

    epochs: list[list[Batch]]
    size: int
    labels: Sequence[Any]  # known by their `id`, which no others can have as long as these are here


_KEPT: dict[tuple[Any, ...], Kept] = {}  # by what they follow from, the latest used last


class Replayed:
    """A loader of Ultralytics' that keeps its batches, or hands out those that are kept.

    In all else it is the loader.

    Args:
        loader: The loader.
        key: What its batches follow from beside the labels.
        labels: Labels of the data set.
        epochs: Epochs of a training.
        most: Bytes that may be kept.
    """

    def __init__(
        self, loader: Any, key: tuple[Any, ...], labels: Sequence[Any], epochs: int, most: float
    ) -> None:
        self._loader = loader
        self._key = key = (id(labels), *key)
        self._labels = labels
        self._epochs = epochs
        self._most = most
        self._epoch = 0
        self._known = _KEPT.pop(key, None)
        if self._known is not None:
            _KEPT[key] = self._known
        self._new: list[list[Batch]] | None = []  # None once they are too large
        self._size = 0

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # which a copy in the making is asked for
            raise AttributeError(name)
        return getattr(self._loader, name)

    def __len__(self) -> int:
        return len(self._loader)

    def __iter__(self) -> Iterator[Batch]:
        if self._known is not None:
            for batch in self._known.epochs[self._epoch]:
                yield dict(batch)  # the trainer writes into it
            self._epoch += 1
            return
        if self._new is not None:
            self._new.append([])
        for batch in self._loader:
            self._note(batch)
            yield batch
        if self._new is not None and len(self._new) == self._epochs:
            _KEPT[self._key] = Kept(self._new, self._size, self._labels)
            self._new = None

    def _note(self, batch: Batch) -> None:
        """Keep a batch if there is room for it, and else none of this training."""
        if self._new is None:
            return
        mine = {name: _own(value) for name, value in batch.items()}
        self._size += sum(v.nbytes for v in mine.values() if isinstance(v, torch.Tensor))
        if _room(self._size, self._most):
            self._new[-1].append(mine)
        else:
            self._new = None


def replayed(
    loader: Any, model: Any, labels: Sequence[Any], train_on: Sequence[int], args: Any, epochs: int
) -> Any:
    """Return a loader that takes its batches from a training before it, or keeps them for the next.

    It is the loader itself where batches do not follow from known settings, or are too large to
    keep.

    Args:
        loader: Ultralytics' loader of augmented images, at its beginning.
        model: The model that is trained.
        labels: Labels of all images; as long as they are this object, they are the same.
        train_on: Indices of the images to train on.
        args: Ultralytics' arguments.
        epochs: Epochs of the training.
    """
    images = loader.dataset
    if type(images) is not HeldImages or not images.stamps or args.multi_scale or args.time:
        return loader
    most = min(MOST, MEMORY * psutil.virtual_memory().available)
    if images.bytes_of(len(train_on)) * epochs > most:
        return loader
    if any(type(m).__module__.split(".")[0] not in KNOWN for m in model.modules()):
        return loader
    given = {name: value for name, value in vars(args).items() if name not in ASIDE}
    try:
        what = json.dumps(given, sort_keys=True)
    except TypeError:
        return loader
    if any("." in name for name in CLASS.findall(what)):
        return loader
    key = (tuple(train_on), tuple(images.stamps), what, epochs)
    return Replayed(loader, key, labels, epochs, most)


def kept() -> list[Kept]:
    """Return what this process keeps, the latest used last."""
    return list(_KEPT.values())


def forget() -> None:
    """Forget all batches that this process keeps."""
    _KEPT.clear()


def _own(value: Any) -> Any:
    """Return a value that holds no file handle of a worker process."""
    return value.clone() if isinstance(value, torch.Tensor) and value.is_shared() else value


def _room(size: int, most: float) -> bool:
    """Forget the oldest batches until so many bytes fit as well; say whether they do."""
    while _KEPT and sum(one.size for one in kept()) + size > most:
        del _KEPT[next(iter(_KEPT))]
    return size <= most
