"""The images and labels of a part read on all cores, and known again where nothing has changed."""

from __future__ import annotations

import contextlib
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from yolo_nas_ext.console import Progress
from yolo_nas_ext.host import scan_cache
from yolo_nas_ext.host.pictures import Seen
from yolo_nas_ext.host.scan_cache import Looked

MANY = 20_000  # images from which on they are read by several processes, and by header
WORTH = 2_000  # images from which on what was read is kept for the next start
STEP = 250  # images between two messages of a process
TEXT = "reading images and labels: {done:.0f} of {total:.0f}, {left} left"
# What a process runs. Whatever Ultralytics prints goes to its errors, as the results go to its
# output. It is no process of `multiprocessing`: these import the user's script once more.
RUN = """
import os
out = os.fdopen(os.dup(1), "wb")
os.dup2(2, 1)
from yolo_nas_ext.host.scanning import share
share(out)
"""


class Reader(Protocol):
    """Reads one image; copied to every process."""

    def look(self, image: str) -> Seen:
        """Return what an image is; what it found is known when the image is read."""
        ...

    def __call__(self, image: str, file: str) -> Looked:
        """Return the same with what its label file says; for one thread at a time."""
        ...

    def with_label(self, image: str, label: dict[str, Any]) -> Looked:
        """Return the same with a label that was read before."""
        ...


@dataclass(frozen=True)
class Part:
    """Images of a part with their label files, and how they are read.

    Attributes:
        images: Paths.
        files: Path of each one's label file, which need not be there.
        read: Reads one.
        what: Says how, in words that change when the result would.
        known: Returns the labels that Ultralytics has kept of these files, by image; asked only
            where much is to be read.
    """

    images: Sequence[str]
    files: Sequence[str]
    read: Reader
    what: str
    known: Callable[[], dict[str, dict[str, Any]]] = dict


def looked(part: Part, folder: Path | None) -> tuple[list[Looked], str]:
    """Return what each image is, with its label; and a digest of all files' names, sizes and times.

    Args:
        part: The images.
        folder: Where it is kept for the next start, if anywhere; without, the digest is empty, as
            it is for few images.
    """
    if len(part.images) < WORTH or folder is None:
        return list(_read(part, range(len(part.images)))), ""
    stamps = scan_cache.stamps(part.images, part.files)
    file = scan_cache.place(folder, part.images, part.what)
    found = scan_cache.load(file, part.images, stamps)
    new = [index for index in range(len(part.images)) if index not in found]
    if new:
        for index, one in zip(new, _read(part, new), strict=True):
            found[index] = one
        with contextlib.suppress(OSError):  # a full disk costs the next start some time
            scan_cache.save(file, part.images, stamps, [found[i] for i in range(len(stamps))])
    stamp = scan_cache.stamp(file, part.images, stamps)
    return [found[index] for index in range(len(part.images))], stamp


def _read(part: Part, wanted: Sequence[int]) -> Iterator[Looked]:
    """Yield what some of the images are, in order; say how far it is."""
    with Progress(len(wanted), TEXT, delay=3) as progress:
        if len(wanted) < MANY:
            with ThreadPoolExecutor(os.cpu_count()) as pool:  # as decoding lets others work
                seen = pool.map(part.read.look, [part.images[index] for index in wanted])
                for index, _ in zip(wanted, seen, strict=True):
                    yield part.read(part.images[index], part.files[index])
                    progress.update(1)
            return
        labels = part.known()
        jobs = [(part.images[i], part.files[i], labels.get(part.images[i])) for i in wanted]
        shares = max(1, min(os.cpu_count() or 1, len(jobs) // STEP))
        size = -(-len(jobs) // shares)
        parts = [jobs[start : start + size] for start in range(0, len(jobs), size)]
        with ThreadPoolExecutor(len(parts)) as pool:
            done = pool.map(lambda one: _shared(part.read, one, progress.update), parts)
            for results in done:
                yield from results


def _shared(
    read: Reader, jobs: list[tuple[str, str, Any]], said: Callable[[int], None]
) -> list[Looked]:
    """Return what a process of its own reads of a share; this process reads what it leaves."""
    found: list[Looked] = []
    with contextlib.suppress(OSError, EOFError, pickle.UnpicklingError):
        process = subprocess.Popen(
            [sys.executable, "-c", RUN],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert process.stdin and process.stdout
        with process:
            try:
                pickle.dump((read, jobs), process.stdin)
                process.stdin.close()
                while len(found) < len(jobs):
                    more = pickle.load(process.stdout)
                    found += more
                    said(len(more))
            finally:
                process.kill()
    for image, file, label in jobs[len(found) :]:  # the process died, or could not begin
        found.append(one_of(read, image, file, label))
        said(1)
    return found


def one_of(read: Reader, image: str, file: str, label: dict[str, Any] | None) -> Looked:
    """Return what an image is, with the label that Ultralytics has kept where it has."""
    return read(image, file) if label is None else read.with_label(image, label)


def share(out: Any) -> None:
    """Read a share of images in a process of its own: asked by standard input, told to `out`."""
    read, jobs = pickle.load(sys.stdin.buffer)
    for start in range(0, len(jobs), STEP):
        found = [one_of(read, *job) for job in jobs[start : start + STEP]]
        pickle.dump(found, out)
        out.flush()
