"""Scans converted by several processes, as many at a time as memory has room for.

Each process is this module, which imports nothing of the command that started it. `multiprocessing`
would run that once more in every process: for `yolo` that is Ultralytics and torch.
"""

from __future__ import annotations

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
from types import TracebackType
from typing import Any, Protocol

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
        jobs: Their number.
        room: Bytes that the tasks may take that run at a time; a larger one runs alone.
    """

    def __init__(self, jobs: int, room: int) -> None:
        self._jobs, self._room = jobs, room
        self._workers = [Worker() for _ in range(jobs)]
        self._threads = ThreadPoolExecutor(jobs)

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        for worker in self._workers:
            worker.close()
        self._threads.shutdown()

    def run(self, tasks: Sequence[Task]) -> Iterator[tuple[int, str, Any]]:
        """Yield the index of each task as it ends, and what became of it.

        Raises:
            OSError: Of a file that could not be written.
            RuntimeError: Of a mistake in this package.
        """
        waiting = deque(enumerate(tasks))
        idle = [*self._workers]
        running: dict[Future[tuple[str, Any]], tuple[int, int, Worker]] = {}
        while waiting or running:
            used = sum(size for _, size, _ in running.values())
            while waiting and idle and (not running or used + waiting[0][1].bytes <= self._room):
                index, task = waiting.popleft()
                worker = idle.pop()
                running[self._threads.submit(worker.ask, task)] = index, task.bytes, worker
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
