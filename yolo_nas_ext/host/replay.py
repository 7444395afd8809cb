"""Augmented batches, prepared once for all short trainings that would draw the same ones.

Augmentation follows from the seed, the images and the host's arguments, not from the network. So
every candidate of a search is shown the same batches, and all but the first can be handed those of
the first: the loading of an epoch is 8 % of a short training of YOLOv8n at 128 px.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import psutil
import torch

from yolo_nas_ext.host.images import HeldImages

Batch = dict[str, Any]

MOST = 2**29  # bytes of batches that a process keeps
MEMORY = 0.05  # part of the free memory that they may take, if that is less
# Arguments that say nothing about batches.
ASIDE = ("save_dir", "name", "project", "model", "pretrained", "resume", "time", "plots")
# Epochs of batches by what they follow from, the latest used last.
_KEPT: dict[tuple[Any, ...], list[list[Batch]]] = {}


class Replayed:
    """A loader of the host that keeps its batches, or hands out those that are kept.

    In all else it is the loader.

    Args:
        loader: The loader.
        key: What its batches follow from.
        epochs: Epochs of a training.
    """

    def __init__(self, loader: Any, key: tuple[Any, ...], epochs: int) -> None:
        self._loader = loader
        self._key = key
        self._epochs = epochs
        self._epoch = 0
        self._known = _KEPT.pop(key, None)
        if self._known is not None:
            _KEPT[key] = self._known
        self._new: list[list[Batch]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def __len__(self) -> int:
        return len(self._loader)

    def __iter__(self) -> Iterator[Batch]:
        if self._known is not None:
            for batch in self._known[self._epoch]:
                yield dict(batch)  # the trainer writes into it
            self._epoch += 1
            return
        new: list[Batch] = []
        for batch in self._loader:
            new.append({name: _own(value) for name, value in batch.items()})
            yield batch
        self._new.append(new)
        if len(self._new) == self._epochs:
            _KEPT[self._key] = self._new
            _shrink()


def replayed(
    loader: Any, labels: Sequence[Any], part: Sequence[int], args: Any, epochs: int
) -> Any:
    """Return a loader that takes its batches from a training before it, or keeps them for the next.

    It is the loader itself where batches do not follow from what is known beforehand, or where they
    are too large to keep.

    Args:
        loader: The host's loader of augmented images, at its beginning.
        labels: Labels of the whole data set; as long as they are this object, they are the same.
        part: Indices of the images to train on.
        args: The host's arguments.
        epochs: Epochs of the training.
    """
    images = loader.dataset
    if type(images) is not HeldImages or not images.stamps or args.multi_scale:
        return loader
    if images.bytes_of(len(part)) * epochs > min(MOST, MEMORY * psutil.virtual_memory().available):
        return loader
    given = {name: value for name, value in vars(args).items() if name not in ASIDE}
    key = (_Same(labels), tuple(part), tuple(images.stamps), repr(sorted(given.items())), epochs)
    return Replayed(loader, key, epochs)


class _Same:
    """An object by its identity, kept so that no other can have it."""

    def __init__(self, what: Any) -> None:
        self.what = what

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.what is self.what

    def __hash__(self) -> int:
        return id(self.what)


def _own(value: Any) -> Any:
    """Return a value that holds no file handle of a worker process."""
    return value.clone() if isinstance(value, torch.Tensor) and value.is_shared() else value


def _shrink() -> None:
    """Forget the oldest batches until what is left is within bounds."""
    most = min(MOST, MEMORY * psutil.virtual_memory().available)
    while len(_KEPT) > 1 and sum(map(_bytes, _KEPT.values())) > most:
        del _KEPT[next(iter(_KEPT))]


def _bytes(epochs: list[list[Batch]]) -> int:
    return sum(
        value.nbytes
        for batches in epochs
        for batch in batches
        for value in batch.values()
        if isinstance(value, torch.Tensor)
    )
