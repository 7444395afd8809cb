"""Images of a data set, decoded and resized once for all candidates: in memory, or mapped."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from copy import copy
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil
from filelock import FileLock
from ultralytics.data import ClassificationDataset, YOLODataset
from ultralytics.data.augment import classify_augmentations, classify_transforms
from ultralytics.data.dataset import PolygonSemanticDataset, SemanticDataset
from ultralytics.utils import NUM_THREADS

from yolo_nas_ext.console import short
from yolo_nas_ext.files import json_of, replacing, text_of, write_text

# An image file's (time of change, length), and what Ultralytics' `load_image` returned for it.
Stamp = tuple[int, int]
Decoded = tuple[Stamp, tuple[np.ndarray, tuple[int, int], tuple[int, int]]]

MEMORY = 0.5  # part of the free memory that decoded images may take
DISK = 0.5  # part of the free disk that they may take where they are mapped
WORTH_SAYING = 1e9  # bytes
SETS = 2  # sets of decoded images kept; a search has one for each image size
# Decoded images by (data set, image size, channels), for all candidates of this process.
_IMAGES: dict[tuple[Any, ...], MutableMapping[str, Decoded]] = {}


class HeldImages(YOLODataset):
    """Ultralytics' data set over known images and labels; images stay decoded if they fit.

    Args:
        labels: Ultralytics' label dictionaries.
        known: Decoded images by file, which the data sets of all candidates share and fill; None
            to decode nothing beforehand.
        most: Bytes that they may take; a part of the free memory unless given.
        check: Raises where there is no time left.
        *args: Ultralytics'.
        **kwargs: Ultralytics'.
    """

    def __init__(
        self,
        labels: Sequence[dict[str, Any]],
        known: MutableMapping[str, Decoded] | None,
        *args: Any,
        most: float | None = None,
        check: Callable[[], None] = lambda: None,
        **kwargs: Any,
    ) -> None:
        self._held, self._most, self._check = labels, most, check
        self.stamps: list[Stamp] = []  # of the decoded images, in order
        super().__init__([label["im_file"] for label in labels], *args, **kwargs)  # pyright: ignore[reportArgumentType]
        self.cache = "ram"  # mosaics draw from all images rather than from a buffer of recent ones
        self.transforms = self.build_transforms(hyp=copy(kwargs["hyp"]))  # which look at `cache`
        # Ultralytics prefers an array beside the image, and deletes or rewrites a damaged one.
        self.npy_files = [Path(os.devnull) / "none"] * self.ni
        if known is not None:
            self._decode(known)

    def _decode(self, known: MutableMapping[str, Decoded]) -> None:
        """Fill Ultralytics' buffers; without room, leave them empty and so read at every use."""
        stamps = [_stamp(file) for file in self.im_files]
        new = []
        for index, (file, stamp) in enumerate(zip(self.im_files, stamps, strict=True)):
            if file not in known or known[file][0] != stamp:
                known.pop(file, None)
                new.append(index)
        if new and self.bytes_of(len(new)) <= (free() if self._most is None else self._most):
            with ThreadPool(NUM_THREADS) as pool:
                for index, image in zip(new, pool.imap(super().load_image, new), strict=True):
                    known[self.im_files[index]] = stamps[index], image
                    self._check()
        if all(file in known for file in self.im_files):
            self.stamps = stamps
        buffers: Any = (self.ims, self.im_hw0, self.im_hw)
        for index, file in enumerate(self.im_files):
            if file in known:
                buffers[0][index], buffers[1][index], buffers[2][index] = known[file][1]

    def bytes_of(self, images: int) -> int:
        """Return what so many decoded images take at the most."""
        size = self.imgsz if isinstance(self.imgsz, int) else max(self.imgsz)
        return bytes_of(images, size, self.channels)

    def map_to(self, folder: Path) -> dict[str, Decoded]:
        """Return all images, decoded into one file of the folder and mapped from there.

        Processes that map the same file share its pages. It is written by the first that asks,
        complete or not at all; none of the others decodes anything.

        Raises:
            OSError: Where the folder has no room or cannot be written.
        """
        stamps = {file: _stamp(file) for file in self.im_files}
        what = json.dumps([sorted(stamps.items()), self.imgsz, self.channels])
        target = folder / f"{hashlib.sha256(what.encode()).hexdigest()[:16]}.images"
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock"):
            if not target.is_file():
                self._write(target)
        index = json_of(text_of(target.with_suffix(".json")))
        data = np.asarray(np.memmap(target, np.uint8, mode="r"))
        return {
            file: (stamps[file], (data[start:end].reshape(shape), tuple(before), tuple(after)))
            for file, (start, end, shape, before, after) in index.items()
        }

    def _write(self, target: Path) -> None:
        """Decode all images into a file, with an index beside it that comes first."""
        most = DISK * shutil.disk_usage(target.parent).free if self._most is None else self._most
        if self.bytes_of(self.ni) > most:
            raise OSError(f"{target.parent}: no room for {self.ni} decoded images")
        index: dict[str, Any] = {}
        with replacing(target) as temporary:
            with temporary.open("wb") as out, ThreadPool(NUM_THREADS) as pool:
                decoded = pool.imap(super().load_image, range(self.ni))
                for file, (image, before, after) in zip(self.im_files, decoded, strict=True):
                    start = out.tell()
                    out.write(np.ascontiguousarray(image).data)
                    index[file] = start, out.tell(), image.shape, before, after
                    self._check()
            write_text(target.with_suffix(".json"), json.dumps(index))

    def get_img_files(self, img_path: Any) -> list[str]:
        """Return the images as given."""
        return list(img_path)

    def get_labels(self) -> list[dict[str, Any]]:
        """Return the labels as given; ``single_cls`` writes into their classes."""
        return [{**label, "cls": label["cls"].copy()} for label in self._held]

    def load_image(self, i: int, *args: Any, **kwargs: Any) -> Any:
        """Return a copy of a decoded image: augmentation works in place."""
        im, before, after = super().load_image(i, *args, **kwargs)
        return im.copy(), before, after


