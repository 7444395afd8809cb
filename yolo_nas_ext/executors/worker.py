"""What runs in a worker process: it evaluates trials from a pipe until that closes."""

from __future__ import annotations

import signal
from multiprocessing.connection import Connection
from typing import Any, Protocol, runtime_checkable

import cloudpickle

from yolo_nas_ext.errors import NASError
from yolo_nas_ext.executors.run_trial import run_trial
from yolo_nas_ext.study.trial import Trial

READY = "ready"  # the first message of a worker


@runtime_checkable
class UsesDevice(Protocol):
    """What an estimate may have besides, where it trains on one of several devices."""

    def use_device(self, device: str) -> None:
        """Train on that device from now on, in this process."""
        ...


def place(estimate: Any, device: str | None) -> None:
    """Tell an estimate its device, if it wants to know."""
    if device is not None and isinstance(estimate, UsesDevice):
        estimate.use_device(device)


def work(pipe: Connection) -> None:
    """Evaluate trials from the pipe until it closes.

    The first three messages are the device, the estimate and a trial.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the search's to handle
    try:
        pipe.send(READY)
        device, pickled = pipe.recv(), pipe.recv()
        try:
            estimate = cloudpickle.loads(pickled)
            place(estimate, device)
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
