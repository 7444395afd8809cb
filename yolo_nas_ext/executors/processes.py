"""Worker processes on this machine, each with its own copy of the data in memory."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

import cloudpickle

from yolo_nas_ext.console import ENDS
from yolo_nas_ext.errors import NASError, RunError
from yolo_nas_ext.executors.main_module import UNGUARDED, NoGuardError, from_elsewhere
from yolo_nas_ext.executors.run_trial import STICKY, Estimate, Prune
from yolo_nas_ext.executors.worker import READY, work
from yolo_nas_ext.study.trial import Trial

GRACE = 0.5  # seconds in which a signal that ended a worker comes here, too
PATIENCE = 5.0  # seconds that a worker has to end by itself
STARTS = 3  # workers one after the other that die before they have begun, until all is given up


@dataclass
class Worker:
    """A process, the pipe to it and the trial that it runs, if it runs one.

    Attributes:
        process: The process.
        pipe: This end of its pipe.
        device: What it trains on; None where that is not said.
        trial: What it runs, or is going to run once it is ready.
        ready: Whether it has begun to read from its pipe.
    """

    process: BaseProcess
    pipe: Connection
    device: str | None = None
    trial: Trial | None = None
    ready: bool = False


class Processes:
    """Workers that live as long as the search, so that each reads the data once.

    They are spawned, on every system alike, so that none inherits threads or a GPU's state. A
    worker that dies costs the trial that it ran, which has failed; another takes its place. So
    does a worker whose GPU takes no more work from its process.

    What starts a process is a few bytes. The estimate, with the data, follows once the worker says
    that it reads: a pipe takes 64 KB, and who writes more to a process that died waits for ever.

    Args:
        estimate: Evaluates one trial; copied to every worker by value, closures included. One that
            has `use_device` is told its worker's.
        jobs: Number of workers.
        devices: What they train on, shared evenly.
    """

    def __init__(self, estimate: Estimate, jobs: int, devices: Sequence[str] = ()) -> None:
        self.slots = jobs
        self._devices: Sequence[str | None] = devices or (None,)
        self._context = multiprocessing.get_context("spawn")
        self._failed = 0  # starts, since the last that was none
        try:
            self._estimate = cloudpickle.dumps(estimate)
        except Exception as error:
            raise NASError(
                f"jobs={jobs}: the estimate cannot be copied to a worker ({error}); let it open "
                "what it holds itself, or use jobs=1"
            ) from error
        self.workers: list[Worker] = []

    @property
    def running(self) -> int:
        """Number of trials submitted and not yet returned."""
        return sum(worker.trial is not None for worker in self.workers)

    def submit(self, trial: Trial) -> None:
        """Give the trial to an idle worker, a new one if there is none."""
        worker = next((w for w in self.workers if w.trial is None), None) or self._hire()
        worker.trial = trial
        if worker.ready and not self._sent(worker, trial):  # it died while it had nothing to do
            self._remove(worker)
            self.submit(trial)

    def wait(self, prune: Prune) -> Trial:
        """Return the next trial that has ended; answer the workers' questions meanwhile.

        Raises:
            NASError: What the estimate raised for bad input.
            RunError: Where workers die one after the other before they have begun.
        """
        while True:
            busy = {w.pipe: w for w in self.workers if w.trial is not None}
            for pipe in wait(list(busy)):
                ended = self._heard(busy[pipe], prune)  # pyright: ignore[reportArgumentType]
                if ended is not None:
                    return ended

    def _heard(self, worker: Worker, prune: Prune) -> Trial | None:
        """Answer what a worker says; return its trial once that has ended."""
        assert worker.trial is not None
        try:
            message = worker.pipe.recv()
        except Exception:  # the end of the pipe, or half a message of one that was killed
            return self._bury(worker)
        if message == READY:
            worker.ready, self._failed = True, 0
            alive = self._sent(worker, worker.device, self._estimate, worker.trial)
            return None if alive else self._bury(worker)
        if isinstance(message, tuple):
            alive = self._sent(worker, prune(worker.trial, *message))
            return None if alive else self._bury(worker)
        worker.trial = None
        if isinstance(message, NASError):
            raise message
        if message.error.startswith(STICKY):  # so would every other trial in that process
            self._remove(worker)
        return message

    def close(self) -> None:
        """End all workers, whatever they do."""
        for worker in self.workers:
            worker.pipe.close()
            worker.process.terminate()
        for worker in self.workers:
            worker.process.join(PATIENCE)
            if worker.process.is_alive():
                worker.process.kill()
        self.workers.clear()

    def _hire(self) -> Worker:
        """Start a worker on the device that has the fewest."""
        load = {device: 0 for device in self._devices}
        for worker in self.workers:
            load[worker.device] += 1
        device = min(load, key=lambda one: load[one])
        mine, theirs = self._context.Pipe()
        process = self._context.Process(target=work, args=(theirs,))
        with from_elsewhere():
            process.start()
        theirs.close()
        worker = Worker(process, mine, device)
        self.workers.append(worker)
        return worker

    @staticmethod
    def _sent(worker: Worker, *messages: Any) -> bool:
        """Send messages; say whether the worker lives to read them."""
        try:
            for message in messages:
                worker.pipe.send(message)
        except OSError:
            return False
        return True

    def _remove(self, worker: Worker) -> int | None:
        """Let a worker go, which ends by itself once its pipe is closed; return its exit code."""
        self.workers.remove(worker)
        worker.pipe.close()
        worker.process.join(PATIENCE)
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join(PATIENCE)
        return worker.process.exitcode

    def _bury(self, worker: Worker) -> Trial:
        """Return the failed trial of a worker that died.

        Raises:
            NoGuardError: Where it died as the script that it imports starts a search itself.
            RunError: Where it is one of several that died before they had begun.
        """
        code = self._remove(worker)
        if code is not None and -code in ENDS:  # what ends all of a group ends this process, too
            time.sleep(GRACE)
        how = f"by signal {-code}" if code is not None and code < 0 else f"with exit code {code}"
        how += ", perhaps for want of memory" if code == -9 else ""
        if not worker.ready:
            if code == UNGUARDED:
                raise NoGuardError(f"jobs={self.slots}")
            how += " at its start"
            self._failed += 1
            if self._failed == STARTS:
                raise RunError(
                    f"jobs={self.slots}: {STARTS} workers ended {how}, one after the other; a "
                    "worker imports the script that starts the search: see what it prints above, "
                    "put the search under if __name__ == '__main__':, or use jobs=1"
                )
        assert worker.trial is not None
        return replace(worker.trial, state="failed", error=f"worker: ended {how}")