class StretchedImages(HeldImages):
    """Images that fill the network's square, as Ultralytics stretches them for RT-DETR.

    They are stretched from what stays decoded for other networks.
    """

    def load_image(self, i: int, *args: Any, **kwargs: Any) -> Any:
        """Return an image of imgsz x imgsz."""
        im, before, after = super().load_image(i, *args, **kwargs)
        side = self.imgsz if isinstance(self.imgsz, int) else max(self.imgsz)
        shape = side, side
        if tuple(after) == shape:
            return im, before, after
        im = cv2.resize(im, shape, interpolation=cv2.INTER_LINEAR)
        return im.reshape(*shape, -1), before, shape


class _DrawnMasks(HeldImages):
    """Masks of semantic segmentation stay in memory with the images that do."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._drawn: dict[tuple[int, Any], np.ndarray] = {}
        super().__init__(*args, **kwargs)

    def load_mask(self, index: int, image_shape: tuple[int, int] | None = None) -> np.ndarray:
        """Return a copy of an image's mask, drawn once where the image stays decoded."""
        mask = self._drawn.get((index, image_shape))
        if mask is None:
            theirs: Any = super()
            mask = theirs.load_mask(index, image_shape)
            if self.ims[index] is not None:
                self._drawn[index, image_shape] = mask
        return mask.copy()


class HeldPolygons(_DrawnMasks, PolygonSemanticDataset):
    """Ultralytics' data set for semantic segmentation over polygons."""


class HeldMasks(_DrawnMasks, SemanticDataset):
    """Ultralytics' data set for semantic segmentation over pictures of masks."""


def held(
    labels: Sequence[dict[str, Any]],
    everything: Sequence[dict[str, Any]],
    source: str,
    *,
    folder: Path | None = None,
    shared: bool = False,
    cache: tuple[str, float | None] = ("auto", None),
    stretched: bool = False,
    **arguments: Any,
) -> HeldImages:
    """Return Ultralytics' data set over some images of a data set.

    Args:
        labels: Ultralytics' label dictionaries of the images wanted.
        everything: Those of all images of the set; other candidates want others of them.
        source: Name of the data set.
        folder: Where decoded images that do not fit into memory are kept, if anywhere.
        shared: Whether other processes use the folder too, so that memory would hold copies.
        cache: Where decoded images are kept, see `place`.
        stretched: Whether images fill the network's square.
        **arguments: Ultralytics', of its data set, and `check` of `HeldImages`.
    """
    kind = _kind(arguments)
    key = (source, arguments["imgsz"], arguments["data"].get("channels", 3))
    if kind is not HeldImages:  # whose images are larger where they are augmented
        key = (*key, arguments["augment"])
    channels = arguments["data"].get("channels", 3)
    size = bytes_of(len(everything), arguments["imgsz"], channels)
    where, most = place(cache, size, folder, shared)
    if key in _IMAGES:
        _IMAGES[key] = _IMAGES.pop(key)  # the latest is last
    else:
        _IMAGES[key] = {}
        if where == "disk" and folder is not None:
            _IMAGES[key] = _mapped(everything, folder, most, arguments)
    while len(_IMAGES) > SETS:
        del _IMAGES[next(iter(_IMAGES))]
    if cache[0] == "disk":
        most = 0.0  # of the memory
    kind = StretchedImages if stretched else kind
    return kind(labels, _IMAGES[key] if where != "none" else None, most=most, **arguments)


def bytes_of(images: int, imgsz: int, channels: int) -> int:
    """Return what so many decoded images take at the most."""
    return images * imgsz * imgsz * channels


def free() -> float:
    """Return how many bytes of the memory decoded images may take."""
    return MEMORY * psutil.virtual_memory().available


