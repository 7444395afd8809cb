"""Worker processes on this machine, each with its own copy of the data in memory."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

import cloudpickle

from yolo_nas_ext.console import ENDS
from yolo_nas_ext.errors import NASError
from yolo_nas_ext.executors.run_trial import Estimate, Prune, run_trial
from yolo_nas_ext.study.trial import Trial

GRACE = 0.5  # seconds in which a signal that ended a worker comes here, too
SAFE = "PYTHONSAFEPATH"
PATIENCE = 5.0  # seconds that a worker has to end by itself


@dataclass
class Worker:
    """A process, the pipe to it and the trial that it runs, if it runs one."""

    process: BaseProcess
    pipe: Connection
    trial: Trial | None = None


class Processes:
    """Workers that live as long as the search, so that each reads the data once.

    They are spawned, on every system alike, so that none inherits threads or a GPU's state. A
    worker that dies costs the trial that it ran, which has failed; another takes its place.

    Args:
        estimate: Evaluates one trial; copied to every worker by value, closures included.
        jobs: Number of workers.
    """

    def __init__(self, estimate: Estimate, jobs: int) -> None:
        self.slots = jobs
        self._context = multiprocessing.get_context("spawn")
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
        """Send the trial to an idle worker, a new one if there is none."""
        idle = next((w for w in self.workers if w.trial is None), None)
        worker = idle or self._hire()
        worker.trial = trial
        try:
            worker.pipe.send(trial)
        except OSError:  # it died while it had nothing to do
            self.workers.remove(worker)
            self.submit(trial)

    def wait(self, prune: Prune) -> Trial:
        """Return the next trial that has ended; answer the workers' questions meanwhile.

        Raises:
            NASError: What the estimate raised for bad input.
        """
        while True:
            busy = {w.pipe: w for w in self.workers if w.trial is not None}
            for pipe in wait(list(busy)):
                worker = busy[pipe]  # pyright: ignore[reportArgumentType]
                assert worker.trial is not None
                try:
                    message = worker.pipe.recv()
                except (EOFError, OSError):
                    return self._bury(worker)
                if isinstance(message, tuple):
                    worker.pipe.send(prune(worker.trial, *message))
                    continue
                worker.trial = None
                if isinstance(message, NASError):
                    raise message
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
        mine, theirs = self._context.Pipe()
        process = self._context.Process(target=_work, args=(theirs, self._estimate))
        with _from_elsewhere():
            process.start()
        theirs.close()
        worker = Worker(process, mine)
        self.workers.append(worker)
        return worker

    def _bury(self, worker: Worker) -> Trial:
        """Return the failed trial of a worker that died."""
        self.workers.remove(worker)
        worker.pipe.close()
        worker.process.join(PATIENCE)
        code = worker.process.exitcode
        if code is not None and -code in ENDS:  # what ends all of a group ends this process, too
            time.sleep(GRACE)
        how = f"by signal {-code}" if code is not None and code < 0 else f"with exit code {code}"
        hint = ", perhaps for want of memory" if code == -9 else ""
        assert worker.trial is not None
        return replace(worker.trial, state="failed", error=f"worker: ended {how}{hint}")


@contextmanager
def _from_elsewhere() -> Iterator[None]:
    """Have a process that is started import nothing from the folder where the command is typed.

    Until it knows the paths of this one, it would look there first, where others' files may be.
    Python 3.10 cannot be told.
    """
    before = os.environ.get(SAFE)
    os.environ[SAFE] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[SAFE]
        else:
            os.environ[SAFE] = before


def _work(pipe: Connection, pickled: bytes) -> None:
    """Evaluate trials from the pipe until it closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the search's to handle
    try:
        try:
            estimate = cloudpickle.loads(pickled)
        except Exception as error:
            pipe.send(NASError(f"jobs: the estimate cannot be copied to a worker: {error!r}"))
            return

        def prune(trial: Trial, step: int, value: float) -> bool:
            pipe.send((step, value))
            return pipe.recv()

        while True:
            trial = pipe.recv()
            try:
                pipe.send(run_trial(trial, estimate, prune))
            except NASError as error:
                pipe.send(error)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return
