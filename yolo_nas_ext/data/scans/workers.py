"""Scans converted by several processes, as many at a time as memory has room for.

They start while the command itself loads and looks for scans, and load at the same time what they
need. Each process is this module, which imports nothing of the command that started it.
`multiprocessing` would run that once more in every process: for `yolo` that is Ultralytics and
torch.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import subprocess
import sys
import traceback
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from importlib import import_module
from types import TracebackType
from typing import Any, Protocol

WORTH = 60_000_000  # bytes of all scans; fewer are converted sooner than a process starts
PACKED = 3  # times its file, or more, that a scan usually takes in memory
LOOKED_AT = 1000  # files whose sizes are added up
LOADED = "yolo_nas_ext.data.scans.conversion"  # what a process needs, whatever its tasks are
DONE, BAD, FILE, BUG = "done", "bad", "file", "bug"
ENDED = (
    "was being converted when its process ended, perhaps as memory ran out; jobs=1 converts a "
    "scan at a time"
)


class Task(Protocol):
    """What a process is given; it is copied there."""

    @property
    def bytes(self) -> int:
        """What it takes in memory."""
        ...

    def run(self) -> Any:
        """Return its result; `ScanError` says that it has none."""
        ...


@dataclass(slots=True)
class Worker:
    """A process that runs one task after the other."""

    process: subprocess.Popen[bytes] | None = None

    def ask(self, task: Task) -> tuple[str, Any]:
        """Return what became of a task: a kind, and its result or reason."""
        if self.process is None or self.process.poll() is not None:
            self.process = _started()
        assert self.process.stdin and self.process.stdout
        try:
            pickle.dump(task, self.process.stdin)
            self.process.stdin.flush()
            return pickle.load(self.process.stdout)
        except (EOFError, OSError, pickle.UnpicklingError):
            self.close()  # it may seem to live for a moment more, and the next task is for another
            self.process = None
            return BAD, ENDED

    def start(self) -> None:
        """Start the process, before there is a task."""
        if self.process is None:
            self.process = _started()

    def close(self) -> None:
        """End the process, whatever it does."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            for pipe in (self.process.stdin, self.process.stdout):
                if pipe is not None:
                    try:
                        pipe.close()
                    except OSError:
                        continue


class Workers:
    """Processes that live as long as a conversion.

    Args:
        ahead: How many start at once.
    """

    def __init__(self, ahead: int = 0) -> None:
        self._workers = [Worker() for _ in range(ahead)]
        self._threads: ThreadPoolExecutor | None = None

    def __enter__(self) -> Workers:
        for worker in self._workers:
            worker.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        for worker in self._workers:
            worker.close()
        if self._threads is not None:
            self._threads.shutdown()

    def run(self, tasks: Sequence[Task], jobs: int, room: int) -> Iterator[tuple[int, str, Any]]:
        """Yield the index of each task as it ends, and what became of it.

        Args:
            tasks: What is to be done.
            jobs: Most of them at a time.
            room: Bytes that the tasks may take that run at a time; a larger one runs alone.

        Raises:
            OSError: Of a file that could not be written.
            RuntimeError: Of a mistake in this package.
        """
        self._workers += [Worker() for _ in range(jobs - len(self._workers))]
        self._threads = threads = ThreadPoolExecutor(jobs)
        waiting = deque(enumerate(tasks))
        idle = self._workers[:jobs]
        running: dict[Future[tuple[str, Any]], tuple[int, int, Worker]] = {}
        while waiting or running:
            used = sum(size for _, size, _ in running.values())
            while waiting and idle and (not running or used + waiting[0][1].bytes <= room):
                index, task = waiting.popleft()
                worker = idle.pop()
                running[threads.submit(worker.ask, task)] = index, task.bytes, worker
                used += task.bytes
            ended, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in ended:
                index, _, worker = running.pop(future)
                idle.append(worker)
                kind, result = future.result()
                if kind == FILE:
                    raise OSError(*result)
                if kind == BUG:
                    raise RuntimeError(result)
                yield index, kind, result


def ahead(source: str, jobs: int | None) -> int:
    """Return how many processes are worth a start before anything is known of the scans.

    Args:
        source: Where scans are looked for.
        jobs: How many the user asks for; without, there are some if the files are large.
    """
    cores = usable_cores()
    most = min(jobs or cores, cores)
    if most < 2 or not os.path.isdir(source):
        return 0
    return most if jobs or _large(source) else 0


def _large(folder: str) -> bool:
    """Say whether files of a folder are so large that several processes will convert them."""
    size, seen = 0, 0
    for place, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                size += os.stat(os.path.join(place, name)).st_size
            seen += 1
            if size * PACKED >= WORTH or seen >= LOOKED_AT:
                return size * PACKED >= WORTH
    return False


def usable_cores() -> int:
    """Return the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


# Not `python -m`, which takes modules from the folder where the command is typed first: there may
# be others' scans in it, and beside them a `numpy.py`.
START = f"import sys; sys.path[:] = eval(sys.argv[1]); from {__name__} import main; main()"


def _started() -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", START, repr([*filter(None, sys.path)])],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )


def main() -> None:
    """Run the tasks that come in, until no more do."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who started it says when to end
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # so that nothing printed gets between answers
    import_module(LOADED)  # before there is a task
    import_module("cv2").setNumThreads(1)  # the other cores are other processes'
    while True:
        try:
            task = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        pickle.dump(_answer(task), answers)
        answers.flush()


def _answer(task: Task) -> tuple[str, Any]:
    from yolo_nas_ext.data.scans.volumes import ScanError

    try:
        return DONE, task.run()
    except ScanError as error:
        return BAD, str(error)
    except MemoryError:
        return BAD, "does not fit into memory; jobs=1 converts a scan at a time"
    except OSError as error:
        return FILE, (error.errno, error.strerror, str(error.filename or ""))
    except Exception:
        return BUG, traceback.format_exc()