def place(
    cache: tuple[str, float | None], size: float, folder: Path | None, shared: bool
) -> tuple[str, float | None]:
    """Return where the decoded images of a data set are kept, and what they may take there.

    Args:
        cache: ``auto``, ``ram``, ``disk`` or ``none``; and the bytes that they may take, if said.
        size: Bytes of all of them.
        folder: A folder for them, if there is one.
        shared: Whether other processes hold the same images.

    Returns:
        ``ram``, ``disk`` or ``none``; and bytes, where something else than a part of what is free
        holds.
    """
    kind, most = cache
    if kind == "auto":
        fits = size <= free()
        return ("ram" if fits and not (shared and folder) else "disk" if folder else "ram"), None
    if (most is not None and size > most) or (kind == "disk" and folder is None):
        return "none", 0.0
    return kind, most


def said(
    cache: tuple[str, float | None],
    images: int,
    imgsz: int,
    channels: int,
    folder: Path,
    *,
    shared: bool,
) -> str:
    """Return where decoded images are going to be, in words; nothing where that is not much."""
    size = bytes_of(images, imgsz, channels)
    where, most = place(cache, size, folder, shared)
    room = free() if where == "ram" else DISK * shutil.disk_usage(folder).free
    if where != "none" and size > (room if most is None else most):
        where = "none"
    if size < WORTH_SAYING and where != "none":
        return ""
    ways = {
        "ram": "are kept in memory",
        "disk": f"are kept in {folder / 'images'} while the search runs",
        "none": "are not kept: each is read whenever it is used",
    }
    return (
        f"{images} decoded images at {imgsz} px take up to {short(size)}B and {ways[where]} "
        f"(cache={cache[0]})"
    )


def kept() -> dict[tuple[Any, ...], MutableMapping[str, Decoded]]:
    """Return what this process keeps, by (data set, image size, channels), the latest last."""
    return dict(_IMAGES)


def forget() -> None:
    """Forget all decoded images that this process keeps."""
    _IMAGES.clear()


def _kind(arguments: Mapping[str, Any]) -> type[HeldImages]:
    """Return the class of data set that the task and the kind of labels ask for."""
    if arguments["task"] != "semantic":
        return HeldImages
    return HeldMasks if arguments["data"].get("masks_dir") else HeldPolygons


def _mapped(
    everything: Sequence[dict[str, Any]],
    folder: Path,
    most: float | None,
    arguments: Mapping[str, Any],
) -> dict[str, Decoded]:
    """Return mapped images, or none where the disk has no room for them."""
    kind = _kind(arguments)
    augment = arguments["augment"] and kind is not HeldImages
    images = kind(everything, None, most=most, **{**arguments, "augment": augment})
    try:
        return images.map_to(folder)
    except OSError:  # then images are read at every use, as without a folder
        return {}


def _stamp(file: str) -> Stamp:
    stat = os.stat(file)
    return stat.st_mtime_ns, stat.st_size


MOST = 20_000  # pictures that stay decoded; further ones are read at every use


class HeldPictures(ClassificationDataset):
    """Ultralytics' data set for classification over known images, which stay decoded.

    Args:
        labels: Label dictionaries of Ultralytics', with one class each.
        known: Decoded images by file, which the data sets of all candidates share and fill.
        augment: Whether to augment as in training.
        args: Ultralytics' arguments.
    """

    def __init__(
        self,
        labels: Sequence[dict[str, Any]],
        known: dict[str, np.ndarray],
        augment: bool,
        args: Any,
    ) -> None:
        # Ultralytics' own would list the folders again and write a cache beside them.
        self.samples = [[label["im_file"], int(label["cls"][0, 0]), None, None] for label in labels]
        self.cache_ram = self.cache_disk = False
        self._known = known
        self.torch_transforms = (
            classify_augmentations(
                size=args.imgsz,
                scale=(1.0 - args.scale, 1.0),
                hflip=args.fliplr,
                vflip=args.flipud,
                erasing=args.erasing,
                auto_augment=args.auto_augment,
                hsv_h=args.hsv_h,
                hsv_s=args.hsv_s,
                hsv_v=args.hsv_v,
            )
            if augment
            else classify_transforms(size=args.imgsz)
        )

    def imread(self, f: str) -> np.ndarray:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Return a decoded image, read once."""
        image = self._known.get(f)
        if image is None:
            image = ClassificationDataset.imread(f)
            assert image is not None, "files were decoded when the data set was read"
            if len(self._known) < MOST:
                self._known[f] = image
        return image


# Decoded pictures by file, for all candidates of this process.
_PICTURES: dict[str, np.ndarray] = {}


def held_pictures(labels: Sequence[dict[str, Any]], *, augment: bool, hyp: Any) -> HeldPictures:
    """Return Ultralytics' data set for classification over some images of a data set.

    Args:
        labels: Label dictionaries of the images, with one class each.
        augment: Whether to augment as in training.
        hyp: Ultralytics' arguments.
    """
    return HeldPictures(labels, _PICTURES, augment, hyp)
